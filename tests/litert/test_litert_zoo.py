"""Every bundled model as `.tflite` in stock LiteRT, beside its `.pte` in ExecuTorch: one process, the same inputs."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from edgeq import hub, litert
from edgeq.bench import tasks
from edgeq.compile import build, host
from edgeq.compile.tflite_file import misaligned
from edgeq.data import SPLIT_FILE

pytestmark = pytest.mark.long
ROOT = Path(__file__).parents[2]
NAMES = [*sorted(path.parents[1].name for path in (ROOT / "zoo").glob("*/package/edgeq.json")), "int4-minilm"]
# Nothing but our own operators between inputs and outputs. The others end in float layers of the runtimes' own.
EXACT = {"pokebnn-fashion", "denseshift-kws", "ternary-bart-g2p"}
FLOAT = 1e-5  # of the largest output
ITEMS = 6
Arrays = list[np.ndarray]


def pulled(name: str) -> hub.PulledPackage:
    if name != "int4-minilm":
        return hub.pull(name)
    if (folder := os.environ.get("EDGEQ_TEST_MINILM")) is None:
        pytest.skip("int4-minilm is not bundled: tools/release_encoder.py makes it, EDGEQ_TEST_MINILM names its folder")
    return hub.pull(folder, allow_unsigned=True)


def items_of(package: hub.PulledPackage, program: litert.Program) -> list[Arrays]:
    """Inputs of single runs: of the package's own split; else noise, or tokens of rising lengths."""
    task, method = tasks.of(package.config()), program.methods[0]
    task.open(package)
    shapes = program.inputs(method)
    if SPLIT_FILE in package.manifest.files:
        given = task.inputs(task.bundled(package, package.manifest.name).head(ITEMS), package.config())
    elif len(shapes) == 1:
        given = (np.random.default_rng(0).standard_normal((ITEMS, *shapes[0][0][1:])),)
    else:
        tokens = shapes[0][0][1]
        ids = np.random.default_rng(0).integers(0, 60, (ITEMS, tokens))
        given = ids, (np.arange(tokens) < 5 + 2 * np.arange(ITEMS)[:, None]).astype(np.int64)
    return [[x[i : i + 1].reshape(s).astype(t) for x, (s, t) in zip(given, shapes, strict=True)] for i in range(ITEMS)]


@pytest.mark.parametrize("name", NAMES)
def test_outputs_are_those_of_the_pte(name: str) -> None:
    package = pulled(name)
    file, other = (build(package, target).path.read_bytes() for target in ("litert", "executorch"))
    assert misaligned(file) == []
    tflite, pte = litert.Program(file), host.Program(other)

    def both(method: str, inputs: Arrays) -> Arrays:
        ours = tflite.run(method, inputs)
        theirs = [y.numpy() for y in pte.run(method, tuple(torch.from_numpy(x) for x in inputs))]
        for a, b in zip(ours, theirs, strict=True):
            assert a.shape == b.shape and a.dtype == b.dtype and np.isfinite(b).all()
            assert np.abs(a - b).max() <= (0 if name in EXACT else FLOAT * np.abs(b).max())
        return ours

    for inputs in items_of(package, tflite):
        if tflite.methods == ["forward"]:
            both("forward", inputs)
            continue
        both("encode", inputs)
        token = 1
        for position in range(8):
            (logits,) = both("decode", [np.array([[token]]), np.array([position])])
            token = int(logits.argmax())
