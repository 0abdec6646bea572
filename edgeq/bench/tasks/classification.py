"""One label per item, and a network that gives a score per class: pictures, or sounds as pictures of their spectrum."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeq import data
from edgeq.bench import accuracy
from edgeq.bench.report import Evaluation
from edgeq.datasets import features, fsdd

from ._task import Outcome, Progress, Task

if TYPE_CHECKING:
    from edgeq.device import Net
    from edgeq.hub import PulledPackage

LOGITS = 0  # the output that holds the class scores


class Classification(Task[data.Split]):
    """Items are arrays of bytes, of which the package's "preprocessing" makes the network's input, or that input."""

    items = "items"

    def bundled(self, package: PulledPackage, dataset: str) -> data.Split:
        return data.load_split(package, dataset=dataset)

    def full(self, dataset: str, config: Mapping[str, object]) -> data.Split:
        known = {"fsdd": _spoken_digits, "cifar10": _cifar10, "cifar10-jpeg": _cifar10}.get(dataset)
        return data.full_test_set(dataset) if known is None else known(dataset, config)

    def own(self, path: Path, config: Mapping[str, object]) -> data.Split:
        return data.from_path(path)

    def inputs(self, samples: data.Split, config: Mapping[str, object]) -> tuple[np.ndarray[Any, Any], ...]:
        return (data.preprocess(samples.x, config),)

    def evaluate(self, net: Net, samples: data.Split, config: Mapping[str, object], progress: Progress) -> Outcome:
        outcome = net.evaluate(self.inputs(samples, config), progress=progress)
        score = accuracy.top1(outcome.outputs[LOGITS].reshape(len(samples), -1), samples.y)
        evaluation = Evaluation(samples.dataset, samples.split, score.n, accuracy=score)
        if not score.not_finite:
            return Outcome(evaluation, outcome.ticks)
        warning = f"{score.not_finite} items gave scores that are not finite; they count as wrong"
        return Outcome(evaluation, outcome.ticks, (warning,))


def _spoken_digits(dataset: str, config: Mapping[str, object]) -> data.Split:
    """The official test split of FSDD, as the bytes that the package's preprocessing reads."""
    recordings = fsdd.load()
    test = recordings.take < fsdd.TEST_TAKES
    windows = np.stack([features.window(recordings.waves[i]) for i in np.flatnonzero(test)])
    return data.Split(data.as_bytes(features.log_mel(windows), config), recordings.digit[test], dataset, "test")


def _cifar10(dataset: str, config: Mapping[str, object]) -> data.Split:
    from edgeq.datasets import cifar10

    return data.Split(*cifar10.load(dataset, "test"), dataset, "test")


def make() -> Classification:
    return Classification()
