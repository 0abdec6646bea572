"""The results store: one SQLite file in which every number keeps its label.

Eight tables (SQL in `_schema.py`): device, model, run, value, sample, layer, series, point. A value carries metric,
unit, source (`measured`, `simulated`, `estimated`), method, n and warm-up; a run carries what repeating it needs.
Several processes may write at once (WAL, immediate transactions, a busy timeout). A file that is damaged is
moved aside, never deleted; a file of an older schema is migrated in one transaction.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from edgeq import _paths, _schema
from edgeq._errors import StoreError, UsageError

BUSY_TIMEOUT_S = 20.0
CHECKED_BYTES = 64 << 20  # a larger file is not read through at every open
Row = dict[str, object]


@dataclass(frozen=True)
class DeviceRecord:
    """Where a run took place. kind: host, phone, board, mcu or browser; `facts` is free JSON."""

    name: str
    kind: str
    isa: str
    clock_hz: int | None = None
    ram_bytes: int | None = None
    flash_bytes: int | None = None
    facts: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelRecord:
    """What ran: name and revision of the package, sha256 and size of the deployed file, weight scheme."""

    name: str
    revision: str
    sha256: str
    scheme: str
    size_bytes: int


@dataclass(frozen=True)
class Value:
    """One number with its label. `low`..`high` is a 95 % interval; `scope` belongs to energy."""

    metric: str
    value: float
    unit: str
    source: str
    method: str
    n: int | None = None
    warmup: int | None = None
    low: float | None = None
    high: float | None = None
    scope: str | None = None


@dataclass(frozen=True)
class Layer:
    """One operator of a profiled run; ns is the median of its executions."""

    name: str
    op: str
    ns: int | None
    macs: int | None = None
    bytes: int | None = None
    source: str = "measured"


@dataclass(frozen=True)
class Series:
    """A curve of a run: `points` are (x, value), e.g. temperature over seconds. A run has one of a name."""

    name: str
    unit: str
    x_unit: str
    source: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Provenance:
    """What produced the run. signature: trusted, untrusted or unsigned; None when no package was involved."""

    edgeq_version: str
    edgeq_commit: str = ""
    package_sha256: str | None = None
    package_commit: str | None = None
    signature: str | None = None
    signed_by: str | None = None
    temp_start_c: float | None = None
    temp_end_c: float | None = None
    freq_start_hz: int | None = None
    freq_end_hz: int | None = None
    host: Mapping[str, object] = field(default_factory=dict)
    warnings: Sequence[str] = ()


@dataclass(frozen=True)
class RunRecord:
    """One call of a measuring verb, complete.

    isa      what the kernels used, e.g. "x86_avx512"
    details  free JSON of the verb, e.g. what a fine-tuning did
    """

    device: DeviceRecord
    model: ModelRecord
    verb: str
    backend: str
    target: str
    isa: str
    threads: int
    started_utc: str
    warmup: int
    n: int
    provenance: Provenance
    values: Sequence[Value] = ()
    samples_ns: Sequence[int] = ()
    layers: Sequence[Layer] = ()
    dataset: str | None = None
    split: str | None = None
    items: int | None = None
    series: Sequence[Series] = ()
    details: Mapping[str, object] = field(default_factory=dict)


class Store:
    """The open store. Use `Store.open()`; it is a context manager.

    set_aside   where a damaged file was moved when this one was opened, else None
    """

    def __init__(self, db: sqlite3.Connection, path: Path, *, set_aside: Path | None = None) -> None:
        self.path = path
        self.set_aside = set_aside
        self._db = db

    @classmethod
    def open(cls, path: Path | None = None, *, readonly: bool = False) -> Self:
        """Open the store, make or migrate it when needed.

        path      the file; None takes `default_path()`
        readonly  never touches the file; it must exist and have the current schema
        raises    StoreError: no access, another program's file, a newer schema, no such file (readonly)
        """
        path = default_path() if path is None else Path(path)
        if readonly:
            return cls(_open_readonly(path), path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{path.parent}: cannot make the folder of the results store: {error}") from None
        try:
            return cls(_open(path), path)
        except sqlite3.OperationalError as error:
            raise StoreError(f"{path}: cannot open the results store: {error}") from None
        except sqlite3.DatabaseError:
            aside = _set_aside(path)
        return cls(_open(path), path, set_aside=aside)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._db.close()

    def add_run(self, run: RunRecord) -> int:
        """Write a run with all its values, samples, layers and curves in one transaction; give back its id.

        raises  StoreError naming the rule when a value breaks one (unknown source, empty unit, bad hash)
        """
        try:
            with _transaction(self._db):
                return _insert_run(self._db, run)
        except sqlite3.IntegrityError as error:
            raise StoreError(f"run of {run.model.name} on {run.device.name} refused: {error}") from None
        except sqlite3.DatabaseError as error:
            raise StoreError(f"{self.path}: cannot write the run: {error}") from None

    def run_ids(self) -> list[int]:
        """Every run, oldest first."""
        return [i for row in self.select("SELECT id AS i FROM run ORDER BY id") if isinstance(i := row["i"], int)]

    def named(self, words: Sequence[str]) -> list[int]:
        """Runs as a user names them: numbers, "last", "last:N". Raises UsageError for anything else, or for none."""
        found: list[int] = []
        for word in words:
            last, _, count = word.partition(":")
            if word.isascii() and word.isdecimal() and len(word) < 16:
                found.append(int(word))
            elif last == "last" and (not count or (count.isascii() and count.isdecimal() and len(count) < 9)):
                newest = self.select("SELECT id AS i FROM run ORDER BY id DESC LIMIT ?", int(count or 1))
                found += [i for row in reversed(newest) if isinstance(i := row["i"], int)]
            else:
                raise UsageError(f'{word!r} is no run: give numbers, "last" or "last:N"')
        if not found:
            raise UsageError(f"{self.path}: has no runs yet; `edgeq bench MODEL` makes one")
        return list(dict.fromkeys(found))

    def runs(
        self, *, model: str | None = None, device: str | None = None, verb: str | None = None, limit: int = 100
    ) -> list[Row]:
        """The newest runs first, each as a flat dictionary of its columns with device and model names."""
        return self.select(
            _RUNS + " WHERE (?1 IS NULL OR model.name = ?1) AND (?2 IS NULL OR device.name = ?2)"
            " AND (?3 IS NULL OR run.verb = ?3) ORDER BY run.id DESC LIMIT ?4",
            model,
            device,
            verb,
            limit,
        )

    def run(self, run_id: int) -> Row:
        """One run with its `values`, `layers` and `series`; StoreError when there is none."""
        rows = self.select(_RUNS + " WHERE run.id = ?", run_id)
        if not rows:
            raise StoreError(f"{self.path}: no run {run_id}")
        curves = [asdict(curve) for curve in self.series(run_id)]
        return rows[0] | {"values": self.values(run_id), "layers": self.layers(run_id), "series": curves}

    def values(self, run_id: int) -> list[Row]:
        return self.select(f"SELECT {_VALUE} FROM value WHERE run = ? ORDER BY metric, source", run_id)

    def layers(self, run_id: int) -> list[Row]:
        return self.select("SELECT name, op, ns, macs, bytes, source FROM layer WHERE run = ? ORDER BY i", run_id)

    def samples(self, run_id: int) -> list[int]:
        """Raw timings in nanoseconds, in the order they were taken."""
        rows = self.select("SELECT ns FROM sample WHERE run = ? ORDER BY i", run_id)
        return [ns for row in rows if isinstance(ns := row["ns"], int)]

    def series(self, run_id: int) -> list[Series]:
        """The curves of a run, by name."""
        heads = self.select(
            "SELECT id AS i, name, unit, x_unit, source FROM series WHERE run = ? ORDER BY name", run_id
        )
        found = []
        for head in heads:
            rows = self.select("SELECT x, value FROM point WHERE series = ? ORDER BY i", head["i"])
            points = [(float(str(row["x"])), float(str(row["value"]))) for row in rows]
            name, unit, x_unit, source = (str(head[key]) for key in ("name", "unit", "x_unit", "source"))
            found.append(Series(name, unit, x_unit, source, points))
        return found

    def select(self, sql: str, *args: object) -> list[Row]:
        """The rows of one SELECT, for views that aggregate. Raises StoreError when the file cannot be read."""
        try:
            return [_decode(row) for row in self._db.execute(sql, args)]
        except sqlite3.DatabaseError as error:
            raise StoreError(f"{self.path}: cannot read: {error}") from None


def default_path() -> Path:
    """EDGEQ_DB, else the store in EdgeQ's home folder."""
    return Path(chosen) if (chosen := os.environ.get("EDGEQ_DB")) else _paths.store()


