"""The pages, drawn by Streamlit without a browser."""

import sqlite3
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from sample_runs import METERED, MIXED, RUN, another

from edgeq import device
from edgeq.dashboard import jobs as jobs_module
from edgeq.dashboard.views import _jobs
from edgeq.device import Found
from edgeq.results import Series, Value

PAGES = ("overview", "compare", "run", "live", "finetune", "zoo")
REAL_JOB = jobs_module.Job
SCRIPT = Path(__file__).parents[2] / "dashboard.py"


def charts(at):
    return at.get("vega_lite_chart")


def test_the_script_draws_its_first_page(path, testing):
    at = testing.AppTest.from_file(str(SCRIPT), default_timeout=60).run()
    assert not at.exception and at.title[0].value == "Overview"


@pytest.mark.parametrize("name", ["overview", "compare", "run"])
def test_without_a_store_a_page_says_how_to_fill_it(page, path, name):
    at = page(name)
    assert "edgeq deploy" in at.info[0].value and not at.dataframe
    assert not path.exists()


def test_a_store_without_runs_is_empty_too(page, fill):
    fill()
    assert "edgeq deploy" in page("overview").info[0].value


@pytest.mark.parametrize("name", PAGES)
def test_a_damaged_store_is_one_line_and_left_as_it_is(page, path, name):
    path.write_bytes(b"this is no database" * 500)
    at = page(name)
    assert "not a readable results store" in at.error[0].value
    assert path.read_bytes() == b"this is no database" * 500


def test_damage_inside_the_file_is_one_line_too(page, path, fill):
    fill(*MIXED)
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        size = db.execute("PRAGMA page_size").fetchone()[0]
    raw = path.read_bytes()
    path.write_bytes(raw[:size] + bytes(len(raw) - size))
    assert len(page("overview").error) == 1


def test_one_run_fills_every_page(page, fill):
    fill(RUN)
    assert [m.value for m in page("overview").metric][:3] == ["1", "1", "1"]
    compare = page("compare")
    assert len(charts(compare)) == 2 and len(compare.dataframe[0].value) == 1
    run = page("run")
    assert {m.label for m in run.metric} == {
        "Latency, median (● measured)",
        "Top-1 accuracy (● measured)",
        "Energy per inference (▲ estimated)",
    }
    assert len(charts(run)) == 3  # distribution, course, operators
    shown = run.dataframe[-1].value.set_index("what")["value"]
    assert shown["deployed file, SHA-256"] == "ab" * 32
    assert shown["signature of the package"] == "✔ signed by a trusted key (edgeq)"


def test_overview_marks_every_number_of_a_run(page, fill):
    fill(*MIXED)
    recent = page("overview").dataframe[-1].value
    assert list(recent["Energy per inference"]) == ["-", "20 mJ ●", "9 mJ ▲"]
    assert recent["Instructions"][0] == "5,000,000 ■" and recent["Latency, median"][0] == "-"


def test_energies_of_different_kind_never_share_a_chart(page, fill):
    fill(RUN, METERED)
    at = page("compare")
    at.selectbox(key="cost").set_value("energy").run()
    assert not at.exception
    assert "cannot be compared" in at.warning[0].value
    assert [s.value.split(": ")[1] for s in at.subheader[:2]] == [
        "● measured, scope package",
        "▲ estimated, scope model",
    ]
    assert len(charts(at)) == 4
    assert set(at.dataframe[0].value["source"]) == {"● measured, scope package", "▲ estimated, scope model"}


def test_filters_narrow_and_say_when_nothing_is_left(page, fill):
    fill(RUN, METERED, another(model="net-c", byte=5, device=replace(RUN.device, name="phone", kind="phone")))
    at = page("compare")
    assert len(at.dataframe[0].value) == 3
    at.multiselect(key="devices").set_value(["phone"]).run()
    assert list(at.dataframe[0].value["model"]) == ["net-c"]
    at.multiselect(key="models").set_value(["net-b"]).run()
    assert "No run matches" in at.warning[0].value and not at.dataframe and not at.exception


def test_a_run_without_accuracy_or_energy_still_compares(page, fill):
    fill(another(drop=["top1", "energy"], verb="bench", dataset=None, split=None, items=None))
    at = page("compare")
    assert "No accuracy" in at.info[0].value and len(charts(at)) == 1


def test_instruction_counts_are_not_called_time(page, fill):
    fill(*MIXED)
    at = page("run")
    headings = [s.value for s in at.subheader]
    assert "Instruction counts" in headings and "Latency" not in headings


def test_the_address_names_the_run(page, fill):
    fill(*MIXED)
    assert "net\\-b" in page("run", run="2").markdown[0].value
    assert "no run 99" in page("run", run="99").error[0].value.replace("\\", "")
    assert "not the number of a run" in page("run", run="1; DROP").error[0].value


def test_an_unsigned_package_and_its_warnings_are_said_aloud(page, fill):
    made = replace(RUN.provenance, signature="unsigned", signed_by=None, warnings=("host is *busy*",))
    fill(replace(RUN, provenance=made))
    at = page("run")
    assert at.warning[0].value == r"host is \*busy\*"
    assert "⚠ not signed" in at.dataframe[-1].value.set_index("what")["value"]["signature of the package"]


