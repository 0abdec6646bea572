"""Copying foreign tensors into a network: all of them, of the right shape, finite, none left over."""

import re
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from edgeq._errors import FormatError


def fill(
    model: nn.Module,
    tensors: Mapping[str, Tensor],
    *,
    foreign_name: Callable[[str], str],
    unused: re.Pattern[str],
    where: str,
) -> None:
    """Give every tensor of `model` the foreign tensor of its name, as float32.

    foreign_name  our name -> theirs
    unused        foreign names that are allowed and ignored (whole name matches)
    raises        FormatError naming the tensors that are missing, unknown, of another shape, or not finite numbers
    """
    wanted = {foreign_name(name): tensor for name, tensor in model.state_dict(keep_vars=True).items()}
    unknown = [name for name in tensors if name not in wanted and not unused.fullmatch(name)]
    for title, names in (("missing", wanted.keys() - tensors.keys()), ("unknown", unknown)):
        if names:
            some = sorted(names)
            more = f" and {len(some) - 3} more" if len(some) > 3 else ""
            raise FormatError(f"{where}: {title} {', '.join(some[:3])}{more}")
    for name, ours in wanted.items():
        theirs = tensors[name]
        if theirs.shape != ours.shape:
            raise FormatError(f"{where}: {name}: expected shape {tuple(ours.shape)}, got {tuple(theirs.shape)}")
        if theirs.is_floating_point() != ours.is_floating_point() or not bool(theirs.isfinite().all()):
            raise FormatError(
                f"{where}: {name}: expected finite {ours.dtype}, got {theirs.dtype} or values that are not"
            )
    with torch.no_grad():
        for name, ours in wanted.items():
            ours.copy_(tensors[name])


def size_of(tensors: Mapping[str, Tensor], name: str, axis: int, dimensions: int = 2) -> int:
    """The length of one axis of a tensor that must be there."""
    if name not in tensors:
        raise FormatError(f"checkpoint: missing {name}")
    if tensors[name].dim() != dimensions:
        raise FormatError(f"checkpoint: {name}: expected {dimensions} axes, got shape {tuple(tensors[name].shape)}")
    return tensors[name].shape[axis]
