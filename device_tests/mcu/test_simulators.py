"""`sim:` without QEMU: unicorn, and what is said where neither is there."""

import importlib.util
import shutil

import numpy as np
import pytest

from edgeq import device
from edgeq._errors import UnsupportedError, UsageError
from edgeq.device import sim

needs_unicorn = pytest.mark.skipif(importlib.util.find_spec("unicorn") is None, reason="not run here: no unicorn")
BY_BLOCKS = 200  # instructions: unicorn's are counted by blocks


@pytest.fixture
def without_qemu(monkeypatch):
    which = shutil.which
    monkeypatch.setattr(sim.shutil, "which", lambda name: None if name.startswith("qemu") else which(name))


def evaluate(url, known):
    with device.connect(url) as board:
        return board.deploy(known.path).evaluate((known.x[:1],))


@needs_unicorn
@pytest.mark.long
@pytest.mark.parametrize("core", ["cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33"])
def test_unicorn_gives_the_logits_and_the_count_of_qemu(core, needs, network):
    needs(core)
    known = network("pokebnn-fashion")
    emulated, unicorn = (evaluate(f"sim:{core}?emulator={name}", known) for name in ("qemu", "unicorn"))
    np.testing.assert_array_equal(unicorn.outputs[0], known.outputs[0][:1])
    assert abs(unicorn.ticks[0] - emulated.ticks[0]) <= BY_BLOCKS


@needs_unicorn
def test_without_qemu_it_is_unicorn(without_qemu):
    if not shutil.which("arm-none-eabi-gcc"):
        pytest.skip("unicorn has no firmware here: apt-get install gcc-arm-none-eabi")
    with device.connect("sim:cortex-m4") as board:
        assert board.info.cpu == "Cortex-M4F"
        assert board.info.tick == "instructions"
        assert board.list() == []
    (found,) = [found for found in sim.discover() if found.url == "sim:cortex-m4"]
    assert found.state == "ready"
    assert "unicorn" in found.detail


NO_QEMU = "qemu-system-arm is not installed: apt-get install qemu-system-arm"
NO_UNICORN = "unicorn is not installed: pip install 'edgeq[sim]'"
NO_CORE = "unicorn has no such core, only cortex-m3, cortex-m4, cortex-m7, cortex-m33"


@pytest.mark.parametrize(
    "url, said",
    [
        ("sim:cortex-m4", f"{NO_QEMU}; or {NO_UNICORN}"),
        ("sim:cortex-m4?emulator=qemu", NO_QEMU),
        ("sim:cortex-m4?emulator=unicorn", NO_UNICORN),
        ("sim:cortex-m55", NO_QEMU),
        ("sim:cortex-m55?emulator=unicorn", NO_CORE),
    ],
)
def test_neither_is_one_clear_line(without_qemu, monkeypatch, url, said):
    monkeypatch.setattr(sim, "_has_unicorn", lambda: False)
    with pytest.raises(UnsupportedError) as refused:
        sim.open_stream(url)
    assert str(refused.value) == f"{url}: {said}"


@pytest.mark.parametrize("url", ["sim:cortex-m4?emulator=bochs", "sim:cortex-m4?speed=9", "sim:cortex-m5"])
def test_what_is_no_simulator(url):
    with pytest.raises(UsageError):
        sim.open_stream(url)
