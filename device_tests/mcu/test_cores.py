"""The zoo on every emulated core, over the serial protocol: what ExecuTorch gives on this machine for the same file."""

import numpy as np
import pytest

from edgeq import device

MODELS = ("pokebnn-fashion",)
FEW = 3
TOLERANCE = 1e-4  # relative: a logit is a sum of floats; the integers before it are exact


def compare(url, network, count):
    """Deploys, evaluates `count` samples, prints accuracy and instructions."""
    with device.connect(url) as connected:
        net = connected.deploy(network.path)
        outcome = net.evaluate((network.x[:count],))
        info = connected.info
    logits, wanted = outcome.outputs[0], network.outputs[0][:count]
    equal = np.array_equal(logits, wanted)
    right = int((logits.argmax(1) == network.y[:count]).sum())
    print(
        f"\n{network.name} on {url}: {right} of {count} right, {np.median(outcome.ticks):,.0f} instructions, "
        f"{'bit-equal' if equal else 'close'}; firmware {info.code_bytes} bytes"
    )
    scale = np.abs(wanted).max(axis=1, keepdims=True)
    assert (np.abs(logits - wanted) <= TOLERANCE * scale).all()
    np.testing.assert_array_equal(logits.argmax(1), wanted.argmax(1))
    assert info.tick == "instructions"
    assert len(set(outcome.ticks)) <= count
    return outcome


@pytest.mark.parametrize("model", MODELS)
def test_a_few_inputs(core, network, model):
    compare(f"sim:{core}", network(model), FEW)


@pytest.mark.long
@pytest.mark.parametrize("model", MODELS)
def test_two_hundred_inputs(core, network, model):
    compare(f"sim:{core}", network(model), len(network(model).x))
