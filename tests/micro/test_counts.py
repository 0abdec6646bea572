"""Instructions on emulated cores: more than 1 % worse than the committed counts fails, and so does a broken promise.

QEMU counts instructions, which are no cycles: 40 of them make one tick of the boards' 25 MHz SysTick (-icount shift=0).
`counts.json` names the compiler; another one is not compared. To renew it: UPDATE_COUNTS=1 pytest this file.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from micro_build import BOARDS, OPERATORS, READER, ROOT, RUNTIME, WARNINGS

MISSING = [tool for tool in ("arm-none-eabi-gcc", "qemu-system-arm") if not shutil.which(tool)]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"instructions are not counted here: no {', '.join(MISSING)}")

HERE = ROOT / "tests/micro"
COUNTS = HERE / "counts.json"
CORES = {"cortex-m3": "mps2-an385", "cortex-m4": "mps2-an386", "cortex-m7": "mps2-an500"}
PER_TICK = 40
WORSE = 1.01
MACS = 256 * 256
KERNELS = [*sorted((RUNTIME / "kernels/mcu").glob("*.c")), *(RUNTIME / "core" / f"{n}.c" for n in ("check", "shape"))]
STACK_LIMIT = 1536
MICROBIT_RAM = 16 * 1024


def compiler() -> str:
    said = subprocess.run(["arm-none-eabi-gcc", "--version"], capture_output=True, text=True, check=True).stdout
    return said.splitlines()[0]


def boot(board: str, flags: list[str], folder: Path, *parts: str | Path, ram: int = 4 << 20) -> dict[str, list[str]]:
    """Build, run, and give each line that the program says by its first word."""
    place = {"flash_at": 0, "flash_bytes": 256 << 10, "ram_at": 0x20000000, "ram_bytes": ram}
    link = ["-nostdlib", "-T", HERE / "board/link.ld", "-Wl,--gc-sections"]
    link += [f"-Wl,--defsym={name}={value}" for name, value in place.items()]
    include = [f"-I{RUNTIME}", f"-I{RUNTIME / 'include'}", f"-I{HERE / 'board'}"]
    options = [*WARNINGS, "-ffp-contract=off", "-ffreestanding", "-ffunction-sections", "-fdata-sections", *include]
    program = folder / f"{board}.elf"
    command = ["arm-none-eabi-gcc", *options, *flags, *parts, HERE / "board/start.c", *link, "-lgcc", "-o", program]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    emulator = ["qemu-system-arm", "-M", board, "-kernel", program, "-display", "none", "-monitor", "none"]
    emulator += ["-serial", "none", "-icount", "shift=0", "-semihosting-config", "enable=on,target=native"]
    ran = subprocess.run(emulator, capture_output=True, text=True, timeout=240)
    said = ran.stdout + ran.stderr
    assert ran.returncode == 0, said
    return {words[0]: words[1:] for words in map(str.split, said.splitlines()) if words}


@pytest.fixture(scope="module", params=CORES)
def counted(request, tmp_path_factory) -> tuple[str, dict[str, int]]:
    """Instructions of one round of each part of board/bench.c."""
    board = CORES[request.param]
    parts = [HERE / "board/bench.c", HERE / "board/int8.c", *KERNELS]
    said = boot(board, [*BOARDS[board], "-O2"], tmp_path_factory.mktemp("bench"), *parts)
    return request.param, {name: PER_TICK * int(ticks) // int(rounds) for name, (ticks, rounds) in said.items()}


def test_counts_are_not_worse_than_the_committed_ones(counted):
    core, now = counted
    known = json.loads(COUNTS.read_text())
    if os.environ.get("UPDATE_COUNTS"):
        known["compiler"] = compiler()
        known["instructions"][core] = now
        COUNTS.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n")
    if known["compiler"] != compiler():
        pytest.skip(f"counts.json was made by {known['compiler']}, here is {compiler()}")
    worse = {name: (now[name], then) for name, then in known["instructions"][core].items() if now[name] > WORSE * then}
    assert not worse


def test_binary_kernels_keep_their_promises(counted):
    core, now = counted
    print(f"\n{core}: " + ", ".join(f"{name} {count}" for name, count in now.items()))
    assert now["matrix_b1b1"] <= 0.36 * MACS
    assert now["matrix_i8i8"] >= 4.6 * now["matrix_b1b1"]
    assert now["wide_i8i8"] >= 3 * now["wide_b1b1"]


def run_parts(memory: int, program: Path, taken: Path) -> list[str | Path]:
    defines = [f"-DMEMORY={memory}", f"-DMODEL={program}", f"-DINPUT={taken}"]
    sources = [file for file in (*READER, *OPERATORS) if file.stem != "model"]
    return [*defines, *sources, HERE / "board/run.c", HERE / "board/blob.S"]


def test_a_small_network_runs_on_a_cortex_m0_with_16_kb(tmp_path):
    corpus = HERE / "corpus"
    parts = run_parts(8192, corpus / "tiny.pte", corpus / "tiny.in")
    said = boot("microbit", ["-mthumb", "-mcpu=cortex-m0", "-Os"], tmp_path, *parts, ram=MICROBIT_RAM)
    assert "".join(said["output"]) == (corpus / "tiny.out").read_bytes().hex()
    assert int(said["stack"][0]) <= STACK_LIMIT


def test_dispatch_is_short_and_the_stack_bounded(tmp_path):
    corpus = HERE / "corpus"
    flags = [*BOARDS["mps2-an386"], "-Os"]
    said = boot("mps2-an386", flags, tmp_path, *run_parts(65536, corpus / "tiny.pte", corpus / "tiny.in"))
    ticks, calls = map(int, said["dispatch"])
    print(f"\ndispatch: {PER_TICK * ticks / calls:.1f} instructions per call; stack {said['stack'][0]} bytes")
    assert PER_TICK * ticks <= 60 * calls
    assert int(said["stack"][0]) <= STACK_LIMIT
    assert "".join(said["output"]) == (corpus / "tiny.out").read_bytes().hex()