def test_the_zoo_shows_each_package_and_what_was_measured_of_it(page, fill):
    at = page("zoo")
    names = [s.value.replace("\\", "") for s in at.subheader]
    assert "pokebnn-fashion" in names and len(at.metric) >= 1
    fill(another(model="pokebnn-fashion"))
    assert "90.00 % (88.00 % to 91.70 %) ● measured, n = 1000" in list(page("zoo").dataframe[0].value["value"])


def test_ten_thousand_runs_show_the_same_few_rows(page, fill, multiply):
    fill(
        *[
            another(model=f"net-{i}", byte=i, values=[Value("latency_p50", 1.0 + i, "ms", "measured", "clock")])
            for i in range(10)
        ]
    )
    multiply(999)
    overview = page("overview")
    assert overview.metric[2].value == "10,000" and len(overview.dataframe[-1].value) == 20
    assert len(page("compare").dataframe[0].value) == 10
    assert len(page("run", run="5").dataframe) == 3


FINETUNED = another(
    verb="finetune",
    values=[
        Value("top1_before", 70.0, "%", "measured", "on held-out samples", n=50),
        Value("delta_size", 4096.0, "B", "measured", "the stored delta"),
    ],
    series=(
        Series("loss", "1", "step", "measured", ((0, 2.0), (1, 1.0), (2, 0.5))),
        Series("held_out_top1", "%", "step", "measured", ((0, 70.0), (1, 80.0), (2, 90.0))),
        Series("memory", "B", "step", "measured", ((0, 1000.0),)),
    ),
    details={"method": "solve", "verdict": "kept", "delta_sha256": "ab" * 32},
)


@pytest.fixture
def idle(monkeypatch):
    """No job yet, and one device."""
    _jobs.jobs.clear()
    _jobs._places.clear()
    monkeypatch.setattr(device, "discover", lambda: [Found("local", "linux", "ready", "this machine")])
    yield
    _jobs.jobs.clear()


@pytest.fixture
def stand_in(monkeypatch, tmp_path, idle):
    """The command line replaced by a script: what a verb would say, line by line."""

    def use(*lines, code=0, forever=False):
        script = tmp_path / "verb.py"
        wait = "signal.pause()" if forever else f"sys.exit({code})"
        script.write_text(f"import signal, sys\nfor line in {lines!r}: print(line, flush=True)\n{wait}\n")
        started = []

        def job(words):
            started.append(REAL_JOB(words, command=(sys.executable, str(script))))
            return started[-1]

        monkeypatch.setattr(jobs_module, "Job", job)
        return started

    return use


def test_live_starts_a_verb_and_shows_its_run(page, fill, stand_in):
    fill(RUN)
    started = stand_in(
        '{"event": "progress", "stage": "timing 100 runs", "done": 1, "total": 2}',
        '{"event": "samples", "ticks": [1000000, 1100000]}',
        '{"event": "report", "run_id": 1, "instructions": null}',
    )
    at = page("live")
    at.button(key="live-start").click().run()
    assert not at.exception
    (job,) = started
    job.wait(60)
    at.run()
    assert job.words[0] == "deploy"
    assert job.words[2:] == ("--device", "local", "--follow", "--runs=100")
    assert "run 1" in at.success[0].value and "2 samples so far" in at.caption[0].value
    assert len(charts(at)) == 1 and len(at.dataframe[-1].value) == 1


def test_live_tells_an_error_in_one_line_and_takes_no_second_job(page, fill, stand_in):
    fill(RUN)
    started = stand_in("edgeq: sim:cortex-m4: the emulator ended", code=5)
    at = page("live")
    at.button(key="live-start").click().run()
    started[0].wait(60)
    at.run()
    assert "the emulator ended" in at.error[0].value.replace("\\", "")


def test_a_running_job_can_be_stopped_and_blocks_others(page, stand_in):
    started = stand_in('{"event": "progress", "stage": "sending", "done": 5, "total": 10}', forever=True)
    at = page("live")
    at.button(key="live-start").click().run()
    (job,) = started
    at.run()
    assert at.button(key="live-start").disabled
    at.button(key="live-stop").click().run()
    job.wait(60)
    assert job.stopped and job.code != 0
    at.run()
    assert "Stopped" in at.warning[0].value and not at.button(key="live-start").disabled


def test_text_of_the_page_cannot_become_an_option(page, stand_in):
    stand_in(forever=True)
    at = page("live")
    at.selectbox(key="live-model").set_value(_jobs.OTHER).run()
    for text in ("", "--help"):
        at.text_input(key="live-name").set_value(text).run()
        at.button(key="live-start").click().run()
        assert "still empty, or begins with a minus" in at.error[0].value
    assert _jobs.jobs().running is None


def test_finetune_shows_the_curves_of_a_stored_run(page, fill, idle):
    fill(RUN, FINETUNED)
    at = page("finetune")
    assert len(charts(at)) == 2  # a curve of one point is no curve
    assert "kept" in at.markdown[0].value
    assert {m.label for m in at.metric} >= {"Top-1 accuracy before (● measured)", "Size of the delta (● measured)"}
    assert page("run", run="2").subheader[1].value.startswith(("Latency", "Along"))


def test_finetune_without_runs_says_how(page, fill, idle):
    assert "personalises" in page("finetune").info[-1].value
    fill(RUN)
    assert "personalises" in page("finetune").info[-1].value


def test_read_only_pages_start_nothing(page, fill, monkeypatch, idle):
    monkeypatch.setenv("EDGEQ_DASHBOARD_READONLY", "1")
    fill(RUN, FINETUNED)
    for name in ("finetune", "zoo", "overview", "compare", "run"):
        assert not page(name).button, name