_VALUE = "metric, value, unit, source, method, value.n, value.warmup, low, high, scope"
_RUNS = (
    "SELECT run.id AS run_id, run.*, device.name AS device, device.kind AS device_kind,"
    " device.facts AS device_facts, model.name AS model, model.revision, model.scheme, model.size_bytes,"
    " model.sha256 AS artefact_sha256"
    " FROM run JOIN device ON device.id = run.device JOIN model ON model.id = run.model"
)
_JSON_COLUMNS = ("host", "warnings", "device_facts", "details")


def _decode(row: sqlite3.Row) -> Row:
    """The row as a dictionary; of two columns with one name the later one stays (a name instead of an id)."""
    record = dict(zip(row.keys(), tuple(row), strict=True))
    record.pop("id", None)
    return {k: json.loads(v) if k in _JSON_COLUMNS else v for k, v in record.items()}


def _connect(target: str, *, uri: bool = False) -> sqlite3.Connection:
    db = sqlite3.connect(target, uri=uri, timeout=BUSY_TIMEOUT_S, isolation_level=None)
    db.row_factory = sqlite3.Row
    return db


def _open_readonly(path: Path) -> sqlite3.Connection:
    if not path.is_file():
        raise StoreError(f"{path}: no results yet; run `edgeq bench MODEL` first")
    db = _connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
    try:
        version = _version(db)
    except sqlite3.DatabaseError as error:
        db.close()
        raise StoreError(f"{path}: not a readable results store: {error}") from None
    if version != _schema.VERSION:
        db.close()
        raise StoreError(
            f"{path}: schema {version}, this EdgeQ reads {_schema.VERSION}; "
            + ("upgrade EdgeQ" if version > _schema.VERSION else "any `edgeq bench` migrates it")
        )
    return db


