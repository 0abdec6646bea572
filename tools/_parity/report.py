"""What every parity check shares: a fixture with its sidecar, and a report of differences."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from torch import Tensor

from edgeq._errors import FormatError

ATOL = 1e-5  # float32, values of order 1 to 10: rounding of a few dozen sums
GRADIENT_RTOL = 1e-5  # of the tensor's largest value


@dataclass
class Report:
    """Differences of one fixture by one path."""

    fixture: str
    path: str
    max_abs_diff: dict[str, float] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return bool(self.max_abs_diff) and not self.failed

    def compare(self, name: str, got: Tensor, want: np.ndarray, atol: float) -> None:
        got_array = got.detach().numpy()
        if got_array.shape != want.shape:
            raise FormatError(f"{name}: computed shape {got_array.shape}, fixture has {want.shape}")
        diff = float(np.abs(got_array.astype(np.float64) - want).max(initial=0.0))
        self.max_abs_diff[name] = diff
        if not diff <= atol:
            self.failed.append(name)


@dataclass(frozen=True)
class Fixture:
    """A fixture and its sidecar."""

    name: str
    tensors: dict[str, np.ndarray]
    about: dict[str, object]
    folder: Path = Path()  # where it lies, for files beside it

    def under(self, prefix: str) -> Iterator[tuple[str, np.ndarray]]:
        for key, value in self.tensors.items():
            if key.startswith(prefix):
                yield key.removeprefix(prefix), value

    @property
    def checkpoint(self) -> dict[str, np.ndarray]:
        return {k: v for k, v in self.tensors.items() if k.startswith(("param/", "bn/", "bounds/"))}

    def number(self, key: str) -> float:
        value = self.about.get(key)
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise FormatError(f"{self.name}.json: {key!r} must be a number, got {value!r}")
        return value


def read_fixture(path: Path) -> Fixture:
    sidecar = path.with_suffix(".json")
    for needed in (path, sidecar):
        if not needed.is_file():
            raise FormatError(f"{needed}: no such file")
    try:
        with np.load(path, allow_pickle=False) as archive:
            tensors = {key: archive[key] for key in archive.files}
        about = json.loads(sidecar.read_text())
    except (ValueError, OSError) as error:
        raise FormatError(f"{path}: not a fixture: {error}") from error
    return Fixture(path.stem, tensors, about, path.parent)


Check = Callable[[Fixture, Report], None]  # fills a report; raises UnsupportedError where a path has nothing to say
