"""Figures of a benchmark in EdgeQ's results store, each peer's beside ours, all from the same rounds."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from edgeq.results import DeviceRecord, ModelRecord, Provenance, RunRecord, Store, Value

from . import _core
from .harness import Row


def keep(name: str, rows: Sequence[Row]) -> None:
    """One run a row."""
    started = datetime.now(UTC).isoformat(timespec="seconds")
    with Store.open() as store:
        for row in rows:
            store.add_run(_record(name, row, started))


def _record(name: str, row: Row, started: str) -> RunRecord:
    file = row.extra.get("artefact_sha256"), row.extra.get("artefact_bytes")
    core = _core.library()
    sha256, size = file if all(file) else (hashlib.sha256(core).hexdigest(), len(core))
    rounds = row.conditions["rounds"]
    versions = dict(row.conditions["versions"])
    return RunRecord(
        device=DeviceRecord(name="benchmarks", kind="host", isa=row.isa, facts=dict(row.conditions)),
        model=ModelRecord(
            name=f"benchmark/{name}/{row.work}/{row.shape}",
            revision="",
            sha256=str(sha256),
            scheme="binary",
            size_bytes=int(str(size)),
        ),
        verb="bench",
        backend=row.work,
        target="executorch" if all(file) else "core",
        isa=row.isa,
        threads=row.threads,
        started_utc=started,
        warmup=int(str(row.conditions["untimed_calls"])),
        n=int(str(rounds)),
        provenance=Provenance(
            edgeq_version=str(versions.get("edgeq", "")),
            host=dict(row.conditions),
            warnings=() if row.conditions.get("idle") else ("other programs shared the machine",),
        ),
        values=list(_values(row)),
        samples_ns=[max(1, round(ns)) for ns in row.samples_ns],
    )


def _values(row: Row) -> Iterator[Value]:
    method = f"interleaved, {row.conditions['clock']}, {row.conditions['caches']} caches"
    rounds, untimed = int(str(row.conditions["rounds"])), int(str(row.conditions["untimed_calls"]))

    def value(metric: str, number: float, unit: str, source: str) -> Value:
        return Value(metric, number, unit, source, method, n=rounds, warmup=untimed)

    yield value("latency_p50", row.ours_us / 1e3, "ms", "measured")
    yield value("latency_min", row.ours_min_us / 1e3, "ms", "measured")
    for peer, us in row.peers.items():
        yield value(f"latency_p50 of {peer}", us / 1e3, "ms", "measured")
    if row.ratio_to_best is not None:
        yield value("ratio_to_best_peer", row.ratio_to_best, "x", "estimated")  # computed from two measured numbers
    if row.roofline_share is not None:
        yield value("roofline_share", row.roofline_share, "1", "estimated")
