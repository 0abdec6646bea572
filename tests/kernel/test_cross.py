"""NEON under emulation: the core cross-compiled for 64-bit Arm, every set against the reference."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ("cmake", "ninja", "aarch64-linux-gnu-gcc", "qemu-aarch64")
MISSING = [tool for tool in TOOLS if not shutil.which(tool)]

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"NEON is not tested here: no {', '.join(MISSING)}")


CHECKS = ("edgeq_check", "edgeq_check_planes")


@pytest.fixture(scope="module")
def checks(tmp_path_factory) -> Path:
    """Folder of the programs."""
    build = tmp_path_factory.mktemp("aarch64")
    toolchain = ROOT / "runtime/cmake/aarch64-linux-gnu.cmake"
    configure = ["cmake", "-S", ROOT / "runtime", "-B", build, "-G", "Ninja", f"-DCMAKE_TOOLCHAIN_FILE={toolchain}"]
    subprocess.run([*configure, "-DCMAKE_EXE_LINKER_FLAGS=-static"], check=True, capture_output=True)
    subprocess.run(["cmake", "--build", build, "--target", *CHECKS], check=True, capture_output=True)
    return build


@pytest.mark.parametrize("program", CHECKS)
@pytest.mark.parametrize(
    ("cpu", "sets"),
    [("cortex-a57", "ref neon"), ("cortex-a76", "ref neon neon-dotprod"), ("max", "ref neon neon-dotprod neon-i8mm")],
)
def test_neon(checks, program, cpu, sets):
    done = subprocess.run(["qemu-aarch64", "-cpu", cpu, checks / program, "200"], capture_output=True, text=True)
    assert done.stdout.splitlines()[0].strip() == sets
    result = re.search(r"(\d+) passed, (\d+) failed", done.stdout)
    assert result, done.stdout + done.stderr
    assert int(result[1]) > 0
    assert int(result[2]) == 0, done.stdout
