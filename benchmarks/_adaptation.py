"""What `benchmarks finetune` compares: the tuning module over packed networks in eager, and backpropagation."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from edgeq._native.tune import Forward, Outputs, Tuner, converse, head_logits, read_delta, settings
from edgeq._native.tune_types import Delta, TuneData, TuneLatent, TuneModel, TuneReport
from edgeq.bench import tuned
from edgeq.compile.layout import PARTS, Tuning
from edgeq.compile.start import Start, started
from edgeq.compile.tunable import TunableNet, base_bias, base_head
from edgeq.compile.tuning_base import measure_base
from edgeq.tune import Learner, Samples, Wishes
from edgeq.tune.forward import output_names, wanted
from edgeq.tune.journal import Journal

Array = np.ndarray[Any, Any]
Inputs = Array | tuple[Array, ...]  # of a network with one input, or with several
BATCH = 64
LEAN = {"logits", "hidden", "inputs"}  # what `forward_step` gives
CODE_METHODS = ("t2", "t3", "zeroqat")
WEIGHTS = "weights"  # the flag of `mezo` whose requests hold weights that must not be rounded


@dataclass(frozen=True)
class Subject:
    """A packed base with what it was like on its training data.

    latents   layers whose codes may be learned, of a model that has `latents`, `write_codes`, `layers` and `steps`
    begins    where `zeroqat` begins, and the weights that became codes
    """

    model: nn.Module
    tuning: Tuning
    classes: int
    latents: tuple[TuneLatent, ...] = ()
    begins: tuple[Start, Sequence[Array]] | None = None

    @classmethod
    def of(cls, model: nn.Module, inputs: Inputs, labels: Array, classes: int | None = None) -> Subject:
        """Measure the base on training data (n, ...), (n,)."""
        layout, base = measure_base(model, inputs, labels)
        weight, bias = base_head(model)
        example = taken(inputs, slice(1))
        tuning = Tuning("00" * 32, layout, weight.numpy(), bias.numpy(), base_bias(model, example).numpy(), base)
        return cls(model, tuning, classes or layout.classes, getattr(model, "latents", tuple)())

    def tune_model(self) -> TuneModel:
        model = replace(tuned.tune_model(self.tuning, self.classes), latents=self.latents)
        return model if self.begins is None else started(model, *self.begins)

    def net(self, *, lean: bool = False) -> TunableNet:
        assert self.tuning.base is not None
        return TunableNet(self.model, torch.from_numpy(self.tuning.base.sigma), PARTS, lean=lean).eval()

    @contextmanager
    def codes(self, latents: Sequence[Array], *, exact: bool = False) -> Iterator[None]:
        """Run with these codes instead of the base's, exact: as nearly unrounded as can be; none: with the base's."""
        if not latents:
            yield
            return
        self.model.write_codes(latents, **({"exact": True} if exact else {}))
        try:
            yield
        finally:
            self.model.write_codes([latent.codes for latent in self.latents])


Score = Callable[[Array, Array], Array]  # logits (n, classes), labels (n,) -> (n,), lower is better


class EagerForward:
    """Answers the module with `forward_tune` in eager: the bits of the compiled program, without its file."""

    def __init__(self, subject: Subject, samples: Samples, score: Score | None = None, *, exact: bool = False) -> None:
        self.exact = exact
        self._subject, self._net, self._lean = subject, subject.net(), subject.net(lean=True)
        self._x, self._labels, self._score = samples.inputs, samples.labels, score
        self._names = output_names(subject.tuning.layout)
        self.passes = 0

    def __call__(self, request: Forward) -> Outputs:
        self.passes += len(request.samples)
        x = taken(self._x, request.samples)
        fixed = [torch.from_numpy(array.copy()) for array in (request.ac_rows, request.head_weight, request.head_bias)]
        with (
            torch.no_grad(),
            self._subject.codes(request.latents or (), exact=self.exact),
            self._watched(request) as seen,
        ):
            net = self._lean if request.outputs <= {*LEAN, "scores"} else self._net
            found = net(*x, *fixed)
        outputs = {name: y.numpy() for name, y in zip(self._names, found, strict=False)}
        if "scores" in request.outputs:
            assert self._score is not None and self._labels is not None
            scored = self._score(outputs["logits"], self._labels[request.samples]).astype(np.float32)
            rest = replace(request, outputs=request.outputs - {"scores"})
            return replace(wanted(rest, outputs), scores=scored)
        if "inputs" not in request.outputs:
            return wanted(request, outputs)
        rest = replace(request, outputs=request.outputs - {"inputs"})
        return replace(wanted(rest, outputs), inputs=seen)

    @contextmanager
    def _watched(self, request: Forward) -> Iterator[list[Array]]:
        """The inputs of the layers with latents, float32 (count, K), in real units."""
        seen: list[Array] = []
        handles = []
        if "inputs" in request.outputs:
            model = self._subject.model
            for latent in self._subject.latents:

                def see(_layer: nn.Module, x: tuple[Any, ...], step: float = model.steps[latent.layer]) -> None:
                    seen.append((x[0].flatten(1).float() * step).numpy())

                handles.append(model.layers[latent.layer].register_forward_pre_hook(see))
        try:
            yield seen
        finally:
            for handle in handles:
                handle.remove()


def taken(inputs: Inputs, rows: Array | slice) -> tuple[torch.Tensor, ...]:
    """Some samples."""
    arrays = inputs if isinstance(inputs, tuple) else (inputs,)
    return tuple(torch.from_numpy(np.ascontiguousarray(array[rows])) for array in arrays)


@dataclass(frozen=True)
class Result:
    """written: the delta as the module wrote it; empty where it kept none."""

    report: TuneReport
    delta: Delta | None
    written: bytes
    passes: int
    module_bytes: int


def learn(
    subject: Subject, samples: Samples, wishes: Wishes, cost: Array | None = None, score: Score | None = None
) -> Result:
    """One run of the module.

    cost   (classes, classes) float32 of saying column for row, where errors are not equal
    score  what to lower instead of cross-entropy, of any shape: t0, zeroqat and mezo
    """
    forward = EagerForward(subject, samples, score, exact=WEIGHTS in wishes.flags)
    folder = Path(tempfile.mkdtemp())
    try:
        journal = Journal(folder / "run")
        if wishes.method in CODE_METHODS or forward.exact or cost is not None or score is not None:
            changes: dict[str, float | str] = {"seed": wishes.seed, **wishes.changes}
            if score is not None:
                changes["loss"] = "score"
            chosen = settings(wishes.method, flags=wishes.flags, cost=cost, **changes)
            tuner = Tuner(subject.tune_model(), TuneData(samples.id, len(samples), samples.labels), chosen)
            report = converse(tuner, forward, journal)
        else:
            learner = Learner(subject.tuning, samples, wishes, forward, classes=subject.classes)
            tuner, report = learner.tuner, learner.run(journal)
        blob = journal.whole("delta") if report.outcome == "committed" else b""
    finally:
        shutil.rmtree(folder)
    return result(subject, report, blob, forward.passes, tuner)


@dataclass(frozen=True)
class Seen:
    """What `forward_tune` gives for n samples: logits (n, classes) of its own head, hidden (n, H), taps (n, T)."""

    logits: Array
    hidden: Array
    taps: Array


def result(subject: Subject, report: TuneReport, blob: bytes, passes: int, tuner: Tuner) -> Result:
    return Result(report, read_delta(subject.tune_model(), blob) if blob else None, blob, passes, tuner.bytes)


def asked_with(subject: Subject, delta: Delta | None) -> tuple[Array, Array, Array]:
    """What `forward_tune` is given beside samples: ac (1, 2 * channels), the head's weight and bias; base or delta."""
    tuning = subject.tuning
    weight = np.zeros((subject.classes, tuning.layout.hidden), np.float32)
    bias = np.full(subject.classes, 0 if delta is not None else -np.inf, np.float32)
    weight[: len(tuning.head_weight)], bias[: len(tuning.head_bias)] = tuning.head_weight, tuning.head_bias
    ac = np.zeros((1, 2 * tuning.layout.channels), np.float32) if delta is None else delta.ac[None].copy()
    return ac, weight, bias


