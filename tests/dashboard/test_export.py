"""Runs for other programs, and as one page: every number keeps its source wherever it goes."""

import csv
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from sample_runs import METERED, MIXED, RUN, another

from edgeq import cli
from edgeq._errors import StoreError, UsageError
from edgeq.bench import export
from edgeq.dashboard import report
from edgeq.results import Series, Store, Value


@pytest.fixture
def store(path, fill):
    """MIXED, and a run with a curve whose model has a name that would command a page."""
    warm = Series("temperature", "degC", "s", "measured", ((0.0, 40.0), (1.0, 41.0)))
    fill(*MIXED, another(model="<b>`x`|y", byte=9, series=(warm,)))
    with Store.open(path, readonly=True) as opened:
        yield opened


def test_json_and_csv(store, tmp_path):
    assert export.write(store, [1, 2], "json", tmp_path / "a.json", samples=True) == 2
    runs = json.loads((tmp_path / "a.json").read_text())
    assert runs[0]["samples_ns"] == list(RUN.samples_ns) and runs[1]["run_id"] == 2
    assert export.write(store, [1, 2, 3], "csv", tmp_path / "a.csv") == len(RUN.values) + len(METERED.values) + 3
    rows = list(csv.DictReader((tmp_path / "a.csv").read_text().splitlines()))
    energies = {row["source"] for row in rows if row["metric"] == "energy"}
    assert energies == {"measured", "estimated"} and {row["unit"] for row in rows} >= {"ms", "mJ", "%", "B"}
    with pytest.raises(UsageError, match="no export format 'xls'"):
        export.write(store, [1], "xls", tmp_path / "a.xls")
    with pytest.raises(StoreError, match="no run 99"):
        export.write(store, [99], "csv", tmp_path / "b.csv")


def test_parquet_comes_back_typed(store, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    count = export.write(store, [1, 3], "parquet", tmp_path / "a.parquet")
    table = parquet.read_table(tmp_path / "a.parquet")
    assert table.num_rows == count and str(table.schema.field("value").type) == "double"
    assert set(table.column("source").to_pylist()) == {"measured", "simulated", "estimated"}


def test_mlperf_style_never_mixes_estimated_joules_in(store):
    one = export.mlperf(store.run(1), store.samples(1))
    assert "not a submission" in one["protocol"] and one["energy"] is None
    assert one["energy_estimated"] == {"microjoules_per_inference": 9000.0, "source": "estimated", "scope": "model"}
    assert one["performance"]["iterations"] == 20 and one["performance"]["meets_duration"] is False
    assert 600 < one["performance"]["throughput_per_s"] < 720
    assert one["accuracy"]["top1_percent"] == 90.0
    metered = export.mlperf(store.run(2), ())
    assert metered["energy"]["source"] == "measured" and metered["energy_estimated"] is None
    assert metered["performance"] is None
    simulated = export.mlperf(store.run(3), ())
    assert (simulated["instructions"], simulated["performance"]) == (5_000_000, None)


def test_the_hub_reads_the_metadata_back(store, tmp_path):
    from huggingface_hub import ModelCard

    export.write(store, [1], "model-index", tmp_path / "card.md")
    results = ModelCard((tmp_path / "card.md").read_text()).data.eval_results
    by_type = {result.metric_type: result for result in results}
    assert by_type["accuracy"].metric_value == 90.0 and by_type["accuracy"].dataset_name == "fashion-mnist"
    assert "estimated" in by_type["energy_mJ"].metric_name
    assert by_type["energy_mJ"].metric_args["source"] == "estimated"
    with pytest.raises(UsageError, match="these runs are of 2: net-a, net-b"):
        export.write(store, [1, 2], "model-index", tmp_path / "card.md")


class Page(HTMLParser):
    """The tags of a page, and what they load."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.loads = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.loads += [value for name, value in attrs if name in ("src", "href", "srcset", "data")]


def test_a_report_is_one_page_that_loads_nothing(store):
    page = Page(text := report.html(store, [1, 2, 3, 4]))
    assert page.loads == [] and "script" not in page.tags and "link" not in page.tags and "b" not in page.tags
    assert page.tags.count("svg") >= 4  # timings, operators, curve, accuracy against time ...
    assert "&lt;b&gt;`x`|y" in text and "url(" not in text and "@import" not in text
    assert "▲ estimated" in text and "■ simulated" in text and "they cannot be compared" in text


def test_markdown_has_the_same_figures_and_no_broken_table(store):
    text = report.markdown(store, [1, 4])
    tables = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1
    assert "▲ estimated" in text and "Verdict" in text and "no difference" in text
    assert "\\<b\\>" in text


def test_a_report_of_one_simulated_run(store):
    text = report.markdown(store, [3])
    assert "Verdict" not in text and "instructions" in text.lower() and "latency, median" not in text.lower()


def test_the_verbs_write_files(store, tmp_path, capsys):
    assert cli.run(["report", "last:2", "--html", str(tmp_path / "r.html")]) == 0
    assert (tmp_path / "r.html").read_text().startswith("<!doctype html>")
    assert cli.run(["report", "1"]) == 0 and capsys.readouterr().out.startswith("# EdgeQ")
    assert cli.run(["export", "all", "-o", str(tmp_path / "all.csv")]) == 0
    assert cli.run(["export", "1", "-o", str(tmp_path / "all.xls")]) == 2
    assert cli.run(["compare", "1", "2"]) == 0
    assert "cannot be compared: estimated model mJ and measured package mJ" in " ".join(capsys.readouterr().out.split())


def test_energy_of_other_kinds_is_not_compared_and_accuracy_is(store):
    from edgeq.bench import compare

    found = compare.compare("1", "2", "local")
    rows = {row.metric: row.verdict for row in found.rows}
    assert rows["energy"].startswith("cannot be compared") and "points" in rows["top1"]
    assert found.ratio is not None and "two occasions" in found.warnings[-1]


def test_files_of_samples(tmp_path, path, fill):
    from edgeq.bench import compare

    for name, scale in (("a", 1.0), ("b", 1.05), ("c", 1.0)):
        ns = [int(scale * (1_000_000 + 37 * (i * 7919 % 400))) for i in range(200)]
        (tmp_path / f"{name}.json").write_text(json.dumps({"samples_ns": ns}))
    a, b, c = (str(tmp_path / f"{name}.json") for name in "abc")
    assert compare.compare(a, b, "local").verdict == "slower"
    assert compare.compare(b, a, "local").verdict == "faster"
    assert compare.compare(a, c, "local").verdict == "no difference"
    (tmp_path / "c.json").write_text('{"samples": 1}')
    with pytest.raises(UsageError, match=r"expected .*samples_ns"):
        compare.compare(a, c, "local")
    fill(replace(RUN, values=(Value("model_size", 1.0, "B", "measured", "x"),), samples_ns=()))
    with pytest.raises(UsageError, match="no figure in common"):
        compare.compare(a, "1", "local")
    with pytest.raises(UsageError, match="the other is not"):
        compare.compare(a, "pokebnn-fashion", "local")
