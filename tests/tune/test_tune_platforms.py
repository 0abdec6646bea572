"""The module in C: every byte of a cut, exact memory, and one state on x86-64, aarch64 and soft-float Cortex-M."""

import random
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUNTIME, HERE, BOARD = ROOT / "runtime", ROOT / "tests/tune", ROOT / "tests/micro/board"
PARTS = [RUNTIME / "proto/sha256.c", RUNTIME / "proto/wire.c", HERE / "net.c"]
MODULE = [*sorted((RUNTIME / "tune").glob("*.c")), *PARTS]
WARNINGS = ["-std=c11", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Wdouble-promotion", "-Werror"]
FLAGS = [*WARNINGS, "-ffp-contract=off", f"-I{RUNTIME}", f"-I{RUNTIME / 'include'}", f"-I{HERE}", f"-I{BOARD}"]
SANITIZERS = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-D_POSIX_C_SOURCE=200809L"]
METHODS = ["auto", "stats", "solve", "head", "t0", "t1", "t2", "t3", "zeroqat", "mezo"]


def needs(*tools: str) -> None:
    missing = [tool for tool in tools if not shutil.which(tool)]
    if missing:
        pytest.skip(f"the tuning module is not tested here: no {', '.join(missing)}")


def build(compiler: str, out: Path, *arguments: str | Path) -> Path:
    done = subprocess.run([compiler, *FLAGS, *map(str, arguments), "-o", out], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out


def said(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("tune")


@pytest.fixture(scope="session")
def objects(folder) -> list[Path]:
    """The module and the network for the host, under ASan and UBSan."""
    needs("gcc")
    made = [folder / f"{source.stem}.o" for source in MODULE]
    for source, out in zip(MODULE, made, strict=True):
        build("gcc", out, *SANITIZERS, "-c", source)
    return made


@pytest.fixture(scope="session")
def faults(folder, objects) -> Path:
    return build("gcc", folder / "faults", *SANITIZERS, HERE / "faults.c", *objects)


@pytest.fixture(scope="session")
def fast_faults(folder) -> Path:
    needs("gcc")
    return build("gcc", folder / "fast", "-O2", "-D_POSIX_C_SOURCE=200809L", HERE / "faults.c", *MODULE)


@pytest.fixture(scope="session")
def states(folder, objects) -> str:
    return said(build("gcc", folder / "states", *SANITIZERS, HERE / "states.c", *objects))


@pytest.mark.parametrize("lose", [[], ["lose"]], ids=["torn", "unflushed-lost"])
@pytest.mark.parametrize("method", METHODS)
def test_a_cut_run_goes_on_to_the_same_bytes(faults, method, lose):
    assert " cuts in " in said(faults, str(METHODS.index(method)), "151", *lose)


@pytest.mark.long
@pytest.mark.parametrize("lose", [[], ["lose"]], ids=["torn", "unflushed-lost"])
@pytest.mark.parametrize("method", METHODS)
def test_a_cut_after_every_byte(fast_faults, method, lose):
    assert " cuts in " in said(fast_faults, str(METHODS.index(method)), "1", *lose)


@pytest.mark.parametrize("method", ["auto", "head", "t0", "t2", "zeroqat"])
def test_snapshots_that_somebody_made_up(folder, objects, method):
    """Every checksum right, the contents anything: refused, or a run like another; under ASan and UBSan."""
    program = folder / "forge"
    if not program.exists():
        build("gcc", program, *SANITIZERS, HERE / "forge.c", *objects)
    assert "failed" in said(program, str(METHODS.index(method)), "200")


@pytest.fixture(scope="session")
def live(folder, objects) -> Path:
    return build("gcc", folder / "live", *SANITIZERS, HERE / "live.c", *objects)


def killed(live: Path, method: str, folder: Path, kills: int) -> None:
    """Runs that are killed at random moments, each going on where the last one was, until so many were killed."""
    number, chance, done = str(METHODS.index(method)), random.Random(method), 0
    whole, n = folder / "whole", 0
    whole.mkdir()
    said(live, number, whole)
    while done < kills:
        n += 1
        place = folder / f"run{n}"
        place.mkdir()
        code = None
        while code != 0:
            life = subprocess.Popen([live, number, place])
            try:
                code = life.wait(timeout=chance.uniform(0.001, 0.15))
            except subprocess.TimeoutExpired:
                life.kill()
                life.wait()
                done += 1
                if done >= kills:
                    code = subprocess.run([live, number, place]).returncode
            assert code in (None, 0)
        assert (place / "3").read_bytes() == (whole / "3").read_bytes()


@pytest.mark.parametrize("method", ["t0", "t1"])
def test_killed_runs_go_on_to_the_same_delta(live, tmp_path, method):
    killed(live, method, tmp_path, 8)


@pytest.mark.long
@pytest.mark.parametrize("method", ["head", "t0", "t1", "t3"])
def test_two_hundred_killed_runs(live, tmp_path, method):
    killed(live, method, tmp_path, 200)


def test_the_states_are_those_of_a_method_each(states):
    lines = [line.split() for line in states.splitlines()]
    assert [line[0] for line in lines] == METHODS
    assert len({line[1] for line in lines}) == len(METHODS)


def test_the_same_states_on_aarch64(folder, states):
    needs("aarch64-linux-gnu-gcc", "qemu-aarch64")
    program = build("aarch64-linux-gnu-gcc", folder / "aarch64", "-O2", "-static", HERE / "states.c", *MODULE)
    assert said("qemu-aarch64", program) == states


CORES = {
    "mps2-an385": ["-mcpu=cortex-m3"],  # no floating-point unit
    "mps2-an386": ["-mcpu=cortex-m4", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"],
}


def on_board(folder: Path, machine: str, sources: list[Path], *options: str) -> str:
    """What a program says on an emulated core; its clock counts instructions."""
    needs("arm-none-eabi-gcc", "qemu-system-arm")
    place = {"flash_at": 0, "flash_bytes": 256 << 10, "ram_at": 0x20000000, "ram_bytes": 4 << 20, "stack_bytes": 8192}
    link = ["-nostdlib", "-T", BOARD / "link.ld", "-Wl,--gc-sections"]
    link += [f"-Wl,--defsym={name}={value}" for name, value in place.items()]
    compiled = ["-DON_BOARD", "-mthumb", *CORES[machine], "-ffreestanding", "-ffunction-sections", "-fdata-sections"]
    out = folder / f"{sources[0].stem}-{machine}.elf"
    program = build("arm-none-eabi-gcc", out, *compiled, *options, *sources, BOARD / "start.c", *link, "-lgcc")
    emulator = ["qemu-system-arm", "-M", machine, "-kernel", program, "-icount", "shift=0"]
    quiet = ["-display", "none", "-monitor", "none", "-serial", "none"]
    semihosting = ["-semihosting-config", "enable=on,target=native"]
    done = subprocess.run([*emulator, *quiet, *semihosting], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("machine", CORES)
def test_the_same_states_on_cortex_m(folder, states, machine):
    assert on_board(folder, machine, [HERE / "states.c", *MODULE], "-Os") == states


def test_instructions_of_a_step_on_cortex_m4(folder):
    """The module alone, a sample of a step of 64, update included; an inference of pokebnn-fashion is 2,158,600."""
    sources = [HERE / "cost.c", *sorted((RUNTIME / "tune").glob("*.c")), *PARTS[:2]]
    spent = {
        line.split()[0]: int(line.split()[1])
        for line in on_board(folder, "mps2-an386", sources, "-O2").split("\n")
        if line
    }
    assert spent["t0"] < 4_000
    assert spent["t1"] < 65_000
