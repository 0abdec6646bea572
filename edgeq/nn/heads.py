"""Attention heads: (B, T, h d) <-> (B, h, T, d)."""

from torch import Tensor


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(B, T, h d) -> (B, h, T, d)."""
    return x.view(*x.shape[:-1], heads, -1).transpose(1, 2)


def merge_heads(x: Tensor) -> Tensor:
    """(B, h, T, d) -> (B, T, h d)."""
    return x.transpose(1, 2).flatten(2)
