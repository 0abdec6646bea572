"""Runs to put into a store, and a way to make many of them."""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from edgeq.results import DeviceRecord, Layer, ModelRecord, Provenance, RunRecord, Value

LAPTOP = DeviceRecord("laptop", "host", "x86_avx2", clock_hz=3_000_000_000, ram_bytes=8 << 30, facts={"cores": 2})
MCU = DeviceRecord("simulated-m4", "mcu", "armv7em", clock_hz=64_000_000, ram_bytes=256 << 10, flash_bytes=1 << 20)
RUN = RunRecord(
    device=LAPTOP,
    model=ModelRecord("net-a", "1", "ab" * 32, "binary", 84_000),
    verb="deploy",
    backend="edgeq-runner",
    target="executorch",
    isa="x86_avx2",
    threads=1,
    started_utc="2026-01-01T00:00:00Z",
    warmup=10,
    n=100,
    provenance=Provenance("0.1.0", "c0ffee", package_sha256="cd" * 32, signature="trusted", signed_by="edgeq"),
    values=(
        Value("latency_p50", 1.5, "ms", "measured", "monotonic clock", n=100, warmup=10, low=1.4, high=1.6),
        Value("latency_p99", 2.5, "ms", "measured", "monotonic clock", n=100, warmup=10),
        Value("model_size", 84_000, "B", "measured", "size of the deployed file"),
        Value("top1", 90.0, "%", "measured", "top-1 of the deployed file", n=1000, low=88.0, high=91.7),
        Value("energy", 9.0, "mJ", "estimated", "6 W x 1.5 ms", scope="model", low=4.0, high=14.0),
    ),
    samples_ns=(*range(1_400_000, 1_600_000, 2_000), 9_000_000),
    layers=(
        Layer("conv0", "edgeq::conv2d_b1b1", 700_000, macs=1_000),
        Layer("head", "linear", 100),
        Layer("view", "view", None),
    ),
    dataset="fashion-mnist",
    split="test",
    items=1000,
)


def another(
    *,
    model: str | None = None,
    byte: int | None = None,
    values: Iterable[Value] = (),
    drop: Iterable[str] = (),
    **fields: object,
) -> RunRecord:
    """RUN with another model (its hash is `byte` repeated), values replaced by metric and source, and other fields."""
    new = {(v.metric, v.source): v for v in RUN.values if v.metric not in set(drop)}
    new |= {(v.metric, v.source): v for v in values}
    named = RUN.model if model is None else replace(RUN.model, name=model)
    hashed = named if byte is None else replace(named, sha256=f"{byte:02x}" * 32)
    return replace(RUN, model=hashed, values=tuple(new.values()), **fields)


SIMULATED = another(
    device=MCU,
    isa="armv7em",
    values=(Value("instructions", 5_000_000, "1", "simulated", "median of the simulator's instruction counts"),),
    drop=("latency_p50", "latency_p99", "energy"),
    samples_ns=(5_000_000,) * 3,
)
METERED = another(
    model="net-b",
    byte=0xEF,
    values=(
        Value("latency_p50", 3.0, "ms", "measured", "monotonic clock", n=100, warmup=10, low=2.9, high=3.1),
        Value("top1", 93.0, "%", "measured", "top-1 of the deployed file", n=1000, low=91.2, high=94.4),
        Value("energy", 20.0, "mJ", "measured", "rapl", n=100, scope="package", low=19.0, high=21.0),
    ),
    drop=("energy",),
)
MIXED = (RUN, METERED, SIMULATED)


def copy_runs(path: Path, copies: int) -> None:
    """Repeat every run of a store `copies` times, each value a little larger than the one before."""
    with closing(sqlite3.connect(path)) as db, db:
        base = db.execute("SELECT max(id) FROM run").fetchone()[0]
        counting = f"WITH RECURSIVE k(k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM k WHERE k < {copies})"
        for table, key in (("run", "id"), ("value", "run"), ("sample", "run"), ("layer", "run")):
            columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
            new = {key: f"{key} + k * {base}", "value": f"value * (1 + 0.01 * k / {copies})"}
            chosen = ", ".join(new.get(name, name) for name in columns)
            db.execute(f"INSERT INTO {table} ({', '.join(columns)}) {counting} SELECT {chosen} FROM {table}, k")
