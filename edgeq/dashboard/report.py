"""`edgeq report RUN...`: runs as one page that carries everything with it, as HTML or as Markdown.

What the pages of the dashboard show of a run, with the same words and marks: every value with its source, interval and
method, the distribution of the timings, operators, curves, conditions, who vouches. Energies of different kinds stand
in different rows and are never ranked.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from edgeq import results
from edgeq._errors import UsageError
from edgeq.bench import comparison
from edgeq.dashboard import conditions, drawings, labels, queries
from edgeq.results import Row, Store

MAX_RUNS = 200
MAX_LAYERS = 60
_SPECIAL = re.compile(r"([\\`*_\[\]<>#|~])")
_BARS = " ▁▂▃▄▅▆▇█"

Table = tuple[Sequence[str], Sequence[Sequence[str]]]


@dataclass(frozen=True)
class Part:
    """A heading with what stands below it, ready for either form; drawings are HTML's only, blocks Markdown's only."""

    heading: str
    lines: Sequence[str] = ()
    tables: Sequence[Table] = ()
    drawings: Sequence[str] = ()
    level: int = 2
    blocks: str = ""


def html(store: Store, runs: Sequence[int]) -> str:
    """A whole HTML document. Raises StoreError for a run that is not there, UsageError for none or too many."""
    title, parts = _parts(store, runs)
    body = "".join(_html_part(part) for part in parts)
    return _PAGE.format(title=escape(title), body=body, legend=escape(labels.LEGEND))


def markdown(store: Store, runs: Sequence[int]) -> str:
    """The same as Markdown; drawings become rows of blocks."""
    title, parts = _parts(store, runs)
    found = [f"# {_literal(title)}", labels.LEGEND]
    for part in parts:
        found.append(f"{'#' * part.level} {_literal(part.heading)}")
        found += [_literal(line) for line in part.lines]
        found += [part.blocks] if part.blocks else []
        found += [_markdown_table(table) for table in part.tables]
    return "\n\n".join(found) + "\n"


def _parts(store: Store, runs: Sequence[int]) -> tuple[str, list[Part]]:
    if not 0 < len(runs) <= MAX_RUNS:
        raise UsageError(f"a report is of 1 to {MAX_RUNS} runs, got {len(runs)}")
    found = [store.run(run) for run in runs]
    names = list(dict.fromkeys(str(run["model"]) for run in found))
    title = f"EdgeQ: {', '.join(names[:3])}{' and others' if len(names) > 3 else ''}"
    parts = [_summary(found)] if len(found) > 1 else []
    if len(found) == 2:
        parts += _verdict(store, found)
    for run in found:
        parts += _run(store, run)
    return title, parts


def _summary(runs: Sequence[Row]) -> Part:
    """One line a run; a drawing of accuracy against time where at least two runs have both."""
    head = ("run", "model", "device", *(labels.metric(name) for name in labels.HEADLINE))
    rows, points = [], []
    for run in runs:
        values = conditions.values(run)
        cells = {name: [v for v in values if v["metric"] == name] for name in labels.HEADLINE}
        shown = ("  ".join(_shown(v) + " " + labels.MARKS[str(v["source"])] for v in cells[n]) or "-" for n in cells)
        rows.append((str(run["run_id"]), str(run["model"]), str(run["device"]), *shown))
        if cells["latency_p50"] and cells["top1"]:
            time, top1 = cells["latency_p50"][0], cells["top1"][0]
            source = max((str(time["source"]), str(top1["source"])), key=labels.SOURCES.index)
            points.append((str(run["model"]), _number(time), _number(top1), labels.MARKS[source]))
    devices = {run["device"] for run in runs}
    drawn = (
        [drawings.scatter(points, "Latency, median (ms)", "Top-1 accuracy (%)")]
        if len(points) > 1 and len(devices) == 1
        else []
    )
    kinds = {(v["source"], v["scope"]) for run in runs for v in conditions.values(run) if str(v["metric"]) == "energy"}
    lines = (
        ["Energies of different kinds or scopes stand in this table; they cannot be compared."]
        if len(kinds) > 1
        else []
    )
    return Part("Runs", lines, [(head, rows)], drawn)


def _verdict(store: Store, runs: Sequence[Row]) -> list[Part]:
    a, b = (store.samples(int(str(run["run_id"]))) for run in runs)
    if min(len(a), len(b)) < 20 or any(run["device_kind"] == "mcu" for run in runs):
        return []
    line = comparison.samples(a, b).line(f"run {runs[1]['run_id']}")
    numbers = [str(run["run_id"]) for run in runs]
    said = f"A is run {numbers[0]}, B is run {numbers[1]}: two occasions, and what else differed is in the ratio."
    return [Part("Verdict", [f"Latency: {line}.", said])]


def _run(store: Store, run: Row) -> list[Part]:
    number = int(str(run["run_id"]))
    values = conditions.values(run)
    name = f"Run {number}: {run['model']} on {run['device']}, edgeq {run['verb']}, {run['started_utc']}"
    warnings = run["warnings"]
    lines = [f"Warning: {text}" for text in warnings] if isinstance(warnings, list) else []
    head = ("figure", "value", "95 % interval", "source", "scope", "n", "warm-up", "method")
    parts = [Part(name, lines, [(head, [_value(v) for v in values])])]
    timings = queries.timings(store, number)
    if timings is not None:
        parts.append(_timings(timings, values))
    for curve in store.series(number):
        drawn = [drawings.curve(curve.points, curve.name, curve.unit, curve.x_unit)] if len(curve.points) > 1 else []
        ys = [y for _, y in curve.points]
        said = f"{min(ys):.4g} to {max(ys):.4g} {curve.unit} over {len(ys)} points, {labels.marked(curve.source)}"
        parts.append(Part(labels.metric(curve.name), [said], (), drawn, 3))
    layers = run["layers"]
    if isinstance(layers, list) and layers:
        parts.append(_layers(layers))
    rows = [(key, text) for key, text in conditions.conditions(run).items()]
    parts.append(Part("Conditions and origin", (), [(("what", "value"), rows)], (), 3))
    return parts


def _timings(timings: queries.Timings, values: Sequence[Row]) -> Part:
    by_name = {str(v["metric"]): _number(v) for v in values}
    counted = "instructions" in by_name and "latency_p50" not in by_name
    unit = "instructions" if counted else "ms"
    marks = [(q, by_name[f"latency_{q}"]) for q in ("p50", "p90", "p99") if f"latency_{q}" in by_name]
    scale = drawings.scale_of(unit)
    most = max(count for *_, count in timings.bins)
    text = "".join(_BARS[-(-count * 8 // most)] for *_, count in timings.bins)
    low, high = timings.bins[0][0] / scale, timings.bins[-1][1] / scale
    beyond = f"; {timings.beyond} above, the largest {timings.largest / scale:.4g} {unit}" if timings.beyond else ""
    said = f"{timings.count:,} timed runs from {low:.4g} to {high:.4g} {unit}{beyond}"
    return Part("Timings", [said], (), [drawings.histogram(timings, marks, unit)], 3, text)


def _layers(layers: Sequence[Row]) -> Part:
    head = ("operator", "kind", "time", "source")
    rows, drawn = [], []
    for row in layers[:MAX_LAYERS]:
        ns = row["ns"]
        shown = f"{ns / 1e3:.1f} µs" if isinstance(ns, int) else "-"
        rows.append((str(row["name"]), str(row["op"]), shown, labels.marked(str(row["source"]))))
        if isinstance(ns, int):
            drawn.append((str(row["name"]), float(ns), shown))
    rest = [f"The first {MAX_LAYERS} of {len(layers)}."] if len(layers) > MAX_LAYERS else []
    return Part("Operators", rest, [(head, rows)], [drawings.bars(drawn)] if drawn else [], 3)


def _value(value: Row) -> tuple[str, ...]:
    low, high = (end if isinstance(end := value[key], float) else None for key in ("low", "high"))
    return (
        labels.metric(str(value["metric"])),
        _shown(value),
        labels.interval(low, high, str(value["unit"])) or "-",
        labels.marked(str(value["source"])),
        str(value["scope"] or "-"),
        _count(value["n"]),
        _count(value["warmup"]),
        str(value["method"]),
    )


def _count(value: object) -> str:
    return "-" if value is None else str(value)


def _number(value: Row) -> float:
    return float(str(value["value"]))


def _shown(value: Row) -> str:
    return labels.quantity(_number(value), str(value["unit"]))


def _html_part(part: Part) -> str:
    tables = "".join(_html_table(table) for table in part.tables)
    lines = "".join(f"<p>{escape(line)}</p>" for line in part.lines)
    return f"<h{part.level}>{escape(part.heading)}</h{part.level}>{lines}{''.join(part.drawings)}{tables}"


def _html_table(table: Table) -> str:
    head, rows = table

    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    body = "".join(line(row, "td") for row in rows)
    return f'<div class="wide"><table><thead>{line(head, "th")}</thead><tbody>{body}</tbody></table></div>'


def _markdown_table(table: Table) -> str:
    head, rows = table
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _literal(text: str) -> str:
    """Text as Markdown shows it, and nothing that commands it; unlike `labels.literal` it stays readable as it is."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def _cell(text: str) -> str:
    return text if text == "---" else _literal(text) or "-"


def open_store() -> Store:
    """The usual store, read-only."""
    return results.Store.open(readonly=True)


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>
:root {{ color-scheme: light dark; }}
body {{ font: 15px/1.45 system-ui, sans-serif; max-width: 64rem; margin: 1.5rem auto; padding: 0 1rem; }}
.wide {{ overflow-x: auto; }} svg {{ max-width: 100%; height: auto; display: block; margin: .5rem 0; }}
table {{ border-collapse: collapse; }}
th, td {{ text-align: left; padding: .2rem .6rem; border-bottom: 1px solid #8886; }}
td:nth-child(2), td:nth-child(4) {{ white-space: nowrap; }}
h2 {{ margin-top: 2rem; }}
</style></head><body><h1>{title}</h1><p>{legend}</p>{body}</body></html>
"""
