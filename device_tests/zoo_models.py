"""A zoo model on a device and on this machine: the same file, the same inputs."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from edgeq import _paths, cli, compile, data, device, hub
from edgeq._errors import NotFoundError
from edgeq.bench import tasks
from edgeq.results import Store

# a binary CNN, a binary transformer, a ternary one that writes, an int4 one
MODELS = ("pokebnn-fashion", "bit-sst2", "ternary-bart-g2p", "int4-minilm")
ZOO = Path(__file__).parents[1] / "zoo"
ALL = [*sorted(path.parents[1].name for path in ZOO.glob("*/package/edgeq.json")), "int4-minilm"]
COUNT = 4


def pulled(name):
    """The package, bundled or the folder that EDGEQ_TEST_MINILM names, or a skip with the reason."""
    try:
        return hub.pull(_source(name), offline=True)
    except NotFoundError:
        pytest.skip(f"{name} is not bundled: tools/release_encoder.py makes it; EDGEQ_TEST_MINILM says where it is")


def _source(name):
    return os.environ.get("EDGEQ_TEST_MINILM", name) if name == "int4-minilm" else name


def outputs_on(url, name, target="executorch"):
    """What a model gives on a device for the first COUNT items that its package carries, or else for noise."""
    package = pulled(name)
    config = package.config()
    task = tasks.of(config)
    task.open(package)
    items = task.bundled(package, name).head(COUNT) if data.SPLIT_FILE in package.manifest.files else None
    artefact = compile.build(package, target)
    with device.connect(url, target=target) as connected:
        net = task.deploy(connected, artefact.path, config, lambda *_: None)
        inputs = task.first(net, None, config) if items is None else task.inputs(items, config)
        return net.evaluate(inputs).outputs


def assert_equal(got, wanted, *, exact):
    """Bit for bit on the same instruction set; else codes and tokens bit for bit, floats to 1e-5 of their range: sums
    of float layers are taken in another order there."""
    for a, b in zip(got, wanted, strict=True):
        if exact or b.dtype.kind != "f":
            np.testing.assert_array_equal(a, b)
        else:
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * float(np.abs(b).max()))


def assert_deploys(url, name, capsys, target="executorch"):
    """`edgeq deploy` ends well and its run is in the store under this device."""
    pulled(name)
    words = [
        "deploy",
        _source(name),
        "-d",
        url,
        "--target",
        target,
        "--limit",
        str(COUNT),
        "--warmup",
        "3",
        "-n",
        "20",
        "--max-temp",
        "90",
        "--json",
    ]
    assert cli.run(words) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["device"] == url and report["latency_ms"]["p50"] > 0
    with Store.open(_paths.store(), readonly=True) as store:
        assert store.run(report["run_id"])["device"] == url
