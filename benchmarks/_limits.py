"""Shifts that a new head cannot repair, on the zoo's models, with draws and test data that no choice has seen.

The network gives its head less than it did at home: another microphone, less contrast, inverted, turned or noisy
pictures, another kind of text. `best head` shows it: a head that was fitted to labels of the test part itself
(`_best_head`) stays below the accuracy at home. Where only five classes are enrolled, a head cannot know the others at
all. `input, auto` puts the input right first (`_looks`). One line a shift at the end: who wins, on the draws that the
ceiling was trained on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from rich.table import Table

from . import _picture_cases, _speech_cases, _text_cases
from ._adaptation import Case
from ._cells import Figures, mean_and_error
from ._looks import INPUT
from .harness import Options

BACKPROP = "backpropagation"
PICTURES = ("pokebnn-fashion", "bivit-fashion")
TEXTS = ("bit-sst2", "bit-sst2-w1a4", "bibert-sst2")
METHODS = ("home", "base", "stats", "head", "best head", "auto", INPUT)
RIVALS = ("stats", "head", "auto", INPUT, BACKPROP)
SHARED = ("auto", INPUT, BACKPROP)  # told once more on the ceiling's draws
Results = Mapping[str, Mapping[str, Sequence[Figures]]]  # by method and group


def cases(options: Options) -> Iterator[Case]:
    yield from _speech_cases.fresh(options)
    for model in PICTURES:
        yield from _picture_cases.fresh(options, model)
    for model in TEXTS:
        yield from _text_cases.fresh(options, model)


def table(tasks: Mapping[str, tuple[int, Results]]) -> Table:
    """tasks: by name, how many samples one run is tested on and what the methods came to."""
    found = Table(title="what a new head cannot repair", title_justify="left")
    for heading in ("shift", *METHODS, *(f"{name}, same draws" for name in SHARED), "wins"):
        found.add_column(heading, justify="left" if heading in ("shift", "wins") else "right")
    for task, (tested, results) in tasks.items():
        shared = common(results)
        every = [figure(results[name]) if name in results else "" for name in METHODS]
        same = [figure(shared[name]) if name in shared and BACKPROP in shared else "" for name in SHARED]
        found.add_row(task, *every, *same, winner(shared, tested))
    return found


def figure(groups: Mapping[str, Sequence[Figures]], key: str = "accuracy") -> str:
    mean, error = mean_and_error([[figures[key] for figures in group] for group in groups.values()])
    return f"{mean:.3f}" if np.isnan(error) else f"{mean:.3f} +- {error:.3f}"


def common(results: Results) -> Results:
    """The rivals on the runs that all of them made."""
    there = [results[name] for name in RIVALS if name in results]
    runs = {group: min(len(groups.get(group, ())) for groups in there) for group in there[0]}
    return {
        name: {group: results[name][group][:count] for group, count in runs.items() if count}
        for name in RIVALS
        if name in results
    }


def winner(shared: Results, tested: int) -> str:
    """The best of them, with all that lie within a standard error of the difference: over the groups, else binomial."""
    means = {
        name: [np.mean([f["accuracy"] for f in group]) for group in groups.values()] for name, groups in shared.items()
    }
    best = max(means, key=lambda name: float(np.mean(means[name])))
    even = []
    for name, values in means.items():
        gap = np.subtract(means[best], values)
        share = float(np.mean(means[best]))
        error = np.std(gap, ddof=1) / np.sqrt(len(gap)) if len(gap) > 1 else np.sqrt(2 * share * (1 - share) / tested)
        if float(np.mean(gap)) <= error:
            even.append(name)
    return " = ".join(even)
