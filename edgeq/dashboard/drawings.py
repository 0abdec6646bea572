"""Small drawings as SVG text, for pages that carry everything with them: no script, no file, no font.

Colours follow the reader's light or dark theme by `currentColor`; every number stands in the table beside.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import log10

from edgeq.dashboard.queries import Timings

WIDTH, HEIGHT = 640, 170
_LEFT, _BOTTOM, _TOP = 70, 34, 16
_BLUE, _RED = "#0090d0", "#e0602a"


def histogram(timings: Timings, marks: Sequence[tuple[str, float]], unit: str) -> str:
    """How often each time came; marks: quantiles by name, in the timings' unit divided by `scale_of(unit)`."""
    scale = scale_of(unit)
    low, high = timings.bins[0][0] / scale, timings.bins[-1][1] / scale
    most = max(count for *_, count in timings.bins)
    bars = []
    for start, end, count in timings.bins:
        x0, x1 = _x(start / scale, low, high), _x(end / scale, low, high)
        height = count / most * (HEIGHT - _BOTTOM - _TOP)
        bars.append(_rect(x0, HEIGHT - _BOTTOM - height, max(x1 - x0 - 0.5, 0.5), height))
    lines = [
        f'<line x1="{_x(at, low, high):.1f}" x2="{_x(at, low, high):.1f}" y1="{_TOP}" y2="{HEIGHT - _BOTTOM}" '
        f'stroke="{_RED}" stroke-dasharray="4 3"/>{_text(_x(at, low, high) + 3, _TOP + 8, name)}'
        for name, at in marks
        if low <= at <= high
    ]
    return _svg("Distribution of the timings", [*bars, *lines, *_axis(low, high, unit)], HEIGHT)


def curve(points: Sequence[tuple[float, float]], name: str, unit: str, x_unit: str) -> str:
    """A value over x."""
    xs, ys = [x for x, _ in points], [y for _, y in points]
    low, high = min(xs), max(xs)
    bottom, top = min(ys), max(ys)
    room = HEIGHT - _BOTTOM - _TOP

    def y(value: float) -> float:
        return _TOP + room * (1 - ((value - bottom) / (top - bottom) if top > bottom else 0.5))

    path = " ".join(f"{_x(a, low, high):.1f},{y(b):.1f}" for a, b in points)
    line = f'<polyline points="{path}" fill="none" stroke="{_BLUE}" stroke-width="2"/>'
    sides = [_text(2, y(value) + 4, f"{value:.4g}") for value in dict.fromkeys((top, bottom))]
    head = _text(_LEFT, 11, f"{name} ({unit})")
    return _svg(name, [line, *sides, head, *_axis(low, high, x_unit)], HEIGHT)


def bars(rows: Sequence[tuple[str, float, str]]) -> str:
    """One bar a row: its name, its length, and the text behind it."""
    most = max((length for _, length, _ in rows), default=0.0) or 1.0
    drawn = []
    for i, (name, length, text) in enumerate(rows):
        y, width = 6 + 20 * i, length / most * (WIDTH - 330)
        drawn.append(_text(206, y + 11, name[:34], anchor="end"))
        drawn.append(_rect(212, y, max(width, 1.0), 14))
        drawn.append(_text(218 + width, y + 11, text))
    return _svg("Time of each operator", drawn, 12 + 20 * len(rows))


def scatter(points: Sequence[tuple[str, float, float, str]], x_name: str, y_name: str) -> str:
    """Points (name, x, y, mark) over a logarithmic x; the mark is the source's and stands where the point is."""
    xs, ys = [log10(x) for _, x, _, _ in points], [y for _, _, y, _ in points]
    low, high = min(xs) - 0.1, max(xs) + 0.3
    bottom, top = min(ys) - 1, max(ys) + 1
    room, height = 260 - _BOTTOM - _TOP, 260
    drawn = [_text(_LEFT, 11, y_name)]
    for (name, _, y, mark), x in zip(points, xs, strict=True):
        at_x, at_y = _x(x, low, high), _TOP + room * (1 - (y - bottom) / (top - bottom))
        drawn.append(f'<text x="{at_x:.1f}" y="{at_y + 5:.1f}" fill="{_BLUE}" font-size="15">{escape(mark)}</text>')
        drawn.append(_text(at_x + 15, at_y + 4, name[:28]))
    drawn += [_text(2, _TOP + room, f"{bottom:.4g}"), _text(2, _TOP + 8, f"{top:.4g}")]
    ends = [_text(_LEFT, height - 8, f"{10**low:.3g}"), _text(WIDTH - 4, height - 8, f"{10**high:.3g}", anchor="end")]
    middle = _text((_LEFT + WIDTH) / 2, height - 8, f"{x_name}, logarithmic", anchor="middle")
    frame = f'<path d="M{_LEFT} {_TOP}V{height - _BOTTOM}H{WIDTH}" fill="none" stroke="currentColor" opacity="0.4"/>'
    return _svg(f"{y_name} against {x_name}", [frame, *drawn, *ends, middle], height)


def scale_of(unit: str) -> float:
    """The store keeps nanoseconds, or counts."""
    return 1e6 if unit == "ms" else 1.0


def _x(value: float, low: float, high: float) -> float:
    return _LEFT + (WIDTH - _LEFT - 8) * ((value - low) / (high - low) if high > low else 0.5)


def _axis(low: float, high: float, unit: str) -> list[str]:
    y = HEIGHT - _BOTTOM
    line = f'<line x1="{_LEFT}" x2="{WIDTH}" y1="{y}" y2="{y}" stroke="currentColor" opacity="0.4"/>'
    ends = [_text(_LEFT, y + 14, f"{low:.4g}"), _text(WIDTH - 4, y + 14, f"{high:.4g}", anchor="end")]
    return [line, *ends, _text((_LEFT + WIDTH) / 2, y + 14, unit, anchor="middle")]


def _rect(x: float, y: float, width: float, height: float) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{_BLUE}"/>'


def _text(x: float, y: float, text: str, *, anchor: str = "start") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="12" fill="currentColor">{escape(text)}</text>'
    )


def _svg(title: str, parts: Sequence[str], height: int) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{escape(title)}"><title>{escape(title)}</title>{"".join(parts)}</svg>'
    )
