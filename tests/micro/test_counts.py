"""Instructions on emulated cores: more than 1 % worse than the committed counts fails, and so does a broken promise.

QEMU counts instructions, which are no cycles: 40 of them make one tick of a 25 MHz SysTick (-icount shift=0).
`counts.json` names the compiler; another one is not compared. To renew it: UPDATE_COUNTS=1 pytest this file.
"""

import json
import os
import shutil
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from micro_build import BOARDS, OPERATORS, READER, ROOT, RUNTIME, WARNINGS

ARM, RISC_V = "arm-none-eabi-gcc", "riscv64-unknown-elf-gcc"
HERE = ROOT / "tests/micro"
COUNTS = HERE / "counts.json"
WORSE = 1.01
MACS = 256 * 256
KERNELS = [*sorted((RUNTIME / "kernels/mcu").glob("*.c")), *(RUNTIME / "core" / f"{n}.c" for n in ("check", "shape"))]
STACK_LIMIT = 1536
MICROBIT_RAM = 16 * 1024


@dataclass(frozen=True)
class Core:
    """An emulated board of tests/micro/board. per_tick: instructions of a tick of its clock."""

    machine: str
    flags: tuple[str, ...]
    flash_at: int = 0
    ram_at: int = 0x20000000
    per_tick: float = 40
    gcc: str = ARM


HARD = ("-mthumb", "-mfloat-abi=hard")
ILP32 = ("-mabi=ilp32", "-mcmodel=medany", "-msmall-data-limit=0")
VIRT = (0x80000000, 0x80200000, 1, RISC_V)
CORES = {
    "cortex-m3": Core("mps2-an385", tuple(BOARDS["mps2-an385"])),
    "cortex-m4": Core("mps2-an386", tuple(BOARDS["mps2-an386"])),
    "cortex-m7": Core("mps2-an500", tuple(BOARDS["mps2-an500"])),
    "cortex-m33": Core("mps2-an505", (*HARD, "-mcpu=cortex-m33"), 0x10000000, 0x38000000, 50),
    "cortex-m55": Core("mps3-an547", (*HARD, "-mcpu=cortex-m55"), 0, 0x21000000, 31.25),
    "rv32": Core("rv32,zba=false,zbb=false", ("-march=rv32imac_zicsr", *ILP32), *VIRT),
    "rv32-zbb": Core("rv32,zba=true,zbb=true", ("-march=rv32imac_zicsr_zba_zbb", *ILP32), *VIRT),
}
FEW = ("cortex-m3", "cortex-m4", "cortex-m7")
ALL = [name if name in FEW else pytest.param(name, marks=pytest.mark.long) for name in CORES]


def compiler(name: str) -> str:
    said = subprocess.run([name, "--version"], capture_output=True, text=True, check=True).stdout
    return said.splitlines()[0]


def boot(core: Core, folder: Path, *parts: str | Path, ram: int = 4 << 20) -> dict[str, list[str]]:
    """Build, run, and give each line that the program says by its first word."""
    risc_v = core.gcc == RISC_V
    emulator = "qemu-system-riscv32" if risc_v else "qemu-system-arm"
    if missing := [tool for tool in (core.gcc, emulator) if not shutil.which(tool)]:
        pytest.skip(f"instructions are not counted here: no {', '.join(missing)}")
    place = {"flash_at": core.flash_at, "flash_bytes": 512 << 10, "ram_at": core.ram_at, "ram_bytes": ram}
    link = ["-nostdlib", "-T", HERE / "board/link.ld", "-Wl,--gc-sections,--no-warn-rwx-segments"]
    link += [f"-Wl,--defsym={name}={value}" for name, value in place.items()]
    include = [f"-I{RUNTIME}", f"-I{RUNTIME / 'include'}", f"-I{HERE / 'board'}"]
    options = [*WARNINGS, "-ffp-contract=off", "-ffreestanding", "-ffunction-sections", "-fdata-sections", *include]
    start = HERE / "board" / ("start_rv32.c" if risc_v else "start.c")
    program = folder / "program.elf"
    multilib = ["-march=rv32imac", "-mabi=ilp32"] if risc_v else core.flags  # libgcc is built for few sets of flags
    libgcc = subprocess.run(
        [core.gcc, *multilib, "-print-libgcc-file-name"], capture_output=True, text=True, check=True
    )
    command = [core.gcc, *options, *core.flags, *parts, start, *link, libgcc.stdout.strip(), "-o", program]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    board = ["-M", "virt", "-bios", "none", "-cpu", core.machine] if risc_v else ["-M", core.machine]
    run = [emulator, *board, "-kernel", program, "-display", "none", "-monitor", "none", "-serial", "none"]
    run += ["-icount", "shift=0", "-semihosting-config", "enable=on,target=native"]
    ran = subprocess.run(run, capture_output=True, text=True, timeout=240)
    said = ran.stdout + ran.stderr
    assert ran.returncode == 0, said
    return {words[0]: words[1:] for words in map(str.split, said.splitlines()) if words}