def outputs(subject: Subject, delta: Delta | None, inputs: Inputs) -> Seen:
    """Of the base, or of base and delta."""
    net, found = subject.net(), []
    given = tuple(map(torch.from_numpy, asked_with(subject, delta)))
    for start in range(0, len(inputs[0] if isinstance(inputs, tuple) else inputs), BATCH):
        with torch.no_grad(), subject.codes(delta.codes if delta is not None else ()):
            found.append(net(*taken(inputs, slice(start, start + BATCH)), *given)[:3])
    return Seen(*(np.concatenate([batch[i].numpy() for batch in found]) for i in range(3)))


def decided(seen: Seen, delta: Delta | None) -> Array:
    """Logits (n, classes) by the head of base or delta."""
    if delta is None or delta.over is None or delta.weight is None or delta.bias is None:
        return seen.logits
    return head_logits(seen.taps if delta.over == "taps" else seen.hidden, delta.weight, delta.bias)


def scores(subject: Subject, delta: Delta | None, inputs: Inputs) -> Array:
    """Logits of the base, or of base and delta, (n, classes)."""
    return decided(outputs(subject, delta, inputs), delta)


def hidden(subject: Subject, inputs: Inputs) -> Array:
    """What the base's head reads, (n, width)."""
    return outputs(subject, None, inputs).hidden


