"""Small integers in 32-bit words, lowest bits first; and groups that are not contiguous."""

import torch
from torch import Tensor

from edgeq._errors import FormatError, UnsupportedError

WORD = 32


def unpack_words(words: Tensor, bits: int, name: str) -> Tensor:
    """(..., n) int32 -> (..., n, 32 / bits) int64 fields, lowest first.

    raises  UnsupportedError for widths that straddle words, FormatError for another type
    """
    if bits not in (2, 4, 8):
        raise UnsupportedError(f"{name}: {bits}-bit weights; 2, 4 and 8 bits are imported")
    if words.dtype not in (torch.int32, torch.uint32, torch.int64):
        raise FormatError(f"{name}: expected packed 32-bit words, got {words.dtype}")
    fields: Tensor = (words.to(torch.int64)[..., None] >> torch.arange(0, WORD, bits)) & (2**bits - 1)
    return fields


def unpack_rows(words: Tensor, bits: int, name: str) -> Tensor:
    """Words along the first axis, (n, c) -> (n * 32 / bits, c) uint8."""
    return unpack_words(words, bits, name).permute(0, 2, 1).flatten(0, 1).to(torch.uint8)


def unpack_columns(words: Tensor, bits: int, name: str) -> Tensor:
    """Words along the last axis, (r, n) -> (r, n * 32 / bits) uint8."""
    return unpack_words(words, bits, name).flatten(1).to(torch.uint8)


def permutation(group_of_input: Tensor | None, inputs: int, groups: int) -> Tensor | None:
    """Stored order of inputs that brings each group together; None where they are together already.

    raises  FormatError unless every group has the same number of inputs
    """
    if inputs % groups:
        raise FormatError(f"{inputs} inputs are not a multiple of {groups} groups")
    if group_of_input is None:
        return None
    g = group_of_input.to(torch.int64)
    if g.shape != (inputs,) or int(g.min()) < 0 or int(g.max()) >= groups:
        raise FormatError(f"g_idx: expected {inputs} numbers below {groups}, got shape {tuple(g.shape)}")
    if not bool((g.bincount(minlength=groups) == inputs // groups).all()):
        raise FormatError(f"g_idx: groups of different sizes; each of {groups} must have {inputs // groups} inputs")
    if torch.equal(g, torch.arange(inputs) // (inputs // groups)):
        return None
    return g.argsort(stable=True)
