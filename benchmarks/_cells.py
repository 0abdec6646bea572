"""Results of single runs, kept in a file as they come, so that hours of them survive being stopped."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

Figures = Mapping[str, float]


class Cells:
    """Figures by name of the run. With a file: what is in it is not computed again; delete the file to measure anew."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._known: dict[str, Figures] = {}
        if path is not None and path.is_file():
            self._known = json.loads(path.read_text())

    def get(self, name: str, compute: Callable[[], Figures]) -> Figures:
        """With "cpu_s", what computing it took."""
        if name not in self._known:
            began = time.process_time()
            found = dict(compute())
            self._known[name] = {**found, "cpu_s": time.process_time() - began}
            if self._path is not None:
                fresh = self._path.with_suffix(".new")
                fresh.write_text(json.dumps(self._known, indent=0))
                fresh.replace(self._path)
        return self._known[name]


def mean_and_error(groups: Sequence[Sequence[float]]) -> tuple[float, float]:
    """Mean of the groups' means, and its standard error over the groups (nan for one)."""
    means = [float(np.mean(values)) for values in groups]
    error = float(np.std(means, ddof=1) / np.sqrt(len(means))) if len(means) > 1 else float("nan")
    return float(np.mean(means)), error
