"""The runtime fits a microcontroller: freestanding, small, nothing writable, no recursion."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from micro_build import OPERATORS, READER

READER_LIMIT = 5 * 1024  # text of reader and interpreter, bytes
ALL_LIMIT = 26 * 1024  # with every operator and its kernel, without libgcc
FRAME_LIMIT = 448  # bytes of stack of one function

TOOLS = ("arm-none-eabi-gcc", "arm-none-eabi-size", "arm-none-eabi-nm")
MISSING = [tool for tool in TOOLS if not shutil.which(tool)]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"size on Cortex-M4 is not tested here: no {', '.join(MISSING)}")

# Besides these, nothing is taken from outside: what gcc asks of every freestanding environment, and libgcc.
ENVIRONMENT = {"memcpy", "memset", "memmove"}


@pytest.fixture(scope="module")
def objects(board_objects) -> list[Path]:
    return board_objects("mps2-an386", [*READER, *OPERATORS])


def sizes(objects: list[Path]) -> list[tuple[int, int, int]]:
    """Text, data and bss of each object, bytes."""
    listing = subprocess.run(["arm-none-eabi-size", *objects], check=True, capture_output=True, text=True).stdout
    return [tuple(map(int, line.split()[:3])) for line in listing.splitlines()[1:]]


def test_text_and_data_on_cortex_m4(objects):
    every = sizes(objects)
    reader, everything = sum(s[0] for s in every[: len(READER)]), sum(s[0] for s in every)
    print(f"\nCortex-M4, -Os: reader and interpreter {reader} bytes, with all operators and kernels {everything} bytes")
    assert reader <= READER_LIMIT
    assert everything <= ALL_LIMIT
    assert [s[1:] for s in every] == [(0, 0)] * len(every)  # no writable globals


def test_nothing_is_taken_from_a_libc(objects):
    def names(*flags: str) -> set[str]:
        listing = subprocess.run(["arm-none-eabi-nm", *flags, *objects], check=True, capture_output=True, text=True)
        return {line.split()[-1] for line in listing.stdout.splitlines() if line and not line.endswith(":")}

    outside = names("--undefined-only") - names("--defined-only")
    assert {name for name in outside if not name.startswith("__aeabi_")} <= ENVIRONMENT


def test_stack_frames_are_static_and_small(objects):
    frames = [line.split("\t") for o in objects for line in o.with_suffix(".su").read_text().splitlines()]
    assert frames
    assert {kind for _, _, kind in frames} == {"static"}
    largest = max(frames, key=lambda frame: int(frame[1]))
    print(f"\nlargest frame: {largest[1]} bytes, {re.sub(r'.*:', '', largest[0])}")
    assert int(largest[1]) <= FRAME_LIMIT
