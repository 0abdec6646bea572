"""The quantised linear layers of a checkpoint from the Hub, whatever its format: `quantization_config` says which.

Each format is a file of its own beside this one; all give `edgeq.schemes.grouped.GroupedWeight`.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from edgeq._errors import FormatError, UnsupportedError
from edgeq.importers import awq, compressed_tensors, gptq, hf_bitnet, hqq, torchao
from edgeq.importers.checkpoint import Checkpoint
from edgeq.schemes.grouped import Activation, GroupedWeight

Settings = Mapping[str, Any]


def layers(checkpoint: Checkpoint) -> dict[str, GroupedWeight]:
    """Every quantised layer by its name.

    raises  UnsupportedError for formats and variants without an importer, FormatError for tensors that do not fit
    """
    settings = checkpoint.config.get("quantization_config")
    if not isinstance(settings, dict):
        raise UnsupportedError('config.json: no "quantization_config"; this checkpoint is not quantised')
    method = settings.get("quant_method")
    if method not in _FORMATS:
        raise UnsupportedError(f"config.json: quant_method {method!r} is not imported; {', '.join(_FORMATS)} are")
    marker, decode = _FORMATS[method]
    found = {}
    for name in checkpoint.tensors:
        if name.endswith(f".{marker}") and (marker != "weight" or checkpoint.tensors[name].dtype == torch.uint8):
            layer = name.removesuffix(f".{marker}")
            found[layer] = _decode_layer(checkpoint.tensors, layer, settings, decode)
    if not found:
        raise FormatError(f"checkpoint: quant_method {method!r}, but no tensor is called LAYER.{marker}")
    return found


def _decode_layer(
    tensors: Mapping[str, Tensor], layer: str, settings: Settings, decode: Callable[["_Parts", Settings], GroupedWeight]
) -> GroupedWeight:
    try:
        return decode(_Parts(tensors, layer), settings)
    except (FormatError, UnsupportedError) as error:
        raise type(error)(f"{layer}: {error}") from None


class _Parts:
    """The tensors of one layer."""

    def __init__(self, tensors: Mapping[str, Tensor], layer: str) -> None:
        self.tensors, self.layer = tensors, layer

    def __getitem__(self, name: str) -> Tensor:
        tensor = self.get(name)
        if tensor is None:
            raise FormatError(f"{name} is missing")
        return tensor

    def get(self, name: str) -> Tensor | None:
        return self.tensors.get(f"{self.layer}.{name}")


def _gptq(parts: _Parts, settings: Settings) -> GroupedWeight:
    versions = {"gptq": 1, "gptq_v2": 2}
    version = settings.get("checkpoint_format", "gptq")
    if version not in versions:
        raise UnsupportedError(f"checkpoint_format {version!r}; {', '.join(versions)} are imported")
    return gptq.decode(
        parts["qweight"],
        parts["qzeros"],
        parts["scales"],
        g_idx=parts.get("g_idx"),
        bias=parts.get("bias"),
        bits=_bits(settings.get("bits")),
        version=versions[version],
        symmetric=settings.get("sym") is True,
    )


def _awq(parts: _Parts, settings: Settings) -> GroupedWeight:
    bits = settings.get("bits", settings.get("w_bit", 4))
    version = str(settings.get("version", "gemm")).lower()
    if (version, bits) != ("gemm", 4):
        raise UnsupportedError(f"AWQ version {version!r} with {bits!r} bits; gemm with 4 is imported")
    return awq.decode(parts["qweight"], parts["qzeros"], parts["scales"], bias=parts.get("bias"))


def _compressed_tensors(parts: _Parts, settings: Settings) -> GroupedWeight:
    groups = settings.get("config_groups")
    if settings.get("format") != "pack-quantized" or not isinstance(groups, dict) or len(groups) != 1:
        raise UnsupportedError("compressed-tensors: one group in format pack-quantized is imported")
    (group,) = groups.values()
    weights = group.get("weights") if isinstance(group, dict) else None
    if not isinstance(weights, dict):
        raise FormatError("config.json: config_groups without weights")
    return compressed_tensors.decode(
        parts["weight_packed"],
        parts["weight_scale"],
        parts["weight_shape"],
        weight_zero_point=parts.get("weight_zero_point"),
        weight_g_idx=parts.get("weight_g_idx"),
        bias=parts.get("bias"),
        bits=_bits(weights.get("num_bits")),
        activation=_activation(group.get("input_activations")),
    )


def _bitnet(parts: _Parts, settings: Settings) -> GroupedWeight:
    kind = settings.get("linear_class", "bitlinear")
    if kind not in ("bitlinear", "autobitlinear"):
        raise UnsupportedError(f"linear_class {kind!r}; bitlinear and autobitlinear are imported")
    if settings.get("use_rms_norm"):
        raise UnsupportedError("use_rms_norm: layers with a norm in front of the quantiser are not imported")
    return hf_bitnet.decode(parts["weight"], parts["weight_scale"], linear_class=kind, bias=parts.get("bias"))


def _torchao(parts: _Parts, settings: Settings) -> GroupedWeight:
    scale, zero = parts["_weight_scale"], parts.get("_weight_zero_point")
    return torchao.decode(parts["_weight_qdata"], scale, zero, bias=parts.get("bias"))


def _hqq(parts: _Parts, settings: Settings) -> GroupedWeight:
    shape = parts["shape"].tolist()
    if not isinstance(shape, list) or len(shape) != 2 or not all(isinstance(n, int) and n > 0 for n in shape):
        raise FormatError(f"shape: expected two positive numbers, got {shape!r}")
    group, axis, bits = (_number(parts[name], name) for name in ("group_size", "axis", "nbits"))
    weight = hqq.decode(
        parts["W_q"], parts["scale"], parts["zero"], shape=(shape[0], shape[1]), group=group, axis=axis, bits=bits
    )
    bias = parts.get("bias")
    return weight if bias is None else replace(weight, bias=bias.float())


def _number(tensor: Tensor, name: str) -> int:
    if tensor.numel() != 1 or tensor.is_floating_point():
        raise FormatError(f"{name}: expected one whole number, got {tensor.flatten().tolist()[:3]}")
    return int(tensor)


def _bits(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise FormatError(f"config.json: bits must be a whole number, got {value!r}")
    return value


def _activation(settings: object) -> Activation:
    if settings is None:
        return "float"
    if not isinstance(settings, dict) or settings.get("num_bits") != 8 or settings.get("strategy") != "token":
        raise UnsupportedError(f"input_activations {settings!r}; 8 bits per token are imported")
    return "int8 per token" if settings.get("symmetric", True) else "int8 per token, asymmetric"


_FORMATS: dict[str, tuple[str, Callable[[_Parts, Settings], GroupedWeight]]] = {
    "bitnet": ("weight", _bitnet),
    "gptq": ("qweight", _gptq),
    "awq": ("qweight", _awq),
    "compressed-tensors": ("weight_packed", _compressed_tensors),
    "torchao": ("_weight_qdata", _torchao),
    "hqq": ("W_q", _hqq),
}
