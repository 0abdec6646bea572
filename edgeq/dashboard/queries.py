"""What the pages ask the store beside the figures: how much there is, devices, runs, one run's timings."""

from __future__ import annotations

from dataclasses import dataclass

from edgeq.results import Row, Store

BINS = 60
DRAWN_SHARE = 0.995
DRAWN_STEPS = 400


@dataclass(frozen=True)
class Counts:
    """How much the store holds; `newest` is the start of the newest run, UTC."""

    devices: int
    models: int
    runs: int
    newest: str | None


@dataclass(frozen=True)
class Timings:
    """The raw timings of a run, condensed for drawing.

    bins     (from, to, count) between the smallest and the DRAWN_SHARE quantile
    course   (first index, mean, smallest, largest) of consecutive stretches, in the order they were taken
    beyond   how many timings lie above the last bin; `largest` is the largest of all
    """

    count: int
    bins: tuple[tuple[float, float, int], ...]
    course: tuple[tuple[int, float, int, int], ...]
    beyond: int
    largest: int


def counts(store: Store) -> Counts:
    row = store.select(
        "SELECT (SELECT count(*) FROM device) AS devices, (SELECT count(DISTINCT name) FROM model) AS models,"
        " (SELECT count(*) FROM run) AS runs, (SELECT started_utc FROM run ORDER BY id DESC LIMIT 1) AS newest"
    )[0]
    newest = row["newest"]
    return Counts(_int(row["devices"]), _int(row["models"]), _int(row["runs"]), None if newest is None else str(newest))


def newest_run(store: Store) -> int | None:
    """The number of the newest run; None in an empty store."""
    newest = store.select("SELECT max(id) AS newest FROM run")[0]["newest"]
    return None if newest is None else _int(newest)


def devices(store: Store, limit: int = 100) -> list[Row]:
    """Name, kind, ISA, clock, memory, runs, models and newest run of each device, the last used first."""
    return store.select(
        "SELECT name AS device, kind, device.isa, clock_hz, ram_bytes, flash_bytes, used.runs, used.models,"
        " run.started_utc AS newest FROM device JOIN (SELECT device, count(*) AS runs,"
        " count(DISTINCT model) AS models, max(id) AS newest FROM run GROUP BY device) AS used"
        " ON used.device = device.id JOIN run ON run.id = used.newest ORDER BY used.newest DESC LIMIT ?",
        limit,
    )


def recent(store: Store, limit: int = 20) -> list[Row]:
    """The newest runs as `Store.runs` gives them, each with its `values`."""
    return [run | {"values": store.values(_int(run["run_id"]))} for run in store.runs(limit=limit)]


def timings(store: Store, run: int) -> Timings | None:
    """The timings of a run in the store's unit (nanoseconds, or instructions on a simulator); None without any."""
    row = store.select("SELECT count(*) AS n, min(ns) AS low, max(ns) AS high FROM sample WHERE run = ?", run)[0]
    n = _int(row["n"])
    if not n:
        return None
    low, largest = _int(row["low"]), _int(row["high"])
    edge_sql = "SELECT ns FROM sample WHERE run = ? ORDER BY ns LIMIT 1 OFFSET ?"
    edge = _int(store.select(edge_sql, run, int(DRAWN_SHARE * (n - 1)))[0]["ns"])
    width = max((edge - low) / BINS, 1.0)
    binned = store.select(
        "SELECT min(CAST((ns - ?2) / ?3 AS INTEGER), ?5) AS bin, count(*) AS n FROM sample"
        " WHERE run = ?1 AND ns <= ?4 GROUP BY bin ORDER BY bin",
        run,
        low,
        width,
        edge,
        BINS - 1,
    )
    bins = tuple((low + _int(b["bin"]) * width, low + (_int(b["bin"]) + 1) * width, _int(b["n"])) for b in binned)
    stretches = store.select(
        "SELECT min(i) AS first, avg(ns) AS mean, min(ns) AS low, max(ns) AS high FROM sample WHERE run = ?"
        " GROUP BY i / ? ORDER BY first",
        run,
        -(-n // DRAWN_STEPS),
    )
    course = tuple((_int(s["first"]), float(str(s["mean"])), _int(s["low"]), _int(s["high"])) for s in stretches)
    return Timings(n, bins, course, n - sum(count for *_, count in bins), largest)


def _int(value: object) -> int:
    """A number of the store that the schema keeps an integer."""
    if not isinstance(value, int):
        raise TypeError(f"expected an integer of the store, got {value!r}")
    return value
