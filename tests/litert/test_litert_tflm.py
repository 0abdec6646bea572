"""Every operator in TensorFlow Lite for Microcontrollers, through the Python wheel of tflite-micro: the bits of eager.

The wheel carries no headers, so the registration source is compiled against stand-ins that link to it (`tflm/`), and it
is loaded into a process of its own. Other versions of the wheel have other layouts.
"""

import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from every_operator import CASES, Call

from edgeq import _paths
from edgeq.compile import litert as compiler

pytestmark = pytest.mark.long
HERE = Path(__file__).parent
PORT = HERE.parents[1] / "runtime" / "ports" / "litert"
WHEEL = "0.dev20261023182759"
SOURCES = ("call.c", "epilogue.c", "operators.c", "ops_*.c")  # as edgeq_tflm.h names them

RUN = """
import ctypes, glob, os, sys
import numpy as np, tflite_micro
found = glob.glob(os.path.dirname(tflite_micro.__file__) + "/**/_runtime.so", recursive=True)
ctypes.CDLL(found[0], mode=ctypes.RTLD_GLOBAL)
ctypes.CDLL(sys.argv[1], mode=ctypes.RTLD_GLOBAL)
from tflite_micro import runtime
for path in sorted(glob.glob(sys.argv[2] + "/*.tflite")):
    net = runtime.Interpreter.from_file(path, custom_op_registerers=["EdgeQRegister"], arena_size=1 << 18)
    net.set_input(np.load(path[:-6] + "npy"), 0)
    net.invoke()
    for i in range(int(open(path[:-6] + "count").read())):
        np.save(f"{path[:-7]}.{i}.npy", net.get_output(i))
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """The port's source for TFLM as a shared library, over the installed core."""
    if shutil.which("g++") is None:
        pytest.skip("no g++")
    out = tmp_path_factory.mktemp("tflm")
    core = _paths.native("libedgeq.so", "EDGEQ_LIBRARY").absolute()
    include = [f"-I{HERE / 'tflm'}", f"-I{PORT.parents[1] / 'include'}"]
    warnings = ["-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror", "-O1", "-fPIC"]
    sources = [path for pattern in SOURCES for path in sorted(PORT.glob(pattern))]
    subprocess.run(["gcc", "-std=c11", *warnings, *include, "-c", *map(str, sources)], cwd=out, check=True)
    parts = [str(PORT / "tflm" / "edgeq_tflm.cc"), str(HERE / "tflm" / "wheel.cc"), *map(str, out.glob("*.o"))]
    link = ["-shared", "-o", str(out / "libtflm.so"), *parts, str(core), f"-Wl,-rpath,{core.parent}"]
    # the wheel is built with hidden type names; nothing here throws or asks for types
    subprocess.run(["g++", "-std=c++17", *warnings, "-fno-exceptions", "-fno-rtti", *include, *link], check=True)
    return out / "libtflm.so"


def test_every_operator_equals_eager(library, tmp_path):
    try:
        if metadata.version("tflite-micro") != WHEEL:
            pytest.skip(f"tflite-micro is not {WHEEL}")
    except metadata.PackageNotFoundError:
        pytest.skip(f"tflite-micro is not installed: pip install tflite-micro=={WHEEL}")
    expected = {}
    for name, (x, *_) in sorted(CASES.items()):
        module = Call(name)
        (tmp_path / f"{name}.tflite").write_bytes(compiler.lower({"forward": (module, (x,))}, {}))
        np.save(tmp_path / f"{name}.npy", x.numpy())
        expected[name] = module(x)
        (tmp_path / f"{name}.count").write_text(str(len(expected[name])))
    done = subprocess.run([sys.executable, "-c", RUN, str(library), str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name, outputs in expected.items():
        for i, eager in enumerate(outputs):
            assert np.load(tmp_path / f"{name}.{i}.npy").tobytes() == eager.numpy().tobytes(), name
