"""PokeBNN parameters under the names of the authors' Flax code, read into `edgeq.models.pokebnn` networks.

Names are flattened with "/" and carry a prefix: `param/` (parameters, HWIO and (in, out)), `bn/` (running
statistics) and `bounds/` (activation bounds, (C,)). This file is the only place that knows them.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from edgeq._errors import FormatError
from edgeq.models.pokebnn import Bottleneck, PokeBNN, Stem
from edgeq.nn.batch_norm import BatchNorm
from edgeq.nn.conv import BinaryConv2d, QuantConv2d
from edgeq.nn.dprelu import DPReLU
from edgeq.nn.linear import QuantLinear
from edgeq.nn.poke_conv import PokeConv
from edgeq.schemes.binary import ACTIVATION_BOUND

Layout = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Entry:
    """One foreign tensor: its name, our tensor, and how ours is turned into the foreign layout."""

    name: str
    tensor: Tensor
    to_foreign: Layout
    from_foreign: Layout


def load_flax(model: PokeBNN | Bottleneck, tensors: Mapping[str, np.ndarray], *, block_name: str = "blk") -> None:
    """Copy foreign tensors into the model; a single Bottleneck stands under `block_name`.

    raises  FormatError naming the tensors that are missing, left over, of another shape, or not finite
    """
    expected = {entry.name: entry for entry in entries(model, block_name=block_name)}
    constant = dict(binary_bounds(model, block_name=block_name))
    missing = sorted((expected.keys() | constant.keys()) - tensors.keys())
    extra = sorted(tensors.keys() - expected.keys() - constant.keys())
    for title, names in (("missing", missing), ("unknown", extra)):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise FormatError(f"PokeBNN checkpoint: {title} {', '.join(names[:3])}{more}; other width or blocks?")
    for name, channels in constant.items():
        if tensors[name].shape != (channels,) or not np.all(tensors[name] == ACTIVATION_BOUND):
            raise FormatError(f"{name}: a binary layer needs {channels} bounds of {ACTIVATION_BOUND}")
    for name, entry in expected.items():
        want = tuple(entry.to_foreign(entry.tensor.detach()).shape)
        if tensors[name].shape != want:
            raise FormatError(f"{name}: expected shape {want}, got {tensors[name].shape}")
        if not np.issubdtype(tensors[name].dtype, np.floating) or not np.isfinite(tensors[name]).all():
            raise FormatError(f"{name}: expected finite floating point numbers")
    with torch.no_grad():
        for name, entry in expected.items():
            entry.tensor.copy_(entry.from_foreign(torch.from_numpy(np.ascontiguousarray(tensors[name]))))


def entries(model: PokeBNN | Bottleneck, *, block_name: str = "blk") -> Iterator[Entry]:
    """Every tensor that a checkpoint of this model holds, except the constant bounds of binary layers."""
    for name, layer in layers(model, block_name=block_name):
        if isinstance(layer, BatchNorm):
            yield from (_plain(f"param/{name}/{key}", getattr(layer, key)) for key in ("scale", "bias"))
            yield _plain(f"bn/{name}/mean", layer.running_mean)
            yield _plain(f"bn/{name}/var", layer.running_var)
        elif isinstance(layer, DPReLU):
            for key in ("bias_x", "bias_y", "neg_slope", "pos_slope"):
                yield _plain(f"param/{name}/{key}", getattr(layer, key))
        elif isinstance(layer, QuantLinear) and name.startswith("sefc"):
            yield Entry(
                f"param/{name}/kernel",
                layer.weight,
                lambda w: w.t()[None, None],
                lambda w: w[0, 0].t(),
            )
            yield _plain(f"param/{name}/bias", layer.bias)
        elif isinstance(layer, QuantLinear):
            yield Entry(f"param/{name}/kernel", layer.weight, Tensor.t, Tensor.t)
            yield _plain(f"param/{name}/bias", layer.bias)
        elif isinstance(layer, BinaryConv2d | QuantConv2d):
            yield Entry(f"param/{name}/kernel", layer.weight, _ohwi_to_hwio, _hwio_to_ohwi)
        if isinstance(layer, QuantLinear | QuantConv2d):
            yield _plain(f"bounds/{name}/GetBounds_0", layer.input_quantiser.bounds)


def binary_bounds(model: PokeBNN | Bottleneck, *, block_name: str = "blk") -> Iterator[tuple[str, int]]:
    """(name, channels) of the bounds arrays of binary convolutions, which are the constant 3."""
    for name, layer in layers(model, block_name=block_name):
        if isinstance(layer, BinaryConv2d):
            yield f"bounds/{name}/GetBounds_0", layer.weight.shape[-1]


def layers(model: PokeBNN | Bottleneck, *, block_name: str = "blk") -> Iterator[tuple[str, nn.Module]]:
    """(foreign name, layer) in execution order; DPReLU are numbered in that order."""
    if isinstance(model, Bottleneck):
        yield from _bottleneck(model, block_name, 0)
        return
    yield from _stem(model.stem)
    for index, block in enumerate(model.blocks):
        assert isinstance(block, Bottleneck)
        yield from _bottleneck(block, f"resblock{index}", 2 + 3 * index)
    yield "DenseAqt_0", model.head


def _stem(stem: Stem) -> Iterator[tuple[str, nn.Module]]:
    yield from (("init_conv", stem.conv), ("init_bn", stem.bn), ("DPReLU_0", stem.act))
    yield from (("init_conv_group", stem.conv_group), ("init_bn_group", stem.bn_group))
    yield "DPReLU_1", stem.act_group


def _bottleneck(block: Bottleneck, name: str, first_dprelu: int) -> Iterator[tuple[str, nn.Module]]:
    for j, poke in enumerate((block.conv1, block.conv2, block.conv3)):
        assert isinstance(poke, PokeConv)
        tail = f"{name}-{j + 1}"
        yield from ((f"conv-{tail}", poke.conv), (f"bn{tail}", poke.bn1))
        yield f"DPReLU_{first_dprelu + j}", poke.act
        yield from ((f"sefc1-{tail}", poke.se.fc1), (f"sefc2-{tail}", poke.se.fc2))
        yield f"bn_split{tail}", poke.bn2


def _plain(name: str, tensor: Tensor) -> Entry:
    return Entry(name, tensor, _same, _same)


def _same(x: Tensor) -> Tensor:
    return x


def _ohwi_to_hwio(w: Tensor) -> Tensor:
    return w.permute(1, 2, 3, 0)


def _hwio_to_ohwi(w: Tensor) -> Tensor:
    return w.permute(3, 0, 1, 2)
