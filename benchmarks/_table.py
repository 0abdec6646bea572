"""The rows as tables on the terminal, one a kind of work. stdout holds nothing else."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from edgeq.bench import comparison

from .harness import Row

PIPED_WIDTH = 240
console = Console(stderr=True)


def show(name: str, rows: Sequence[Row]) -> None:
    out = Console() if sys.stdout.isatty() else Console(width=PIPED_WIDTH)
    for work in dict.fromkeys(row.work for row in rows):
        out.print(_table(f"{name}: {work}", [row for row in rows if row.work == work]))
    for row in rows:
        shares = [
            f"{key.replace('_', ' ')} {_percent(value)}" for key, value in row.extra.items() if key.endswith("share")
        ]
        if shares:
            out.print(f"{row.isa}: {', '.join(shares)}")
        if isinstance(paired := row.extra.get("paired"), dict):
            out.print(
                f"{row.shape}, EdgeQ / {next(iter(row.peers))} by turns: {comparison.Ratio(**paired).line('EdgeQ')}"
            )
    if rows:
        conditions = rows[0].conditions
        busy = sum(not row.conditions.get("idle") for row in rows)
        out.print(
            f"microseconds a call, minimum / median ({conditions['clock']}, {conditions['rounds']} rounds, "
            f"{conditions['caches']} caches, {rows[0].threads} thread{'s' if rows[0].threads > 1 else ''}); "
            f"vs: best peer / EdgeQ, by median\n{conditions['cpu']}, AMX {conditions['amx']}; "
            + (f"machine shared with other programs in {busy} of {len(rows)} rows" if busy else "machine idle")
        )


def _table(title: str, rows: Sequence[Row]) -> Table:
    peers = list(dict.fromkeys(name for row in rows for name in row.peers))
    kinds = list(dict.fromkeys(kind for row in rows for kind in row.ratios))
    table = Table(title=title, title_justify="left")
    floors = ["of ceiling", *(["of kernel"] if any(map(_kernel_share, rows)) else [])]
    for heading in ("shape", "isa", "EdgeQ", *peers, *(f"vs {kind}" for kind in kinds), *floors):
        table.add_column(heading, justify="left" if heading in ("shape", "isa") else "right")
    for row in rows:
        cells = [_pair(row.peers_min.get(name), row.peers.get(name)) for name in peers]
        table.add_row(
            row.shape,
            row.isa,
            _pair(row.ours_min_us, row.ours_us),
            *cells,
            *(f"{row.ratios[kind]:.2f}x" if kind in row.ratios else "" for kind in kinds),
            *[_percent(row.roofline_share), _percent(_kernel_share(row))][: len(floors)],
        )
    return table


def _kernel_share(row: Row) -> float | None:
    floor = row.extra.get("kernel_floor_us")
    return floor / row.ours_min_us if isinstance(floor, float) else None


def _pair(minimum: float | None, median: float | None) -> str:
    return "" if minimum is None or median is None else f"{_three(minimum)} / {_three(median)}"


def _three(value: float) -> str:
    """Three significant digits."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _percent(share: object) -> str:
    return f"{100 * share:.0f} %" if isinstance(share, float) else ""