def asked_for(only: str, *names: str) -> bool:
    """Whether `--only TASK:PART` asks for something with these names."""
    return only.partition(":")[2] in ("", *names)


def accuracy(logits: Array, labels: Array) -> float:
    return float((logits.argmax(1) == labels).mean())


@dataclass(frozen=True)
class Setting:
    """Of backpropagation: the rate of Adam, and whether batch norms take up the device's statistics."""

    rate: float
    norms: bool

    def __str__(self) -> str:
        return f"{self.rate:g}{' norms' if self.norms else ''}"


Predict = Callable[[Any], Array]  # inputs (n, ...) -> logits (n, classes)


@dataclass(frozen=True)
class Raw:
    """Pictures (n, h, w) bytes as the device's camera gives them, and what makes the network's inputs of them."""

    learn_from: Array
    test: Array
    network: Callable[[Array], Array]


@dataclass(frozen=True)
class Case:
    """A world to adapt to.

    group       what standard errors are taken over
    parts       of the test labels that are also scored apart
    ceiling     trains by backpropagation with a setting and gives what it became
    norms       the model has batch norms, which may adapt
    validation  samples and labels on which the ceiling's setting is chosen; None: on the other groups' test parts
    home        samples and labels of the world that the base was trained for
    raw         the samples before they were made inputs, where they are pictures
    known       samples and labels that the base was trained on, for heads that no device could have
    """

    task: str
    group: str
    subject: Callable[[], Subject]
    learn_from: Samples
    test: Inputs
    labels: Array
    draw: int = 0
    parts: Mapping[str, Array] = field(default_factory=dict)
    ceiling: Callable[[Setting], Predict] | None = None
    norms: bool = True
    validation: tuple[Inputs, Array] | None = None
    home: tuple[Inputs, Array] | None = None
    raw: Raw | None = None
    known: Callable[[], tuple[Array, Array]] | None = None

    def score(self, logits: Array) -> dict[str, float]:
        found = {"accuracy": accuracy(logits, self.labels)}
        return found | {name: accuracy(logits[rows], self.labels[rows]) for name, rows in self.parts.items()}


def backpropagate(
    model: nn.Module, inputs: Array, labels: Array, setting: Setting, *, steps: int, seed: int, batch: int = 64
) -> Predict:
    """The ceiling: all latents by Adam, straight through, from the weights before they were packed."""
    model.train()
    for module in model.modules():
        if "BatchNorm" in type(module).__name__ and not setting.norms:
            module.eval()
    x, y = torch.from_numpy(inputs), torch.from_numpy(labels.astype(np.int64))
    optimiser = torch.optim.Adam(model.parameters(), lr=setting.rate)
    generator = torch.Generator().manual_seed(seed)
    for step in range(steps):
        rows = torch.randint(0, len(x), (min(batch, len(x)),), generator=generator)
        for group in optimiser.param_groups:
            group["lr"] = setting.rate * 0.5 * (1 + np.cos(np.pi * step / steps))
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
        optimiser.step()
    model.eval()

    def predict(asked: Array) -> Array:
        with torch.no_grad():
            parts = [model(torch.from_numpy(asked[i : i + BATCH])).numpy() for i in range(0, len(asked), BATCH)]
        return np.concatenate(parts)

    return predict
