"""The store, condensed to what can be compared: one labelled number per configuration and metric.

A configuration is a device, a deployed file (its hash), backend, target, ISA and thread count. Costs come from
`deploy` and `bench`, which time one input again and again; the times of `eval` and `profile` are of another kind and
stay on the page of their run, as does what a fine-tuning reached: that is no figure of the package's file.

SQLite aggregates, and looks at the RECENT newest runs of each configuration and verb: what was measured long ago says
little of today's spread, and a store of 100,000 runs stays quick.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from edgeq.dashboard.labels import SOURCES
from edgeq.results import Store

RECENT = 30
QUALITIES = {  # what tasks are judged by: 1 where more is better, -1 where less is
    "top1": 1,
    "f1": 1,
    "phoneme_error_rate": -1,
    "word_error_rate": -1,
    "mean_cosine": 1,
    "neighbours_kept": 1,
}
COSTS = ("latency_p50", "latency_p99", "energy", "energy_net", "model_size", "ram_peak", "instructions")
SCHEMES = ("binary", "ternary", "shift", "int4", "int8", "fp32")
Configuration = tuple[str, str, str, str, str, int]
Kind = tuple[str, str | None]


@dataclass(frozen=True)
class Figure:
    """The newest value of one metric of one configuration, and how far the runs before it went.

    low, high           its own 95 % interval
    smallest, largest   over the `runs` recent runs that gave this figure with this source
    split               data set and split of an accuracy, "" for a cost
    """

    run: int
    device: str
    model: str
    revision: str
    scheme: str
    sha256: str
    backend: str
    target: str
    isa: str
    threads: int
    split: str
    metric: str
    value: float
    unit: str
    source: str
    method: str
    n: int | None
    low: float | None
    high: float | None
    scope: str | None
    runs: int
    smallest: float
    largest: float

    @property
    def configuration(self) -> Configuration:
        return (self.device, self.sha256, self.backend, self.target, self.isa, self.threads)

    @property
    def kind(self) -> Kind:
        """Figures of different kinds do not share an axis when they are energies."""
        return (self.source, self.scope)

    @property
    def task(self) -> str:
        return f"{self.metric} on {self.split}"

    @property
    def score(self) -> float:
        """A quality as something that more of is better."""
        return QUALITIES[self.metric] * self.value

    @property
    def reach(self) -> tuple[float, float]:
        """The worst and the best `score` of its interval."""
        ends = [self.value if end is None else end for end in (self.low, self.high)]
        worst, best = sorted(QUALITIES[self.metric] * end for end in ends)
        return worst, best


@dataclass(frozen=True)
class Point:
    """A configuration with one cost and, where it was evaluated, its quality."""

    cost: Figure
    quality: Figure | None
    label: str

    @property
    def source(self) -> str:
        """The weaker of the two: a point with an estimated coordinate is an estimate."""
        sources = [self.cost.source] + ([self.quality.source] if self.quality else [])
        return max(sources, key=SOURCES.index)


@dataclass(frozen=True)
class Best:
    """The best files for a task on a device; `level` are those whose interval reaches the first one's."""

    first: Figure
    level: tuple[Figure, ...]


def load(store: Store) -> list[Figure]:
    """Every figure of the store. Raises StoreError."""
    return [_figure(row) for row in store.select(_FIGURES)]


def points(figures: Iterable[Figure], metric: str, task: str | None) -> list[Point]:
    """Each configuration's figures of a cost metric beside its quality at a task (`Figure.task`)."""
    figures = list(figures)
    qualities: dict[tuple[str, str], Figure] = {}
    for figure in figures:
        if figure.metric in QUALITIES and figure.task == task:
            qualities[figure.device, figure.sha256] = _fuller(qualities.get((figure.device, figure.sha256)), figure)
    costs = sorted((f for f in figures if f.metric == metric), key=_order)
    names = _labels(costs)
    return [Point(f, qualities.get((f.device, f.sha256)), names[f.configuration]) for f in costs]


def tasks(figures: Iterable[Figure]) -> list[str]:
    """Every `Figure.task` that there are qualities for; accuracies first."""
    found = {f.task: list(QUALITIES).index(f.metric) for f in figures if f.metric in QUALITIES}
    return sorted(found, key=lambda task: (found[task], task))


