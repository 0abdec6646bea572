"""The benchmark harness: what it counts, how it takes turns, what a row holds, and one small real run."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import __main__ as entry
from benchmarks import _conditions, _core, _encoder, _instructions, _lowbit, _plot, _probe, binary, harness, kernels
from benchmarks.harness import Engine, Row, Session, Timing

ROOT = Path(__file__).parents[2]
FIELDS = {"work", "shape", "isa", "threads", "ours_us", "peers", "ratio_to_best", "roofline_share"}


def test_turns_are_round_robin_with_two_untimed_calls_each() -> None:
    seen: list[str] = []

    def long_call(name: str) -> None:
        seen.append(name)
        sum(range(100_000))  # longer than a sample, so that one call is one sample

    engines = [
        Engine(name, lambda name=name: long_call(name), lambda name=name: seen.append(f"before {name}"))
        for name in "ab"
    ]
    session = harness.measure(engines, rounds=2)
    assert {t.calls for t in session.timings.values()} == {1}
    settling = ["before a", *5 * "a", "before b", *5 * "b"]  # how long is a call?
    assert seen == settling + 2 * ["before a", *"aaa", "before b", *"bbb"]
    assert session.conditions["untimed_calls"] == harness.UNTIMED_CALLS == 2


def test_short_calls_are_repeated_and_long_ones_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    lasting = {"short": 1_000, "long": 1_000_000}
    monkeypatch.setattr(harness, "_sample", lambda run, calls: (lasting[run()], lasting[run()]))
    session = harness.measure([Engine("short", lambda: "short"), Engine("long", lambda: "long")], rounds=1)
    assert session.timings["short"].calls == harness.SAMPLE_NS // 1_000
    assert session.timings["long"].calls == 1


def test_cold_samples_are_single_calls() -> None:
    session = harness.measure([Engine("short", lambda: None)], rounds=1, cold=True)
    assert session.timings["short"].calls == 1
    assert (session.conditions["caches"], session.conditions["untimed_calls"]) == ("cold", 0)


def test_one_thread_is_timed_by_its_own_clock() -> None:
    timing = Timing((1000.0, 5000.0, 3000.0), (9000.0, 9000.0, 9000.0), 1, threads=1)
    assert (timing.min_us, timing.median_us) == (1.0, 3.0)
    assert dataclasses.replace(timing, threads=2).median_us == 9.0


@pytest.mark.parametrize("engines", [[], [Engine("a", int), Engine("a", int)]])
def test_engines_must_be_there_and_have_names_of_their_own(engines: list[Engine]) -> None:
    with pytest.raises(ValueError, match="different names"):
        harness.measure(engines, rounds=1)


def session_of(**microseconds: tuple[float, ...]) -> Session:
    timings = {
        name: Timing(tuple(us * 1e3 for us in samples), tuple(us * 2e3 for us in samples), 1)
        for name, samples in microseconds.items()
    }
    conditions = {"rounds": 3, "untimed_calls": 2, "caches": "warm", "clock": "thread CPU time", "idle": True}
    return Session(timings, conditions)


def test_a_row_compares_medians_and_minima_with_the_best_peer() -> None:
    session = session_of(ours=(2.0, 1.0, 4.0), fast=(6.0, 5.0, 9.0), slow=(50.0, 3.0, 60.0))
    row = harness.row(session, work="w", shape="s", isa="ref", ours="ours", peers=["fast", "slow"], floor_us=0.5)
    assert (row.ours_us, row.ours_min_us, row.wall_median_us) == (2.0, 1.0, 4.0)
    assert row.peers == {"fast": 6.0, "slow": 50.0}
    assert row.ratio_to_best == 3.0
    assert row.ratio_to_best_min == 3.0  # by minima the other peer is the best
    assert row.roofline_share == 0.5


def test_a_row_compares_with_the_best_peer_of_each_kind() -> None:
    timings = {name: Timing((us * 1e3,), (us * 1e3,), 1) for name, us in RIVALS.items()}
    session = Session(timings, {})
    row = harness.row(session, work="w", shape="s", isa="ref", ours="edgeq", peers=list(RIVALS)[1:])
    assert row.ratios == {"fp32": 4.0, "int8": 2.0, "scalar 4x2": 1.5}
    assert row.ratio_to_best == 1.5


RIVALS = {"edgeq": 2.0, "torch fp32": 10.0, "ort fp32": 8.0, "net int8 ort": 4.0, "torch int8": 5.0, "scalar 4x2": 3.0}


def test_a_row_without_peers_has_no_ratio() -> None:
    row = harness.row(session_of(ours=(1.0,)), work="w", shape="s", isa="ref", ours="ours")
    assert (row.peers, row.ratio_to_best, row.roofline_share) == ({}, None, None)


def test_every_file_is_a_benchmark_with_a_run() -> None:
    assert {"binary", "pokebnn"} <= set(entry.names())
    assert not [name for name in entry.names() if name.startswith("_") or name == "harness"]
    for name in entry.names():
        assert "def run(options: Options) -> list[Row]:" in (ROOT / "benchmarks" / f"{name}.py").read_text()


def test_unknown_names_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        entry.main(["nothing"])
    assert stopped.value.code == 2
    assert "binary" in capsys.readouterr().err


def test_a_small_real_run_writes_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "rows.json"
    arguments = ["--quick", "--no-peers", "--only", "1x384x1536", "--rounds", "2", "--isa", "ref"]
    assert entry.main(["binary", *arguments, "--json", str(file)]) == 0
    (row,) = json.loads(file.read_text())
    assert set(row) >= FIELDS
    assert set(row) == {field.name for field in dataclasses.fields(Row)}
    assert (row["shape"], row["isa"], row["threads"], row["source"]) == ("1x384x1536", "ref", 1, "measured")
    assert row["ours_us"] >= row["ours_min_us"] > 0
    assert {"cpu", "amx", "versions", "idle", "rounds", "clock"} <= set(row["conditions"])
    assert "1x384x1536" in capsys.readouterr().out


def test_a_small_real_run_reaches_the_store(tmp_path: Path) -> None:
    from edgeq.results import Store

    assert entry.main(["binary", "--quick", "--no-peers", "--only", "1x384x1536", "--rounds", "2", "--isa", "ref"]) == 0
    with Store.open() as store:
        (run,) = store.runs()
        values = {str(value["metric"]): value for value in store.values(int(str(run["run_id"])))}
    assert (run["verb"], run["isa"], run["n"]) == ("bench", "ref", 2)
    assert (values["latency_p50"]["source"], values["latency_p50"]["unit"]) == ("measured", "ms")


@pytest.mark.parametrize("shape", [binary.LinearShape(3, 128, 8), binary.LinearShape(2, 64, 4)])
def test_linear_work_is_checked_on_every_instruction_set(shape: binary.LinearShape) -> None:
    work = binary.LinearWork(shape)
    for isa in _core.isas():
        work.engine(isa, 1).run()
    if _probe.library() is None:
        pytest.skip("no compiler for the scalar peer")
    assert work.scalar() is not None
    work.expected[-1, -1] += 1
    with pytest.raises(harness.WrongResultError, match="1 of"):
        work.scalar()


@pytest.mark.parametrize("out", ["bits", "f32"])
def test_a_wrong_convolution_is_not_timed(out: str) -> None:
    work = binary.ConvWork(binary.ConvShape(5, 64, 8, 3))
    for isa in _core.isas():
        work.engine(isa, out, 1).run()
    work.expected = -work.expected
    with pytest.raises(harness.WrongResultError, match="differ from numpy"):
        work.engine(_core.isas()[0], out, 1)


def test_operations_count_taps_inside_the_image_only() -> None:
    shape = binary.ConvShape(7, 8, 4, 3)
    inside = np.pad(np.ones((7, 7)), 1)
    taps = sum(inside[i : i + 7, j : j + 7].sum() for i in range(3) for j in range(3))
    assert shape.ops == 2 * 8 * 4 * taps


def test_the_floor_is_the_larger_of_counting_and_reading() -> None:
    if _probe.library() is None:
        pytest.skip("no compiler for the probes")
    timings = {
        "probe: popcount avx2": Timing((1e6,), (1e6,), 1),  # 1 ms for 20000 steps of 4096 operations
        "probe: read": Timing((5e3,), (5e3,), 1),
    }
    session = Session(timings, {})
    assert _probe.floor_us(session, "avx2", 20_000 * 4096) == pytest.approx(1000.0)
    assert _probe.floor_us(session, "avx2", 4096) == 5.0
    assert _probe.floor_us(session, "ref", 4096) is None
    assert _probe.floor_us(session, "avx2", 4096, "dot") is None  # was not measured


def test_the_floor_of_a_kernel_holds_its_instructions_and_the_call() -> None:
    if _probe.library() is None:
        pytest.skip("no compiler for the probes")
    timings = {
        "probe: dot avx512": Timing((1e6,), (1e6,), 1),  # 1 ms for 20000 steps of 12 instructions
        "probe: dot avx2": Timing((1e6,), (1e6,), 1),
        "probe: empty call": Timing((500.0,), (500.0,), 1),
        "probe: read": Timing((5e3,), (5e3,), 1),
    }
    session = Session(timings, {})
    assert _probe.kernel_floor_us(session, "avx512", 240_000, "dot") == pytest.approx(1000.5)
    assert _probe.kernel_floor_us(session, "avx512", 240, "dot") == pytest.approx(5.5)
    assert _probe.kernel_floor_us(session, "avx2", 240_000, "dot") is None
    assert _probe.kernel_floor_us(session, "avx512", 240_000) is None  # was not measured


@pytest.mark.parametrize(
    ("work", "m", "instructions"),
    [
        ("linear_t2i8", 1, 7 * 8),  # 2048 products of a row: 8 registers of codes, three masks and four products
        ("linear_t2i8", 16, 16 * 2 * 18),  # eight rows and 1024 products: two masks, sixteen products
        ("linear_t2i8", 128, 128 * 32 + 8 * 11),
        ("linear_i8i8", 128, 128 * 32),
        ("linear_i4i8 channel", 1, 16 * 3),
        ("linear_i4i8 row", 1, 16 * 3 + 22),  # one group of 64 outputs
        ("linear_i4i8 block", 16, 2 * (16 * 17 + 2 * 68)),  # eight rows: 32 outputs a group
        ("linear_i4i8 row", 128, 128 * (32 + 4 * 2) + 16 * 5),  # a row: four registers of outputs
        ("linear_s3i8", 1, 16 * 4),
        ("linear_s4i8", 1, 16 * 5 + 6 * 2048 / 1008),
    ],
)
def test_instructions_of_a_group_of_64_outputs(work: str, m: int, instructions: float) -> None:
    assert _instructions.int8(work, m, 32, 64) == pytest.approx(instructions)


def test_instructions_of_bits() -> None:
    assert _instructions.bits(3, 1024, 128, floats=True) == pytest.approx(3 * (128 * 5 + 8 * 6))
    assert _instructions.bits(3, 576, 64, floats=False) == pytest.approx(3 * (4 * 18 * 3 + 4 * 2))  # not folded


@pytest.mark.parametrize("name", kernels._BITS)
def test_low_bit_products_are_those_of_numpy_on_every_instruction_set(name: str) -> None:
    x = np.random.default_rng(4).standard_normal((3, 128), np.float32)
    weights = _lowbit.drawn(kernels._BITS[name], 128, 70, groups=4 if name == "4" else 1)
    for kind in (kind for kind in kernels.KINDS if kind.weights == name):
        for isa in _core.isas():
            kernels._ours(kind, x, weights, isa, 1).run()
    wrong = dataclasses.replace(weights, codes=-weights.codes)
    with pytest.raises(harness.WrongResultError, match="off from the float product by"):
        _lowbit.checked("some engine", x @ wrong.floats.T, x, weights)


def test_codes_are_packed_lowest_first() -> None:
    assert _lowbit.packed(np.array([[1, 2, 3, 0]]), 2).tolist() == [[0b00111001]]
    assert _lowbit.packed(np.array([[1, 15]]), 4).tolist() == [[0xF1]]
    assert kernels.planes(np.array([[1, 0, -1]], np.int8))[:, 0, 0].tolist() == [0b001, 0b101]


def test_the_planar_avx2_loop_agrees_with_numpy() -> None:
    if _probe.library() is None:
        pytest.skip("no compiler for the probes")
    engine = kernels._i2s(
        np.random.default_rng(5).standard_normal((6, 2304), np.float32), _lowbit.drawn(2, 2304, 3)
    )  # compared before it is given out; more blocks than 16 bits can add up at once
    assert engine is not None and engine.name == "i2s avx2"


def test_every_engine_of_an_encoder_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEQ_HOME", str(tmp_path))
    engines = _encoder.engines(_encoder.Shape(1, 64, 2, 64, 8), threads=1, say=lambda text: None, with_8da4w=True)
    assert [engine.name for engine in engines] == [
        "torch fp32",
        "ort fp32",
        "ort int8",
        "xnnpack fp32",
        "xnnpack int8 8da4w",
    ]
    for engine in engines:
        engine.run()


def test_ratios_are_drawn(tmp_path: Path) -> None:
    session = Session({"ours": Timing((2e3,), (2e3,), 1), "peer": Timing((8e3,), (8e3,), 1)}, {})
    row = harness.row(session, work="w<", shape="1x2", isa="avx2", ours="ours", peers=["peer"], floor_us=1.0)
    _plot.write_svg("kernels", [row, dataclasses.replace(row, ratio_to_best=None)], tmp_path / "plot.svg")
    drawn = (tmp_path / "plot.svg").read_text()
    assert drawn.count("<circle") == 2 and "w&lt; 1x2" in drawn and "50 %" in drawn


def test_the_split_repeats_what_the_compiled_network_does() -> None:
    import torch

    from benchmarks import _split
    from edgeq.ops import Act, Want

    random = torch.Generator().manual_seed(3)
    graph = torch.fx.Graph()
    x = graph.placeholder("x")
    weight = torch.randint(0, 256, (16, 3, 3, 1), generator=random, dtype=torch.uint8)
    params, local, block, gain = (
        torch.randn(shape, generator=random) for shape in ((7, 16), (1, 8, 6, 8), (1, 4, 3, 4), (1, 16))
    )
    constants = {"weight": weight, "params": params, "local": local, "block": block, "gain": gain}
    node = {name: graph.get_attr(name) for name in constants}
    vectors = (node["params"], node["local"], node["block"], node["gain"])
    fused = torch.ops.edgeq.conv2d_b1b1_fused.default
    graph.output(graph.call_function(fused, (x, node["weight"], 8, 2, 1, int(Act.DPRELU), *vectors, int(Want.ALL))))
    root = torch.nn.Module()
    for name, value in constants.items():
        root.register_buffer(name, value)
    picture = torch.randint(0, 256, (1, 8, 6, 1), generator=random, dtype=torch.uint8)
    (layer,) = _split.convolutions(torch.fx.GraphModule(root, graph), picture)
    assert layer.name == "8x6x8->16 k3 s2"
    assert _split.multiply_adds([layer]) == 4 * 3 * 16 * 9 * 8
    isa = _core.isas()[0]
    (split,) = _split.measured([layer], isa, rounds=1)  # compares with the graph's results first
    assert 0 < split.bits_part <= 1 and 0 < split.acc_part <= 1
    for index in range(3):
        wrong = [result.copy() for result in layer.expected]
        wrong[index].flat[0] += 1
        with pytest.raises(harness.WrongResultError, match="another result"):
            _split.measured([dataclasses.replace(layer, expected=tuple(wrong))], isa, rounds=1)


def test_amx_can_be_denied() -> None:
    if sys.platform != "linux" or "x86_64" not in str(_conditions.conditions()["os"]):
        pytest.skip("AMX exists on x86-64 only")
    code = "from benchmarks import _amx, _conditions; _amx.deny(); print(_conditions.amx())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() in ("denied", "not present")
