"""A line that flips bits and loses bytes in both directions: requests are sent again, and carried out once."""

import random

import numpy as np
import pytest

from edgeq._errors import DeviceError
from edgeq.device import Device, agent, local


class LossyStream:
    """Damages one of `every` blocks of bytes that pass, from a seed."""

    lossy = True

    def __init__(self, stream, seed, every):
        self._stream, self._rng, self._every = stream, random.Random(seed), every
        self.name = "lossy"
        self.damaged = 0

    def _damage(self, data):
        if self._rng.randrange(self._every):
            return data
        self.damaged += 1
        at = self._rng.randrange(len(data))
        if self._rng.random() < 0.5:
            return data[:at] + data[at + 1 :]
        return data[:at] + bytes((data[at] ^ 1 << self._rng.randrange(8),)) + data[at + 1 :]

    def read(self, timeout_s):
        return self._damage(self._stream.read(timeout_s))

    def write(self, data, timeout_s):
        self._stream.write(self._damage(data), timeout_s)

    def close(self):
        self._stream.close()


@pytest.fixture
def impatient(monkeypatch):
    """Waits of three seconds for each lost answer would make a slow test."""
    monkeypatch.setattr(agent, "_LOSSY_TIMEOUT_S", 0.2)


@pytest.mark.parametrize("seed", range(3))
def test_everything_arrives_once(agent_path, programs, impatient, monkeypatch, tmp_path, seed):
    program = programs("mixed")
    stream = LossyStream(local.open_stream("local"), seed, every=12)
    monkeypatch.setattr(agent, "_FIRST_PAYLOAD", 200)  # many small frames, also before INFO
    with Device(stream) as device:
        file = tmp_path / "random.bin"
        file.write_bytes(random.Random(seed).randbytes(10_000))
        monkeypatch.setattr(device._agent, "info", type(device.info)(**{**vars(device.info), "max_payload": 200}))
        device.put(file)
        assert device.get("random.bin") == file.read_bytes()
        net = device.deploy(program.path)
        for _ in range(10):
            for got, wanted in zip(net.run(*program.inputs).outputs, program.outputs, strict=True):
                np.testing.assert_array_equal(got, wanted)
        device.erase("random.bin")
        assert [entry.name for entry in device.list()] == ["mixed.pte"]
    assert stream.damaged > 5


def test_a_dead_line_is_given_up(agent_path, impatient, monkeypatch):
    monkeypatch.setattr(agent, "_HELLO_TIMEOUT_S", 1.0)
    with pytest.raises(DeviceError):
        Device(LossyStream(local.open_stream("local"), seed=1, every=1))
