"""Stored runs in the forms that others read: JSON, CSV, Parquet, MLPerf-Tiny-style results, metadata of a Hub card.

Every form keeps the source of each number. An MLPerf-Tiny-style result names its protocol and says that it is none of
MLCommons' submissions; estimated joules get no place beside measured ones in it.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from edgeq._errors import UnsupportedError, UsageError
from edgeq.results import Row, Store

FORMATS = ("json", "csv", "parquet", "mlperf", "model-index")
PROTOCOL = "MLPerf Tiny protocol, own model; not a submission"
RUNS, MIN_SECONDS, MIN_ITERATIONS = 5, 10.0, 10
_VALUES = ("metric", "value", "unit", "source", "method", "n", "warmup", "low", "high", "scope")
_RUN = (
    "run_id",
    "started_utc",
    "verb",
    "device",
    "device_kind",
    "isa",
    "threads",
    "model",
    "revision",
    "scheme",
    "artefact_sha256",
    "backend",
    "target",
    "dataset",
    "split",
    "items",
)
_HUB_NAMES = {"top1": "accuracy"}


def write(store: Store, runs: Sequence[int], form: str, out: Path, *, samples: bool = False) -> int:
    """Write these runs to a file; return the number of records.

    form     one of FORMATS
    samples  raw timings too (json)
    raises   UsageError for another form, UnsupportedError without the library of a form, StoreError
    """
    if form not in FORMATS:
        raise UsageError(f"no export format {form!r}; there are: {', '.join(FORMATS)}")
    if form == "parquet":
        return _parquet(store, runs, out)
    text, count = {"json": _json, "csv": _csv, "mlperf": _mlperf, "model-index": _model_index}[form](
        store, runs, samples
    )
    out.write_text(text, encoding="utf-8")
    return count


def records(store: Store, runs: Sequence[int]) -> list[Row]:
    """One flat record per value, with what a reader needs to judge it."""
    found = []
    for number in runs:
        run = store.run(number)
        values = run["values"]
        assert isinstance(values, list)
        found += [{key: run[key] for key in _RUN} | {key: value[key] for key in _VALUES} for value in values]
    return found


def mlperf(run: Row, samples: Sequence[int]) -> dict[str, object]:
    """A run in the terms of the benchmark's three modes; a mode that was not measured is null.

    performance  throughput in inferences per second: the median of five stretches of the samples, as the benchmark
                 takes that of five runs; `meets_duration`: did each last the 10 s and 10 inferences that it asks for?
    """
    stored = run["values"]
    assert isinstance(stored, list)
    values: dict[tuple[str, str], Row] = {(str(v["metric"]), str(v["source"])): v for v in stored}
    top1 = next((v for (metric, _), v in values.items() if metric == "top1"), None)
    energy = values.get(("energy", "measured"))
    estimated = values.get(("energy", "estimated"))
    return {
        "protocol": PROTOCOL,
        "model": run["model"],
        "device": run["device"],
        "artefact_sha256": run["artefact_sha256"],
        "run_id": run["run_id"],
        "performance": _performance(samples) if run["device_kind"] != "mcu" or samples else None,
        "instructions": _number(values.get(("instructions", "simulated"))),
        "accuracy": top1
        and {"top1_percent": top1["value"], "items": top1["n"], "dataset": run["dataset"], "source": top1["source"]},
        "energy": energy and _energy(energy),
        "energy_estimated": estimated and _energy(estimated),
    }


def eval_results(run: Row) -> list[Any]:
    """The run's qualities and costs as `huggingface_hub.EvalResult`s; the metric's name carries device and source."""
    from huggingface_hub import EvalResult

    dataset = str(run["dataset"] or "none")
    where = f"{run['device']}, {run['isa']}, {run['threads']} thread(s)"
    values = run["values"]
    assert isinstance(values, list)
    return [
        EvalResult(
            task_type="other",
            dataset_type=dataset,
            dataset_name=dataset,
            dataset_split=None if run["split"] is None else str(run["split"]),
            metric_type=_HUB_NAMES.get(str(v["metric"]), f"{v['metric']}_{v['unit']}".replace("%", "percent")),
            metric_value=float(str(v["value"])),
            metric_name=f"{v['metric']} ({v['unit']}, {v['source']}, {where})",
            metric_args={key: v[key] for key in ("source", "n", "low", "high", "scope") if v[key] is not None},
        )
        for v in values
    ]


def _json(store: Store, runs: Sequence[int], samples: bool) -> tuple[str, int]:
    found = [store.run(number) | ({"samples_ns": store.samples(number)} if samples else {}) for number in runs]
    return json.dumps(found, ensure_ascii=False, sort_keys=True, indent=1) + "\n", len(found)


def _csv(store: Store, runs: Sequence[int], samples: bool) -> tuple[str, int]:
    found, text = records(store, runs), io.StringIO()
    writer = csv.DictWriter(text, fieldnames=[*_RUN, *_VALUES], lineterminator="\n")
    writer.writeheader()
    writer.writerows(found)
    return text.getvalue(), len(found)


def _mlperf(store: Store, runs: Sequence[int], samples: bool) -> tuple[str, int]:
    found = [mlperf(store.run(number), store.samples(number)) for number in runs]
    return json.dumps(found, ensure_ascii=False, indent=1) + "\n", len(found)


def _model_index(store: Store, runs: Sequence[int], samples: bool) -> tuple[str, int]:
    """The block at the top of a card, YAML; one model only."""
    from huggingface_hub import ModelCardData

    found = [store.run(number) for number in runs]
    names = {str(run["model"]) for run in found}
    if len(names) != 1:
        raise UsageError(f"a card is of one model, these runs are of {len(names)}: {', '.join(sorted(names))}")
    results = [result for run in found for result in eval_results(run)]
    data = ModelCardData(model_name=names.pop(), library_name="edgeq", eval_results=results)
    return f"---\n{data.to_yaml()}\n---\n", len(results)


def _parquet(store: Store, runs: Sequence[int], out: Path) -> int:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise UnsupportedError("Parquet needs pyarrow: pip install 'edgeq[dashboard]'") from None
    kinds = {"value": pyarrow.float64(), "low": pyarrow.float64(), "high": pyarrow.float64()}
    kinds |= dict.fromkeys(("run_id", "threads", "items", "n", "warmup"), pyarrow.int64())
    schema = pyarrow.schema([(name, kinds.get(name, pyarrow.string())) for name in (*_RUN, *_VALUES)])
    found = records(store, runs)
    parquet.write_table(pyarrow.Table.from_pylist(found, schema=schema), out)
    return len(found)


def _performance(samples: Sequence[int]) -> dict[str, object] | None:
    if len(samples) < RUNS * MIN_ITERATIONS:
        return None
    size = len(samples) // RUNS
    stretches = [samples[i * size : (i + 1) * size] for i in range(RUNS)]
    return {
        "throughput_per_s": median(1e9 * size / sum(stretch) for stretch in stretches),
        "latency_us": median(samples) / 1e3,
        "iterations": size,
        "runs": RUNS,
        "meets_duration": all(sum(stretch) >= MIN_SECONDS * 1e9 for stretch in stretches),
        "source": "measured",
    }


def _energy(value: Row) -> dict[str, object]:
    microjoules = 1e3 * float(str(value["value"]))
    return {"microjoules_per_inference": microjoules, "source": value["source"], "scope": value["scope"]}


def _number(value: Row | None) -> object:
    return None if value is None else value["value"]
