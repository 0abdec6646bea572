"""Modules whose buffers lie in files as one tensor per element type.

A safetensors file spends some 90 bytes on every tensor, as much as the weights of a small layer. In memory, and so in
compiled programs, the buffers stay apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn

NAMES = {torch.uint8: "codes", torch.int8: "integers", torch.float32: "params"}


class Merged(nn.Module):
    """Its state dict, that of all layers inside included, holds at most `codes`, `integers` and `params`, each flat.

    The parts follow each other in the order in which the layers were registered.
    """

    def __init__(self) -> None:
        super().__init__()
        for register, hook in (
            (self.register_state_dict_post_hook, _merge),
            (self.register_load_state_dict_pre_hook, _split),
        ):
            cast(Callable[..., object], register)(hook)  # torch gives them no annotations


def _merge(module: nn.Module, state: dict[str, Any], prefix: str, _metadata: object) -> None:
    for dtype, name in NAMES.items():
        parts = [state.pop(prefix + key).reshape(-1) for key, _ in _buffers(module, dtype)]
        if parts:
            state[prefix + name] = torch.cat(parts)


def _split(module: nn.Module, state: dict[str, Any], prefix: str, *_rest: object) -> None:
    """A tensor that is missing or of another size is left alone: `load_state_dict` complains about it."""
    for dtype, name in NAMES.items():
        buffers = list(_buffers(module, dtype))
        sizes = [buffer.numel() for _, buffer in buffers]
        merged = state.get(prefix + name)
        if buffers and isinstance(merged, Tensor) and merged.shape == (sum(sizes),):
            start = 0
            for (key, buffer), size in zip(buffers, sizes, strict=True):
                state[prefix + key] = merged[start : start + size].view(buffer.shape)
                start += size
            del state[prefix + name]


def _buffers(module: nn.Module, dtype: torch.dtype) -> Iterator[tuple[str, Tensor]]:
    return ((key, buffer) for key, buffer in module.named_buffers() if buffer.dtype == dtype)
