"""Exported C builds without a warning, needs nothing but itself, and gives the same bits on the host and in QEMU."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from micro_build import BOARDS, ROOT, needs_gcc

from edgeq._errors import UsageError
from edgeq.compile import csource, micro

FLAGS = ["-std=c11", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-O2", "-ffp-contract=off"]
BOARD = "mps2-an386"
BARE = [tool for tool in ("arm-none-eabi-gcc", "qemu-system-arm") if not shutil.which(tool)]


@pytest.fixture(scope="module")
def exported(small, tmp_path_factory) -> csource.Export:
    return csource.export(small.program.read_bytes(), tmp_path_factory.mktemp("c"), "small", version="3")


@pytest.fixture(scope="module")
def sources(exported) -> list[Path]:
    return [exported.folder / path for path in exported.files if path.startswith("src/") and path.endswith(".c")]


def expected(exported) -> str:
    """The bytes that example/main.c compares with, as it prints them."""
    text = (exported.folder / "example/main.c").read_text()
    values = re.search(r"output0\[\d+\] = \{(.*?)\};", text, re.DOTALL)[1]
    return "".join(f"{int(value):02x}" for value in re.findall(r"\d+", values))


@needs_gcc
@pytest.mark.parametrize("compiler", [c for c in ("gcc", "clang") if shutil.which(c)])
def test_host_build_prints_the_expected_bytes(exported, sources, tmp_path, compiler):
    program = tmp_path / "example"
    include = f"-I{exported.folder / 'src'}"
    command = [compiler, *FLAGS, include, *sources, exported.folder / "example/main.c", "-o", program]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    ran = subprocess.run([program], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout
    assert ran.stdout.replace("\n", "") == expected(exported) + "as expected"


@pytest.mark.skipif(bool(BARE), reason=f"exported C is not run on Cortex-M here: no {', '.join(BARE)}")
def test_cortex_m_build_prints_the_same(exported, sources, tmp_path):
    board, program = ROOT / "tests/micro/board", tmp_path / "example.elf"
    place = {"flash_at": "0", "flash_bytes": "1M", "ram_at": "0x20000000", "ram_bytes": "64K"}
    link = [
        "-nostdlib",
        "-T",
        board / "link.ld",
        "-Wl,--gc-sections",
        *(f"-Wl,--defsym={k}={v}" for k, v in place.items()),
    ]
    own = [exported.folder / "example/main.c", board / "start.c", board / "stdio.c"]
    include = [f"-I{exported.folder / 'src'}", f"-I{board}"]
    sections = ["-ffunction-sections", "-fdata-sections"]
    command = ["arm-none-eabi-gcc", *FLAGS, *BOARDS[BOARD], *sections, *include, *sources, *own, *link, "-lgcc"]
    done = subprocess.run([*command, "-o", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    emulator = ["qemu-system-arm", "-M", BOARD, "-kernel", program, "-display", "none", "-monitor", "none"]
    semihosting = ["-serial", "none", "-semihosting-config", "enable=on,target=native"]
    ran = subprocess.run([*emulator, *semihosting], capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    assert (ran.stdout + ran.stderr).replace("\n", "") == expected(exported) + "as expected"


def test_only_what_the_model_needs_is_written(exported, small):
    assert "edgeq::mean_hw.out" not in micro.operators(small.program.read_bytes())
    assert "src/micro/ops_glue.c" not in exported.files
    assert not any("kernels/ref" in path or "fuzz" in path for path in exported.files)
    assert {"CMakeLists.txt", "zephyr/module.yml", "library.properties", "src/small.h"} <= set(exported.files)


def test_cmake_lists_every_source(exported, sources):
    text = (exported.folder / "CMakeLists.txt").read_text()
    zephyr = (exported.folder / "zephyr/CMakeLists.txt").read_text()
    for source in sources:
        path = source.relative_to(exported.folder).as_posix()
        assert path in text
        assert f"../{path}" in zephyr


def test_names_are_c_names(small, tmp_path):
    assert csource.identifier("someone/Poke-BNN.2") == "poke_bnn_2"
    assert csource.identifier("2048") == "model_2048"
    with pytest.raises(UsageError, match='"a-b" is no C name'):
        csource.export(small.program.read_bytes(), tmp_path, "a-b")
