"""What a zeroth-order step costs on a simulated Cortex-M4, whose clock counts instructions.

The agent learns by itself and tells what it spent in passes and beside them; a run of few steps is taken from a longer
one.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeq import hub
from edgeq._native.tune_types import Method
from edgeq.compile.layout import STEP
from edgeq.compile.tunable_artefact import build_tunable
from edgeq.device import connect
from edgeq.tune import Samples, Wishes
from edgeq.tune.journal import Journal
from edgeq.tune.session import RemoteLearner

BOARD, MODEL = "sim:cortex-m4?with=tune", "pokebnn-fashion"
FLAGS: dict[Method, tuple[str, ...]] = {"t0": (), "t1": ("no_cache",)}  # what fits beside a board's network
BATCH, FEW_STEPS, MANY_STEPS, SAMPLES = 64, 1, 3, 80


@dataclass(frozen=True)
class Cost:
    """Instructions: of one `forward`, of a pass of a step, and of module and agent between passes for each sample."""

    tier: Method
    forward: float
    a_pass: float
    beside: float

    @property
    def step(self) -> float:
        """Both signs and the update, in inferences of the same batch."""
        return (2 * self.a_pass + self.beside) / self.forward


def measure() -> Iterator[Cost]:
    """raises  UnsupportedError where there is no compiler or emulator for a Cortex-M4"""
    with connect(BOARD) as device:
        artefact, tuning = build_tunable(hub.pull(MODEL), target=device.info.targets[0])
        program = device.put(artefact.path).name
        net = device.load(program, "forward")
        rng = np.random.default_rng(1)
        pictures = rng.standard_normal((SAMPLES, *net.inputs[0].shape[1:])).astype(np.float32)
        forward = float(np.median(net.bench([pictures[:1]], warmup=1, runs=3).ticks))
        net.unload()
        labels = (np.arange(SAMPLES) % tuning.layout.classes).astype(np.int32)
        samples = Samples((pictures,), labels, "cost")
        for tier, flags in FLAGS.items():
            spent = []
            for steps in (FEW_STEPS, MANY_STEPS):
                changes = {"steps": steps, "batch": BATCH, "evaluate_every": steps, "micro": 1}
                wishes = Wishes(tier, flags=("unguarded", *flags), changes=changes)
                program = device.put(artefact.path).name  # again: the plan before took its place
                learner = RemoteLearner(device, program, STEP, tuning, samples, wishes)
                folder = Path(tempfile.mkdtemp())
                try:
                    learner.run(Journal(folder / "run"))
                finally:
                    shutil.rmtree(folder)
                spent.append((learner.remote.net_ticks, learner.remote.module_ticks))
                learner.remote.close()
            (net_few, few), (net_many, many) = spent
            rows = BATCH * (MANY_STEPS - FEW_STEPS)
            yield Cost(tier, forward, (net_many - net_few) / (2 * rows), (many - few) / rows)
