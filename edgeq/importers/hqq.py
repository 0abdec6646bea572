"""HQQ, 2 and 4 bits: the weight is cut into groups, and the rows of that matrix are packed in halves or quarters."""

import torch
from torch import Tensor

from edgeq._errors import FormatError, UnsupportedError
from edgeq.schemes.grouped import GroupedWeight


def unpack(packed: Tensor, bits: int, rows: int) -> Tensor:
    """(ceil(rows / (8 / bits)), c) uint8 -> (rows, c) codes; the first part of the rows is in the highest bits."""
    if bits not in (2, 4):
        raise UnsupportedError(f"HQQ with {bits} bits; 2 and 4 are imported")
    parts = 8 // bits
    if packed.dtype != torch.uint8 or packed.dim() != 2 or packed.shape[0] != -(-rows // parts):
        raise FormatError(
            f"W_q: expected uint8 ({-(-rows // parts)}, c) for {rows} rows, got {packed.dtype} {tuple(packed.shape)}"
        )
    fields = [(packed >> shift) & (2**bits - 1) for shift in range(8 - bits, -1, -bits)]
    return torch.cat(fields)[:rows]


def decode(
    packed: Tensor, scale: Tensor, zero: Tensor, *, shape: tuple[int, int], group: int, axis: int, bits: int
) -> GroupedWeight:
    """One layer of `shape` (o, i).

    axis 1  groups of `group` along a row: scale and zero (o * i / group, 1)
    axis 0  groups down the columns of (group, o * i / group): each input gets a scale of its own, in groups of one
    raises  FormatError for tensors that do not fit each other
    """
    outputs, inputs = shape
    size = outputs * inputs
    if group < 1 or size % group or axis not in (0, 1) or (axis == 1 and inputs % group):
        raise FormatError(f"groups of {group} along axis {axis} do not divide a weight of {shape}")
    rows, columns = (group, size // group) if axis == 0 else (size // group, group)
    codes = unpack(packed, bits, rows)
    per_group = (1, columns) if axis == 0 else (rows, 1)
    if codes.shape[1] != columns or scale.shape != per_group or zero.shape != per_group:
        raise FormatError(
            f"W_q {tuple(packed.shape)}, scale {tuple(scale.shape)} and zero {tuple(zero.shape)} do not fit {shape}"
        )
    steps, zeros = (
        (t.float().expand(rows, columns) if axis == 0 else t.float()).reshape(outputs, -1) for t in (scale, zero)
    )
    return GroupedWeight(bits=bits, codes=codes.reshape(shape), scale=steps, zero=zeros, stored_scale=scale.dtype)
