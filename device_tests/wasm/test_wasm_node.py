"""The JavaScript package in node: the bits of ExecuTorch, typed errors, and no trap for hostile programs."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from edgeq import data
from edgeq.datasets import features

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CORPUS = ROOT / "tests/micro/corpus"
PORT = ROOT / "runtime/ports/wasm"
SECONDS = 300  # of a machine with much else to do
pytestmark = pytest.mark.skipif(not shutil.which("node"), reason="WebAssembly is not run in node here: no node")


def node(script, *arguments):
    words = ["node", HERE / script, *map(str, arguments)]
    done = subprocess.run(words, capture_output=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@pytest.mark.parametrize("kind", ["simd", "plain"])
@pytest.mark.parametrize("name", ["pokebnn-fashion", "denseshift-kws"])
def test_zoo_models_give_the_bits_of_executorch(web_model, tmp_path, name, kind):
    model = web_model(name)
    inputs = tmp_path / "inputs"
    inputs.write_bytes(model.inputs.tobytes())
    outputs = np.frombuffer(node("run.mjs", model.folder / "edgeq", model.program, inputs, kind), np.float32)
    assert len(np.unique(model.outputs.argmax(1))) > 1
    assert outputs.tobytes() == model.outputs.tobytes()


@pytest.mark.parametrize("kind", ["simd", "plain"])
def test_the_corpus_gives_its_recorded_output(javascript, kind):
    output = node("run.mjs", javascript, CORPUS / "tiny.pte", CORPUS / "tiny.in", kind)
    assert output == (CORPUS / "tiny.out").read_bytes()


def test_errors_have_types_and_say_what_to_do(javascript):
    lines = node("errors.mjs", javascript, CORPUS / "tiny.pte").splitlines()
    told = {said.pop("name"): said for said in map(json.loads, lines)}
    assert told.pop("fine") == told.pop("module again") == {}
    assert all(said["ours"] for said in told.values())
    assert {name: (said["kind"], said["code"]) for name, said in told.items()} == {
        "empty": ("ProgramError", "BAD_HEADER"),
        "text": ("InputError", "INPUT_TYPE"),
        "short": ("ProgramError", "BAD_HEADER"),
        "foreign": ("ProgramError", "NO_OPERATOR"),
        "no memory": ("ProgramError", "NO_MEMORY"),
        "no room": ("ProgramError", "NO_MEMORY"),
        "count": ("InputError", "INPUT_COUNT"),
        "type": ("InputError", "INPUT_TYPE"),
        "length": ("InputError", "INPUT_LENGTH"),
        "module": ("ModuleError", "NO_MODULE"),
        "no module": ("ModuleError", "NO_MODULE"),
    }
    assert told["foreign"]["call"] == 0
    assert told["type"]["message"] == "input 0 is float32: give a Float32Array, got Array"
    assert told["length"]["message"] == "input 0 is [1,8,8,1]: give 64 elements, got 63"


@pytest.mark.parametrize("program", ["tiny.pte", "every.pte"])
def test_damaged_programs_are_run_or_refused(javascript, program):
    met = json.loads(node("hostile.mjs", javascript, CORPUS / program, 1500, 5))
    assert sum(met.values()) == 1500
    assert met["OK"] > 0
    for code in ("BAD_HEADER", "BAD_FORMAT", "TOO_LARGE", "NOT_MICRO", "NO_OPERATOR", "BAD_ARGUMENT"):
        assert met.get(code, 0) > 0, met


def test_a_recording_becomes_the_features_that_the_network_learnt(web_model, tmp_path):
    """Features to 1e-5 (their Fourier transforms add in another order), bytes and inputs to their last bit."""
    model = web_model("denseshift-kws")
    page = (model.folder / "index.html").read_text()
    config = json.loads(re.search(r'id="model">(.*?)</script>', page, re.DOTALL)[1])
    t = np.arange(7001) / features.RATE_HZ
    wave = np.sin(2 * np.pi * (200 + 900 * t) * t) * np.exp(-3 * t) + 0.01 * np.cos(2 * np.pi * 3000 * t)
    (tmp_path / "wave").write_bytes(wave.tobytes())
    said = node("features.mjs", PORT / "page/prepare.js", tmp_path / "wave", json.dumps(config["preprocessing"]))
    expected = features.log_mel(features.window(wave)[None])
    count = expected.size
    assert np.abs(np.frombuffer(said[: 4 * count], np.float32) - expected.ravel()).max() < 1e-5
    codes = data.as_bytes(expected, config)
    assert said[4 * count : 5 * count] == codes.tobytes()
    assert said[5 * count :] == data.preprocess(codes, config).tobytes()


def test_the_types_name_what_the_package_exports():
    exported = r"^export (?:class|function|const) (\w+)"
    script, types = ((PORT / "js" / name).read_text() for name in ("index.js", "index.d.ts"))
    assert re.findall(exported, script, re.MULTILINE)
    assert set(re.findall(exported, script, re.MULTILINE)) == set(re.findall(exported, types, re.MULTILINE))
    codes = set(re.findall(r"'([A-Z_]+)'", script)) - {"OK"}
    assert codes == set(re.findall(r"'([A-Z_]+)'", types))
