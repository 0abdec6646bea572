"""What a user wants to be small instead of errors: costs of saying one class for another, or a score of his own."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgeq._errors import FormatError, NotFoundError, UsageError
from edgeq._native.tune import Forward, Outputs

Array = np.ndarray[Any, Any]
F32 = np.ndarray[Any, np.dtype[np.float32]]
Score = Callable[[Array, Array], Array]  # logits (n, classes), labels (n,) -> (n,), lower is better
WITH_SCORES = ("t0", "zeroqat", "mezo")  # methods that need no gradient of what they lower


def read_costs(path: Path) -> F32:
    """(classes, classes) of saying column for row, from a .csv of numbers.

    raises  NotFoundError, FormatError
    """
    try:
        with path.open(newline="") as file:
            rows = [[float(cell) for cell in row] for row in csv.reader(file) if row]
        costs = np.array(rows, np.float32)
    except FileNotFoundError:
        raise NotFoundError(f"{path}: no such file") from None
    except (OSError, ValueError, csv.Error) as error:
        raise FormatError(f"{path}: not a table of numbers: {str(error)[:80]}") from None
    if costs.ndim != 2 or costs.shape[0] != costs.shape[1] or not np.isfinite(costs).all():
        raise FormatError(f"{path}: costs are a square of finite numbers, a row for each class; got {costs.shape}")
    return costs


def scored(forward: Callable[[Forward], Outputs], score: Score, labels: Array) -> Callable[[Forward], Outputs]:
    """A forward that answers requests for scores, too, from the logits.

    raises  UsageError for a score that is not a finite number for each sample
    """

    def run(request: Forward) -> Outputs:
        if "scores" not in request.outputs:
            return forward(request)
        found = forward(replace(request, outputs=request.outputs - {"scores"} | {"logits"}))
        assert found.logits is not None
        scores = np.asarray(score(found.logits, labels[request.samples]), np.float32)
        if scores.shape != request.samples.shape or not np.isfinite(scores).all():
            raise UsageError(
                f"the score gave {scores.shape}, expected a finite number for each of {len(labels)} samples"
            )
        return replace(found, scores=scores, logits=found.logits if "logits" in request.outputs else None)

    return run
