"""kernels/mcu against kernels/ref: the same bits on random shapes, under ASan and UBSan, guarded scratch."""

import os
import subprocess

import pytest
from micro_build import ROOT, RUNTIME, SANITIZERS, compile_c, needs_gcc

pytestmark = needs_gcc

ROUNDS = 200
REFERENCE = ("conv2d_b1b1", "conv2d_i8f32", "epilogue", "linear_f32", "pack")


@pytest.fixture(scope="module")
def check(tmp_path_factory):
    out = tmp_path_factory.mktemp("kernels") / "check_mcu"
    sources = [
        *sorted((RUNTIME / "kernels/mcu").glob("*.c")),
        *(
            RUNTIME / "kernels/ref" / f"{n}.c"
            for n in ("conv2d_b1b1", "conv2d_i8f32", "epilogue", "linear_f32", "pack")
        ),
        *(RUNTIME / "core" / f"{name}.c" for name in ("check", "shape")),
    ]
    compile_c("gcc", "-O1", *SANITIZERS, ROOT / "tests/micro/check_mcu.c", *sources, "-o", out)
    return out


@pytest.mark.parametrize("seed", [1, 2])
def test_same_bits_as_the_reference(check, seed):
    quiet = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}  # the program ends with its memory
    done = subprocess.run([check, str(ROUNDS), str(seed)], capture_output=True, text=True, env=quiet)
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    assert done.stdout.startswith(f"{ROUNDS} rounds")
