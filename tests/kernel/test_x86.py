"""Every set of an x86-64 machine against the reference, AMX emulated where the processor has AVX-512 but no AMX."""

from __future__ import annotations

import platform
import re
import subprocess
from pathlib import Path

import pytest

from edgeq import _native as native

ROOT = Path(__file__).parents[2]
AVX512 = "avx512" in native.usable_isas()

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="not an x86-64 machine")


def test_every_set_and_amx(tmp_path):
    """200 problems, odd tails and extreme values among them, on one thread and on three."""
    configure = ["cmake", "-S", ROOT / "runtime", "-B", tmp_path, "-G", "Ninja"]
    subprocess.run(configure, check=True, capture_output=True)
    subprocess.run(["cmake", "--build", tmp_path, "--target", "edgeq_check"], check=True, capture_output=True)
    done = subprocess.run([tmp_path / "edgeq_check", "200"], capture_output=True, text=True)
    sets = done.stdout.splitlines()[0].split()
    assert set(native.usable_isas()) <= set(sets)
    assert ("amx" in sets) == AVX512, "AMX is there, or emulated, wherever AVX-512 is"
    result = re.search(r"(\d+) passed, (\d+) failed", done.stdout)
    assert result, done.stdout + done.stderr
    assert int(result[1]) > 0
    assert int(result[2]) == 0, done.stdout
    if AVX512 and "amx" not in native.usable_isas():
        emulated = re.search(r"AMX emulated: (\d+) instructions", done.stdout)
        assert emulated and int(emulated[1]) > 10_000, done.stdout
