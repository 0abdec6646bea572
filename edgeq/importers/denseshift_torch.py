"""DenseShift and S3 state dicts under the names of the authors' PyTorch code (OIHW), read into EdgeQ's networks.

A shift convolution `p` has `p.weight` (the sign reference; `p.weight_sign` is the same tensor registered twice) and
`p.weight_t1 ... p.weight_tN`, for S3 `p.weight_val`, `p.weight_shift`, `p.weight_shift2`. This file alone knows that.
"""

import re
from collections.abc import Iterator, Mapping
from operator import itemgetter

import torch
from torch import Tensor, nn

from edgeq._errors import FormatError, UsageError
from edgeq.importers._state_dict import Entry, Layout, load, ohwi_to_oihw
from edgeq.models.denseshift import BasicBlock, ConvBN, DenseShift, DenseShiftConfig
from edgeq.nn.float_conv import Conv2d
from edgeq.nn.shift_conv import Form, ShiftConv2d

S3_NAMES = ("weight", "weight_val", "weight_shift", "weight_shift2")
IMAGENET_STEM = 7  # kernel; it has stride 2 and a max pool behind it
_BATCH_NORM = {"weight": "scale", "bias": "bias", "running_mean": "running_mean", "running_var": "running_var"}
_REFERENCE = re.compile(r"weight_t[1-9][0-9]*")


def load_state(model: DenseShift | ShiftConv2d, tensors: Mapping[str, Tensor]) -> None:
    """Copy the authors' tensors into a network, or into one convolution whose names then have no prefix.

    raises  FormatError naming the tensors that are missing, left over, contradictory, of another shape, or not finite
    """
    load("DenseShift checkpoint", entries(model), _canonical(tensors))


def read_config(tensors: Mapping[str, Tensor]) -> DenseShiftConfig:
    """The network that a whole state dict describes.

    raises  FormatError if there is no such network
    """
    names = _canonical(tensors)
    try:
        stem = names["conv1.weight"].shape
        widths: list[int] = []
        blocks: list[int] = []
        while f"layer{len(widths) + 1}.0.conv1.weight" in names:
            stage = f"layer{len(widths) + 1}"
            widths.append(names[f"{stage}.0.conv1.weight"].shape[0])
            blocks.append(sum(re.fullmatch(rf"{stage}\.[0-9]+\.conv1\.weight", name) is not None for name in names))
        bits, form = _kind("layer1.0.conv1.", names)
        imagenet = stem[2] == IMAGENET_STEM
        return DenseShiftConfig(
            classes=names["fc.weight"].shape[0],
            in_channels=stem[1],
            bits=bits,
            form=form,
            widths=tuple(widths),
            blocks=tuple(blocks),
            stem_kernel=stem[2],
            stem_stride=2 if imagenet else 1,
            stem_pool=imagenet,
        )
    except (KeyError, IndexError, UsageError) as error:
        raise FormatError(f"DenseShift checkpoint: not a ResNet of the authors' code: {error}") from error


def read_conv(tensors: Mapping[str, Tensor], *, stride: int = 1, padding: int = 0, groups: int = 1) -> ShiftConv2d:
    """One convolution, whose names have no prefix, with its tensors; `stride` and the like are not in a state dict."""
    names = _canonical(tensors)
    weight = names.get("weight")
    if weight is None or weight.dim() != 4 or weight.shape[2] != weight.shape[3]:
        raise FormatError("DenseShift convolution: expected 'weight' or 'weight_sign' of shape (O, I, k, k)")
    bits, form = _kind("", names)
    out, per_group, kernel, _ = weight.shape
    conv = ShiftConv2d(
        per_group * groups,
        out,
        kernel,
        stride=stride,
        padding=padding,
        groups=groups,
        bias="bias" in names,
        bits=bits,
        form=form,
    )
    load_state(conv, tensors)
    return conv


def entries(model: nn.Module) -> Iterator[Entry]:
    """Every tensor that a state dict of this network, or of one convolution, holds."""
    if isinstance(model, DenseShift):
        for conv, layer, bn in _layers(model):
            yield from _conv_bn(conv, layer, bn)
        yield from (Entry(f"fc.{key}", getattr(model.head, key)) for key in ("weight", "bias"))
    elif isinstance(model, Conv2d):
        yield from _conv("", model)


def _layers(model: DenseShift) -> Iterator[tuple[str, ConvBN, str]]:
    """(name of the convolution, both, name of the batch norm)."""
    yield "conv1.", model.stem, "bn1."
    for number, stage in enumerate(model.stages, 1):
        assert isinstance(stage, nn.Sequential)
        for i, block in enumerate(stage):
            assert isinstance(block, BasicBlock)
            here = f"layer{number}.{i}."
            yield f"{here}conv1.", block.first, f"{here}bn1."
            yield f"{here}conv2.", block.second, f"{here}bn2."
            if block.shortcut is not None:
                yield f"{here}downsample.0.", block.shortcut, f"{here}downsample.1."


def _conv_bn(conv: str, layer: ConvBN, bn: str) -> Iterator[Entry]:
    yield from _conv(conv, layer.conv)
    for theirs, ours in _BATCH_NORM.items():
        yield Entry(f"{bn}{theirs}", getattr(layer.bn, ours))


def _conv(prefix: str, conv: Conv2d) -> Iterator[Entry]:
    if isinstance(conv, ShiftConv2d):
        for i, name in enumerate(_names(conv)):
            yield Entry(f"{prefix}{name}", conv.references, _reference(i))
    else:
        yield Entry(f"{prefix}weight", conv.weight, ohwi_to_oihw)
    if conv.bias is not None:
        yield Entry(f"{prefix}bias", conv.bias)


def _names(conv: ShiftConv2d) -> tuple[str, ...]:
    if conv.form == "s3":
        return S3_NAMES
    return ("weight", *(f"weight_t{k}" for k in range(1, conv.references.shape[0])))


def _reference(index: int) -> Layout:
    pick = itemgetter(index)
    return lambda references: ohwi_to_oihw(pick(references))


def _kind(prefix: str, names: Mapping[str, Tensor]) -> tuple[int, Form]:
    """Bits and form of the shift convolution whose names begin with `prefix`."""
    if f"{prefix}weight_val" in names:
        return 3, "s3"
    own = (name.removeprefix(prefix) for name in names if name.startswith(prefix))
    count = sum(bool(_REFERENCE.fullmatch(name)) for name in own)
    bits = {1: 2, 3: 3, 7: 4}.get(count)
    if bits is None:
        raise FormatError(
            f"DenseShift checkpoint: {prefix}weight_t*: 1, 3 or 7 references make 2, 3 or 4 bits, got {count}"
        )
    return bits, "denseshift"


def _canonical(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without counters of batches, and the sign reference under `weight` only."""
    names = {name: tensor for name, tensor in tensors.items() if not name.endswith("num_batches_tracked")}
    for alias in [name for name in names if name.rpartition(".")[2] == "weight_sign"]:
        name = alias.removesuffix("_sign")
        if name in names and not torch.equal(names[name], names[alias]):
            raise FormatError(f"DenseShift checkpoint: {name} and {alias} must be the same tensor, but they differ")
        names[name] = names.pop(alias)
    return names
