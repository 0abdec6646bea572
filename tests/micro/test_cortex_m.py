"""The bundled firmware of runtime/ports/cortex_m on emulated Cortex-M boards: the same bits as eager PyTorch.

QEMU counts instructions, which are no cycles: 40 of them make one tick of the boards' 25 MHz SysTick (-icount shift=0).
"""

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from micro_build import BOARDS, OPERATORS, READER, RUNTIME, compile_c

from edgeq.compile import micro

MISSING = [tool for tool in ("arm-none-eabi-gcc", "qemu-system-arm") if not shutil.which(tool)]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"Cortex-M is not tested here: no {', '.join(MISSING)}")

PORT = RUNTIME / "ports/cortex_m"
INSTRUCTIONS_PER_TICK = 40
CODE_LIMIT = 20 * 1024  # everything in flash but the program, bytes; without FPU 1.4 KB more than with
STACK_LIMIT = 1536
PATIENCE = 60  # seconds


@dataclass(frozen=True)
class Boot:
    """What the firmware printed."""

    code: int
    text: str

    def numbers(self, name: str) -> list[int]:
        line = re.search(rf"^{name} ([\d ]+)$", self.text, re.MULTILINE)
        assert line, self.text
        return [int(word) for word in line[1].split()]

    @property
    def output(self) -> bytes:
        return b"".join(map(bytes.fromhex, re.findall(r"^output (\w+)$", self.text, re.MULTILINE)))


@pytest.fixture
def build(tmp_path, board_objects):
    """Makes the firmware around a program and its input."""

    def built(board: str, example, *link: str) -> Path:
        sources = [PORT / name for name in ("startup.c", "mps2.c", "run_once.c")] + READER + OPERATORS
        model = [f'-DMODEL="{example.program}"', f'-DINPUT="{example.input}"', PORT / "model.S"]
        script = ["-T", PORT / "link.ld", "-Wl,--gc-sections", *link]
        firmware = tmp_path / "firmware.elf"
        parts = [*board_objects(board, sources), *model, "-nostdlib", *script, "-lgcc", "-o", firmware]
        compile_c("arm-none-eabi-gcc", *BOARDS[board], *parts)
        return firmware

    return built


def boot(board: str, firmware: Path) -> Boot:
    emulator = ["qemu-system-arm", "-M", board, "-kernel", firmware, "-display", "none", "-monitor", "none"]
    options = ["-serial", "stdio", "-icount", "shift=0", "-semihosting-config", "enable=on,target=native"]
    done = subprocess.run(
        [*emulator, *options], capture_output=True, text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL
    )
    return Boot(done.returncode, done.stdout)


@pytest.mark.parametrize("board", BOARDS)
def test_pokebnn_gives_the_bits_of_eager(build, small, board):
    said = boot(board, build(board, small))
    assert said.code == 0, said.text
    assert said.output == small.output

    report = micro.report(small.program.read_bytes())
    code, program = said.numbers("flash")
    (stack,) = said.numbers("stack")
    startup, run = (INSTRUCTIONS_PER_TICK * ticks for ticks in said.numbers("ticks"))
    print(f"\n{board}: {code} bytes of code, {stack} of stack, {startup} instructions to start, {run} to run")
    assert program == report.program_bytes
    assert said.numbers("memory") == [sum(report.arena_bytes), report.workspace_bytes, report.scratch_bytes]
    assert code <= CODE_LIMIT
    assert stack <= STACK_LIMIT


def test_counts_are_the_same_every_time(build, small):
    firmware = build("mps2-an386", small)
    first, second = (boot("mps2-an386", firmware).numbers("ticks") for _ in range(2))
    assert first == second


def test_a_part_with_too_little_memory_refuses_the_program(build, small):
    said = boot("mps2-an386", build("mps2-an386", small, "-Wl,--defsym=ram_bytes=16K"))
    assert said.text == "failed load: memory is missing or too small\n"
    assert said.code > 0
