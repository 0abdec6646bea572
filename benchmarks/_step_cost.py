"""What a zeroth-order step costs beside inference of the same batch: time and arena.

Passes are timed in one local agent, `forward` and the others in turns (medians of the agent's own ticks); the module by
the process' CPU time with a network that answers at once, its Python binding included. A step takes a `forward_pair` a
sample, or twice `forward_step` with micro-batches of one.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeq import hub
from edgeq._native.tune import Forward, Outputs
from edgeq._native.tune_types import Method
from edgeq.compile.layout import METHOD, PAIR, STEP, Tuning
from edgeq.compile.tunable_artefact import build_tunable
from edgeq.device import connect
from edgeq.tune import Learner, Samples, Wishes
from edgeq.tune.journal import Journal

from .harness import Options

MODELS = ("denseshift-kws", "pokebnn-fashion")
TIERS: tuple[Method, ...] = ("t0", "t1")
BATCH, RUNS, FEW_STEPS, MANY_STEPS, PAIRS_OF_RUNS = 64, 100, 10, 210, 5


@dataclass(frozen=True)
class Cost:
    """Of one model: arena bytes and microseconds of one pass by method; microseconds a step of the module by tier."""

    model: str
    arena: Mapping[str, int]
    pass_us: Mapping[str, float]
    ratio: Mapping[str, float]  # a pass against one of forward, median over the rounds
    module_us: Mapping[Method, float]

    def step(self, tier: Method, *, pairs: bool = True) -> float:
        """Both signs and the update, in inferences of the same batch; pairs: in one call."""
        passes = self.ratio[PAIR] if pairs else 2 * self.ratio[STEP]
        return passes + self.module_us[tier] / (BATCH * self.pass_us["forward"])


def measure(options: Options) -> Iterator[Cost]:
    for name in MODELS:
        artefact, tuning = build_tunable(hub.pull(name))
        rng = np.random.default_rng(1)
        with connect("local:") as device:
            stored = device.put(artefact.path).name
            nets = {method: device.load(stored, method) for method in ("forward", STEP, PAIR, METHOD)}
            inputs = {
                method: [(0.05 * rng.standard_normal(spec.shape)).astype(np.float32) for spec in net.inputs]
                for method, net in nets.items()
            }
            found: dict[str, list[float]] = {method: [] for method in nets}
            for turn in range(options.count(6, 30)):
                for method in list(nets)[:: 1 if turn % 2 else -1]:
                    timing = nets[method].bench(inputs[method], warmup=5, runs=RUNS)
                    found[method].append(float(np.median(timing.ticks)) / 1e3)  # nanoseconds
            arena = {method: net.loaded.planned_bytes for method, net in nets.items()}
        forward = np.array(found["forward"])
        yield Cost(
            name,
            arena,
            {method: float(np.median(us)) for method, us in found.items()},
            {method: float(np.median(np.array(us) / forward)) for method, us in found.items()},
            {tier: _module_us(tuning, tier) for tier in TIERS},
        )


def _module_us(tuning: Tuning, tier: Method) -> float:
    """Per step, beyond what a run takes anyway: the median over pairs of a short and a long run."""
    more = (_run_s(tuning, tier, MANY_STEPS) - _run_s(tuning, tier, FEW_STEPS) for _ in range(PAIRS_OF_RUNS))
    return 1e6 * float(np.median(list(more))) / (MANY_STEPS - FEW_STEPS)


def _run_s(tuning: Tuning, tier: Method, steps: int) -> float:
    layout, rng = tuning.layout, np.random.default_rng(2)
    labels = (np.arange(2 * BATCH) % layout.classes).astype(np.int32)
    logits = rng.standard_normal((4 * BATCH, layout.classes)).astype(np.float32)
    hidden = rng.random((4 * BATCH, layout.hidden), np.float32)

    def forward(request: Forward) -> Outputs:
        count = len(request.samples)
        return Outputs(logits=logits[:count], hidden=hidden[:count] if "hidden" in request.outputs else None)

    # one step of the head's own leg, which `t1` takes first: how long that leg lasts hangs on when it evaluates
    changes = {"steps": steps, "batch": BATCH, "evaluate_every": steps, "head_steps": 1}
    wishes = Wishes(tier, flags=("unguarded", "few_samples"), changes=changes)
    samples = Samples((np.zeros((2 * BATCH, 1), np.float32),), labels, "cost")
    folder = Path(tempfile.mkdtemp())
    try:
        learner = Learner(tuning, samples, wishes, forward)
        began = time.process_time()
        learner.run(Journal(folder / "run"))
        return time.process_time() - began
    finally:
        shutil.rmtree(folder)
