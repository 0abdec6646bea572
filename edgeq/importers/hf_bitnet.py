"""BitNet b1.58 as Hugging Face stores it: ternary weights, four to a byte, or latent float weights.

`weight_scale` divides in a `bitlinear` and multiplies (the bias, too) in an `autobitlinear` that was saved offline: the
wrong one gives finite nonsense.
"""

import warnings
from typing import Literal

import torch
from torch import Tensor

from edgeq._errors import FormatError
from edgeq.schemes.grouped import TOKEN_FLOOR, GroupedWeight

LinearClass = Literal["bitlinear", "autobitlinear"]
_USUAL = 1.0  # a divisor is usually above 10, a multiplier below 0.1


def decode(
    weight: Tensor, weight_scale: Tensor, *, linear_class: LinearClass, bias: Tensor | None = None
) -> GroupedWeight:
    """One packed layer.

    weight        (o / 4, i) uint8: field k of row n is output n + k * o / 4, code + 1
    weight_scale  (1,)
    raises        FormatError for another type, a field of 3, or a scale that is not a positive number
    """
    if weight.dtype != torch.uint8 or weight.dim() != 2:
        raise FormatError(f"weight: expected packed uint8 (o / 4, i), got {weight.dtype} {tuple(weight.shape)}")
    given = weight_scale.float().flatten()
    if given.numel() != 1 or not bool(given.isfinite().all()) or not float(given) > 0:
        raise FormatError(f"weight_scale: expected one positive number, got {given.tolist()[:3]}")
    codes = torch.cat([(weight >> shift) & 3 for shift in (0, 2, 4, 6)])
    if bool((codes == 3).any()):
        raise FormatError("weight: a field of 3 is no ternary code")
    divides = linear_class == "bitlinear"
    if (float(given) < _USUAL) == divides:
        role = "divisor, usually above 10" if divides else "multiplier, usually below 0.1"
        warnings.warn(f"weight_scale {float(given):.3g} is a {role}: is linear_class right?", stacklevel=2)
    scale = 1 / given if divides else given
    if bias is not None:
        bias = bias.float() if divides else bias.float() * scale
    return _ternary(codes, scale, bias, weight_scale.dtype)


def quantise(weight: Tensor, *, bias: Tensor | None = None) -> GroupedWeight:
    """A latent layer (o, i), quantised as its online layer would: mean |W| of the whole tensor is the step."""
    latent = weight.float()
    if latent.dim() != 2 or not bool(latent.isfinite().all()):
        raise FormatError(f"weight: expected finite latents (o, i), got shape {tuple(weight.shape)}")
    step = 1 / latent.abs().mean().clamp_min(TOKEN_FLOOR)
    codes = ((latent * step).round().clamp(-1, 1) + 1).to(torch.uint8)
    return _ternary(codes, 1 / step.view(1), None if bias is None else bias.float(), weight.dtype)


def _ternary(codes: Tensor, scale: Tensor, bias: Tensor | None, stored: torch.dtype) -> GroupedWeight:
    outputs = codes.shape[0]
    return GroupedWeight(
        bits=2,
        codes=codes,
        scale=scale.expand(outputs, 1),
        zero=torch.ones(outputs, 1),
        bias=bias,
        activation="int8 per token",
        stored_scale=stored,
    )
