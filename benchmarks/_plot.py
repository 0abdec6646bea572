"""The rows as a picture: how many times faster than the best peer, each shape a line, each instruction set a mark."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from .harness import Row

WIDTH, LEFT, RIGHT, LINE, TOP = 760, 250, 150, 18, 44
COLOURS = ("#0b62a4", "#e07b00", "#4a9c3f", "#8a4fb0", "#777777")  # told apart in grey too, with their letters
_TICKS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)


def write_svg(name: str, rows: Sequence[Row], file: Path) -> None:
    """Rows with peers only; the ratio is that of medians, against peers of the same width where the row tells it."""
    file.write_text("\n".join(_svg(name, [(row, ratio) for row in rows if (ratio := _ratio(row))])) + "\n")


def _svg(name: str, rows: Sequence[tuple[Row, float]]) -> Iterator[str]:
    lines = list(dict.fromkeys((row.work, row.shape) for row, _ in rows))
    isas = list(dict.fromkeys(row.isa for row, _ in rows))
    height = TOP + LINE * (len(lines) + 2)
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" '
        f'font-size="11"><rect width="{WIDTH}" height="{height}" fill="white"/>'
    )
    yield _text(
        8, 16, f"{name}: best peer / EdgeQ by medians; right of 1 EdgeQ is faster. At the right: share of ceiling"
    )
    for i, isa in enumerate(isas):
        yield _mark(LEFT + 110 * i, 32, i) + _text(LEFT + 110 * i + 8, 36, isa)
    for tick in _TICKS:
        x, colour = _x(tick), "black" if tick == 1 else "#cccccc"
        yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{height - 2 * LINE}" stroke="{colour}"/>'
        yield _text(x, height - LINE, f"{tick:g}", "middle")
    for (work, shape), number in zip(lines, range(len(lines)), strict=True):
        y = TOP + LINE * number + LINE / 2
        yield _text(LEFT - 8, y + 4, f"{work} {shape}", "end")
        shares = []
        for row, ratio in rows:
            if (row.work, row.shape) == (work, shape):
                yield _mark(_x(ratio), y, isas.index(row.isa))
                shares.append(f"{100 * row.roofline_share:.0f} %" if row.roofline_share else "-")
        yield _text(WIDTH - RIGHT + 12, y + 4, " / ".join(shares))
    yield "</svg>"


def _ratio(row: Row) -> float | None:
    told = row.extra.get("ratio_to_best_of_same_width")
    return told if isinstance(told, float) else row.ratio_to_best


def _x(ratio: float) -> float:
    low, high = math.log2(_TICKS[0]), math.log2(_TICKS[-1])
    return LEFT + (min(max(math.log2(ratio), low), high) - low) / (high - low) * (WIDTH - LEFT - RIGHT)


def _mark(x: float, y: float, number: int) -> str:
    colour = COLOURS[number % len(COLOURS)]
    if number % 2:
        return f'<rect x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8" fill="{colour}"/>'
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{4.5 if number == 0 else 3.5}" fill="{colour}"/>'


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
