"""tflite-runtime 2.14, which wants numpy 1: every bundled model in an environment of its own, made here by pip."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from test_litert_writer import Encoder

from edgeq import _paths, hub, litert, models
from edgeq.compile import build
from edgeq.compile import litert as compiler

pytestmark = pytest.mark.long
ROOT = Path(__file__).parents[2]
NAMES = sorted(path.parents[1].name for path in (ROOT / "zoo").glob("*/package/edgeq.json"))


@pytest.fixture(scope="module")
def python() -> Path:
    """The environment's interpreter; pip fetches 35 MB for it, once."""
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["tflite-runtime"]
    if sys.version_info >= (3, 12):
        pytest.skip("tflite-runtime 2.14 has no wheel for Python 3.12")
    folder = ROOT / ".cache" / "tflite-runtime-2.14"
    found, ready = folder / "bin" / "python", folder / "ready"
    if not ready.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        pip = [str(found), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted]
        done = subprocess.run(pip, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"pip cannot fetch tflite-runtime: {done.stderr.strip().splitlines()[-1:]}")
        ready.touch()
    return found


def run(python: Path, folder: Path) -> str:
    library = _paths.native("libedgeq_litert.so", "EDGEQ_LITERT")
    settings = {**os.environ, "PYTHONPATH": str(ROOT), "EDGEQ_LITERT": str(library)}
    script = Path(__file__).with_name("run_tflite.py")
    done = subprocess.run([str(python), str(script), str(folder)], env=settings, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


def test_every_model_gives_what_it_gives_in_ai_edge_litert(python, tmp_path):
    """The same binary. Two builds of XNNPACK sum float layers in their own orders."""
    torch.manual_seed(0)
    expected = {}
    for name in NAMES:
        package = hub.pull(name)
        file = build(package, "litert").path.read_bytes()
        (tmp_path / f"{name}.tflite").write_bytes(file)
        model = models.from_package(package.config(), package.tensors())
        program, given = litert.Program(file), {}
        for method, (_, example) in models.methods(package.config(), model).items():
            inputs = [(torch.randn_like(x) if x.is_floating_point() else x).numpy() for x in example]
            given |= {f"{method}.x{i}": x for i, x in enumerate(inputs)}
            for i, y in enumerate(program.run(method, inputs)):
                expected[name, f"{method}.y{i}"] = y
        np.savez(tmp_path / f"{name}.npz", **given)
    runtime, version = run(python, tmp_path).split()
    assert runtime == "tflite_runtime.interpreter" and version.startswith("1.")
    for (name, output), y in expected.items():
        with np.load(tmp_path / f"{name}.out.npz") as found:
            assert np.abs(found[output] - y).max() <= 1e-5 * np.abs(y).max(), name


def test_files_that_it_would_compute_wrongly_are_refused(python, tmp_path):
    torch.manual_seed(0)
    module, inputs = Encoder(), (torch.tensor([[3, 1, 4, 1, 5, 9]]), torch.tensor([[1, 1, 1, 1, 0, 0]]))
    (tmp_path / "stock.tflite").write_bytes(compiler.lower({"forward": (module, inputs)}, {}, stock=True))
    np.savez(tmp_path / "stock.npz", **{f"forward.x{i}": x.numpy() for i, x in enumerate(inputs)})
    run(python, tmp_path)
    assert "FULLY_CONNECTED" in (tmp_path / "stock.error").read_text()
    assert not (tmp_path / "stock.out.npz").exists()


def test_beside_numpy_2_it_is_refused_before_it_is_imported(python, tmp_path):
    code = "import numpy; numpy.__version__ = '2.0'; from edgeq import litert; litert.runtime()"
    done = subprocess.run(
        [str(python), "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert "tflite-runtime 2.14.0 was built for numpy 1" in done.stderr
