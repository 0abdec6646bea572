"""The zoo on every emulated core, over the serial protocol: what ExecuTorch gives on this machine for the same file."""

import re
import subprocess

import numpy as np
import pytest

from edgeq import device
from edgeq.compile import micro
from edgeq.device import firmware

MODELS = ("pokebnn-fashion", "denseshift-kws")
FEW = 3
TICK = 50  # instructions: the coarsest clock of the emulated boards, 20 MHz
STACK_LIMIT = 2048  # bytes of the 4096 that link.ld sets aside
TOLERANCE = 1e-4  # relative: a logit is a sum of floats; the integers before it are exact


def stack_used(core, path, peak_bytes):
    """What the painted stack tells: all memory in use, but for data and what the program was given."""
    board = firmware.find(core)
    tool = firmware.core(board.core).compiler.removesuffix("gcc") + "nm"
    names = subprocess.run([tool, firmware.build(board)], capture_output=True, text=True, check=True).stdout
    at = {name: int(value, 16) for value, name in re.findall(r"^(\w+) \w (free_start|ram_start)$", names, re.MULTILINE)}
    return peak_bytes - (at["free_start"] - at["ram_start"]) - micro.report(path.read_bytes()).ram_bytes


def compare(core, network, count):
    """Deploys, evaluates `count` samples, prints accuracy, instructions and memory."""
    url = f"sim:{core}"
    with device.connect(url) as connected:
        net = connected.deploy(network.path)
        outcome = net.evaluate((network.x[:count],))
        counted = net.bench((network.x[:1],), warmup=0, runs=2)
        info = connected.info
    stack = stack_used(core, network.path, counted.peak_bytes)
    logits, wanted = outcome.outputs[0], network.outputs[0][:count]
    equal = np.array_equal(logits, wanted)
    right = int((logits.argmax(1) == network.y[:count]).sum())
    print(
        f"\n{network.name} on {url}: {right} of {count} right, {np.median(outcome.ticks):,.0f} instructions, "
        f"{'bit-equal' if equal else 'close'}; firmware {info.code_bytes} bytes, RAM {counted.peak_bytes} bytes, "
        f"of them stack {stack}"
    )
    scale = np.abs(wanted).max(axis=1, keepdims=True)
    assert (np.abs(logits - wanted) <= TOLERANCE * scale).all()
    np.testing.assert_array_equal(logits.argmax(1), wanted.argmax(1))
    assert info.tick == "instructions"
    assert max(counted.ticks) - min(counted.ticks) <= TICK
    assert 0 < stack <= STACK_LIMIT


@pytest.mark.parametrize("model", MODELS)
def test_a_few_inputs(core, network, model):
    compare(core, network(model), FEW)


@pytest.mark.long
@pytest.mark.parametrize("model", MODELS)
def test_two_hundred_inputs(core, network, model):
    compare(core, network(model), len(network(model).x))