def _open(path: Path) -> sqlite3.Connection:
    db = _connect(str(path))
    try:
        if path.stat().st_size <= CHECKED_BYTES:
            _check(db)
        _use_wal(db)
        _migrate(db, path)
        db.execute("PRAGMA foreign_keys=ON")
    except BaseException:
        db.close()
        raise
    return db


def _check(db: sqlite3.Connection) -> None:
    verdict = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        raise sqlite3.DatabaseError(verdict)


def _use_wal(db: sqlite3.Connection) -> None:
    """Switch to WAL; SQLite does not apply the busy timeout to this switch, so wait for it here."""
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            db.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.005)


def _migrate(db: sqlite3.Connection, path: Path) -> None:
    if _version(db) == _schema.VERSION:
        return
    db.execute("PRAGMA foreign_keys=OFF")  # a migration rebuilds tables that others refer to
    with _transaction(db):
        version = _version(db)  # again: another process may have migrated while this one waited
        if version > _schema.VERSION:
            raise StoreError(
                f"{path}: written by a newer EdgeQ (schema {version}, not {_schema.VERSION}); upgrade EdgeQ"
            )
        if version == 0 and db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            raise StoreError(f"{path}: an SQLite file of another program; give another path in EDGEQ_DB")
        for step in _schema.MIGRATIONS[version:]:
            for statement in step:
                db.execute(statement)
        broken = db.execute("PRAGMA foreign_key_check").fetchone()
        if broken:
            raise StoreError(f"{path}: a row of table {broken[0]} refers to nothing; the file was left as it was")
        db.execute(f"PRAGMA user_version={_schema.VERSION}")


