"""The draft of a package on the local device, over its whole test set."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeq import compile as compiler
from edgeq.bench import tasks
from edgeq.bench.report import Evaluation
from edgeq.device import Net, Outcome, connect
from edgeq.package import VerifiedPackage, verify_package


class Kept:
    """A net whose outputs of the last evaluation stay at hand."""

    def __init__(self, net: Net) -> None:
        self.net = net
        self.outputs: tuple[np.ndarray, ...] = ()

    def evaluate(self, inputs: Sequence[np.ndarray], *, progress: Any = None) -> Outcome:
        outcome = self.net.evaluate(inputs)
        self.outputs = outcome.outputs
        return outcome


class Replay:
    """A net that gives again what was kept of its first items."""

    def __init__(self, outputs: Sequence[np.ndarray]) -> None:
        self.outputs = outputs

    def evaluate(self, inputs: Sequence[np.ndarray], *, progress: Any = None) -> Outcome:
        count = len(inputs[0])
        return Outcome(tuple(array[:count] for array in self.outputs), [1] * count)


@dataclass(frozen=True)
class Measured:
    """What the program gives for the whole test split.

    predictions  (n,) uint8 classes, or (n, tokens) uint16 where the network writes tokens
    """

    artefact: compiler.Artefact
    config: dict[str, object]
    task: tasks.Task[Any]
    samples: Any
    outputs: tuple[np.ndarray, ...]
    evaluation: Evaluation

    @property
    def predictions(self) -> np.ndarray:
        first = self.outputs[0].reshape(len(self.samples), -1)
        return first.astype(np.uint16) if first.dtype.kind == "i" else first.argmax(1).astype(np.uint8)

    def head(self, count: int) -> Evaluation:
        """The figures of the first items alone."""
        return self.task.evaluate(Replay(self.outputs), self.samples.head(count), self.config, _silent).evaluation


def on_the_local_device(package: Path) -> Measured:
    verified: VerifiedPackage = verify_package(package, allow_unsigned=True)
    config = verified.config()
    task = tasks.of(config)
    task.open(verified)
    artefact = compiler.build(verified)
    samples = task.full(str(config["dataset"]), config)
    with connect("local") as device:
        net = Kept(task.deploy(device, artefact.path, config, _silent))
        evaluation = task.evaluate(net, samples, config, _silent).evaluation
    return Measured(artefact, config, task, samples, net.outputs, evaluation)


def _silent(*_: object) -> None:
    pass