def bests(figures: Iterable[Figure]) -> list[Best]:
    """The best file for each task, device and source of the score, with those that cannot be told from it."""
    groups: dict[tuple[str, str, str], dict[str, Figure]] = {}
    for figure in figures:
        if figure.metric in QUALITIES:
            group = groups.setdefault((figure.task, figure.device, figure.source), {})
            group[figure.sha256] = _fuller(group.get(figure.sha256), figure)
    found = []
    for _, group in sorted(groups.items()):
        first, *others = sorted(group.values(), key=lambda f: (-f.score, f.run))
        level = tuple(f for f in others if f.reach[1] >= first.reach[0])
        found.append(Best(first, level))
    return found


def _fuller(a: Figure | None, b: Figure) -> Figure:
    """Of two scores the one over more items, then the newer."""
    return b if a is None or (b.n or 0, b.run) > (a.n or 0, a.run) else a


def _order(figure: Figure) -> tuple[int, str, str, int]:
    """Bits, then name: an order that ranks nothing."""
    return (SCHEMES.index(figure.scheme), figure.model, figure.sha256, figure.threads)


def _labels(figures: Sequence[Figure]) -> dict[Configuration, str]:
    """Model names, made longer only as far as configurations on one device need it to differ."""

    def forms(f: Figure) -> tuple[str, ...]:
        threads = f"{f.model}, {f.threads} threads"
        built = f"{f.model}, {f.threads} threads, {f.target}, {f.backend}, {f.isa}"
        return (f.model, threads, built, f"{built}, file {f.sha256[:8]}")

    unique = {figure.configuration: figure for figure in figures}
    labels: dict[Configuration, str] = {}
    for configuration, figure in unique.items():
        peers = [p for p in unique.values() if p.device == figure.device and p.model == figure.model and p != figure]
        clear = (form for i, form in enumerate(forms(figure)) if all(forms(p)[i] != form for p in peers))
        labels[configuration] = next(clear, forms(figure)[-1])
    return labels


def _figure(row: dict[str, object]) -> Figure:
    fields: dict[str, Any] = dict(row)
    return Figure(**fields)


def _among(names: Iterable[str]) -> str:
    return "(" + ", ".join(f"'{name}'" for name in names) + ")"


_FIGURES = f"""
WITH aged AS (
  SELECT id, row_number() OVER (PARTITION BY device, model, backend, target, isa, threads, verb, dataset, split
                                ORDER BY id DESC) AS age FROM run WHERE verb <> 'finetune'),
newest AS (
  SELECT max(run.id) AS run, metric, source, count(*) AS runs, min(value) AS smallest, max(value) AS largest
  FROM aged JOIN run ON run.id = aged.id JOIN value ON value.run = run.id
  WHERE aged.age <= {RECENT} AND (metric IN {_among(QUALITIES)}
        OR metric IN {_among(COSTS)} AND run.verb IN ('deploy', 'bench'))
  GROUP BY run.device, run.model, run.backend, run.target, run.isa, run.threads, metric, source, scope,
           CASE WHEN metric IN {_among(QUALITIES)} THEN run.dataset END,
           CASE WHEN metric IN {_among(QUALITIES)} THEN run.split END,
           CASE WHEN metric IN {_among(QUALITIES)} THEN value.n END)
SELECT newest.run, device.name AS device, model.name AS model, model.revision, model.scheme, model.sha256,
       run.backend, run.target, run.isa, run.threads,
       CASE WHEN newest.metric IN {_among(QUALITIES)}
            THEN trim(coalesce(run.dataset, 'unnamed data') || ' ' || coalesce(run.split, '')) ELSE '' END AS split,
       newest.metric, value.value, value.unit, newest.source, value.method, value.n, value.low, value.high,
       value.scope, newest.runs, newest.smallest, newest.largest
FROM newest
JOIN value ON value.run = newest.run AND value.metric = newest.metric AND value.source = newest.source
JOIN run ON run.id = newest.run JOIN device ON device.id = run.device JOIN model ON model.id = run.model
ORDER BY newest.run DESC"""
