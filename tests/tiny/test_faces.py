"""One promise each: the command answers, a number keeps its label, a statistic is right."""

from pathlib import Path

import pytest


def test_the_command_answers(capsys: pytest.CaptureFixture[str]) -> None:
    from edgeq import cli

    assert cli.run(["--help"]) == 0
    assert "deploy" in capsys.readouterr().out


def test_a_number_keeps_its_label(tmp_path: Path) -> None:
    from edgeq.results import DeviceRecord, ModelRecord, Provenance, RunRecord, Store, Value

    run = RunRecord(
        device=DeviceRecord("local", "host", "avx2"),
        model=ModelRecord("net", "1", "0" * 64, "binary", 1),
        verb="bench",
        backend="edgeq-agent",
        target="executorch",
        isa="avx2",
        threads=1,
        started_utc="2026-01-01T00:00:00Z",
        warmup=3,
        n=20,
        provenance=Provenance("0"),
        values=[Value("latency_p50", 1.0, "ms", "measured", "clock")],
    )
    with Store.open(tmp_path / "results.db") as store:
        (value,) = store.values(store.add_run(run))
    assert (value["value"], value["unit"], value["source"]) == (1.0, "ms", "measured")


def test_a_median_is_a_median() -> None:
    from edgeq.bench.latency import summarise

    assert summarise([3_000_000, 1_000_000, 2_000_000], warmup=0).p50_ms == 2.0
