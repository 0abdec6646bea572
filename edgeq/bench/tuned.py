"""A deployed tunable program together with a delta: to its callers a net with the base's inputs and logits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeq._native.tune import head_logits, read_delta
from edgeq._native.tune_types import Delta, TuneLatent, TuneLayer, TuneModel, TuneTap
from edgeq.compile.layout import METHOD, STEP, Tuning
from edgeq.compile.start import started
from edgeq.compile.tunable_artefact import Package, build_tunable
from edgeq.device.net import Net
from edgeq.device.records import Outcome, Predictions, Run, TensorSpec, Timing

if TYPE_CHECKING:
    from edgeq.compile import Artefact
    from edgeq.deltas import DeltaFile
    from edgeq.device import Device

Array = np.ndarray[Any, Any]
LOGITS, HIDDEN, TAPS = 0, 1, 2
_LEAST = 1e-6


def tune_model(tuning: Tuning, classes: int | None = None) -> TuneModel:
    """The tuning module's view of a program. classes: of the head, where some are new."""
    layout, base = tuning.layout, tuning.base
    new = (classes or layout.classes) - layout.classes
    weight = np.vstack([tuning.head_weight, np.zeros((new, layout.hidden), np.float32)])
    scale = np.maximum(np.abs(tuning.head_weight).mean(1), _LEAST)
    layers, at = [], 0
    for i, layer in enumerate(layout.layers):
        part = slice(at, at := at + layer.channels)
        layers.append(
            TuneLayer(
                layer.channels,
                sigma=1.0 if base is None else float(base.sigma[i]),
                bias=tuning.bias[part],
                mean=None if base is None else base.m0[part],
                deviation=None if base is None else base.s0[part],
                depth=layer.depth,
            )
        )
    taps = [TuneTap(tap.width, 1.0 if base is None else float(base.rms[i])) for i, tap in enumerate(layout.taps)]
    found = TuneModel(
        base=bytes.fromhex(tuning.base_sha256),
        layout=tuning.identity,
        layers=layers,
        head_weight=weight,
        head_bias=np.concatenate([tuning.head_bias, np.zeros(new, np.float32)]),
        head_scale=np.concatenate([scale, np.full(new, scale.mean(), np.float32)]).astype(np.float32),
        head_sigma=1.0 if base is None else base.head_sigma,
        taps=taps,
        latents=[
            TuneLatent(latent.layer, codes, scale, -latent.top, latent.top, binary=latent.signs)
            for latent, (codes, scale) in zip(layout.latents, tuning.codes, strict=True)
        ],
        moments=bool(layers),
        base_triangle=None if base is None else widened(base.triangle, layout.width + 1, layout.classes, new),
        base_samples=0 if base is None else base.n0,
    )
    return found if base is None or base.start is None or not found.latents else started(found, base.start)


def widened(triangle: Array, d: int, classes: int, new: int) -> Array:
    """The packed triangle with right-hand sides of 0 for new classes."""
    if not new:
        return np.ascontiguousarray(triangle)
    rows, at = [], 0
    for i in range(d):
        size = d - i + classes
        rows += [triangle[at : at + size], np.zeros(new, np.float32)]
        at += size
    return np.concatenate(rows)


@dataclass(frozen=True)
class Learned:
    """A delta and the base that it belongs to."""

    tuning: Tuning
    delta: DeltaFile

    @property
    def classes(self) -> int | None:
        """Of the head, where some are new."""
        found = self.delta.facts.get("classes")
        return found if isinstance(found, int) else None

    @property
    def note(self) -> str:
        return f"with delta {self.delta.id} on top of {self.delta.model} (the base itself: --delta none)"


