"""The results store: what it refuses, what survives, what migrates."""

import multiprocessing
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from edgeq import _schema
from edgeq._errors import StoreError, UsageError
from edgeq.results import (
    DeviceRecord,
    Layer,
    ModelRecord,
    Provenance,
    RunRecord,
    Series,
    Store,
    Value,
)

RUN = RunRecord(
    device=DeviceRecord("local", "host", "x86_avx2", ram_bytes=8 << 30, facts={"cores": 2}),
    model=ModelRecord("net", "1", "ab" * 32, "binary", 84_000),
    verb="bench",
    backend="edgeq-runner",
    target="executorch",
    isa="x86_avx2",
    threads=1,
    started_utc="2026-01-01T00:00:00Z",
    warmup=3,
    n=4,
    provenance=Provenance("0.1.0", "c0ffee", package_sha256="cd" * 32, signature="trusted", host={"os": "x"}),
    values=(
        Value("latency_p50", 1.5, "ms", "measured", "monotonic clock", n=4, warmup=3, low=1.4, high=1.6),
        Value("energy", 9.0, "mJ", "estimated", "6 W x 1.5 ms", scope="model"),
    ),
    samples_ns=(1_600_000, 1_400_000, 1_500_000, 1_500_000),
    layers=(Layer("conv0", "edgeq::conv2d_b1b1", 700_000, macs=1_000), Layer("head", "linear", 100)),
    dataset="fashion-mnist",
    split="test",
    items=10,
    series=(Series("temperature", "degC", "s", "measured", ((0.0, 40.0), (0.5, 41.5))),),
    details={"note": "by hand"},
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "results.sqlite"


def test_a_run_comes_back_whole(path: Path) -> None:
    with Store.open(path) as store:
        run_id = store.add_run(RUN)
    with Store.open(path, readonly=True) as store:
        run = store.run(run_id)
        assert store.samples(run_id) == list(RUN.samples_ns)
    assert (run["device"], run["model"], run["signature"]) == ("local", "net", "trusted")
    assert run["host"] == {"os": "x"} and run["device_facts"] == {"cores": 2}
    assert run["artefact_sha256"] == "ab" * 32
    energy, latency = run["values"]
    assert (energy["source"], energy["scope"]) == ("estimated", "model")
    assert (latency["value"], latency["unit"], latency["n"], latency["low"]) == (1.5, "ms", 4, 1.4)
    assert [layer["name"] for layer in run["layers"]] == ["conv0", "head"]
    assert run["details"] == {"note": "by hand"}
    (curve,) = run["series"]
    assert (curve["name"], curve["unit"], curve["points"]) == ("temperature", "degC", [(0.0, 40.0), (0.5, 41.5)])


def test_device_and_model_rows_are_shared_and_other_bytes_are_another_model(path: Path) -> None:
    with Store.open(path) as store:
        store.add_run(RUN)
        store.add_run(replace(RUN, model=replace(RUN.model, sha256="ef" * 32)))
        store.add_run(replace(RUN, device=replace(RUN.device, isa="x86_avx512")))
        assert len(store.runs()) == 3
        assert len(store.runs(model="net", device="local", limit=2)) == 2
        assert store.runs(model="other") == []
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT count(*), max(isa) FROM device").fetchone() == (1, "x86_avx512")
        assert db.execute("SELECT count(*) FROM model").fetchone() == (2,)
    db.close()


@pytest.mark.parametrize(
    "bad",
    [
        replace(RUN, values=(replace(RUN.values[0], source="guessed"),)),
        replace(RUN, values=(replace(RUN.values[0], unit=""),)),
        replace(RUN, values=(replace(RUN.values[0], method=""),)),
        replace(RUN, values=(replace(RUN.values[1], scope=None),)),
        replace(RUN, values=(RUN.values[0], RUN.values[0])),
        replace(RUN, device=replace(RUN.device, kind="toaster")),
        replace(RUN, model=replace(RUN.model, scheme="float7")),
        replace(RUN, model=replace(RUN.model, sha256="AB" * 32)),
        replace(RUN, verb="guess"),
        replace(RUN, series=(replace(RUN.series[0], unit=""),)),
        replace(RUN, provenance=replace(RUN.provenance, signature="maybe")),
        replace(RUN, layers=(replace(RUN.layers[0], source="hoped"),)),
    ],
    ids=[
        "source",
        "unit",
        "method",
        "energy scope",
        "same metric twice",
        "device kind",
        "scheme",
        "sha256",
        "verb",
        "curve without unit",
        "signature",
        "layer source",
    ],
)
def test_an_unlabelled_number_is_refused_and_nothing_of_the_run_stays(path: Path, bad: RunRecord) -> None:
    with Store.open(path) as store:
        with pytest.raises(StoreError, match=r"refused: .*constraint failed"):
            store.add_run(bad)
        assert store.run_ids() == []
        assert store.add_run(RUN) == 1


def version_1(path: Path) -> None:
    """A file as the first schema made it, with one measured latency and one estimated energy."""
    path.parent.mkdir(parents=True, exist_ok=True)
    db = sqlite3.connect(path)
    for statement in _schema.MIGRATIONS[0]:
        db.execute(statement)
    db.execute("INSERT INTO device(name, kind, isa) VALUES ('old', 'mcu', 'armv7e-m')")
    db.execute(f"INSERT INTO model VALUES (7, 'net', 'r1', '{'0' * 64}', 'int4', 10)")
    db.execute(
        "INSERT INTO run(id, device, model, backend, threads, started_utc, edgeq_commit, warmup, n)"
        " VALUES (5, 1, 7, 'edgeq', 1, '2025-01-01T00:00:00Z', 'abc', 3, 20)"
    )
    db.execute("INSERT INTO value VALUES (5, 'latency_p50', 2.5, 'ms', 'measured', 'clock')")
    db.execute("INSERT INTO value VALUES (5, 'energy', 1.0, 'mJ', 'estimated', 'model')")
    db.executemany("INSERT INTO sample VALUES (5, ?, ?)", [(0, 10), (1, 11)])
    db.execute("PRAGMA user_version=1")
    db.commit()
    db.close()


def test_an_older_schema_migrates_and_keeps_its_rows(path: Path) -> None:
    version_1(path)
    with pytest.raises(StoreError, match="schema 1, this EdgeQ reads 3"):
        Store.open(path, readonly=True)
    with Store.open(path) as store:
        assert store.set_aside is None
        run = store.run(5)
        assert store.samples(5) == [10, 11]
        assert (run["device"], run["model"], run["isa"], run["verb"]) == ("old", "net", "armv7e-m", "bench")
        by_metric = {v["metric"]: v for v in run["values"]}
        assert by_metric["latency_p50"]["n"] == 20
        assert by_metric["energy"]["scope"] == "model"
        assert store.add_run(RUN) == 6
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (_schema.VERSION,)
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
    db.close()


def test_the_second_schema_migrates_with_values_samples_and_layers(path: Path) -> None:
    version_1(path)
    db = sqlite3.connect(path)
    for statement in _schema.MIGRATIONS[1]:
        db.execute(statement)
    db.execute("UPDATE run SET verb = 'profile', warnings = '[\"busy\"]'")
    db.execute("INSERT INTO layer VALUES (5, 0, 'conv0', 'conv', 9, NULL, NULL, 'measured')")
    db.execute("PRAGMA user_version=2")
    db.commit()
    db.close()
    with Store.open(path) as store:
        run = store.run(5)
        assert (run["verb"], run["warnings"], run["details"], run["series"]) == ("profile", ["busy"], {}, [])
        assert (len(store.values(5)), store.samples(5), len(store.layers(5))) == (2, [10, 11], 1)
        assert store.add_run(replace(RUN, verb="finetune")) == 6


def test_a_failed_migration_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    version_1(path)
    broken = (_schema.MIGRATIONS[0], (*_schema.MIGRATIONS[1][:3], "SELECT * FROM nowhere"))
    monkeypatch.setattr(_schema, "MIGRATIONS", broken)
    with pytest.raises(StoreError, match="nowhere"):
        Store.open(path)
    monkeypatch.undo()
    with Store.open(path) as store:
        assert store.run_ids() == [5]


@pytest.mark.parametrize("damage", ["text", "half"])
def test_a_damaged_file_is_moved_aside_not_deleted(path: Path, damage: str) -> None:
    if damage == "text":
        path.parent.mkdir(parents=True)
        path.write_bytes(b"these are not the rows you are looking for " * 50)
    else:
        with Store.open(path) as store:
            store.add_run(replace(RUN, samples_ns=range(20_000)))
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    before = path.read_bytes()
    with Store.open(path) as store:
        assert store.set_aside is not None and store.set_aside.read_bytes() == before
        assert store.add_run(RUN) == 1


def test_a_newer_schema_and_a_foreign_file_are_left_alone(tmp_path: Path) -> None:
    newer, foreign = tmp_path / "newer", tmp_path / "foreign"
    for file, sql in ((newer, "PRAGMA user_version=99"), (foreign, "CREATE TABLE photos (id)")):
        db = sqlite3.connect(file)
        db.execute(sql)
        db.commit()
        db.close()
    with pytest.raises(StoreError, match=r"newer EdgeQ \(schema 99"):
        Store.open(newer)
    with pytest.raises(StoreError, match="another program"):
        Store.open(foreign)
    assert newer.exists() and foreign.exists()


def test_missing_file_and_unwritable_folder_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no results yet; run `edgeq bench"):
        Store.open(tmp_path / "none", readonly=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot make the folder"):
        Store.open(tmp_path / "file" / "results.sqlite")


def _write_ten(path: Path) -> None:
    with Store.open(path) as store:
        for _ in range(10):
            store.add_run(RUN)


def test_eight_processes_write_at_once_and_lose_nothing(path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_ten, args=(path,)) for _ in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0] * 8
    with Store.open(path) as store:
        assert store.run_ids() == list(range(1, 81))
        assert all(len(store.samples(i)) == 4 for i in (1, 80))


def test_runs_by_the_names_that_a_user_gives(path: Path) -> None:
    with Store.open(path) as store:
        with pytest.raises(UsageError, match="has no runs yet"):
            store.named(["last"])
        for _ in range(3):
            store.add_run(RUN)
        assert store.named(["last"]) == [3] and store.named(["last:2", "1", "3"]) == [2, 3, 1]
        with pytest.raises(UsageError, match="'first' is no run"):
            store.named(["first"])