def _version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Take the write lock at once, so that two writers wait for each other instead of failing half-way."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def _set_aside(path: Path) -> Path:
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    aside, i = path.with_name(f"{path.name}.damaged-{stamp}"), 0
    while aside.exists():
        i += 1
        aside = path.with_name(f"{path.name}.damaged-{stamp}-{i}")
    try:
        path.rename(aside)
        for suffix in ("-wal", "-shm"):
            part = path.with_name(path.name + suffix)
            if part.exists():
                part.rename(aside.with_name(aside.name + suffix))
    except OSError as error:
        raise StoreError(f"{path}: damaged, and it cannot be moved aside: {error}") from None
    return aside


def _insert_run(db: sqlite3.Connection, run: RunRecord) -> int:
    made = run.provenance
    row = {
        "device": _device_id(db, run.device),
        "model": _model_id(db, run.model),
        "verb": run.verb,
        "backend": run.backend,
        "target": run.target,
        "isa": run.isa,
        "threads": run.threads,
        "started_utc": run.started_utc,
        "warmup": run.warmup,
        "n": run.n,
        "dataset": run.dataset,
        "split": run.split,
        "items": run.items,
        **asdict(made),
        "host": json.dumps(dict(made.host), sort_keys=True),
        "warnings": json.dumps(list(made.warnings)),
        "details": json.dumps(dict(run.details), sort_keys=True),
    }
    run_id = _insert(db, "run", row)
    for value in run.values:
        _insert(db, "value", {"run": run_id, **asdict(value)})
    db.executemany("INSERT INTO sample VALUES (?,?,?)", [(run_id, i, int(ns)) for i, ns in enumerate(run.samples_ns)])
    for i, layer in enumerate(run.layers):
        _insert(db, "layer", {"run": run_id, "i": i, **asdict(layer)})
    for curve in run.series:
        head = {"run": run_id, "name": curve.name, "unit": curve.unit, "x_unit": curve.x_unit, "source": curve.source}
        series_id = _insert(db, "series", head)
        rows = [(series_id, i, float(x), float(value)) for i, (x, value) in enumerate(curve.points)]
        db.executemany("INSERT INTO point VALUES (?,?,?,?)", rows)
    return run_id


def _device_id(db: sqlite3.Connection, device: DeviceRecord) -> int:
    """A device is known by its name; what it says about itself now replaces what it said before."""
    row = {**asdict(device), "facts": json.dumps(dict(device.facts), sort_keys=True)}
    update = ", ".join(f"{c} = excluded.{c}" for c in row if c != "name")
    return _insert(db, "device", row, f"ON CONFLICT (name) DO UPDATE SET {update}")


def _model_id(db: sqlite3.Connection, model: ModelRecord) -> int:
    """The same name, revision and bytes are one row; other bytes are another."""
    return _insert(
        db,
        "model",
        asdict(model),
        "ON CONFLICT (name, revision, sha256) DO UPDATE SET scheme = excluded.scheme",
    )


def _insert(db: sqlite3.Connection, table: str, row: Mapping[str, object], conflict: str = "") -> int:
    columns, marks = ", ".join(row), ", ".join("?" * len(row))
    returning = "run" if table in ("value", "layer") else "id"
    sql = f"INSERT INTO {table} ({columns}) VALUES ({marks}) {conflict} RETURNING {returning}"
    return int(db.execute(sql, tuple(row.values())).fetchone()[0])
