"""How two engines are compared: in one process, in turns, and with the conditions written down.

The rules, each of which once changed a result by a factor of two or more:

* all engines of a comparison run in one process, round-robin; processes are never compared;
* a turn makes two untimed calls before the timed ones (warm), or streams 192 MiB first (cold);
* one thread is timed by its CPU clock, several by the wall clock, which needs an idle machine;
* results are checked before they are timed; minimum and median are both reported.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from edgeq._errors import EdgeQError
from edgeq.bench.latency import busy_share

UNTIMED_CALLS = 2
EVICTED_BYTES = 192 << 20
SETTLING_CALLS = 3
SAMPLE_NS = 200_000  # a sample repeats a short call until it lasts about this long
IDLE_SHARE = 0.05  # of all cores; above it, other programs shared the machine
PEER_KINDS = ("fp32", "int8")  # a word of a peer's name
Conditions = Mapping[str, object]


@dataclass(frozen=True)
class Options:
    """What the command line chose; every benchmark takes all of it."""

    quick: bool = False
    threads: int = 1
    cold: bool = False
    peers: bool = True
    isas: tuple[str, ...] = ()  # none: every vector instruction set of this machine
    only: str = ""  # part of a shape's name
    rounds: int | None = None
    resume: Path | None = None  # results so far, of benchmarks that can go on
    say: Callable[[str], None] = lambda _line: None  # one line per stage

    def count(self, quick: int, full: int) -> int:
        """Rounds of a comparison."""
        return self.rounds or (quick if self.quick else full)


@dataclass(frozen=True)
class Engine:
    """One competitor. `before` runs untimed at the start of each turn, for example to select an instruction set."""

    name: str
    run: Callable[[], object]
    before: Callable[[], object] = lambda: None


@dataclass(frozen=True)
class Timing:
    """Samples of one engine, each the mean of `calls` calls, nanoseconds per call."""

    cpu_ns: tuple[float, ...]  # of the calling thread
    wall_ns: tuple[float, ...]
    calls: int
    threads: int = 1

    @property
    def samples_ns(self) -> tuple[float, ...]:
        return self.cpu_ns if self.threads == 1 else self.wall_ns

    @property
    def min_us(self) -> float:
        return min(self.samples_ns) / 1e3

    @property
    def median_us(self) -> float:
        return statistics.median(self.samples_ns) / 1e3


@dataclass(frozen=True)
class Session:
    """Timings of engines that took turns, and what the machine did meanwhile."""

    timings: Mapping[str, Timing]
    conditions: Conditions


@dataclass(frozen=True)
class Row:
    """One line of a result. Times are microseconds a call; ratios are peer / ours, so above 1 EdgeQ is faster.

    ours_us, peers, ratio_to_best    medians (of thread CPU time at one thread, else of wall time)
    ratios                           the same against the best peer of each kind: fp32, int8, or its own name
    *_min                            the same of minima: what the machine can do when nobody interferes
    roofline_share                   floor / minimum; the floor is what this core needs at least, from the same rounds
    """

    work: str
    shape: str
    isa: str
    threads: int
    ours_us: float
    peers: dict[str, float]
    ratio_to_best: float | None
    ratios: dict[str, float]
    roofline_share: float | None
    ours_min_us: float
    peers_min: dict[str, float]
    ratio_to_best_min: float | None
    wall_median_us: float
    samples_ns: list[float]
    source: str = "measured"
    extra: dict[str, object] = field(default_factory=dict)
    conditions: dict[str, object] = field(default_factory=dict)


class WrongResultError(EdgeQError):
    """An engine's result is not the one that another way of computing gives; it is not timed."""


