"""What reaches the terminal: JSON on stdout, tables on stdout, progress and remarks on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

PIPE_WIDTH = 160  # columns of a table that no terminal limits


def print_json(document: object) -> None:
    """One document, one line, strict JSON, ASCII."""
    print(json.dumps(document, allow_nan=False))


def plain(text: str) -> str:
    """Text from a package, a device or the Hub without what could command a terminal; lines and tabs stay."""
    return "".join(c if c.isprintable() or c in "\n\t" else "?" for c in text)


def remark(text: str) -> None:
    """One line for the person at the terminal; never on stdout."""
    if text:
        print(f"edgeq: {plain(text)}", file=sys.stderr)


def print_table(rows: Iterable[Sequence[str]], *, head: Sequence[str] = (), title: str | None = None) -> None:
    """A plain table; the text in the cells is taken as it is, not as markup."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, box=box.SIMPLE_HEAD, show_header=bool(head), title_justify="left")
    rows = list(rows)
    for i, name in enumerate(head or [""] * len(rows[0]) if rows else head):
        table.add_column(name, no_wrap=i == 0, overflow="fold")
    for row in rows:
        table.add_row(*(Text(plain(cell)) for cell in row))
    Console(width=None if sys.stdout.isatty() else PIPE_WIDTH).print(table)


class Progress:
    """What is being done and how far, on stderr: a bar on a terminal, one line per stage elsewhere.

    Calls look like `progress("compiling")` or `progress("model.safetensors", 4096, 65536)`.
    """

    def __init__(self) -> None:
        self._bars: Bars | None = None
        self._task: TaskID | None = None
        self._stage = ""

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
            from rich.progress import Progress as Bars

            columns = (
                SpinnerColumn(),
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                TimeElapsedColumn(),
            )
            self._bars = Bars(*columns, console=Console(stderr=True), transient=True)
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def __call__(self, stage: str, done: int = 0, total: int = 0) -> None:
        if stage != self._stage:
            self._stage, stage = stage, plain(stage)
            if self._bars is None:
                remark(stage)
            else:
                if self._task is not None:
                    self._bars.remove_task(self._task)
                self._task = self._bars.add_task(stage, total=total or None)
        if self._bars is not None and self._task is not None and total:
            self._bars.update(self._task, completed=done, total=total)


class Follow:
    """What happens, as JSON lines on stdout while it happens: for the dashboard and for scripts.

    {"event": "progress", "stage", "done", "total"}, {"event": "samples", "ticks"}, {"event": "point", "series", "unit",
    "x_unit", "x", "value"}, and as the last line {"event": "report"} with what `--json` prints.
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def __call__(self, stage: str, done: int = 0, total: int = 0) -> None:
        self._line("progress", stage=stage, done=done, total=total)

    def samples(self, ticks: Sequence[int]) -> None:
        """Timings as they arrive, nanoseconds or instructions."""
        self._line("samples", ticks=list(ticks))

    def point(self, series: str, x: float, value: float, *, unit: str, x_unit: str) -> None:
        """One more point of a curve."""
        self._line("point", series=series, unit=unit, x_unit=x_unit, x=x, value=value)

    def report(self, document: dict[str, object]) -> None:
        self._line("report", **document)

    def _line(self, event: str, **fields: object) -> None:
        print(json.dumps({"event": event, **fields}, allow_nan=False), flush=True)


def size(count: int | None) -> str:
    """Bytes for people: 1 kB is 1000 B."""
    if count is None:
        return "-"
    value, unit = float(count), "B"
    for unit in ("B", "kB", "MB", "GB"):
        if value < 999.5 or unit == "GB":  # three digits are shown
            break
        value /= 1000
    return f"{count} B" if unit == "B" else f"{value:.3g} {unit}"
