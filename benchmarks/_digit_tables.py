"""Accuracy on the digits: the specification's tables, and its bars, with the module's defaults.

  bars     what the methods must reach, over MLPs and a CNN, two worlds
  zeroth   MeZO and ZeroQAT beside the head, T0 and T1: _zeroth.py
  samples  350 samples of six worlds; 20 and 50; backpropagation (600 or 300 steps, rate 2e-3, not tuned) on one seed
  tasks    only five digits enrolled; a digit that the base does not know

Standard errors are over the seeds (of network, split and run together); a single accuracy over 547 pictures has 1.3
points of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from rich.table import Table

from edgeq.tune import Samples, Wishes

from . import _digits, _zeroth
from ._adaptation import Case, Result, Subject, accuracy, learn, scores
from ._cells import Cells, Figures, mean_and_error
from ._digits import SEEDS
from ._whole_head import whole_head
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
BACKPROP, WHOLE = "backpropagation", "head, no sample held back"
STE = {"mlp": (600, 2e-3), "cnn": (300, 2e-3)}  # steps and rate: the specification's, not tuned

# accuracies of finetune_closed_form.md 8.1, 8.2, 10; of MLPs, and of the CNN
SPECIFIED: Mapping[str, tuple[float, float]] = {
    "350/base": (0.289, 0.285),
    "350/stats": (0.378, 0.366),
    "350/head": (0.862, 0.886),
    f"350/{WHOLE}": (0.857, 0.885),
    "350/taps": (0.896, 0.913),
    "350/solve": (0.908, 0.917),
    f"350/{BACKPROP}": (0.849, 0.822),
    "50/stats": (0.371, 0.358),
    f"50/{WHOLE}": (0.711, 0.768),
    "50/solve": (0.818, 0.818),
    "50/solve, m 30 r .03": (0.789, 0.799),
    "50/solve, m 0 r .03": (0.778, 0.769),
    "20/stats": (0.369, 0.355),
    f"20/{WHOLE}": (0.605, 0.643),
    "20/solve": (0.693, 0.692),
    "20/solve, m 30 r .03": (0.693, 0.692),
    "20/solve, m 0 r .03": (0.637, 0.608),
}
ENROLLED: Mapping[str, tuple[float, float, float, float]] = {  # seen, unseen, all, clean
    "gain/base": (0.671, 0.361, 0.516, 0.970),
    "gain/head": (0.978, 0.000, 0.492, 0.409),
    "gain/taps": (0.970, 0.000, 0.489, 0.974),
    "gain/stats": (0.924, 0.968, 0.945, 0.823),
    "gain/solve": (0.989, 0.942, 0.966, 0.418),
    "rot/base": (0.404, 0.341, 0.372, 0.970),
    "rot/head": (0.920, 0.000, 0.463, 0.374),
    "rot/taps": (0.930, 0.116, 0.526, 0.972),
    "rot/stats": (0.389, 0.476, 0.432, 0.850),
    "rot/solve": (0.924, 0.169, 0.550, 0.700),
}
TENTH: Mapping[str, tuple[float, float, float]] = {  # old, new, all
    "5/solve": (0.977, 0.681, 0.949),
    "10/solve": (0.979, 0.798, 0.962),
    "25/solve": (0.979, 0.924, 0.974),
    "10/head": (0.036, 1.0, 0.130),
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
    if part in ("", "bars"):
        yield _bars(bench)
    if part in ("", "zeroth"):
        yield from _zeroth.tables(bench, lambda bits, world, seed: digits_case("mlp", bits, seed, world, _digits.LEARN))


@cache
def subject(kind: str, bits: str, seed: int, classes: int = 10) -> Subject:
    net = _digits.DigitsNet(_digits.trained(kind, bits, seed, classes))
    x, y = _digits.pictures(seed, "clean")[0]
    known = y < classes
    return Subject.of(net, x[known], y[known], classes=10 if classes < 10 else None)


def digits_case(kind: str, bits: str, seed: int, world: str, count: int, digits: int = 10) -> Case:
    """The first `count` learning pictures of a world, those of digits below `digits`."""
    _, (x, y), (test, labels) = _digits.pictures(seed, world)
    x, y = x[:count], y[:count]
    x, y = x[y < digits], y[y < digits]
    samples = Samples((np.ascontiguousarray(x),), y.astype(np.int32), world)
    parts = {} if digits == 10 else {"seen": labels < digits, "unseen": labels >= digits}
    task = f"digits, {world}, {count}" + ("" if digits == 10 else f", below {digits}")
    return Case(
        f"{task}, {kind} {bits}", f"seed {seed}", lambda: subject(kind, bits, seed), samples, test, labels, seed, parts
    )


@dataclass(frozen=True)
class Bench:
    options: Options
    cells: Cells
    seeds: Sequence[int]

    def figures(self, case: Case, method: str) -> Figures:
        def compute() -> Figures:
            if method == WHOLE:
                return {**case.score(whole_head(case)), "passes": 1}
            delta, passes = None, 0
            if method != "base":
                result = learn(case.subject(), case.learn_from, replace(METHODS[method], seed=case.draw + 1))
                delta, passes = result.delta, result.passes
            kept = {**case.score(scores(case.subject(), delta, case.test)), "passes": passes / len(case.learn_from)}
            if case.parts:
                clean, labels = _digits.pictures(case.draw, "clean")[2]
                kept["clean"] = accuracy(scores(case.subject(), delta, clean), labels)
            return kept

        return self._said(case, method, self.cells.get(f"{case.task}/{case.group}/{method}", compute))

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

        def compute() -> Figures:
            import torch

            steps, rate = STE[kind]
            part = _digits.pictures(seed, world)[1]
            net = _digits.ceiling(_digits.trained(kind, bits, seed), part, steps=steps, rate=rate, seed=seed)
            with torch.no_grad():
                return {**case.score(net(torch.from_numpy(case.test)).numpy()), "passes": float("nan")}

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
    methods = ["base", "stats", "head", WHOLE, "taps", "solve"]
    for method in [*methods, *([BACKPROP] if count == 350 else ["solve, m 30 r .03", "solve, m 0 r .03"])]:

        def one(nets: Sequence[tuple[str, str]], worlds: Sequence[str], key: str = "accuracy", method: str = method):
            def of(seed: int) -> list[float]:
                return [
                    (
                        bench.ceiling(*net, seed, world)
                        if method == BACKPROP
                        else bench.figures(digits_case(*net, seed, world, count), method)
                    )[key]
                    for net in nets
                    for world in worlds
                ]

            return mean_and_error([of(seed) for seed in (bench.seeds[:1] if method == BACKPROP else bench.seeds)])

        mlp, cnn = one(MLPS, WORLDS), one(CNNS, WORLDS)
        spec = SPECIFIED.get(f"{count}/{method}")
        table.add_row(
            method,
            f"{one(MLPS, WORLDS, 'passes')[0]:.0f}",
            *(f"{one(MLPS, (world,))[0]:.3f}" for world in WORLDS),
            *(f"{mlp[0]:.3f}", f"{mlp[1]:.3f}", f"{spec[0]:.3f}" if spec else ""),
            *(f"{cnn[0]:.3f}", f"{cnn[1]:.3f}", f"{spec[1]:.3f}" if spec else ""),
        )
    return table


def _enrolled(bench: Bench) -> Table:
    table = Table(title="digits 0 to 4 enrolled, MLPs: seen / unseen / all / clean base", title_justify="left")
    for heading in ("world", "method", "measured", "s.e. of all", "specified"):
        table.add_column(heading, justify="left")
    for world in ("gain", "rot"):
        for method in ("base", "head", "taps", "stats", "solve"):

            def one(key: str, world: str = world, method: str = method) -> tuple[float, float]:
                return bench.over_seeds(
                    lambda seed: [
                        bench.figures(digits_case(*net, seed, world, 350, KNOWN), method)[key] for net in MLPS
                    ]
                )

            found = [one(key) for key in ("seen", "unseen", "accuracy", "clean")]
            spec = ENROLLED[f"{world}/{method}"]
            table.add_row(world, method, _joined([m for m, _ in found]), f"{found[2][1]:.3f}", _joined(spec))
    return table


def _tenth(bench: Bench) -> Table:
    table = Table(title="a digit that the base does not know, MLPs: old / new / all", title_justify="left")
    for heading in ("samples", "method", "measured", "s.e.", "specified"):
        table.add_column(heading, justify="left")
    for count in (5, 10, 25):
        for method in ("base", "head", "solve"):

            def one(key: str, count: int = count, method: str = method) -> tuple[float, float]:
                return bench.over_seeds(
                    lambda seed: [bench.figures(_tenth_case(*net, seed, count), method)[key] for net in MLPS]
                )

            found = [one(key) for key in ("old", "new", "accuracy")]
            errors = _joined([error for _, error in found])
            spec = TENTH.get(f"{count}/{method}")
            table.add_row(str(count), method, _joined([m for m, _ in found]), errors, _joined(spec) if spec else "")
    return table


def _tenth_case(kind: str, bits: str, seed: int, count: int) -> Case:
    _, (x, y), (test, labels) = _digits.pictures(seed, "clean")
    rows = np.flatnonzero(y == NEW)[:count]
    samples = Samples((np.ascontiguousarray(x[rows]),), np.full(len(rows), NEW, np.int32), "tenth")
    parts = {"old": labels < NEW, "new": labels == NEW}
    task = f"digits, tenth, {count}, {kind} {bits}"
    return Case(task, f"seed {seed}", lambda: subject(kind, bits, seed, NEW), samples, test, labels, seed, parts)


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