def build(
    package: Package, target: str, delta: DeltaFile, progress: Callable[[str], None] | None = None
) -> tuple[Artefact, Learned]:
    """The tunable program that a delta needs. Raises IntegrityError for one of another base, UnsupportedError."""
    parts, classes = delta.facts.get("parts"), delta.facts.get("classes")
    names = ",".join(str(part) for part in parts) if isinstance(parts, list) else ""
    known = classes if isinstance(classes, int) else None
    artefact, tuning = build_tunable(package, names, target=target, classes=known, progress=progress)
    delta.check(base_sha256=tuning.base_sha256, identity=tuning.identity)
    return artefact, Learned(tuning, delta)


def load(device: Device, path: Path, learned: Learned, **put: Any) -> TunedNet:
    """Put a tunable program on a device and load it with what was learned."""
    delta = read_delta(tune_model(learned.tuning, learned.classes), learned.delta.blob)
    method = METHOD if delta.over == "taps" else STEP
    return TunedNet(device.load(device.put(path, **put).name, method), learned.tuning, delta)


class TunedNet(Net):
    """A loaded `forward_tune` or `forward_step` with what was learned: takes the base's inputs, gives logits."""

    def __init__(self, net: Net, tuning: Tuning, delta: Delta) -> None:
        self._net, self._delta = net, delta
        own = 2 + ("scales" in tuning.layout.parts) + len(tuning.codes)  # head_w, head_b, ac and latents
        self._fixed = fixed_inputs(tuning, delta, net.inputs[-own:])
        self.loaded = replace(net.loaded, inputs=net.inputs[:-own], outputs=net.outputs[:1])

    def run(self, *inputs: Array) -> Run:
        run = self._net.run(*inputs, *self._fixed)
        return Run((self._logits(run.outputs),), run.ticks)

    def bench(self, inputs: Sequence[Array], *, warmup: int = 10, runs: int = 100) -> Timing:
        return self._net.bench([*inputs, *self._fixed], warmup=warmup, runs=runs)

    def evaluate(self, inputs: Sequence[Array], *, progress: Callable[[int, int], None] = lambda d, t: None) -> Outcome:
        outcome = self._net.evaluate([*inputs, *repeated(self._fixed, len(inputs[0]))], progress=progress)
        return Outcome((self._logits(outcome.outputs),), outcome.ticks)

    def predict(
        self, inputs: Sequence[Array], *, progress: Callable[[int, int], None] = lambda d, t: None
    ) -> Predictions:
        outcome = self.evaluate(inputs, progress=progress)
        return Predictions(outcome.outputs[0].argmax(1).astype(np.int64), outcome.ticks)

    def unload(self) -> None:
        self._net.unload()

    def _logits(self, outputs: Sequence[Array]) -> Array:
        delta = self._delta
        if delta.over is None or delta.weight is None or delta.bias is None:
            return outputs[LOGITS]
        x = outputs[TAPS if delta.over == "taps" else HIDDEN]
        return head_logits(np.ascontiguousarray(x.reshape(-1, x.shape[-1])), delta.weight, delta.bias)


def fixed_inputs(tuning: Tuning, delta: Delta, specs: Sequence[TensorSpec]) -> tuple[Array, ...]:
    """ac where there is one, the head of a base or of a delta, and codes where they may have been learned."""
    has_ac = "scales" in tuning.layout.parts
    weight, bias = (np.zeros(spec.shape, np.float32) for spec in specs[has_ac : has_ac + 2])
    weight[: len(tuning.head_weight)], bias[: len(tuning.head_bias)] = tuning.head_weight, tuning.head_bias
    ac = (np.ascontiguousarray(delta.ac[None]),) if has_ac else ()
    codes = delta.codes or [codes for codes, _ in tuning.codes]
    return (*ac, weight, bias, *(array.astype(np.float32) for array in codes))


def repeated(fixed: Sequence[Array], count: int) -> list[Array]:
    """The same inputs for `count` samples, one after the other along the first axis."""
    return [np.ascontiguousarray(np.broadcast_to(a, (count, *a.shape)).reshape(-1, *a.shape[1:])) for a in fixed]