def measure(engines: Sequence[Engine], *, rounds: int, threads: int = 1, cold: bool = False) -> Session:
    """Time engines in turns.

    engines  names must differ
    rounds   turns of each engine; one sample a turn
    cold     one call a sample, after reading memory larger than the private caches (code is evicted too)
    """
    if rounds < 1 or not engines or len({engine.name for engine in engines}) != len(engines):
        raise ValueError("measure needs at least one round and engines with different names")
    calls = {engine.name: 1 if cold else _calls(engine) for engine in engines}
    cpu: dict[str, list[float]] = {engine.name: [] for engine in engines}
    wall: dict[str, list[float]] = {engine.name: [] for engine in engines}
    evicted = np.zeros(EVICTED_BYTES // 8, np.uint64) if cold else None
    load = _Load()
    for _ in range(rounds):
        for engine in engines:
            engine.before()
            if evicted is not None:
                evicted.sum()
            else:
                for _ in range(UNTIMED_CALLS):
                    engine.run()
            cpu_ns, wall_ns = _sample(engine.run, calls[engine.name])
            cpu[engine.name].append(cpu_ns)
            wall[engine.name].append(wall_ns)
    conditions = {
        "rounds": rounds,
        "untimed_calls": 0 if cold else UNTIMED_CALLS,
        "caches": "cold" if cold else "warm",
        "clock": "thread CPU time" if threads == 1 else "wall clock",
        **load.since(),
    }
    timings = {e.name: Timing(tuple(cpu[e.name]), tuple(wall[e.name]), calls[e.name], threads) for e in engines}
    return Session(timings, conditions)


def row(
    session: Session,
    *,
    work: str,
    shape: str,
    isa: str,
    ours: str,
    peers: Sequence[str] = (),
    floor_us: float | None = None,
    extra: Mapping[str, object] | None = None,
    conditions: Conditions | None = None,
) -> Row:
    """The line of engine `ours` of a session beside `peers`, which are names of other engines of the same session."""
    mine = session.timings[ours]
    medians = {name: session.timings[name].median_us for name in peers}
    minima = {name: session.timings[name].min_us for name in peers}
    return Row(
        work=work,
        shape=shape,
        isa=isa,
        threads=mine.threads,
        ours_us=mine.median_us,
        peers=medians,
        ratio_to_best=min(medians.values()) / mine.median_us if medians else None,
        ratios=_ratios(medians, mine.median_us),
        roofline_share=floor_us / mine.min_us if floor_us else None,
        ours_min_us=mine.min_us,
        peers_min=minima,
        ratio_to_best_min=min(minima.values()) / mine.min_us if minima else None,
        wall_median_us=statistics.median(mine.wall_ns) / 1e3,
        samples_ns=list(mine.samples_ns),
        extra=dict(extra or {}),
        conditions={**(conditions or {}), **session.conditions},
    )


def write_json(rows: Sequence[Row], file: Path) -> None:
    """A list with one object a row."""
    file.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")


def _ratios(peers: Mapping[str, float], ours: float) -> dict[str, float]:
    best: dict[str, float] = {}
    for name, us in peers.items():
        kind = next((kind for kind in PEER_KINDS if kind in name.split()), name)
        best[kind] = min(us, best.get(kind, us))
    return {kind: us / ours for kind, us in best.items()}


def _calls(engine: Engine) -> int:
    """How often a sample repeats the call, by the best of a few single calls: an interrupted one would mislead."""
    engine.before()
    for _ in range(UNTIMED_CALLS):
        engine.run()
    wall_ns = min(_sample(engine.run, 1)[1] for _ in range(SETTLING_CALLS))
    return max(1, int(SAMPLE_NS / max(wall_ns, 1)))


def _sample(run: Callable[[], object], calls: int) -> tuple[float, float]:
    """Nanoseconds a call: of this thread's CPU clock, and of the wall clock."""
    wall, cpu = time.perf_counter_ns(), time.thread_time_ns()
    for _ in range(calls):
        run()
    cpu, wall = time.thread_time_ns() - cpu, time.perf_counter_ns() - wall
    return cpu / calls, wall / calls


class _Load:
    """How much of the machine other programs used since this object was made."""

    def __init__(self) -> None:
        self.stat, self.own, self.wall = _proc_stat(), time.process_time(), time.perf_counter()

    def since(self) -> dict[str, object]:
        stat = _proc_stat()
        if stat is None or self.stat is None:
            return {"foreign_load": None, "idle": None}
        cores = os.cpu_count() or 1
        own = (time.process_time() - self.own) / (cores * max(time.perf_counter() - self.wall, 1e-9))
        foreign = max(0.0, busy_share(self.stat, stat) - own)
        return {"foreign_load": round(foreign, 3), "idle": foreign <= IDLE_SHARE}


def _proc_stat() -> str | None:
    try:
        return Path("/proc/stat").read_text()
    except OSError:
        return None
