"""The MLPerf Tiny runner's conversation with simulated boards, on the line that EdgeQ's own frames use."""

import json

import pytest
from mlperf_runner import Runner

from edgeq import cli
from edgeq.device import Device, sim

MODEL = "pokebnn-fashion"
BOARDS = ("cortex-m4", "rv32")


@pytest.fixture
def board(needs):
    """The function that starts a simulated board whose firmware knows the dialect: its stream."""

    def start(core):
        needs(core)
        return sim.open_stream(f"sim:{core}?with=mlperf")

    return start


def runner_on(stream):
    return Runner(stream.read, lambda data: stream.write(data, 30.0))


def test_both_conversations_share_one_line(board, network):
    known = network(MODEL)
    with Device(board("cortex-m4")) as device:
        stream = device._agent._stream
        device.put(known.path, name="ic01")
        runner = runner_on(stream)
        assert (runner.name(), runner.model()) == ("edgeq", "ic01")
        runner.load(known.x[:1].tobytes())
        scores, elapsed = runner.infer(2)
        assert scores == pytest.approx(known.outputs[0][0].tolist(), abs=6e-4)  # three decimals
        assert elapsed > 0
        assert [entry.name for entry in device.list()] == ["ic01"]  # frames again
        logits = device.load("ic01").evaluate((known.x[:1],)).outputs[0]
        assert (logits == known.outputs[0][:1]).all()
        assert runner.ask("infer 1 0") == ["e-[no input is loaded]"]  # that program was loaded anew
        assert runner.classify(known.x[1:2, None]) == [int(known.outputs[0][1].argmax())]


@pytest.mark.long
@pytest.mark.parametrize("core", BOARDS)
def test_accuracy_by_the_runner_equals_that_of_eval(board, network, capsys, core):
    known, count = network(MODEL), 20
    with Device(board(core)) as device:
        device.put(known.path, name="ic01")
        predicted = runner_on(device._agent._stream).classify(known.x[:count, None])
    accuracy = float((predicted == known.y[:count]).mean())
    assert cli.run(["eval", MODEL, "-d", f"sim:{core}", "--limit", str(count), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["accuracy"] == pytest.approx(accuracy)
