"""The WebAssembly modules, built once, and zoo models with inputs and what ExecuTorch makes of them."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from browser import chromium

from edgeq import compile as edgeq_compile
from edgeq import data, hub
from edgeq.compile import host, wasm, web

__all__ = ["chromium"]  # a fixture
COMPILERS = [tool for tool in ("clang", "wasm-ld") if not shutil.which(tool)]
SAMPLES = 8


@dataclass(frozen=True)
class Model:
    """A model's page and program; x as the package holds it, the network's inputs, and its outputs on this machine."""

    folder: Path  # of the page; the JavaScript package is edgeq/ below it
    program: Path
    labels: list[str]
    x: np.ndarray
    inputs: np.ndarray
    outputs: np.ndarray


@pytest.fixture(scope="session")
def wasm_home(tmp_path_factory):
    return tmp_path_factory.mktemp("wasm_home")


@pytest.fixture(scope="session")
def javascript(wasm_home):
    """The folder of the JavaScript package."""
    if COMPILERS:
        pytest.skip(f"WebAssembly is not tested here: no {', '.join(COMPILERS)}")
    folder = wasm_home / "package"
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEQ_HOME", str(wasm_home))
        for name, content in wasm.package().items():
            (folder / name).write_bytes(content)
    return folder


@pytest.fixture(scope="session")
def web_model(wasm_home, javascript):
    """The function that gives a zoo model by name."""
    made = {}

    def find(name):
        if name not in made:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("EDGEQ_HOME", str(wasm_home))
                made[name] = _model(name, wasm_home)
        return made[name]

    return find


def _model(name, home):
    package = hub.pull(name)
    pte = edgeq_compile.build(package, "micro").path.read_bytes()
    config = package.config()
    made = web.export(pte, home / name, name, config)
    x = data.load_split(package, dataset=config["dataset"]).head(SAMPLES).x
    inputs = data.preprocess(x, config)
    program = host.Program(pte)
    outputs = [program.run("forward", (torch.from_numpy(one[None]),))[0].numpy()[0] for one in inputs]
    file = made.folder / f"{name}.pte"
    return Model(made.folder, file, config["labels"], x, inputs, np.stack(outputs))
