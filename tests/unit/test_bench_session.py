"""The session around a device that answers at once: what is measured, labelled, stored, and refused."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from sample_package import sample_files, write_sample

from edgeq import data, hub
from edgeq._errors import EnergyError, NotFoundError, UnsupportedError, UsageError
from edgeq.bench import energy, host, joules, session, tasks
from edgeq.bench.profile import by_kind
from edgeq.bench.record import is_local, scheme
from edgeq.bench.report import Evaluation, Figure
from edgeq.cli._measure import _rows as measure_rows
from edgeq.compile import Artefact
from edgeq.device import Condition, Info, Loaded, Outcome, TensorSpec, Timing
from edgeq.results import Layer, Store

INFO = Info(1, 4096, 1, 1, 8 << 30, 0, "linux", "desk", "x86_64", "some cpu", "avx2", "ns", ("executorch",))
LOADED = Loaded(0, 5, 3000, 100, 7_000_000, (TensorSpec("f32", (1, 4, 4, 1)),), (TensorSpec("f32", (1, 4)),))
CONFIG = {
    "model": "demo",
    "scheme": "b1b1",
    "task": "image-classification",
    "targets": [],
    "dataset": "squares",
    "preprocessing": {"layout": "NHWC", "scale": 1.0, "mean": [0.0], "std": [1.0]},
}


@dataclass
class FakeNet:
    """Says that the class is the first pixel; every run takes 2 ms."""

    loaded: Loaded = LOADED
    hit: float = 1.0
    runs: int = 0

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        return self.loaded.inputs

    def bench(self, inputs: Sequence[np.ndarray], *, warmup: int, runs: int) -> Timing:
        assert [a.shape for a in inputs] == [(1, 4, 4, 1)] and inputs[0].dtype == np.float32
        self.runs += runs
        return Timing([2_000_000] * runs, 9_000_000)

    def evaluate(self, inputs: Sequence[np.ndarray], *, progress: Callable[[int, int], None]) -> Outcome:
        first = inputs[0][:, 0, 0, 0].astype(int)
        progress(len(first), len(first))
        return Outcome(
            (np.where(np.eye(4, dtype=bool)[first], np.float32(self.hit), np.float32(0)),), [3_000_000] * len(first)
        )


@dataclass
class FakeDevice:
    net: FakeNet
    info: Info = INFO
    now: Condition | None = None

    def deploy(self, path: Path, *, name: str | None = None, progress: object = None) -> FakeNet:
        return self.net

    def condition(self) -> Condition | None:
        return self.now


@pytest.fixture
def package(tmp_path: Path) -> hub.PulledPackage:
    x = np.zeros((8, 4, 4), np.uint8)
    x[:, 0, 0] = [0, 1, 2, 3, 0, 1, 2, 3]
    np.savez(tmp_path / "eval.npz", x=x, y=np.array([0, 1, 2, 3, 0, 1, 2, 0]))
    files = sample_files() | {
        "config.json": json.dumps(CONFIG).encode(),
        "eval.npz": (tmp_path / "eval.npz").read_bytes(),
    }
    write_sample(tmp_path / "demo", files=files, key=None)
    return hub.pull(tmp_path / "demo", allow_unsigned=True)


@pytest.fixture
def artefact(tmp_path: Path) -> Artefact:
    return Artefact(tmp_path / "demo.pte", "ab" * 32, 1234, "executorch", "demo", {})


@pytest.fixture(autouse=True)
def quiet_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "load_warning", lambda: None)
    monkeypatch.setattr(joules, "IDLE_S", 0.02)


def measured(
    package: hub.PulledPackage, artefact: Artefact, plan: session.Plan, device: FakeDevice, url: str = "local"
) -> session.Report:
    pictures = session.choose_data(package, plan)
    path = artefact.path.parent / "results.db"
    return session.measure(device, url, artefact, package, plan, pictures, store=path)


def test_deploy_measures_everything_and_stores_it(package: hub.PulledPackage, artefact: Artefact) -> None:
    report = measured(package, artefact, session.Plan("deploy", runs=20), FakeDevice(FakeNet()))
    document = json.loads(json.dumps(report.as_json(), allow_nan=False))
    assert (document["model"], document["device"], document["target"]) == ("demo", "local", "executorch")
    assert (document["accuracy"], document["n"], document["dataset"]) == (7 / 8, 8, "squares")
    assert document["latency_ms"] == {"p50": 2.0, "p90": 2.0, "p99": 2.0}
    assert document["peak_memory_bytes"] == 9_000_000 and document["size_bytes"] == 1234
    assert document["energy_mj"]["kind"] == "estimated" and document["energy_mj"]["value"] == pytest.approx(11.4)
    assert (document["artefact_sha256"], document["signed_by"]) == ("ab" * 32, None)
    with Store.open(artefact.path.parent / "results.db", readonly=True) as store:
        run = store.run(document["run_id"])
        assert store.samples(document["run_id"]) == [2_000_000] * 20
    assert (run["verb"], run["scheme"], run["signature"], run["device_kind"]) == (
        "deploy",
        "binary",
        "unsigned",
        "host",
    )
    assert report.latency is not None and report.latency.warmup == 20  # two blocks of 10 agreed
    assert run["package_sha256"] == package.manifest.sha256 and run["n"] == 20 and run["items"] == 8
    by_metric = {v["metric"]: v for v in run["values"]}
    assert by_metric["top1"]["value"] == 87.5 and by_metric["top1"]["unit"] == "%"
    assert by_metric["energy"]["source"] == "estimated" and by_metric["energy"]["scope"] == "model"
    assert by_metric["latency_p50"]["source"] == "measured" and by_metric["ram_planned"]["source"] == "estimated"
    assert any("UNSIGNED" in warning for warning in run["warnings"])


def test_bench_leaves_accuracy_out_and_eval_the_energy(package: hub.PulledPackage, artefact: Artefact) -> None:
    bench = measured(package, artefact, session.Plan("bench", runs=5), FakeDevice(FakeNet())).as_json()
    assert bench["accuracy"] is None and bench["n"] is None and bench["latency_ms"]["p50"] == 2.0
    assert any("5 timed runs" in w for w in bench["warnings"])
    evaluated = measured(package, artefact, session.Plan("eval", limit=4), FakeDevice(FakeNet())).as_json()
    assert evaluated["accuracy"] == 1.0 and evaluated["n"] == 4 and evaluated["latency_ms"]["p50"] == 3.0
    assert evaluated["peak_memory_bytes"] is None and evaluated["energy_mj"] == {"value": None, "kind": None}
    assert evaluated["latency"]["warmup"] == 0 and "while evaluating" in evaluated["latency"]["method"]


def test_a_simulator_counts_instructions_never_time(package: hub.PulledPackage, artefact: Artefact) -> None:
    device = FakeDevice(FakeNet(), replace(INFO, tick="instructions", arch="armv7e-m", kind="mcu"))
    report = measured(package, artefact, session.Plan("deploy"), device, "sim:cortex-m4")
    assert report.instructions == 2_000_000 and report.latency is None
    with Store.open(artefact.path.parent / "results.db") as store:
        run = store.run(report.run_id or 0)
        assert store.samples(report.run_id or 0) == []
    sources = {v["metric"]: v["source"] for v in run["values"]}
    assert report.energy is not None and (report.energy.kind, sources["energy"]) == ("estimated", "estimated")
    assert sources["instructions"] == "simulated" and not any(m.startswith("latency") for m in sources)
    assert run["device_kind"] == "mcu" and run["temp_start_c"] is None


def test_scores_that_are_not_finite_are_wrong_and_said(package: hub.PulledPackage, artefact: Artefact) -> None:
    report = measured(package, artefact, session.Plan("eval"), FakeDevice(FakeNet(hit=float("inf"))))
    assert report.as_json()["accuracy"] == 0.0
    assert any("8 items gave scores that are not finite" in w for w in report.warnings)


@dataclass
class Meter:
    """Sensor that counts one joule per microsecond-long window."""

    name: str = "meter"
    kind: str = "measured"
    scope: str = "package"
    watches: str = "host"
    window_s: float = 0.0

    def start(self) -> int:
        return 0

    def stop(self, token: object, /) -> energy.EnergySample:
        return energy.EnergySample(1.0, 0.5, 2.0, 500, 0.01, "a test's meter", kind="measured", scope="package")


def test_a_sensor_gets_a_pass_of_its_own_and_an_idle_baseline(
    package: hub.PulledPackage, artefact: Artefact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(energy, "get", lambda name: Meter())
    net = FakeNet()
    report = measured(package, artefact, session.Plan("bench", runs=50, energy="meter"), FakeDevice(net))
    assert net.runs == 2 * 10 + 50 + 50 and report.energy is not None  # warm-up, timing, energy
    assert (report.energy.kind, report.energy.millijoules) == ("measured", 20.0)
    assert report.energy.net_millijoules == 0.0  # idle 2 W for 0.5 s is all of it
    assert report.energy.net_uncertainty_millijoules == pytest.approx(0.2 * 2**0.5)  # of the window and of the idle
    with pytest.raises(EnergyError, match="watches this host, and the model runs on tcp://board:1"):
        measured(package, artefact, session.Plan("bench", energy="meter"), FakeDevice(net), "tcp://board:1")


def test_energy_none_and_unknown_processor(package: hub.PulledPackage, artefact: Artefact) -> None:
    plan = session.Plan("bench", energy="none")
    assert measured(package, artefact, plan, FakeDevice(FakeNet())).energy is None
    odd = FakeDevice(FakeNet(), replace(INFO, arch="riscv64"))
    assert measured(package, artefact, session.Plan("bench"), odd, "tcp://board:1").energy is None
    net = FakeNet()
    with pytest.raises(UsageError, match="no energy provider 'dream'"):
        measured(package, artefact, session.Plan("bench", energy="dream"), FakeDevice(net))
    assert net.runs == 0  # said before anything is timed


def test_one_source_of_pictures_and_at_least_one_for_eval(package: hub.PulledPackage, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--full and --data"):
        session.choose_data(package, session.Plan("eval", full=True, data=tmp_path))
    with pytest.raises(UsageError, match="no data set 'squares'"):
        session.choose_data(package, session.Plan("eval", full=True))
    assert len(session.choose_data(package, session.Plan("eval", limit=3)) or ()) == 3
    own = session.choose_data(package, session.Plan("eval", data=tmp_path / "eval.npz"))
    assert own is not None and own.split == "user"
    write_sample(tmp_path / "bare", files=sample_files() | {"config.json": json.dumps(CONFIG).encode()}, key=None)
    bare = hub.pull(tmp_path / "bare", allow_unsigned=True)
    with pytest.raises(NotFoundError, match=r"carries no eval.npz; use --full or --data"):
        session.choose_data(bare, session.Plan("eval"))
    assert session.choose_data(bare, session.Plan("bench")) is None


def test_noise_of_the_right_shape_is_timed_without_pictures() -> None:
    task = tasks.of(CONFIG)
    (x,) = task.first(FakeNet(), None, CONFIG)
    (again,) = task.first(FakeNet(), None, CONFIG)
    assert x.shape == (1, 4, 4, 1) and x.dtype == np.float32 and np.array_equal(x, again)


def test_an_unknown_task_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedError, match='task "divination" is not known; this EdgeQ has: image-class'):
        tasks.of({"task": "divination"})
    with pytest.raises(UnsupportedError, match="task"):
        tasks.of({"task": ["image-classification"]})


def test_figures_other_than_accuracy_reach_every_face() -> None:
    rate = Figure("phoneme_error_rate", 7.5, "%", "edits per phoneme", 7.1, 7.9)
    empty = session.Report("eval", "demo", "local", "executorch", "avx2", 1, 1, "", "", None)
    report = replace(empty, evaluation=Evaluation("words", "test", 100, figures=[rate]))
    document = report.as_json()
    assert (document["accuracy"], document["n"]) == (None, 100)
    assert document["figures"] == {"phoneme_error_rate": {"value": 7.5, "unit": "%", "interval": [7.1, 7.9]}}
    (value,) = [v for v in report.values() if v.metric == "phoneme_error_rate"]
    assert (value.value, value.n, value.low, value.high) == (7.5, 100, 7.1, 7.9)
    assert any(row[0] == "phoneme error rate" and "7.5 %" in row[1] for row in measure_rows(report))


def test_the_bundled_split_is_labelled_as_such(package: hub.PulledPackage) -> None:
    split = session.choose_data(package, session.Plan("deploy"))
    assert isinstance(split, data.Split) and (split.dataset, split.split) == ("squares", "bundled")


def test_host_facts_on_a_tree_made_by_hand(tmp_path: Path) -> None:
    for path, text in {
        "proc/cpuinfo": "processor: 0\nmodel name\t: Test CPU\ncpu MHz\t\t: 2300.5\n",
        "proc/meminfo": "MemTotal:       1024 kB\n",
        "sys/class/thermal/thermal_zone0/temp": "41500\n",
        "sys/class/thermal/thermal_zone1/temp": "39000\n",
        "sys/class/power_supply/AC/type": "Mains\n",
        "sys/class/power_supply/BAT0/type": "Battery\n",
        "sys/class/power_supply/BAT0/capacity": "64\n",
        "sys/class/power_supply/BAT0/status": "Discharging\n",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    assert host.temperature_c(tmp_path) == 41.5
    assert host.frequency_hz(tmp_path) == 2_300_500_000
    facts = host.facts(tmp_path)
    assert (facts["cpu"], facts["ram_bytes"]) == ("Test CPU", 1024 * 1024) and "governor" not in facts
    assert host.temperature_c(tmp_path / "none") is None
    now = host.condition(tmp_path)
    assert (now.temperature_c, now.battery_percent, now.charging) == (41.5, 64, False)
    assert host.condition(tmp_path / "none") == Condition()
    assert host.commit(tmp_path) == ""
    (tmp_path / "sys/devices/system/cpu/cpu0/cpufreq").mkdir(parents=True)
    (tmp_path / "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq").write_text("1800000")
    assert host.frequency_hz(tmp_path) == 1_800_000_000


def test_kinds_of_operators_add_up_to_the_run() -> None:
    layers = [Layer("conv #1", "conv", 600), Layer("conv #2", "conv", 200), Layer("head", "linear", 100)]
    kinds = by_kind(layers, 1000)
    assert [(k.op, k.count, k.ns) for k in kinds] == [
        ("conv", 2, 800),
        ("linear", 1, 100),
        ("(not in an operator)", 0, 100),
    ]
    assert sum(k.share for k in kinds) == pytest.approx(1.0)


def test_words_for_devices_and_schemes() -> None:
    assert is_local("local") and is_local("local:?threads=2") and not is_local("tcp://localhost:1")
    words = ("b1b1", "t2i8", "s3i8", "i4i8", "i8i8", "f32", "ternary")
    assert [scheme(w) for w in words] == ["binary", "ternary", "shift", "int4", "int8", "fp32", "ternary"]
    assert [scheme(w) for w in ("W1A1", "W1A4", "W2A8", "W4A8")] == ["binary", "binary", "ternary", "int4"]


def test_the_store_takes_every_bundled_model() -> None:
    for entry in hub.list_zoo():
        assert scheme(entry.scheme) in ("binary", "ternary", "shift", "int4", "int8", "fp32"), entry.name


def test_a_device_that_tells_its_temperature_has_a_curve(package: hub.PulledPackage, artefact: Artefact) -> None:
    warm = Condition(temperature_c=41.5, frequency_hz=1_800_000_000)
    measured(package, artefact, session.Plan("bench"), FakeDevice(FakeNet(), now=warm), "ssh://board")
    with Store.open(artefact.path.parent / "results.db") as store:
        run = store.run(1)
    assert (run["temp_start_c"], run["temp_end_c"]) == (41.5, 41.5)
    assert {c["name"]: c["points"][0][1] for c in run["series"]} == {"temperature": 41.5, "frequency": 1.8e9}
