"""What importers of PyTorch state dicts share: one entry per foreign tensor, and copying all of them or none."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from edgeq._errors import FormatError

Layout = Callable[[Tensor], Tensor]


def same(x: Tensor) -> Tensor:
    return x


def ohwi_to_oihw(w: Tensor) -> Tensor:
    return w.permute(0, 3, 1, 2)


@dataclass(frozen=True)
class Entry:
    """One foreign tensor: its name, our parameter or buffer, and the view of ours that has the foreign layout."""

    name: str
    tensor: Tensor
    view: Layout = same


def load(what: str, entries: Iterable[Entry], tensors: Mapping[str, Tensor]) -> None:
    """Copy foreign tensors into ours; nothing is copied unless all of them fit. `what` begins an error's text.

    raises  FormatError naming the tensors that are missing, left over, of another shape, or not finite
    """
    expected = {entry.name: entry for entry in entries}
    for title, names in (("missing", expected.keys() - tensors.keys()), ("unknown", tensors.keys() - expected.keys())):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise FormatError(f"{what}: {title} {', '.join(sorted(names)[:3])}{more}")
    for name, entry in expected.items():
        have, want = tensors[name], entry.view(entry.tensor)
        if have.shape != want.shape:
            raise FormatError(f"{what}: {name}: expected shape {tuple(want.shape)}, got {tuple(have.shape)}")
        if not have.is_floating_point() or not bool(have.isfinite().all()):
            raise FormatError(f"{what}: {name}: expected finite floating point numbers")
    with torch.no_grad():
        for name, entry in expected.items():
            entry.view(entry.tensor).copy_(tensors[name])
