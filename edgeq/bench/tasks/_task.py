"""What a measuring verb asks of a task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar

import numpy as np

from edgeq.bench.report import Evaluation

if TYPE_CHECKING:
    from edgeq.device import Device, Net
    from edgeq.hub import PulledPackage

Array = np.ndarray[Any, Any]
Config = Mapping[str, object]
Progress = Callable[[int, int], None]  # items done, items in all


class Samples(Protocol):
    """Items with their answers."""

    @property
    def dataset(self) -> str: ...
    @property
    def split(self) -> str: ...
    def __len__(self) -> int: ...
    def head(self, n: int | None) -> Self: ...


@dataclass(frozen=True)
class Outcome:
    """The figures, the device's ticks per execution of the network, and what the user should be told."""

    evaluation: Evaluation
    ticks: Sequence[int]
    warnings: tuple[str, ...] = ()


S = TypeVar("S", bound=Samples)


class Task(ABC, Generic[S]):
    """items: what is judged, in words, as in "1000 pictures"."""

    items: str

    def open(self, package: PulledPackage) -> None:
        """Comes before every other call: a chance to read what belongs to the package, such as a vocabulary."""

    def deploy(self, device: Device, path: Path, config: Config, progress: Callable[..., None]) -> Net:
        """Put a program on a device and load what the task executes: `forward`."""
        return device.deploy(path, progress=progress)

    @abstractmethod
    def bundled(self, package: PulledPackage, dataset: str) -> S:
        """The split that a package carries."""

    @abstractmethod
    def full(self, dataset: str, config: Config) -> S:
        """The whole test split; raises UsageError for a data set that is not known, NotFoundError."""

    @abstractmethod
    def own(self, path: Path, config: Config) -> S:
        """The user's own items; raises NotFoundError, FormatError."""

    @abstractmethod
    def inputs(self, samples: S, config: Config) -> tuple[Array, ...]:
        """What the network takes, the items along the first axis."""

    @abstractmethod
    def evaluate(self, net: Net, samples: S, config: Config, progress: Progress) -> Outcome:
        """Run the deployed network over all items."""

    def first(self, net: Net, samples: S | None, config: Config) -> tuple[Array, ...]:
        """What is timed: the first item, or noise from a fixed seed where there is none."""
        if samples is not None:
            return self.inputs(samples.head(1), config)
        rng = np.random.default_rng(0)
        return tuple(rng.standard_normal(spec.shape).astype(spec.dtype) for spec in net.inputs)
