"""Every bundled model: signed, as large as it says, and giving on the local device exactly what was released."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from edgeq import compile as compiler
from edgeq import data, hub, models
from edgeq.bench import tasks
from edgeq.device import connect
from edgeq.package import verify_package

ZOO = Path(__file__).parents[2] / "zoo"
ENTRIES = sorted(p.parents[1] for p in ZOO.glob("*/package/edgeq.json"))
HEADERS = 1.07  # model.safetensors over its tensors
PROGRAM, GRAPH = 1.15, 8192  # .pte over its tensors, and the bytes that a small network's operators take


@pytest.fixture(params=ENTRIES, ids=lambda entry: entry.name)
def entry(request) -> Path:
    return request.param


@pytest.fixture
def expected(entry) -> dict:
    return json.loads((entry / "expected.json").read_text())


def test_the_zoo_is_not_empty():
    assert "pokebnn-fashion" in [entry.name for entry in ENTRIES]


def test_list_names_every_entry_with_its_figures():
    listed = {e.name: e for e in hub.list_zoo()}
    assert sorted(listed) == [entry.name for entry in ENTRIES]
    for e in listed.values():
        assert e.task and e.scheme and e.licence and e.targets and e.size_bytes > 0 and e.accuracy


def test_package_is_signed_by_the_zoo_key(entry):
    package = verify_package(entry / "package")
    assert package.signed_by is not None and package.signed_by.startswith("edgeq-zoo")


def test_weights_carry_little_besides_themselves(entry):
    package = verify_package(entry / "package")
    content = sum(t.nbytes for t in package.tensors().values())
    declared = {m["name"]: m["value"] for m in package.manifest.metrics}
    assert declared["size_packed_weights"] + declared["size_float_parts"] == content
    assert len(package.read("model.safetensors")) <= HEADERS * content


def test_network_loads_and_runs_in_eager(entry):
    package = verify_package(entry / "package")
    model = models.from_package(package.config(), package.tensors())
    for module, inputs in models.methods(package.config(), model).values():
        assert module(*inputs).isfinite().all()


def test_program_on_the_local_device_gives_what_was_released(entry, expected):
    package = hub.pull(entry.name)
    artefact = compiler.build(package)
    assert artefact.size_bytes <= PROGRAM * sum(t.nbytes for t in package.tensors().values()) + GRAPH
    assert artefact.size_bytes == pytest.approx(expected["artefact_bytes"], rel=0.01)
    if data.SPLIT_FILE not in package.manifest.files:
        pytest.skip(f"{entry.name} carries no items: its data set has no licence")
    config = package.config()
    task = tasks.of(config)
    task.open(package)
    samples = task.bundled(package, "bundled")
    with connect("local") as device:
        net = task.deploy(device, artefact.path, config, lambda *_: None)
        (output,) = net.evaluate(task.inputs(samples, config)).outputs
    output = output.reshape(len(samples), -1)
    predictions = output.astype(np.uint16) if output.dtype.kind == "i" else output.argmax(1).astype(np.uint8)
    assert hashlib.sha256(predictions.tobytes()).hexdigest() == expected["predictions_sha256"]


def test_accuracy_stays_near_the_float_twin(expected):
    assert expected["accuracy"]["full"] >= expected["twin_accuracy"] - expected["largest_gap"]
