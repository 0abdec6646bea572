"""torchao "8da4w" (Int8DynamicActivationIntxWeightConfig, version 2), from safetensors: one 4-bit value per byte.

Written from the package's code; no file of it was at hand to compare with. Older repositories hold pickled tensor
subclasses, which are refused by the reader of checkpoints.
"""

import torch
from torch import Tensor

from edgeq._errors import FormatError
from edgeq.schemes.grouped import GroupedWeight

_SHIFT = 8


def decode(qdata: Tensor, scale: Tensor, zero_point: Tensor | None, *, bias: Tensor | None = None) -> GroupedWeight:
    """One layer: qdata (o, i) int8 in -8..7; scale and zero_point (o, G). Raises FormatError for what does not fit."""
    if qdata.dtype != torch.int8 or qdata.dim() != 2 or bool(((qdata < -_SHIFT) | (qdata >= _SHIFT)).any()):
        raise FormatError(f"_weight_qdata: expected int8 (o, i) in -8..7, got {qdata.dtype} {tuple(qdata.shape)}")
    zero = torch.zeros_like(scale) if zero_point is None else zero_point
    return GroupedWeight(
        bits=4,
        codes=(qdata + _SHIFT).to(torch.uint8),
        scale=scale.float(),
        zero=zero.float() + _SHIFT,
        bias=None if bias is None else bias.float(),
        activation="int8 per token, asymmetric",
        stored_scale=scale.dtype,
    )
