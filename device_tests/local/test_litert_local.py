"""Every bundled model as `.tflite` on the local device, beside its `.pte`: one connection, the same items."""

from pathlib import Path

import numpy as np
import pytest

from edgeq import hub
from edgeq.bench import tasks
from edgeq.compile import build
from edgeq.data import SPLIT_FILE
from edgeq.device import Device, Net, connect
from edgeq.device.sequence import SequenceNet

pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is not installed: pip install 'edgeq[litert]'")

ZOO = Path(__file__).parents[2] / "zoo"
EXACT = {"pokebnn-fashion", "denseshift-kws", "ternary-bart-g2p"}  # nothing but our own operators at their outputs
QUICK = {"pokebnn-fashion"}
FLOAT = 1e-5  # of the largest: pooling and head of the sentence models are LiteRT's and ExecuTorch's own
ITEMS = 12
NAMES = sorted(path.parents[1].name for path in ZOO.glob("*/package/edgeq.json"))


def some_items(task: tasks.Task, package: hub.PulledPackage, net: Net) -> tuple[np.ndarray, ...]:
    """Of the package's own split, or for sentences, which no package carries, tokens of rising lengths."""
    if SPLIT_FILE in package.manifest.files:
        return task.inputs(task.bundled(package, package.manifest.name).head(ITEMS), package.config())
    tokens = net.inputs[0].shape[1]
    ids = np.random.default_rng(0).integers(0, 1000, (ITEMS, tokens))
    return ids, (np.arange(tokens) < 5 + 2 * np.arange(ITEMS)[:, None]).astype(np.int64)


def outputs(device: Device, name: str, target: str) -> list[np.ndarray]:
    package = hub.pull(name)
    config = package.config()
    task = tasks.of(config)
    task.open(package)
    net = task.deploy(device, build(package, target).path, config, lambda *_: None)
    items = some_items(task, package, net)
    if isinstance(net, SequenceNet):
        return [np.concatenate([net.run(*(x[i : i + 1] for x in items)).outputs[0] for i in range(ITEMS)])]
    return list(net.evaluate(items).outputs)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.long) for name in NAMES]
)
def test_outputs_are_those_of_the_pte(name):
    with connect("local") as device:
        assert "litert" in device.info.targets
        found, expected = (outputs(device, name, target) for target in ("litert", "executorch"))
    for ours, theirs in zip(found, expected, strict=True):
        if name in EXACT:
            assert (ours == theirs).all()
        else:
            assert np.abs(ours - theirs).max() <= FLOAT * np.abs(theirs).max()
