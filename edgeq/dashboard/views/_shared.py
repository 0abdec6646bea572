"""What a page is given, and tables of runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgeq.dashboard import labels
from edgeq.dashboard.figures import Figure
from edgeq.results import Row, Store


@dataclass(frozen=True)
class View:
    """The store's path and its figures, loaded once per change of the file."""

    path: Path
    figures: list[Figure]

    def open(self) -> Store:
        return Store.open(self.path, readonly=True)


def figure_text(figure: Figure) -> str:
    """A value with interval, mark and count, e.g. "1.50 ms (1.40 ms to 1.60 ms) ● measured, n = 100"."""
    span = labels.interval(figure.low, figure.high, figure.unit)
    count = "" if figure.n is None else f", n = {figure.n}"
    shown = labels.quantity(figure.value, figure.unit)
    return f"{shown}{f' ({span})' if span else ''} {labels.marked(figure.source)}{count}"


def run_row(run: Row) -> dict[str, object]:
    """A run of `queries.recent` as a table row: headline values as text, each with its mark."""
    row: dict[str, object] = {
        "run": f"./run?run={run['run_id']}",
        "model": run["model"],
        "device": run["device"],
        "verb": run["verb"],
    }
    values = run["values"]
    assert isinstance(values, list)
    for name in labels.HEADLINE:
        cells = [
            f"{labels.quantity(v['value'], v['unit'])} {labels.MARKS[v['source']]}"
            for v in values
            if v["metric"] == name
        ]
        row[labels.metric(name)] = "  ".join(cells) or "-"
    return row | {"threads": run["threads"], "started (UTC)": run["started_utc"]}
