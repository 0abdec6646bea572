"""Programs on this machine: deployed, run, timed, evaluated, traced."""

import numpy as np
import pytest
from wire import ERROR, RawAgent, put_frames

from edgeq._errors import RefusedError, UsageError
from edgeq.device import connect


@pytest.fixture
def device(agent_path):
    with connect("local") as device:
        yield device


def test_float_net_gives_what_torch_gives(device, programs):
    program = programs("float")
    run = device.deploy(program.path).run(*program.inputs)
    # XNNPACK adds in another order than torch: 1568 products, 1e-6 of the largest logit is far above that error
    np.testing.assert_allclose(run.outputs[0], program.outputs[0], rtol=0, atol=1e-5)
    assert run.ticks > 0


def test_several_inputs_and_outputs_of_different_types(device, programs):
    program = programs("mixed")
    net = device.deploy(program.path)
    assert [(spec.element, spec.shape) for spec in net.inputs] == [("f32", (2, 3)), ("i64", (2, 3))]
    for got, wanted in zip(net.run(*program.inputs).outputs, program.outputs, strict=True):
        assert got.dtype == wanted.dtype
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("isa", ["ref", "default"])
@pytest.mark.parametrize("threads", [1, 2])
def test_every_operator_gives_the_bits_of_eager(agent_path, programs, monkeypatch, isa, threads):
    """Integers and floats alike: it is the same core, and every sum has a stated order."""
    program = programs("operators")
    if isa != "default":
        monkeypatch.setenv("EDGEQ_ISA", isa)
    with connect(f"local:?threads={threads}") as device:
        assert device.info.threads == threads
        assert isa in ("default", device.info.isa)
        run = device.deploy(program.path).run(*program.inputs)
    for i, (got, wanted) in enumerate(zip(run.outputs, program.outputs, strict=True)):
        assert got.dtype == wanted.dtype, i
        assert got.tobytes() == wanted.tobytes(), f"output {i} differs"


def test_bench_gives_every_sample(device, programs):
    program = programs("float")
    timing = device.deploy(program.path).bench(program.inputs, warmup=3, runs=57)
    assert len(timing.ticks) == 57
    assert all(ticks > 0 for ticks in timing.ticks)
    assert timing.peak_bytes > program.path.stat().st_size


def test_evaluate_equals_run_after_run(device, programs):
    net = device.deploy(programs("float").path)
    x = np.random.default_rng(0).standard_normal((25, 1, 28, 28)).astype(np.float32)
    seen = []
    outcome = net.evaluate([x], progress=lambda done, total: seen.append((done, total)))
    single = np.concatenate([net.run(x[i : i + 1]).outputs[0] for i in range(len(x))])
    assert len(outcome.ticks) == 25
    assert seen[-1] == (25, 25)
    assert outcome.outputs[0].tobytes() == single.tobytes()
    np.testing.assert_array_equal(net.predict([x]).classes, single.argmax(1))


def test_samples_larger_than_a_frame_go_in_pieces(device, programs, monkeypatch):
    """The agent's frame is kept; the client is made to believe in a small one, as a microcontroller would tell."""
    net = device.deploy(programs("float").path)
    x = np.random.default_rng(1).standard_normal((3, 1, 28, 28)).astype(np.float32)
    whole = net.evaluate([x]).outputs[0]
    small = type(device.info)(**{**vars(device.info), "max_payload": 600})
    monkeypatch.setattr(net._agent, "info", small)
    pieces = net.evaluate([x])
    assert pieces.outputs[0].tobytes() == whole.tobytes()
    assert len(pieces.ticks) == 3
    np.testing.assert_array_equal(net.predict([x]).classes, whole.argmax(1))


def test_trace_is_an_etdump(device, programs):
    program = programs("operators")
    trace = device.deploy(program.path).profile(program.inputs, runs=2)
    assert trace[8:12] == b"ED00"  # file identifier of a size-prefixed flatbuffer
    assert b"edgeq::conv2d_b1b1_fused.out" in trace


def test_several_nets_at_once_and_unload(device, programs):
    float_net, mixed = (device.deploy(programs(name).path) for name in ("float", "mixed"))
    before = float_net.run(*programs("float").inputs).outputs[0]
    mixed.run(*programs("mixed").inputs)
    assert float_net.run(*programs("float").inputs).outputs[0].tobytes() == before.tobytes()
    mixed.unload()
    with pytest.raises(RefusedError, match="BAD_NET"):
        mixed.run(*programs("mixed").inputs)
    device.reset()
    with pytest.raises(RefusedError, match="BAD_NET"):
        float_net.run(*programs("float").inputs)


def test_loading_without_end_is_refused(device, programs):
    program = programs("mixed")
    device.put(program.path)
    with pytest.raises(RefusedError, match="TOO_MANY"):
        for _ in range(device.info.nets + 1):
            device.load(program.path.name)


def test_wrong_arrays_are_named(device, programs):
    net = device.deploy(programs("float").path)
    with pytest.raises(UsageError, match=r"input 0 is float32 \(1, 1, 28, 28\), got float64"):
        net.run(np.zeros((1, 1, 28, 28)))
    with pytest.raises(UsageError, match="takes 1 inputs, got 2"):
        net.run(*[np.zeros((1, 1, 28, 28), np.float32)] * 2)
    with pytest.raises(UsageError, match="got 0 samples of 1x28x28 float32, the network takes 1x28x28"):
        net.evaluate([np.zeros((0, 1, 28, 28), np.float32)])


def test_unknown_method_names_those_there_are(device, programs):
    device.put(programs("float").path)
    with pytest.raises(RefusedError, match="no method forwrad; it has forward"):
        device.load("float.pte", "forwrad")


def test_outputs_before_the_first_run_are_refused(device, programs):
    net = device.deploy(programs("float").path)
    with pytest.raises(RefusedError, match="not run yet"):
        net._read(0)


def test_a_program_that_plans_too_much_is_refused(agent_path, programs, tmp_path):
    program = programs("float").path
    with RawAgent(agent_path, tmp_path / "store", "--memory-limit", "1000") as agent:
        for data in put_frames("float", program.read_bytes(), 1 << 16):
            agent.send(data)
            assert agent.receive().number != ERROR
        assert agent.ask("LOAD", name="float", method="forward") == "NO_MEMORY"
