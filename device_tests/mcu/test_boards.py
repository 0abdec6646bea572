"""Board files compile without warnings, and the firmware links for every board within its memory."""

import re
import shutil
import subprocess

import pytest

from edgeq import _paths
from edgeq.compile import micro
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
GATE_BYTES = 10 * 1024  # reader, interpreter, protocol, slots and agent, with what they take of libgcc
MODEL_GATE_BYTES = 28 * 1024  # firmware with pokebnn-fashion's own operators and kernels
CALLS = (  # what operators call: nobody does in the test of size
    *("eqm_tensor", "eqm_optional_tensor", "eqm_integer", "eqm_list", "eqm_item", "eqm_out", "eqm_out_like"),
    *("eqm_no_out", "eqm_ready", "eqm_checked_next", "eqm_refuse_unless"),
)
BOARDS = sorted(SILICON | {"cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33", "cortex-m55", "rv32", "rv32-zbb"})


@pytest.fixture(params=BOARDS)
def board(request):
    found = firmware.find(request.param)
    if not shutil.which(compiler := firmware.core(found.core).compiler):
        pytest.skip(f"{request.param} is not built here: apt-get install {firmware.package_of(compiler)}")
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


@pytest.mark.skipif(
    not shutil.which("arm-none-eabi-gcc"), reason="size on Cortex-M4 is not tested: no arm-none-eabi-gcc"
)
def test_size_of_reader_interpreter_protocol_and_agent_on_cortex_m4(tmp_path):
    board = firmware.find("cortex-m4")
    runtime = _paths.runtime()
    leave_out = {"operators", "epilogue", *(file.stem for file in (runtime / "micro").glob("ops_*.c"))}
    folders = (runtime / "proto", runtime / "micro", runtime / "ports/mcu")
    sources = [s for s in firmware.sources(board) if s.parent in folders and s.stem not in leave_out]
    table = tmp_path / "no_operators.c"
    table.write_text(
        '#include "micro/micro.h"\n#include "ports/mcu/board.h"\n'
        "const eqm_operator eqm_operators[1];\nconst uint32_t eqm_operator_count = 0;\n"
        "const board_info board = {.page = 4096, .ns_256 = 256};\n"
    )
    objects = []
    for source in (*sources, table):
        objects.append(tmp_path / f"{source.parent.name}_{source.stem}.o")
        flags = firmware.extra(source)
        subprocess.run([*firmware.command(board), *flags, "-c", source, "-o", objects[-1]], check=True, cwd=tmp_path)
    elf = tmp_path / "agent.elf"
    keep = [f"-Wl,-u,{name}" for name in CALLS]
    link = ["-nostdlib", "-Wl,--gc-sections,-e,main,--unresolved-symbols=ignore-all", *keep, "-lgcc", "-o", elf]
    one = firmware.extra(runtime / "proto/agent.c")
    subprocess.run([*firmware.command(board), *one, *objects, *link], check=True, capture_output=True, cwd=tmp_path)
    listing = subprocess.run(["arm-none-eabi-size", elf], check=True, capture_output=True, text=True).stdout
    text, data, _ = map(int, listing.splitlines()[1].split()[:3])
    print(f"\nCortex-M4, -Os: reader, interpreter, protocol, slots and agent {text} bytes")
    assert data == 0
    assert text <= GATE_BYTES


@pytest.mark.skipif(
    not shutil.which("arm-none-eabi-gcc"), reason="size on Cortex-M4 is not tested: no arm-none-eabi-gcc"
)
def test_size_of_firmware_with_the_operators_of_one_model(network):
    elf = firmware.build(
        firmware.find("cortex-m4"), operators=micro.operators(network("pokebnn-fashion").path.read_bytes())
    )
    listing = subprocess.run(["arm-none-eabi-size", elf], check=True, capture_output=True, text=True).stdout
    text, data, _ = map(int, listing.splitlines()[1].split()[:3])
    print(f"\nCortex-M4: everything for pokebnn-fashion but its program {text + data} bytes")
    assert text + data <= MODEL_GATE_BYTES
