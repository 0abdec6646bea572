"""Forward and gradients of a module against a fixture of PyTorch code: loss = sum(output * grad_seed)."""

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import torch
from torch import Tensor

from edgeq._errors import FormatError
from edgeq.importers._state_dict import Entry

from .report import Fixture, Report

Tolerance = Callable[[np.ndarray], float]  # of a recorded tensor


def tensors(arrays: Iterable[tuple[str, np.ndarray]]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(array) for name, array in arrays}


def compare(
    report: Report,
    fixture: Fixture,
    run: Callable[[Tensor], Tensor],
    tolerance: Tolerance,
    parameters: Mapping[str, Entry] | None = None,
    *,
    input_gradient: str = "grad_input",
) -> None:
    """`run` takes and gives the fixture's layout; `parameters` are those with a recorded gradient, by its key."""

    def check(name: str, got: Tensor) -> None:
        want = fixture.tensors[name]
        report.compare(name, got, want, tolerance(want))

    seeded = "grad_seed" in fixture.tensors
    x = torch.from_numpy(fixture.tensors["input"]).requires_grad_(seeded)
    with torch.set_grad_enabled(seeded):
        output = run(x)
    check("output", output)
    if not seeded:
        return
    (output * torch.from_numpy(fixture.tensors["grad_seed"])).sum().backward()
    leaves = dict(parameters or {}) | {input_gradient: Entry(input_gradient, x)}
    for name in fixture.tensors:
        if name.startswith("grad") and name != "grad_seed":
            if name not in leaves:
                raise FormatError(f"{name}: the network has no tensor of this name")
            entry = leaves[name]
            if entry.tensor.grad is None:
                raise FormatError(f"{name}: no gradient reaches this tensor")
            check(name, entry.view(entry.tensor.grad))
