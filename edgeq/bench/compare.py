"""`edgeq compare A B`: what B costs and gives beside A, and whether the difference is more than chance.

Stored runs are compared by their samples. Models and programs are compared by running them now, in turn, on one device
in one process. Two kinds of noise meet there: blocks that follow each other differ by a few percent, with far outliers,
when anything else runs; and each load lies elsewhere in memory, worth about 1 % as long as it is loaded. So both are
loaded anew in each round, and within a round many short blocks take turns, A B B A or B A A B by lot; the round's ratio
is the median over those. How many turns a load is worth follows from the two variances and the two costs (T. Kalibera
and R. Jones, "Rigorous benchmarking in reasonable time", ISMM 2013).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeq import _paths, hub, results
from edgeq._errors import RefusedError, UsageError
from edgeq.bench import comparison, host, tasks
from edgeq.bench.comparison import Ratio
from edgeq.bench.protocol import Benched
from edgeq.bench.session import Plan, Progress, choose_data, target_for

if TYPE_CHECKING:
    from edgeq.device import Device, Net

Array = np.ndarray[Any, Any]
ROUNDS = 16
MAX_TURNS = 6  # of four blocks, in a round: about sqrt(variance of turns x cost of a load / the same of loads x turns)
ROUND_S = 0.15
BLOCK_S = 0.0025
MIN_BLOCK, MAX_BLOCK = 3, 50
MAX_FILE_BYTES = 256 << 20
PROGRAMS = (".pte", ".tflite")
_ORDERS = ((0, 1, 1, 0), (1, 0, 0, 1))


@dataclass(frozen=True)
class Row:
    """One figure of both sides as text; `verdict` says whether they differ, or why that cannot be said."""

    metric: str
    a: str
    b: str
    verdict: str


@dataclass(frozen=True)
class Comparison:
    """The rows, and the line that sums them up. ratio: of the times or counts, None where there are none."""

    a: str
    b: str
    rows: Sequence[Row]
    ratio: Ratio | None
    verdict: str
    line: str
    method: str
    warnings: Sequence[str] = ()

    def as_json(self) -> dict[str, object]:
        return {**asdict(self), "rows": [asdict(row) for row in self.rows]}


@dataclass(frozen=True)
class _Side:
    """A stored run, or a file of samples."""

    name: str
    samples: Sequence[int]
    values: dict[str, results.Row]
    run: results.Row | None


def compare(
    a: str,
    b: str,
    url: str,
    *,
    rounds: int = ROUNDS,
    margin: float = comparison.MARGIN,
    allow_unsigned: bool = False,
    store: Path | None = None,
    progress: Progress = lambda stage, done=0, total=0, /: None,
) -> Comparison:
    """Compare two stored runs, two files of samples, or two models or programs on a device.

    a, b    run number of the store, FILE.json with samples_ns, FILE.pte or .tflite, or what `edgeq bench` takes
    url     device for models and programs
    margin  the smallest share worth calling a difference
    raises  UsageError when one side is stored and the other is not, and what opening, running and reading raise
    """
    stored = [_stored(text, store) for text in (a, b)]
    if all(stored):
        if a == b:
            raise UsageError(f"{a} and {b} are the same run")
        left, right = (side for side in stored if side is not None)
        return of_runs(left, right, margin)
    if any(stored):
        raise UsageError(f"{a} and {b}: one was measured before, the other is not; run `edgeq bench` for it first")
    return _on_device(a, b, url, rounds, margin, allow_unsigned=allow_unsigned, progress=progress)


def of_runs(a: _Side, b: _Side, margin: float) -> Comparison:
    """Two stored runs, by every figure that both have."""
    rows, warnings, ratio = [], [], None
    if a.run and b.run:
        for key, what in (("device", "devices"), ("isa", "instruction sets"), ("threads", "thread counts")):
            if a.run[key] != b.run[key]:
                warnings.append(f"different {what}: {a.run[key]} and {b.run[key]}; not only the models are compared")
    if a.samples and b.samples:
        ratio = comparison.samples(a.samples, b.samples, margin=margin)
        shown = [f"{np.median(side.samples) / 1e6:.4g} ms, n = {len(side.samples)}" for side in (a, b)]
        rows.append(Row("latency, median", shown[0], shown[1], ratio.line()))
        warnings.append("two occasions: what else differed between them is in the ratio; compare models to avoid that")
    for metric in sorted(a.values.keys() & b.values.keys()):
        if not (metric.startswith("latency") and ratio):
            rows.append(_row(metric, a, b))
    if not rows:
        raise UsageError(f"{a.name} and {b.name} have no figure in common")
    line = ratio.line() if ratio else next((r.verdict for r in rows if r.metric == "instructions"), rows[0].verdict)
    verdict = ratio.verdict if ratio else line.partition(":")[0]
    return Comparison(a.name, b.name, rows, ratio, verdict, line, "samples of two stored runs", warnings)


def _row(metric: str, a: _Side, b: _Side) -> Row:
    va, vb = a.values[metric], b.values[metric]
    texts = [
        f"{float(str(v['value'])):{',.0f' if v['unit'] == 'B' else '.6g'}} {v['unit']} {v['source']}" for v in (va, vb)
    ]
    kinds = [(v["source"], v["scope"], v["unit"]) for v in (va, vb)]
    if kinds[0] != kinds[1] or (metric.startswith("latency") and not (a.samples and b.samples)):
        said = [" ".join(str(part) for part in kind if part) for kind in kinds]
        return Row(metric, texts[0], texts[1], f"cannot be compared: {said[0]} and {said[1]}")
    x, y = float(str(va["value"])), float(str(vb["value"]))
    if metric == "top1":
        return Row(metric, texts[0], texts[1], _accuracy(a, b, va, vb))
    if x == y:
        return Row(metric, texts[0], texts[1], "equal")
    change = f"{100 * (y / x - 1):+.2f} %" if x > 0 else f"{y - x:+.4g} {va['unit']}"
    ends = [end for v in (va, vb) for key in ("low", "high") if isinstance(end := v[key], float)]
    if len(ends) == 4:
        la, ha, lb, hb = ends
        apart = ha < lb or hb < la
        return Row(
            metric,
            texts[0],
            texts[1],
            f"{change}; the intervals {'do not overlap' if apart else 'overlap: no difference'}",
        )
    return Row(metric, texts[0], texts[1], change)


def _accuracy(a: _Side, b: _Side, va: results.Row, vb: results.Row) -> str:
    sets = [None if side.run is None else (side.run["dataset"], side.run["split"]) for side in (a, b)]
    if sets[0] != sets[1]:
        return f"cannot be compared: on {sets[0]} and on {sets[1]}"
    counts = [int(str(v["n"] or 0)) for v in (va, vb)]
    if not all(counts):
        return "cannot be compared: the number of items is not known"
    right = [round(float(str(v["value"])) * n / 100) for v, n in zip((va, vb), counts, strict=True)]
    return comparison.shares(right[0], counts[0], right[1], counts[1]).line()


def _stored(text: str, store: Path | None) -> _Side | None:
    """What the store or a file of samples has under this name; None for something to run."""
    if text.isascii() and text.isdecimal():
        with results.Store.open(store, readonly=True) as opened:
            run, samples = opened.run(int(text)), opened.samples(int(text))
        values = run["values"]
        assert isinstance(values, list)
        name = f"run {text} ({run['model']} on {run['device']})"
        return _Side(name, samples, {str(v["metric"]): v for v in values}, run)
    path = Path(text)
    if path.suffix == ".json" and path.is_file():
        return _Side(text, _samples_of(path), {}, None)
    return None


def _samples_of(path: Path) -> list[int]:
    """`samples_ns` of a JSON document, or of the first run of an export."""
    if path.stat().st_size > MAX_FILE_BYTES:
        raise UsageError(f"{path}: larger than {MAX_FILE_BYTES} bytes")
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not JSON: {error}") from None
    first = document[0] if isinstance(document, list) and document else document
    found = first.get("samples_ns") if isinstance(first, dict) else None
    if not isinstance(found, list) or not all(isinstance(ns, int) for ns in found):
        raise UsageError(f'{path}: expected {{"samples_ns": [integers]}}, or an export with samples')
    return found


Loader = Callable[["Device"], tuple["Net", Sequence[Array]]]


def _on_device(
    a: str, b: str, url: str, rounds: int, margin: float, *, allow_unsigned: bool, progress: Progress
) -> Comparison:
    _paths.writable_home()
    from edgeq.device import SentOnce, connect

    with connect(url) as device:
        loaders = [_loader(text, device, url, allow_unsigned=allow_unsigned, progress=progress) for text in (a, b)]
        if device.info.tick != "ns":
            return _counted(a, b, url, device, loaders)
        busy = host.load_warning()
        logs, medians = in_turn(SentOnce(device), loaders, rounds, progress)
    ratio = comparison.paired(logs, margin=margin)
    texts = [f"{np.median(ms):.4g} ms" for ms in medians]
    row = Row("latency, median", texts[0], texts[1], ratio.line())
    method = f"{rounds} rounds on {url}, both loaded anew in each, short blocks in turn; signed-rank test of the rounds"
    return Comparison(a, b, [row], ratio, ratio.verdict, ratio.line(), method, [busy] if busy else [])


def _counted(a: str, b: str, url: str, device: Device, loaders: Sequence[Loader]) -> Comparison:
    """A simulator counts the same every time: one look at each is enough."""
    counts = []
    for load in loaders:
        net, inputs = load(device)
        counts.append(float(np.median(net.bench(inputs, warmup=0, runs=2).ticks)))
        net.unload()
    change = 100 * (counts[1] / counts[0] - 1)
    line = "no difference: equal counts" if counts[0] == counts[1] else f"B executes {change:+.2f} % instructions"
    texts = [f"{count:,.0f} simulated" for count in counts]
    row = Row("instructions", texts[0], texts[1], line)
    verdict = "no difference" if counts[0] == counts[1] else "more" if change > 0 else "fewer"
    return Comparison(a, b, [row], None, verdict, line, f"instructions counted on {url}: not time")


def in_turn(
    device: Device, loaders: Sequence[Loader], rounds: int, progress: Progress, *, seed: int = 0
) -> tuple[list[float], tuple[list[float], list[float]]]:
    """The log ratio of each round, and the medians of every block in milliseconds. seed: of the lots drawn."""
    lots = np.random.default_rng(seed)
    logs: list[float] = []
    medians: tuple[list[float], list[float]] = ([], [])
    for i in range(rounds):
        progress("comparing", i, rounds)
        first = int(lots.integers(2))
        if device.info.nets > 1:
            loaded = {which: loaders[which](device) for which in (first, 1 - first)}
            sizes = {which: _size(*loaded[which]) for which in (0, 1)}
            turn_s = 2 * sum(seconds for _, _, seconds in sizes.values())
            turns = min(max(round(ROUND_S / turn_s), 1), MAX_TURNS)
            blocks = [
                [(which, _block(*loaded[which], sizes[which][0], sizes[which][1])) for which in _ORDERS[lot]]
                for lot in lots.integers(2, size=turns)
            ]
            for net, _ in loaded.values():
                net.unload()
        else:
            blocks = [[(which, _alone(device, loaders[which])) for which in _ORDERS[first]]]
        logs.append(float(np.median([_log_ratio(turn) for turn in blocks])))
        for which, ms in (block for turn in blocks for block in turn):
            medians[which].append(ms)
    progress("comparing", rounds, rounds)
    return logs, medians


def _log_ratio(turn: Sequence[tuple[int, float]]) -> float:
    return math.fsum((1 if which else -1) * math.log(ms) for which, ms in turn) / 2


def _alone(device: Device, load: Loader) -> float:
    """One block on a device that holds one net at a time."""
    net, inputs = load(device)
    warmup, runs, _ = _size(net, inputs)
    ms = _block(net, inputs, warmup, runs)
    net.unload()
    return ms


def _size(net: Benched, inputs: Sequence[Array]) -> tuple[int, int, float]:
    """Warm-ups and runs of a block that lasts about BLOCK_S, and how long it does."""
    each_s = max(1, float(np.median(net.bench(inputs, warmup=1, runs=MIN_BLOCK).ticks))) / 1e9
    runs = min(max(int(BLOCK_S / each_s), MIN_BLOCK), MAX_BLOCK)
    warmup = 1 + runs // 4  # the other one has just had the caches
    return warmup, runs, (warmup + runs) * each_s


def _block(net: Benched, inputs: Sequence[Array], warmup: int, runs: int) -> float:
    """Median of one block, milliseconds; a clock of coarse ticks may not say less than one."""
    return max(1.0, float(np.median(net.bench(inputs, warmup=warmup, runs=runs).ticks))) / 1e6


def _loader(text: str, device: Device, url: str, *, allow_unsigned: bool, progress: Progress) -> Loader:
    """What puts a program or a compiled model on the device, loads it, and gives it inputs."""
    path = Path(text)
    if path.suffix in PROGRAMS and path.is_file():
        return lambda device: _named_program(device, path)
    from edgeq.compile import build

    package = hub.pull(text, allow_unsigned=allow_unsigned, progress=progress)
    artefact = build(package, target_for(device.info, url), progress=progress)
    config = package.config()
    task = tasks.of(config)
    task.open(package)
    samples = choose_data(package, Plan("bench", limit=1))

    def load(device: Device) -> tuple[Net, Sequence[Array]]:
        net = task.deploy(device, artefact.path, config, lambda *_: None)
        return net, task.first(net, samples, config)

    return load


def _named_program(device: Device, path: Path) -> tuple[Net, Sequence[Array]]:
    try:
        return program_of(device, path)
    except RefusedError as error:
        raise RefusedError(f"{path}: {error}") from error


def program_of(device: Device, path: Path) -> tuple[Net, Sequence[Array]]:
    """A program by itself gets the same noise every time."""
    net = device.deploy(path)
    rng = np.random.default_rng(0)
    inputs = [
        rng.standard_normal(spec.shape).astype(spec.dtype)
        if spec.dtype.kind == "f"
        else np.zeros(spec.shape, spec.dtype)
        for spec in net.inputs
    ]
    return net, inputs
