"""Learning on the device beside its controls: accuracy on data that nothing was learned or chosen on.

  python tools/leave_one_speaker_out.py zoo/denseshift-kws/recipe.toml -o OUT --epochs 12
  EDGEQ_LOSO=OUT python -m benchmarks finetune --resume cells.json
  python -m benchmarks finetune --only fashion:dim --quick

Settings are the module's defaults, the same for every task; nothing is tuned on a test set. Methods: base; `stats`
(no labels, unguarded); `solve`; `auto`; `head` (exact gradient of the last layer in float, unguarded: the control);
on the first draw (--rounds N: on N draws) `t1` and `mezo` with the passes that the column says, and backpropagation
through all latents (straight-through; its rate and whether batch norms adapt are chosen by the other speakers, or on
500 further labelled pictures of the world; --no-peers leaves it out). Networks run in eager on the product's kernels;
that the compiled program gives the same is tested (`tests/unit/test_tunable.py`) and shown (`programs`).

  digits    the tables of the specification: small MLPs and CNNs, seven worlds, 3 seeds, and its bars: _digit_tables.py
  speech    each speaker left out of the base's training (EDGEQ_LOSO); 25 of his recordings (two or three of each digit)
            to learn from, the other 475 to test, 3 draws; plain, and as if by another microphone (pre-emphasis .9,
            white noise at 15 dB) on all his sound
  words     the same with the digits 0 to 4 alone enrolled: digits that were heard and not heard, apart
  class     EDGEQ_NINE: a run of denseshift-kws with classes = 9 and digits = 9; ten words "nine" are all that is given
  fashion   pokebnn-fashion; 350 shifted pictures of the training part to learn from, 1000 of the test set, 3 draws;
            EDGEQ_RUNS: a folder with the zoo's training runs, OUT of `edgeq train zoo/NAME/recipe.toml -o OUT` as NAME,
            for backpropagation here and on texts
  few       the same with 50 pictures; classes: with pictures of the classes 0 to 4 alone
  tenth     EDGEQ_NINE_FASHION: a run of pokebnn-fashion with classes = 9 and labels = 9; ten pictures of the tenth
  text      bit-sst2 on sentences of product reviews, tweets, and another meaning of the labels
  limits    what a new head cannot repair, with draws and test data of their own: _limits.py; limits:NAME for a model
            or a shift
  risk      noisy pictures, where a missed coat or shirt costs ten times as much; F1 beside the cost
  programs  the runs of the bars through a `.pte` on the local agent beside eager: the same deltas, and accuracy; takes
            EDGEQ_LOSO and EDGEQ_NINE_FASHION; programs:digits, speech, fashion, tenth or text for one: _programs.py
  cost      one step of t0 and t1 (both signs, update included) against one inference of the same batch, and arenas
  board     the same by instructions on a simulated Cortex-M4, where the agent learns by itself
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from rich.table import Table

from edgeq.compile.layout import METHOD, PAIR, STEP
from edgeq.tune import Wishes

from . import (
    _board_cost,
    _digit_tables,
    _limits,
    _picture_cases,
    _programs,
    _risk,
    _speech_cases,
    _step_cost,
    _text_cases,
)
from ._adaptation import Case, Setting, accuracy, learn, scores
from ._best_head import best_head
from ._cells import Cells, Figures, mean_and_error
from ._limits import BACKPROP
from ._looks import INPUT, corrected
from ._table import console
from .harness import Options, Row

METHODS: Mapping[str, Wishes] = {
    "stats": Wishes("stats", flags=("unguarded",)),
    "solve": Wishes("solve"),
    "auto": Wishes("auto"),
    "head": Wishes("head", flags=("unguarded",)),
    "t1": Wishes("t1", flags=("unguarded", "few_samples"), changes={"steps": 50}),
    "mezo": Wishes("mezo", flags=("unguarded", "few_samples"), changes={"steps": 50}),
}
SLOW = ("t1", "mezo", "best head")  # first draw and all classes only
LIMITS = "limits"
RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
SETTINGS = [*(Setting(rate, norms=False) for rate in RATES), Setting(1e-3, norms=True)]
TASKS: Mapping[str, Callable[[Options], Iterator[Case]]] = {
    "speech": _speech_cases.speech,
    "words": _speech_cases.few_words,
    "class": _speech_cases.new_digit,
    "fashion": _picture_cases.fashion,
    "few": _picture_cases.few_pictures,
    "classes": _picture_cases.few_classes,
    "tenth": _picture_cases.new_class,
    "text": _text_cases.cases,
    LIMITS: _limits.cases,
}


def run(options: Options) -> list[Row]:
    """Print one table a task; this benchmark has accuracies, not times, so it gives back no rows."""
    torch.set_num_threads(options.threads)
    cells, only = Cells(options.resume), options.only.split(":")[0]
    if only in ("", "cost"):
        console.print(_cost_table(list(_step_cost.measure(options))))
    if only in ("", "board"):
        console.print(_board_table(list(_board_cost.measure())))
    if only in ("", "digits"):
        for table in _digit_tables.tables(options, cells):
            console.print(table)
    if only in ("", "risk"):
        console.print(_risk.table(options, cells))
    if only in ("", "programs"):
        for table in _programs.tables(options, cells):
            console.print(table)
    for name, cases in TASKS.items():
        if only not in ("", name):
            continue
        by_task: dict[str, list[Case]] = defaultdict(list)
        for case in cases(options):
            by_task[case.task].append(case)
        methods = _limits.METHODS if name == LIMITS else ("base", *METHODS)
        results = {task: _results(found, methods, options, cells) for task, found in by_task.items()}
        for task, found in by_task.items():
            console.print(_table(task, results[task], found[0].parts))
        if name == LIMITS:
            console.print(_limits.table({t: (len(found[0].labels), results[t]) for t, found in by_task.items()}))
    return []


Results = dict[str, dict[str, list[Figures]]]  # by method and group


def _results(cases: Sequence[Case], methods: Sequence[str], options: Options, cells: Cells) -> Results:
    found: Results = {}
    for case in cases:
        slow = case.draw < options.count(0, 1)
        for name in methods:
            late = name in SLOW and (not slow or case.parts)
            if late or (name == INPUT and case.raw is None):
                continue
            figures = cells.get(_name(case, name, options), lambda case=case, name=name: _one(case, name))
            found.setdefault(name, {}).setdefault(case.group, []).append(figures)
        options.say(f"{case.task}, {case.group}: " + ", ".join(f"{m} {_mean(g):.3f}" for m, g in found.items()))
    if cases[0].ceiling is not None and options.peers and not options.quick:
        found[BACKPROP] = _ceilings([case for case in cases if case.draw < options.count(0, 1)], options, cells)
    return found


def _name(case: Case, method: str, options: Options) -> str:
    return f"{'quick ' if options.quick else ''}{case.task}/{case.group}/{case.draw}/{method}"


def _one(case: Case, method: str) -> Figures:
    subject = case.subject()
    if method == "home":
        assert case.home is not None
        return {"accuracy": accuracy(scores(subject, None, case.home[0]), case.home[1]), "passes": 0.0}
    if method == "base":
        return {**case.score(scores(subject, None, case.test)), "passes": 0.0}
    if method == "best head":
        return {**case.score(best_head(case)), "passes": float("nan")}
    before = 0.0
    if method == INPUT:
        (case, before), method = corrected(case), "auto"
    result = learn(subject, case.learn_from, METHODS[method])
    logits = scores(subject, result.delta, case.test)
    return {**case.score(logits), "passes": before + result.passes / len(case.learn_from)}


def _ceilings(cases: Sequence[Case], options: Options, cells: Cells) -> dict[str, list[Figures]]:
    """Every setting on the first draw; then the setting that validation prefers."""

    def measured(case: Case, setting: Setting) -> Figures:
        def compute() -> Figures:
            assert case.ceiling is not None
            predict = case.ceiling(setting)
            figures = {**case.score(predict(case.test)), "passes": float("nan")}
            if case.validation is not None:
                x, y = case.validation
                figures["validation"] = accuracy(predict(x), y)
            return figures

        figures = cells.get(_name(case, f"{BACKPROP} {setting}", options), compute)
        options.say(f"{case.task}, {case.group}, draw {case.draw}: {BACKPROP} {setting} {figures['accuracy']:.3f}")
        return figures

    first = {case.group: case for case in cases if case.draw == 0}
    settings = [setting for setting in SETTINGS if cases[0].norms or not setting.norms]
    trials = {s: {group: measured(case, s) for group, case in first.items()} for s in settings}
    found: dict[str, list[Figures]] = {}
    for case in cases:

        def preferred(setting: Setting, case: Case = case) -> float:
            tried = trials[setting]
            if case.validation is not None:
                return float(np.mean([figures["validation"] for figures in tried.values()]))
            return float(np.mean([figures["accuracy"] for group, figures in tried.items() if group != case.group]))

        best = max(settings, key=preferred)
        options.say(f"{case.task}, {case.group}: {BACKPROP} by validation {best}")
        found.setdefault(case.group, []).append(measured(case, best))
    return found


def _mean(groups: Mapping[str, Sequence[Figures]], key: str = "accuracy") -> float:
    return mean_and_error([[figures[key] for figures in group] for group in groups.values()])[0]


def _table(task: str, results: Results, parts: Mapping[str, object]) -> Table:
    base = results["base"]
    table = Table(title=f"{task}: {sum(map(len, base.values()))} runs", title_justify="left")
    headings = ("accuracy", "s.e.", *parts, "error against base", "worst gain", "passes a sample", "CPU s")
    for heading in ("method", *headings):
        table.add_column(heading, justify="left" if heading == "method" else "right")
    for name, groups in results.items():
        mean, error = mean_and_error([[f["accuracy"] for f in group] for group in groups.values()])
        gains = [f["accuracy"] - base[g][i]["accuracy"] for g, group in groups.items() for i, f in enumerate(group)]
        runs = [figures for group in groups.values() for figures in group]
        some = f", {len(runs)} runs" if len(runs) < sum(map(len, base.values())) else ""
        table.add_row(
            name + some,
            f"{mean:.4f}",
            f"{error:.4f}",
            *(_limits.figure(groups, part) if part in runs[0] else "" for part in parts),
            f"{100 * ((1 - mean) / (1 - _mean({g: base[g][: len(r)] for g, r in groups.items()})) - 1):+.0f} %",
            f"{min(gains):+.4f}",
            f"{np.mean([f['passes'] for f in runs]):.1f}",
            f"{np.mean([f['cpu_s'] for f in runs]):.1f}",
        )
    return table


def _cost_table(costs: list[_step_cost.Cost]) -> Table:
    table = Table(title="cost of a step, both signs and the update", title_justify="left")
    for heading in ("", *(cost.model for cost in costs)):
        table.add_column(heading, justify="right" if heading else "left")

    def row(name: str, text: Callable[[_step_cost.Cost], str]) -> None:
        table.add_row(name, *map(text, costs))

    for method in ("forward", STEP, PAIR, METHOD):
        row(f"arena of {method}, B", lambda cost, method=method: str(cost.arena[method]))
    row("inference, us", lambda cost: f"{cost.pass_us['forward']:.1f}")
    for method in (STEP, PAIR, METHOD):
        row(f"a pass of {method}, inferences", lambda cost, method=method: f"{cost.ratio[method]:.3f}")
    for tier in _step_cost.TIERS:
        row(f"{tier}: module, us a step of {_step_cost.BATCH}", lambda cost, tier=tier: f"{cost.module_us[tier]:.0f}")
        row(f"{tier}: step, inferences of its batch", lambda cost, tier=tier: f"{cost.step(tier):.3f}")
        row("the same, each sign by itself", lambda cost, tier=tier: f"{cost.step(tier, pairs=False):.3f}")
    return table


def _board_table(costs: list[_board_cost.Cost]) -> Table:
    title = f"cost of a step of {_board_cost.BATCH}, {_board_cost.MODEL} on {_board_cost.BOARD}, instructions"
    table = Table(title=title, title_justify="left")
    for heading in ("", "forward", "a pass of the step", "beside passes, a sample", "step, inferences of its batch"):
        table.add_column(heading, justify="right" if heading else "left")
    for cost in costs:
        figures = (cost.forward, cost.a_pass, cost.beside)
        table.add_row(cost.tier, *(f"{figure:,.0f}" for figure in figures), f"{cost.step:.3f}")
    return table
