"""A model update that is cut at every write and every erase of flash: the next start has the old or the new program."""

import re
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
RUNTIME = HERE.parents[1] / "runtime"
SOURCES = [
    HERE / "power_loss.c",
    RUNTIME / "ports/mcu/slots.c",
    *(RUNTIME / "proto" / f"{name}.c" for name in ("wire", "frame", "sha256")),
    *(RUNTIME / "proto" / f"{name}.c" for name in ("agent", "agent_store", "agent_engine", "agent_measure")),
]
FLAGS = ["-std=c11", "-O1", "-g", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror"]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


@pytest.fixture(scope="module")
def power_loss(tmp_path_factory):
    program = tmp_path_factory.mktemp("power") / "power_loss"
    subprocess.run(["gcc", *FLAGS, *SANITIZERS, f"-I{RUNTIME}", *SOURCES, "-o", program], check=True)
    return program


@pytest.mark.parametrize("tear", [0, 7, 31, 1024], ids="{}-bytes-still-change".format)
def test_the_next_start_has_the_old_or_the_new_program(power_loss, tear):
    done = subprocess.run([power_loss, str(tear)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    cuts, old, new, resumed = map(int, re.findall(r"\d+", done.stdout))
    print(f"\n{done.stdout.strip()}")
    assert cuts == old + new > 100
    assert new >= 1  # a cut after the commit
    assert resumed > cuts // 2