def compare(core: str, now: dict[str, int], gcc: str) -> None:
    """With counts.json, unless it is to be renewed."""
    known = json.loads(COUNTS.read_text())
    if os.environ.get("UPDATE_COUNTS"):
        known["compilers"][gcc] = compiler(gcc)
        known["instructions"].setdefault(core, {}).update(now)
        COUNTS.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n")
    if known["compilers"].get(gcc) != compiler(gcc):
        pytest.skip(f"counts.json was made by {known['compilers'].get(gcc)}, here is {compiler(gcc)}")
    then = known["instructions"][core]
    assert not {name: (count, then[name]) for name, count in now.items() if count > WORSE * then[name]}


@pytest.fixture(scope="module", params=ALL)
def counted(request, tmp_path_factory) -> tuple[str, dict[str, int]]:
    """Instructions of one round of each part of board/bench.c."""
    core = CORES[request.param]
    parts = ["-O2", HERE / "board/bench.c", HERE / "board/int8.c", *KERNELS]
    said = boot(core, tmp_path_factory.mktemp("bench"), *parts)
    return request.param, {name: round(core.per_tick * int(said[name][0]) / int(said[name][1])) for name in said}


def test_counts_are_not_worse_than_the_committed_ones(counted):
    core, now = counted
    compare(core, now, CORES[core].gcc)


def test_binary_kernels_keep_their_promises(counted):
    core, now = counted
    print(f"\n{core}: " + ", ".join(f"{name} {count}" for name, count in now.items()))
    assert now["matrix_b1b1"] <= (0.37 if core == "rv32" else 0.36) * MACS
    assert now["matrix_i8i8"] >= 4.6 * now["matrix_b1b1"]
    assert now["wide_i8i8"] >= 3 * now["wide_b1b1"]


def test_helium(tmp_path):
    """What inner products of 2, 4 and 8 bits cost on a Cortex-M55; docs/kernels.md says what follows from it."""
    core = CORES["cortex-m55"]
    said = boot(core, tmp_path, "-O2", HERE / "board/bench_helium.c")
    now = {name: round(core.per_tick * int(ticks) / int(rounds)) for name, (ticks, rounds) in said.items()}
    print("\n" + ", ".join(f"{name} {count}" for name, count in now.items()))
    compare("cortex-m55", now, core.gcc)


@pytest.fixture(scope="module")
def fashion(tmp_path_factory) -> tuple[Path, Path]:
    """zoo/pokebnn-fashion for microcontrollers, and a picture."""
    pytest.importorskip("executorch", reason="pokebnn-fashion is not compiled here: no executorch")
    from edgeq import compile as edgeq_compile
    from edgeq import hub

    folder = tmp_path_factory.mktemp("fashion")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEQ_HOME", str(folder))
        program = edgeq_compile.build(hub.pull("pokebnn-fashion"), "micro").path
    taken = folder / "picture"
    taken.write_bytes(struct.pack("<784f", *(i % 28 / 14 - 1 for i in range(784))))
    return program, taken


@pytest.mark.long
@pytest.mark.parametrize("name", CORES)
def test_pokebnn_and_its_8_bit_twin(name, fashion, tmp_path):
    core, (program, taken) = CORES[name], fashion
    defines = ["-O2", "-DMEMORY=65536", f"-DMODEL={program}", f"-DINPUT={taken}"]
    own = [HERE / "board" / file for file in ("twin.c", "int8.c", "blob.S")]
    wrap = ["-Wl,--wrap=eq_conv2d_b1b1_mcu"]
    sources = [file for file in (*READER, *OPERATORS) if file.stem != "model"]
    said = boot(core, tmp_path, *defines, *wrap, *sources, *own)
    now = {f"fashion_{kind}": round(core.per_tick * int(said[kind][0])) for kind in ("b1b1", "i8i8")}
    print(f"\n{name}: " + ", ".join(f"{what} {count}" for what, count in now.items()))
    compare(name, now, core.gcc)
    assert now["fashion_i8i8"] > now["fashion_b1b1"]


def run_parts(memory: int, program: Path, taken: Path) -> list[str | Path]:
    defines = [f"-DMEMORY={memory}", f"-DMODEL={program}", f"-DINPUT={taken}"]
    sources = [file for file in (*READER, *OPERATORS) if file.stem != "model"]
    return [*defines, *sources, HERE / "board/run.c", HERE / "board/blob.S"]


def test_a_small_network_runs_on_a_cortex_m0_with_16_kb(tmp_path):
    corpus = HERE / "corpus"
    core = Core("microbit", ("-mthumb", "-mcpu=cortex-m0", "-Os"))
    said = boot(core, tmp_path, *run_parts(8192, corpus / "tiny.pte", corpus / "tiny.in"), ram=MICROBIT_RAM)
    assert "".join(said["output"]) == (corpus / "tiny.out").read_bytes().hex()
    assert int(said["stack"][0]) <= STACK_LIMIT


def test_dispatch_is_short_and_the_stack_bounded(tmp_path):
    corpus, core = HERE / "corpus", CORES["cortex-m4"]
    said = boot(core, tmp_path, "-Os", *run_parts(65536, corpus / "tiny.pte", corpus / "tiny.in"))
    ticks, calls = map(int, said["dispatch"])
    print(f"\ndispatch: {core.per_tick * ticks / calls:.1f} instructions per call; stack {said['stack'][0]} bytes")
    assert core.per_tick * ticks <= 60 * calls
    assert int(said["stack"][0]) <= STACK_LIMIT
    assert "".join(said["output"]) == (corpus / "tiny.out").read_bytes().hex()
