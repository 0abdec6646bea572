"""`edgeq compare` on this machine: two programs in turn. What the statistics make of times is tested by itself."""

import json
import math
from types import SimpleNamespace

import pytest

from edgeq import cli
from edgeq.bench import compare, comparison
from edgeq.device import Device, Entry, SentOnce

ROUNDS = 8


@pytest.mark.usefixtures("agent_path")
def test_two_programs_run_in_turn(programs, capsys):
    path = str(programs("float").path)
    assert cli.run(["compare", path, path, "--rounds", str(ROUNDS), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["verdict"] in ("no difference", "slower", "faster") and found["verdict"] in found["line"]
    assert found["ratio"]["low"] <= found["ratio"]["value"] <= found["ratio"]["high"]
    assert 1 / 3 < found["ratio"]["value"] < 3 and found["ratio"]["p"] >= 2 / 2**ROUNDS
    assert found["method"].startswith(f"{ROUNDS} rounds on local")


class Slowed:
    """A net of the device, every time longer by a known share."""

    def __init__(self, net, share):
        self._net, self._share = net, share

    def bench(self, inputs, *, warmup, runs):
        timing = self._net.bench(inputs, warmup=warmup, runs=runs)
        return type(timing)([round(t * self._share) for t in timing.ticks], timing.peak_bytes)

    def unload(self):
        self._net.unload()


@pytest.mark.usefixtures("agent_path")
def test_a_program_of_half_the_speed_is_found_through_any_noise(programs, monkeypatch):
    path = str(programs("float").path)
    loads, puts = [], []

    def load(device, program, honest=compare.program_of):
        net, inputs = honest(device, program)
        loads.append(net)
        return Slowed(net, 2.0 if str(program).endswith("b.pte") else 1.0), inputs

    def put(device, path, honest=Device.put, **options):
        puts.append(path)
        return honest(device, path, **options)

    monkeypatch.setattr(compare, "program_of", load)
    monkeypatch.setattr(Device, "put", put)  # what SentOnce hands on to
    slow = programs("float").path.with_name("b.pte")
    slow.write_bytes(programs("float").path.read_bytes())
    try:
        found = compare.compare(path, str(slow), "local", rounds=8)
    finally:
        slow.unlink()
    assert found.verdict == "slower" and math.isclose(found.ratio.value, 2, rel_tol=0.5)
    assert len(puts) == 2  # each file is sent once
    assert len(loads) == 16 and comparison.SIGNIFICANCE == 0.01  # both anew in every round


def test_a_file_is_sent_again_after_another_one_took_its_name(monkeypatch, tmp_path):
    sent = []

    def put(device, path, *, name, progress):
        sent.append(path)
        return Entry(name, "00", 0)

    monkeypatch.setattr(Device, "put", put)
    once = SentOnce(SimpleNamespace(_agent=None))
    old, new = tmp_path / "old" / "model.pte", tmp_path / "new" / "model.pte"
    for path in (old, old, new, new, old):
        assert once.put(path).name == "model.pte"
    assert sent == [old, new, old]
