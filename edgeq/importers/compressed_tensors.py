"""compressed-tensors, format "pack-quantized": symmetric and asymmetric, with and without act-order."""

import torch
from torch import Tensor

from edgeq._errors import FormatError
from edgeq.importers.words import permutation, unpack_columns, unpack_rows
from edgeq.schemes.grouped import Activation, GroupedWeight


def decode(
    weight_packed: Tensor,
    weight_scale: Tensor,
    weight_shape: Tensor,
    *,
    weight_zero_point: Tensor | None = None,
    weight_g_idx: Tensor | None = None,
    bias: Tensor | None = None,
    bits: int = 4,
    activation: Activation = "float",
) -> GroupedWeight:
    """One layer.

    weight_packed      (o, ceil(i * bits / 32)) int32: code + 2^(bits-1), words along the input, last one padded
    weight_scale       (o, G) float16 or bfloat16
    weight_shape       (2,) the true o and i
    weight_zero_point  (ceil(o * bits / 32), G) int32, packed along the output with the same shift
    raises             FormatError for tensors that do not fit each other
    """
    outputs, inputs = _shape(weight_shape)
    codes = unpack_columns(weight_packed, bits, "weight_packed")
    if codes.shape[0] != outputs or not 0 <= codes.shape[1] - inputs < 32 // bits:
        raise FormatError(f"weight_packed: holds {tuple(codes.shape)} codes, weight_shape says {(outputs, inputs)}")
    if weight_scale.dim() != 2 or weight_scale.shape[0] != outputs:
        raise FormatError(f"weight_scale: expected ({outputs}, groups), got {tuple(weight_scale.shape)}")
    groups = weight_scale.shape[1]
    if weight_zero_point is None:
        zero = torch.full((outputs, groups), float(2 ** (bits - 1)))
    else:
        stored = unpack_rows(weight_zero_point, bits, "weight_zero_point")
        if stored.shape[1] != groups or not 0 <= stored.shape[0] - outputs < 32 // bits:
            raise FormatError(f"weight_zero_point: holds {tuple(stored.shape)}, expected {(outputs, groups)}")
        zero = stored[:outputs].float()
    perm = permutation(weight_g_idx, inputs, groups)
    codes = codes[:, :inputs].contiguous()
    return GroupedWeight(
        bits=bits,
        codes=codes if perm is None else codes[:, perm],
        scale=weight_scale.float(),
        zero=zero,
        perm=perm,
        bias=None if bias is None else bias.float(),
        activation=activation,
        stored_scale=weight_scale.dtype,
    )


def _shape(weight_shape: Tensor) -> tuple[int, int]:
    if weight_shape.shape != (2,) or weight_shape.is_floating_point() or int(weight_shape.min()) < 1:
        raise FormatError(f"weight_shape: expected two positive numbers, got {weight_shape.tolist()}")
    outputs, inputs = weight_shape.tolist()
    return outputs, inputs
