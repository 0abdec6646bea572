"""Zeroth order on the digits beside its control: the published methods, with and without the head's exact gradient.

`zeroqat` sees codes (fake quantisation in the forward), `mezo` codes and noise unrounded, on a grid as fine as eight
bits allow; `start` is that of edgeq/compile/start.py. Both move the latents of all body layers; the head
learns by its exact gradient or not at all (noise on it too costs MeZO 15 points). Rates are the specification's, one
number for all but this: without the exact head .1 instead of .03 for four-bit codes and for the inverted world. Only
the control's rate is swept: the run with the least loss on its held-out part counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import torch
from rich.table import Table

from edgeq.compile.start import Start
from edgeq.compile.start_learning import Coded, learn_start
from edgeq.ops import Latent
from edgeq.tune import Wishes

from . import _digits
from ._adaptation import Array, Case, Result, learn

if TYPE_CHECKING:
    from ._digit_tables import Bench

FOUR = (("tern", "rot"), ("tern", "inv"), ("bin", "rot"), ("w4", "rot"))
HEAD_RATES = (0.03, 0.1, 0.3)
COMMON = {"micro": 64, "converged": 30}  # the whole schedule: small steps are those that help
FLOAT_NOISE = {**COMMON, "eps": 0.05, "optimiser": "adam", "lr_head": 0.1}
RULED = ("zeroqat", "zeroqat, start", "mezo")  # their rate follows the rule above
METHODS: Mapping[str, Wishes] = {
    "t0": Wishes("t0", flags=("unguarded",), changes=COMMON),
    "t1": Wishes("t1", flags=("unguarded",), changes=COMMON),
    "zeroqat": Wishes("zeroqat", flags=("unguarded",), changes=COMMON),
    "zeroqat, start": Wishes("zeroqat", flags=("unguarded",), changes=COMMON),
    "zeroqat, start, plain descent": Wishes(
        "zeroqat", flags=("unguarded",), changes={**COMMON, "optimiser": "sgd", "lr_latent": 0.03}
    ),
    "mezo": Wishes("mezo", flags=("unguarded", "weights"), changes=FLOAT_NOISE),
    "mezo, plain descent": Wishes("mezo", flags=("unguarded", "weights"), changes=COMMON),
    "zeroqat + head": Wishes("zeroqat", flags=("unguarded", "exact_head"), changes=COMMON),
    "zeroqat, start + head": Wishes("zeroqat", flags=("unguarded", "exact_head"), changes=COMMON),
    "mezo + head": Wishes(
        "mezo", flags=("unguarded", "weights", "exact_head"), changes={**FLOAT_NOISE, "lr_latent": 0.03}
    ),
}
BARS: Sequence[tuple[str, str, float]] = (
    ("t1", "zeroqat", 15.0),
    ("t1", "zeroqat, start", 15.0),
    ("t1", "mezo", 15.0),
    ("t1", "mezo + head", -1.0),
    ("t1", "zeroqat, start + head", -1.0),
)


@cache
def begins(bits: str, seed: int) -> tuple[Start, tuple[Array, ...]]:
    """Learned bounds and scales of the MLP, from its weights before they were rounded and the base's training data."""
    trained = _digits.trained("mlp", bits, seed)
    net, (x, _), kind = _digits.DigitsNet(trained), _digits.pictures(seed, "clean")[0], Latent.INTEGERS
    with torch.no_grad():
        weights = tuple((trained.weights[i] / trained.scale(i)[:, None]).numpy() for i in range(len(net.layers)))
    if bits == "bin":
        kind = Latent.SIGNS
    coded = [Coded(i, weights[i], kind, latent.low, latent.high) for i, latent in enumerate(net.latents())]
    return learn_start(net, x, coded, seed=seed).start, weights


def run(name: str, case: Case, bits: str, world: str, seed: int) -> Result:
    """One run of the row `name`; of `head` the one with the least loss on its held-out part."""
    if name == "head":
        rates = (Wishes("head", seed, flags=("unguarded",), changes={**COMMON, "lr_head": r}) for r in HEAD_RATES)
        found = [learn(case.subject(), case.learn_from, wishes) for wishes in rates]
        return min(found, key=lambda result: result.report.best.loss)
    wishes, subject = replace(METHODS[name], seed=seed), case.subject()
    if name in RULED:
        rate = 0.1 if bits == "w4" or world == "inv" else 0.03
        wishes = replace(wishes, changes={**wishes.changes, "lr_latent": rate})
    if "start" in name:
        subject = replace(subject, begins=begins(bits, case.draw))
    return learn(subject, case.learn_from, wishes)


def tables(bench: Bench, case_of: Callable[[str, str, int], Case]) -> tuple[Table, Table]:
    """case_of: bits, world and seed to 350 samples of the MLP."""

    def figures(name: str, bits: str, world: str, seed: int) -> Mapping[str, float]:
        case = case_of(bits, world, seed)
        return bench.measured(case, f"zeroth {name}", lambda: run(name, case, bits, world, seed + 1))

    names = ("base", "head", *METHODS)
    found = {
        (name, bits, world, seed): figures(name, bits, world, seed)
        for seed in bench.seeds
        for name in names
        for bits, world in FOUR
    }
    table = Table(title=f"digits, zeroth order, MLPs, 350 samples, {len(bench.seeds)} seeds", title_justify="left")
    for heading in ("method", *(f"{bits} {world}" for bits, world in FOUR), "mean", "s.e.", "passes", "module, B"):
        table.add_column(heading, justify="left" if heading == "method" else "right")
    for name in names:
        mean, error = bench.over_seeds(lambda seed, n=name: [found[n, *which, seed]["accuracy"] for which in FOUR])
        one = [bench.over_seeds(lambda seed, n=name, w=which: [found[n, *w, seed]["accuracy"]])[0] for which in FOUR]
        first = found[name, *FOUR[0], bench.seeds[0]]
        table.add_row(
            name, *(f"{x:.3f}" for x in (*one, mean, error)), f"{first['passes']:.0f}", f"{first['module_bytes']:.0f}"
        )
    bars = Table(title="in points, paired by set and seed", title_justify="left")
    for heading in ("", "measured", "s.e.", "bar", ""):
        bars.add_column(heading, justify="right" if heading else "left")
    for name, control, bar in BARS:
        mean, error = bench.over_seeds(
            lambda seed, n=name, c=control: [
                100 * (found[n, *which, seed]["accuracy"] - found[c, *which, seed]["accuracy"]) for which in FOUR
            ]
        )
        bars.add_row(
            f"{name} over {control}", f"{mean:+.1f}", f"{error:.1f}", f"{bar:+g}", "holds" if mean >= bar else "FAILS"
        )
    return table, bars
