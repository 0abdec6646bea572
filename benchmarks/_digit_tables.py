"""Accuracy on the digits: the specification's tables, and its bars, with the module's defaults.

  bars     what the methods must reach, over MLPs and a CNN, two worlds
  zeroth   MeZO and ZeroQAT beside the head, T0 and T1: _zeroth.py
  samples  350 samples of six worlds; 20 and 50; backpropagation (600 or 300 steps, rate 2e-3, not tuned)
  tasks    only five digits enrolled; a digit that the base does not know
  words    a small network for spoken digits, a speaker that it never heard: _words.py

The specification's figures stand beside ours (_specified.py). Heads that the product does not have: _controls.py.

Standard errors are over the seeds (of network, split and run together); a single accuracy over 547 pictures has 1.3
points of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial

import numpy as np
from rich.table import Table

from edgeq.tune import Samples, Wishes

from . import _controls, _digits, _words, _zeroth
from ._adaptation import Case, Predict, Result, Subject, accuracy, learn, scores
from ._cells import Cells, Figures, mean_and_error
from ._controls import EVERY, FEW_RIDGES, Control
from ._digits import SEEDS
from ._specified import BACKPROP, ENROLLED, SPECIFIED, TENTH, WHOLE, WORDS
from .harness import Options

WORLDS = ("rot", "inv", "gain", "noise", "inv+rot", "permuted")
MLPS = (("mlp", "tern"), ("mlp", "bin"), ("mlp", "w4"))
CNNS = (("cnn", "tern"),)
FOUR = (("tern", "rot"), ("tern", "inv"), ("bin", "rot"), ("w4", "rot"))
KNOWN, NEW = 5, 9
FAST = {"micro": 64}  # the same bytes whatever it is
METHODS: Mapping[str, Wishes] = {
    "stats": Wishes("stats", flags=("unguarded",), changes=FAST),
    "head": Wishes("head", flags=("unguarded",), changes=FAST),
    "taps": Wishes("solve", flags=("unguarded", "no_stats"), changes=FAST),
    "solve": Wishes("solve", flags=("unguarded",), changes=FAST),
    "auto": Wishes("auto", changes=FAST),
    "solve, m 30 r .03": Wishes("solve", flags=("unguarded",), changes={**FAST, "base_weight": 30, "ridge": 0.03}),
    "solve, m 0 r .03": Wishes("solve", flags=("unguarded",), changes={**FAST, "base_weight": 0, "ridge": 0.03}),
    "t1": Wishes("t1", flags=("unguarded",), changes=FAST),
    "t3": Wishes("t3", flags=("unguarded",), changes=FAST),
}
STE = {"mlp": (600, 2e-3), "cnn": (300, 2e-3), "words": (200, 2e-3)}  # steps and rate: the specification's, not tuned

LEAVE_ONE_OUT = partial(_controls.ridge, base=(0.0, 3.0, 30.0), ridges=FEW_RIDGES)
CONTROLS: Mapping[str, Control] = {
    WHOLE: _controls.stepped,
    "head, 100 passes": partial(_controls.stepped, steps=50),
    "head, 300 passes": partial(_controls.stepped, steps=150),
    "head, 1000 passes": partial(_controls.stepped, steps=500),
    "head over taps, 1000 passes": partial(_controls.stepped, over="taps", steps=500),
    "stats, head over taps": partial(_controls.stepped, over="taps", statistics=True, steps=500),
    "ridge, last layer": partial(_controls.ridge, over=("last",)),
    "stats, ridge, last layer": partial(_controls.ridge, over=("last",), statistics=True),
    "stats, ridge, taps, input": partial(_controls.ridge, over=("taps", "input"), statistics=True),
    "stats, ridge, taps, 256 random": partial(_controls.ridge, over=("taps", "random"), statistics=True),
    "quadratic kernel over taps": _controls.kernel,
    "ridge, input alone": partial(_controls.ridge, over=("input",)),
    "stats, leave-one-out, taps": partial(LEAVE_ONE_OUT, statistics=True),
    "leave-one-out, taps": LEAVE_ONE_OUT,
    "stats, leave-one-out, last layer": partial(LEAVE_ONE_OUT, over=("last",), statistics=True),
    "head, rate .03, 150 steps": partial(_controls.stepped, rate=0.03, steps=150),
    "stats, ridge, last layer, base": partial(_controls.ridge, over=("last",), statistics=True, base=(EVERY,)),
    "head, 30 steps": partial(_controls.stepped, steps=30),
    "nearest mean, last layer": _controls.means,
    "solve, last layer": partial(_controls.taught, over=("last",), balanced=True),
    "solve, not balanced": partial(_controls.taught, over=("taps",), balanced=False),
    "head, all base data kept": partial(_controls.stepped, steps=600, with_base=True),
    "ridge, taps": partial(_controls.ridge, over=("taps",)),
    "head over taps, rate .03": partial(_controls.stepped, over="taps", rate=0.03),
    "stats, head": partial(_controls.stepped, statistics=True),
    "stats, head over taps, rate .03": partial(_controls.stepped, over="taps", statistics=True, rate=0.03),
    "base m 30 r .03, last layer": partial(_controls.ridge, over=("last",), base=(30.0,), ridges=(0.03,)),
    "stats, base m 30 r .003, last layer": partial(
        _controls.ridge, over=("last",), statistics=True, base=(30.0,), ridges=(0.003,)
    ),
    "solve, no stats": partial(_controls.ridge, base=(30.0,), ridges=(0.03,)),
}


def tables(options: Options, cells: Cells) -> Iterator[Table]:
    part = options.only.partition(":")[2]
    seeds = SEEDS[:1] if options.quick else SEEDS
    bench = Bench(options, cells, seeds)
    if part in ("", "samples"):
        yield from (_samples(bench, count) for count in (350, 50, 20))
    if part in ("", "tasks"):
        yield _enrolled(bench)
        yield _tenth(bench)
    if part in ("", "words"):
        yield _spoken(bench)
    if part in ("", "bars"):
        yield _bars(bench)
    if part in ("", "zeroth"):
        yield from _zeroth.tables(bench, lambda bits, world, seed: digits_case("mlp", bits, seed, world, _digits.LEARN))


@cache
def subject(kind: str, bits: str, seed: int, classes: int = 10) -> Subject:
    net = _digits.DigitsNet(_digits.trained(kind, bits, seed, classes))
    return Subject.of(net, *_digits.known(seed, classes), classes=10 if classes < 10 else None)


def digits_case(kind: str, bits: str, seed: int, world: str, count: int, digits: int = 10) -> Case:
    """The first `count` learning pictures of a world, those of digits below `digits`."""
    _, (x, y), (test, labels) = _digits.pictures(seed, world)
    x, y = x[:count], y[:count]
    x, y = x[y < digits], y[y < digits]
    samples = Samples((np.ascontiguousarray(x),), y.astype(np.int32), world)
    parts = {} if digits == 10 else {"seen": labels < digits, "unseen": labels >= digits}
    task = f"digits, {world}, {count}" + ("" if digits == 10 else f", below {digits}")
    return Case(
        f"{task}, {kind} {bits}",
        f"seed {seed}",
        lambda: subject(kind, bits, seed),
        samples,
        test,
        labels,
        seed,
        parts,
        known=lambda: _digits.known(seed),
    )


@dataclass(frozen=True)
class Bench:
    options: Options
    cells: Cells
    seeds: Sequence[int]

    def figures(self, case: Case, method: str) -> Figures:
        def compute() -> Figures:
            predict, passes = self._learned(case, method)
            kept = {**case.score(predict(case.test)), "passes": passes}
            if case.parts:
                clean, labels = _digits.pictures(case.draw, "clean")[2]
                kept["clean"] = accuracy(predict(clean), labels)
            return kept

        return self._said(case, method, self.cells.get(f"{case.task}/{case.group}/{method}", compute))

    def _learned(self, case: Case, method: str) -> tuple[Predict, float]:
        """What predicts, and passes a sample (those of other heads are not counted)."""
        if method in CONTROLS:
            return CONTROLS[method](case), float("nan")
        delta, passes = None, 0
        if method != "base":
            result = learn(case.subject(), case.learn_from, replace(METHODS[method], seed=case.draw + 1))
            delta, passes = result.delta, result.passes
        return lambda inputs: scores(case.subject(), delta, inputs), passes / len(case.learn_from)

    def measured(self, case: Case, name: str, run: Callable[[], Result]) -> Figures:
        """Of one run; name "zeroth base": of none."""

        def compute() -> Figures:
            if name.endswith(" base"):
                return {**case.score(scores(case.subject(), None, case.test)), "passes": 0, "module_bytes": 0}
            result = run()
            kept = case.score(scores(case.subject(), result.delta, case.test))
            return {**kept, "passes": result.passes / len(case.learn_from), "module_bytes": result.module_bytes}

        return self._said(case, name, self.cells.get(f"{case.task}/{case.group}/{name}", compute))

    def ceiling(self, kind: str, bits: str, seed: int, world: str) -> Figures:
        case = digits_case(kind, bits, seed, world, _digits.LEARN)
        return self._backpropagated(case, _digits.trained(kind, bits, seed))

    def spoken(self, case: Case, speaker: int, method: str) -> Figures:
        if method == BACKPROP:
            return self._backpropagated(case, _words.trained(speaker))
        return self.figures(case, method)

    def _backpropagated(self, case: Case, net: _digits.Latents) -> Figures:
        def compute() -> Figures:
            import torch

            steps, rate = STE[net.kind]
            (x,), y = case.learn_from.inputs, np.asarray(case.learn_from.labels, np.int64)
            taught = _digits.ceiling(net, (x, y), steps=steps, rate=rate, seed=case.draw)
            with torch.no_grad():
                return {**case.score(taught(torch.from_numpy(case.test)).numpy()), "passes": float("nan")}

        return self._said(case, BACKPROP, self.cells.get(f"{case.task}/{case.group}/{BACKPROP}", compute))

    def _said(self, case: Case, method: str, figures: Figures) -> Figures:
        self.options.say(f"{case.task}, {case.group}, {method}: {figures['accuracy']:.3f}")
        return figures

    def over_seeds(self, one: Callable[[int], Sequence[float]]) -> tuple[float, float]:
        """Mean over nets and worlds, and its standard error over the seeds."""
        return mean_and_error([one(seed) for seed in self.seeds])


def _samples(bench: Bench, count: int) -> Table:
    table = Table(title=f"digits, {count} samples, mean of {len(bench.seeds)} seeds", title_justify="left")
    for heading in ("method", "passes", *WORLDS, "MLP mean", "s.e.", "spec", "CNN mean", "s.e.", "spec"):
        table.add_column(heading, justify="left" if heading == "method" else "right")
    for method, spec in SPECIFIED[count].items():

        def one(nets: Sequence[tuple[str, str]], worlds: Sequence[str], key: str = "accuracy", method: str = method):
            return bench.over_seeds(
                lambda seed: [
                    (
                        bench.ceiling(*net, seed, world)
                        if method == BACKPROP
                        else bench.figures(digits_case(*net, seed, world, count), method)
                    )[key]
                    for net in nets
                    for world in worlds
                ]
            )

        mlp, cnn = one(MLPS, WORLDS), one(CNNS, WORLDS)
        table.add_row(
            method,
            "" if method in (BACKPROP, *CONTROLS) else f"{one(MLPS, WORLDS, 'passes')[0]:.0f}",
            *(f"{one(MLPS, (world,))[0]:.3f}" for world in WORLDS),
            *(f"{mlp[0]:.3f}", f"{mlp[1]:.3f}", f"{spec[0]:.3f}" if spec else ""),
            *(f"{cnn[0]:.3f}", f"{cnn[1]:.3f}", f"{spec[1]:.3f}" if spec else ""),
        )
    return table


def _enrolled(bench: Bench) -> Table:
    table = Table(title="digits 0 to 4 enrolled, MLPs: seen / unseen / all / clean base", title_justify="left")
    for heading in ("world", "method", "measured", "s.e.", "specified"):
        table.add_column(heading, justify="left")
    for name, spec in ENROLLED.items():
        world, _, method = name.partition("/")

        def one(key: str, world: str = world, method: str = method) -> tuple[float, float]:
            return bench.over_seeds(
                lambda seed: [bench.figures(digits_case(*net, seed, world, 350, KNOWN), method)[key] for net in MLPS]
            )

        found = [one(key) for key in ("seen", "unseen", "accuracy", "clean")]
        table.add_row(world, method, _joined([m for m, _ in found]), _joined([e for _, e in found]), _joined(spec))
    return table


def _tenth(bench: Bench) -> Table:
    table = Table(title="a digit that the base does not know, MLPs: old / new / all", title_justify="left")
    for heading in ("samples", "method", "measured", "s.e.", "specified"):
        table.add_column(heading, justify="left")
    for name, spec in TENTH.items():
        count, _, method = name.partition("/")

        def one(key: str, count: int = int(count), method: str = method) -> tuple[float, float]:
            return bench.over_seeds(
                lambda seed: [bench.figures(_tenth_case(*net, seed, count), method)[key] for net in MLPS]
            )

        found = [one(key) for key in ("old", "new", "accuracy")]
        table.add_row(count, method, _joined([m for m, _ in found]), _joined([e for _, e in found]), _joined(spec))
    return table


def _tenth_case(kind: str, bits: str, seed: int, count: int) -> Case:
    _, (x, y), (test, labels) = _digits.pictures(seed, "clean")
    rows = np.flatnonzero(y == NEW)[:count]
    samples = Samples((np.ascontiguousarray(x[rows]),), np.full(len(rows), NEW, np.int32), "tenth")
    parts = {"old": labels < NEW, "new": labels == NEW}
    task = f"digits, tenth, {count}, {kind} {bits}"
    return Case(
        task,
        f"seed {seed}",
        lambda: subject(kind, bits, seed, NEW),
        samples,
        test,
        labels,
        seed,
        parts,
        known=lambda: _digits.known(seed, NEW),
    )


def _spoken(bench: Bench) -> Table:
    """Standard errors over the speakers."""
    table = Table(title="a voice that a small MLP never heard, 25 words", title_justify="left")
    for heading in ("method", "plain", "s.e.", "worst against base", "spec", "microphone", "s.e.", "worst", "spec"):
        table.add_column(heading, justify="left" if heading == "method" else "right")
    speakers = _words.SPEAKERS[:2] if bench.options.quick else _words.SPEAKERS
    for method, spec in WORDS.items():
        cells: list[str] = []
        for column, world in enumerate(_words.WORLDS):
            found, gains = [], []
            for speaker in speakers:
                cases = [_words.words_case(speaker, world, draw) for draw in range(bench.options.count(3, 1))]
                found.append([bench.spoken(case, speaker, method)["accuracy"] for case in cases])
                gains += [a - bench.figures(c, "base")["accuracy"] for a, c in zip(found[-1], cases, strict=True)]
            mean, error = mean_and_error(found)
            cells += [f"{mean:.3f}", f"{error:.3f}", f"{min(gains):+.3f}", f"{spec[column]:.3f}" if spec else ""]
        table.add_row(method, *cells)
    return table


def _joined(values: Sequence[float]) -> str:
    return " / ".join(f"{value:.3f}" for value in values)


def _bars(bench: Bench) -> Table:
    def mean(method: str, sets: Sequence[tuple[str, str]] = FOUR, kind: str = "mlp") -> tuple[float, float]:
        return bench.over_seeds(
            lambda seed: [
                bench.figures(digits_case(kind, bits, seed, world, 350), method)["accuracy"] for bits, world in sets
            ]
        )

    def over(method: str, control: str) -> tuple[float, float]:
        """In points, paired by set and seed."""

        def of(seed: int) -> list[float]:
            pairs = ((digits_case("mlp", bits, seed, world, 350)) for bits, world in FOUR)
            return [
                100 * (bench.figures(case, method)["accuracy"] - bench.figures(case, control)["accuracy"])
                for case in pairs
            ]

        return bench.over_seeds(of)

    def worst_of_auto() -> tuple[float, float]:
        gaps = []
        for bits, world in FOUR:
            found = {m: mean(m, ((bits, world),))[0] for m in ("auto", "head", "t1")}
            gaps.append(100 * (found["auto"] - max(found["head"], found["t1"])))
        return min(gaps), float("nan")

    asked: list[tuple[str, Callable[[], tuple[float, float]], float]] = [
        ("head, MLP tern rot", lambda: mean("head", (("tern", "rot"),)), 0.88),
        ("head, MLP tern inv", lambda: mean("head", (("tern", "inv"),)), 0.84),
        ("head, CNN tern rot", lambda: mean("head", (("tern", "rot"),), "cnn"), 0.90),
        ("auto, mean of four", lambda: mean("auto"), 0.0),
        ("auto over the better of head and t1, worst set, points", worst_of_auto, -1.0),
        ("t1 over head, mean of four, points", lambda: over("t1", "head"), 0.5),
        ("t3 over head, mean of four, points", lambda: over("t3", "head"), 2.5),
    ]
    table = Table(title=f"bars, {len(bench.seeds)} seeds, 350 samples", title_justify="left")
    for heading in ("", "measured", "s.e.", "bar", ""):
        table.add_column(heading, justify="right" if heading else "left")
    for name, measured, bar in asked:
        found, error = measured()
        table.add_row(name, f"{found:.3f}", f"{error:.3f}", f"{bar:g}" if bar else "", _verdict(found, bar))
    return table


def _verdict(found: float, bar: float) -> str:
    return "" if not bar else "holds" if found >= bar else "FAILS"
