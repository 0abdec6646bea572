"""Vega-Lite charts. Shape and text say the source of a number; colour says its bits and is never the only sign.

Specifications are plain dictionaries: building and checking the same chart with Altair takes 80 ms of processor time,
which twelve devices on one page would feel.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgeq.dashboard import labels
from edgeq.dashboard.figures import QUALITIES, SCHEMES, Figure, Point
from edgeq.dashboard.queries import Timings
from edgeq.results import Row

Spec = dict[str, object]
COLOURS = ("#0090d0", "#e69f00", "#00a878", "#cc79a7", "#e0602a", "#8a8a8a")  # apart for all eyes, on both themes
NEUTRAL = "#8a8a8a"  # readable on both themes
SHAPES = ("circle", "square", "triangle-up")
HEIGHT = 200
MAX_LAYERS = 60
DRAWN = 1000

_COLOUR: Spec = {
    "field": "bits",
    "type": "nominal",
    "title": "weights",
    "scale": {"domain": SCHEMES, "range": COLOURS},
    "legend": {"orient": "bottom", "columns": 3, "symbolOpacity": 1},
}
_SHAPE: Spec = {
    "field": "source",
    "type": "nominal",
    "title": "source",
    "scale": {"domain": [labels.marked(source) for source in labels.SOURCES], "range": SHAPES},
    "legend": None,  # the page says it once: labels.LEGEND
}
_TIPS = {
    "label": "model",
    "shown": "cost",
    "interval": "95 % interval",
    "cost source": "source",
    "method": "method",
    "runs": "recent runs",
    "built": "built for",
    "file": "file",
    "quality": "quality",
}
_POINT: Spec = {"type": "point", "size": 110, "filled": True, "opacity": 1}
_DOUBT: list[Spec] = [{"filter": "datum.doubt != ''"}]


def pareto(points: Sequence[Point], y_domain: tuple[float, float]) -> Spec:
    """Quality against cost, one point per configuration that has both. Of one device and kind."""
    evaluated = [(p, p.quality) for p in points if p.quality is not None]
    rows = [_point(p) | {"y": q.value, "y_low": _low(q), "y_high": _high(q)} for p, q in evaluated]
    quality = evaluated[0][1]
    x = _cost_axis([p.cost for p, _ in evaluated])
    less = QUALITIES[quality.metric] < 0  # then the axis is turned over: up is better in every panel
    unit = "" if quality.unit == "1" else f" ({quality.unit})"
    title = f"{labels.metric(quality.metric)}{unit}{', less is better' if less else ''}"
    y = _number("y", title) | {"scale": {"domain": y_domain, "reverse": less}}
    return _layers(
        rows,
        HEIGHT,
        {
            "mark": {"type": "rule", "opacity": 0.5},
            "encoding": {"x": x, "y": y | {"field": "y_low"}, "y2": {"field": "y_high"}, "color": _COLOUR},
        },
        {"mark": _POINT, "encoding": {"x": x, "y": y, "color": _COLOUR, "shape": _SHAPE, "tooltip": _tips()}},
        {
            "mark": {
                "type": "text",
                "align": "left",
                "dx": 8,
                "dy": -8,
                "fontSize": 11,
                "limit": 150,
                "color": NEUTRAL,
            },
            "encoding": {"x": x, "y": y, "text": {"field": "named"}},
        },
    )


def dots(points: Sequence[Point]) -> Spec:
    """Cost of each configuration with its interval, in an order that does not rank. Of one device and kind."""
    names = list(dict.fromkeys(p.label for p in points))
    x = _cost_axis([p.cost for p in points])
    y: Spec = {
        "field": "label",
        "type": "nominal",
        "title": None,
        "sort": names,
        "axis": {"labelLimit": 150, "grid": True},
    }
    return _layers(
        [_point(p) for p in points],
        34 * len(names),
        {
            "mark": {"type": "rule", "strokeWidth": 2, "opacity": 0.6},
            "encoding": {"x": x | {"field": "low"}, "x2": {"field": "high"}, "y": y, "color": _COLOUR},
        },
        {"mark": _POINT, "encoding": {"x": x, "y": y, "color": _COLOUR, "shape": _SHAPE, "tooltip": _tips()}},
        _doubts(x, y),
    )


def distribution(timings: Timings, quantiles: Sequence[tuple[str, float]], scale: float, unit: str) -> Spec:
    """Histogram of a run's timings; quantiles: (name, value in `unit`); scale: store's unit per `unit`."""
    bins: list[Spec] = [{"from": low / scale, "to": high / scale, "count": n} for low, high, n in timings.bins]
    edge = timings.bins[-1][1] / scale
    lines: Spec = {"values": [{"name": name, "x": value} for name, value in quantiles if value <= edge]}
    x = _number("from", unit) | {"bin": "binned", "scale": {"zero": False}}
    bars: Spec = {
        "mark": {"type": "bar", "color": COLOURS[0]},
        "encoding": {
            "x": x,
            "x2": {"field": "to"},
            "y": _number("count", "runs"),
            "tooltip": _all("from", "to", "count"),
        },
    }
    at = _number("x", unit)
    rules: Spec = {
        "data": lines,
        "mark": {"type": "rule", "strokeDash": [4, 3], "strokeWidth": 2, "color": COLOURS[4]},
        "encoding": {"x": at, "tooltip": [{"field": "name"}, *_all("x")]},
    }
    names: Spec = {
        "data": lines,
        "mark": {"type": "text", "align": "left", "dx": 4, "y": 8, "color": COLOURS[4]},
        "encoding": {"x": at, "text": {"field": "name"}},
    }
    return _layers(bins, HEIGHT, bars, rules, names)


def course(timings: Timings, scale: float, unit: str) -> Spec:
    """The timings in the order they were taken: drift, warm-up and throttling show here."""
    rows: list[Spec] = [
        {"i": first, "mean": mean / scale, "low": low / scale, "high": high / scale}
        for first, mean, low, high in timings.course
    ]
    i, y = _number("i", "run number, in order"), _number("low", unit) | {"scale": {"zero": False}}
    area: Spec = {
        "mark": {"type": "area", "opacity": 0.3, "color": COLOURS[0]},
        "encoding": {"x": i, "y": y, "y2": {"field": "high"}},
    }
    line: Spec = {
        "mark": {"type": "line", "color": COLOURS[0], "point": len(rows) == 1},
        "encoding": {"x": i, "y": y | {"field": "mean"}, "tooltip": _all("i", "mean", "low", "high")},
    }
    return _layers(rows, HEIGHT, area, line)


def line(points: Sequence[tuple[float, float]], name: str, unit: str, x_unit: str) -> Spec:
    """A value along a run, over time or steps; at most DRAWN points of it."""
    step = max(1, -(-len(points) // DRAWN))
    rows: list[Spec] = [{"x": x, "y": y} for x, y in points[::step]]
    y = _number("y", f"{labels.metric(name)} ({unit})") | {"scale": {"zero": False}}
    mark: Spec = {"type": "line", "color": COLOURS[0], "point": len(rows) < 30}
    return _layers(
        rows, HEIGHT, {"mark": mark, "encoding": {"x": _number("x", x_unit), "y": y, "tooltip": _all("x", "y")}}
    )


def profile(layers: Sequence[Row]) -> Spec:
    """Time of each operator, in the order of the network; of one source, all timed."""
    rows = [
        {"layer": f"{i:02d} {row['name']}", "op": row["op"], "us": float(str(row["ns"])) / 1e3, "macs": row["macs"]}
        for i, row in enumerate(layers[:MAX_LAYERS])
    ]
    operator: Spec = {"title": "operator", "legend": {"orient": "bottom", "columns": 1, "labelLimit": 300}}
    bars: Spec = {
        "mark": {"type": "bar"},
        "encoding": {
            "x": _number("us", "time (µs)"),
            "y": {"field": "layer", "type": "nominal", "title": None, "sort": None, "axis": {"labelLimit": 150}},
            "color": {"field": "op", "type": "nominal"} | operator,
            "tooltip": [{"field": "layer"}, {"field": "op"}, *_all("us", "macs")],
        },
    }
    return _layers(rows, 18 * len(rows), bars)


def _layers(rows: Sequence[Spec], height: int, *layers: Spec) -> Spec:
    """Wide as the page allows; `height` is that of the plot without axis and legend."""
    fit = {"type": "fit-x", "contains": "padding"}
    return {"data": {"values": rows}, "height": height, "autosize": fit, "layer": layers}


def _number(field: str, title: str) -> Spec:
    return {"field": field, "type": "quantitative", "title": title}


def _all(*fields: str) -> list[Spec]:
    return [{"field": field, "type": "quantitative"} for field in fields]


def _tips() -> list[Spec]:
    return [{"field": field, "type": "nominal", "title": title} for field, title in _TIPS.items()]


def _doubts(x: Spec, y: Spec) -> Spec:
    """The word beside each point that was not measured."""
    mark: Spec = {"type": "text", "dy": -14, "fontSize": 11}
    encoding: Spec = {"x": x, "y": y, "text": {"field": "doubt"}, "color": _COLOUR}
    return {"transform": _DOUBT, "mark": mark, "encoding": encoding}


def _point(p: Point) -> Spec:
    f, q = p.cost, p.quality
    return {
        "label": p.label,
        "bits": f.scheme,
        "source": labels.marked(p.source),
        "doubt": "" if p.source == "measured" else p.source,
        "named": p.label if p.source == "measured" else f"{p.label} ({p.source})",
        "cost": f.value,
        "low": _low(f),
        "high": _high(f),
        "shown": labels.quantity(f.value, f.unit),
        "interval": labels.interval(f.low, f.high, f.unit) or "-",
        "method": f.method,
        "cost source": labels.marked(f.source),
        "runs": f"{f.runs}, from {labels.quantity(f.smallest, f.unit)} to {labels.quantity(f.largest, f.unit)}",
        "built": f"{f.target}, {f.backend}, {f.isa}, {f.threads} thread(s)",
        "file": f"{f.sha256[:12]}, revision {f.revision}",
        "quality": "-" if q is None else f"{labels.quantity(q.value, q.unit)} {labels.marked(q.source)}, n = {q.n}",
    }


def _low(figure: Figure) -> float:
    return figure.value if figure.low is None else figure.low


def _high(figure: Figure) -> float:
    return figure.value if figure.high is None else figure.high


def _cost_axis(figures: Sequence[Figure]) -> Spec:
    """Logarithmic, except for what can be negative: energy with the idle power subtracted."""
    first = figures[0]
    scale: Spec = {"type": "log"} if min(map(_low, figures)) > 0 else {"zero": True}
    unit = "" if first.unit == "1" else f" ({first.unit})"
    return _number("cost", f"{labels.metric(first.metric)}{unit}") | {"scale": scale}
