"""The draft of a package on the local device, over its whole test set."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeq import compile as compiler
from edgeq import data
from edgeq.bench import tasks
from edgeq.device import connect
from edgeq.package import verify_package


@dataclass(frozen=True)
class Measured:
    """predictions (n,) uint8: the classes that the program gives for the whole test split."""

    artefact: compiler.Artefact
    samples: data.Split
    predictions: np.ndarray


def on_the_local_device(package: Path) -> Measured:
    verified = verify_package(package, allow_unsigned=True)
    config = verified.config()
    task = tasks.of(config)
    artefact = compiler.build(verified)
    samples = task.full(str(config["dataset"]), config)
    with connect("local") as device:
        logits = device.deploy(artefact.path).evaluate(task.inputs(samples, config)).outputs[0]
    return Measured(artefact, samples, logits.reshape(len(samples), -1).argmax(1).astype(np.uint8))
