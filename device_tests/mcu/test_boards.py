"""Board files compile without warnings, and the firmware links for every board within its memory."""

import re
import shutil
import subprocess

import pytest

from edgeq import _paths
from edgeq.device import firmware

WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Wdouble-promotion", "-Werror")
SILICON = {
    "rp2040",
    "rp2350",
    "stm32f407vg",
    "stm32f746zg",
    "stm32h743zi",
    "stm32u575zi",
    "nrf52840",
    "nrf5340",
    "esp32c3",
}
BOARDS = sorted(SILICON | {"cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33", "cortex-m55", "rv32", "rv32-zbb"})


@pytest.fixture(params=BOARDS)
def board(request):
    found = firmware.find(request.param)
    if not shutil.which(compiler := firmware.core(found.core).compiler):
        pytest.skip(f"{request.param} is not built here: no {compiler}")
    return found


def test_the_list_is_complete():
    assert sorted(firmware.boards()) == BOARDS
    assert {b.name for b in firmware.boards().values() if b.state == "not run on silicon"} == SILICON
    assert {b.name for b in firmware.boards().values() if not b.qemu} == SILICON


def test_board_files_compile_without_warnings(board, tmp_path):
    family = _paths.runtime() / "ports/boards" / board.family
    own = [source for source in firmware.sources(board) if source.parent in (family, _paths.runtime() / "ports/mcu")]
    assert own
    for source in own:
        done = subprocess.run(
            [*firmware.command(board), *WARNINGS, "-c", str(source), "-o", str(tmp_path / "out.o")],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr


@pytest.mark.long
def test_the_firmware_links(board):
    elf = firmware.build(board)
    size = elf.stat().st_size
    assert size > 10_000
    names = subprocess.run(
        [firmware.core(board.core).compiler.removesuffix("gcc") + "nm", elf], capture_output=True, text=True, check=True
    ).stdout
    address = {name: int(at, 16) for at, name in re.findall(r"^(\w+) \w (\w+)$", names, re.MULTILINE)}
    assert address["free_start"] < address["stack_limit"] < address["stack_top"]
    assert (address["programs_end"] - address["programs_start"]) % 2 == 0
    assert address["flash_end"] - address["flash_start"] <= 64 * 1024


def crc32_msb_first(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ 0x04C11DB7 if crc >> 31 else crc << 1) & 0xFFFFFFFF
    return crc


@pytest.mark.skipif(not shutil.which("arm-none-eabi-gcc"), reason="RP2040 is not built here: no arm-none-eabi-gcc")
def test_the_second_stage_of_rp2040_carries_its_checksum(tmp_path):
    source = _paths.runtime() / "ports/boards/rp2/boot2.S"
    flags = ["-mthumb", "-mcpu=cortex-m0plus", "-DRP2040=1"]
    subprocess.run(["arm-none-eabi-gcc", *flags, "-c", source, "-o", tmp_path / "boot2.o"], check=True)
    copy = ["arm-none-eabi-objcopy", "-O", "binary", "-j", ".boot", tmp_path / "boot2.o", tmp_path / "boot2.bin"]
    subprocess.run(copy, check=True)
    data = (tmp_path / "boot2.bin").read_bytes()
    assert len(data) == 256
    assert int.from_bytes(data[252:], "little") == crc32_msb_first(data[:252])
