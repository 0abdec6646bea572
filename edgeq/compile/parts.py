"""Microcontrollers that `--target micro:NAME` can name: a core, or a part with its memory.

Flash and RAM are those of data sheets and reference manuals (the RAM that is contiguous, besides caches), flash of
RP2040, RP2350 and ESP32-C3 that of the usual module; nothing here has run on silicon. A core alone sets no limits.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from edgeq._errors import UnsupportedError

# Besides the program, as a library in somebody's own firmware (`edgeq export-c`): code with the kernels of a network
# like pokebnn-fashion; stack and state. Our agent's firmware, with slots, protocol and all kernels, takes up to 47 kB
# of flash and 13 kB of RAM; its linker script says when a part has not got that.
LIBRARY_FLASH_BYTES = 28 * 1024
LIBRARY_RAM_BYTES = 6 * 1024
CORES = (
    "cortex-m0",
    "cortex-m0plus",
    "cortex-m3",
    "cortex-m4",
    "cortex-m7",
    "cortex-m33",
    "cortex-m55",
    "rv32",
    "rv32-zbb",
)


@dataclass(frozen=True)
class Part:
    """A core and, of a part, its memory; None: not limited."""

    name: str
    core: str
    flash_bytes: int | None = None
    ram_bytes: int | None = None


_KB = 1024
_PARTS = (
    Part("nrf51822", "cortex-m0", 256 * _KB, 16 * _KB),  # BBC micro:bit v1
    Part("rp2040", "cortex-m0plus", 2048 * _KB, 264 * _KB),
    Part("rp2350", "cortex-m33", 4096 * _KB, 520 * _KB),
    Part("stm32f103c8", "cortex-m3", 64 * _KB, 20 * _KB),
    Part("stm32f407vg", "cortex-m4", 1024 * _KB, 128 * _KB),
    Part("stm32f411re", "cortex-m4", 512 * _KB, 128 * _KB),
    Part("stm32f746zg", "cortex-m7", 1024 * _KB, 320 * _KB),
    Part("stm32h743zi", "cortex-m7", 2048 * _KB, 512 * _KB),
    Part("stm32u575zi", "cortex-m33", 2048 * _KB, 768 * _KB),
    Part("nrf52840", "cortex-m4", 1024 * _KB, 256 * _KB),
    Part("nrf5340", "cortex-m33", 1024 * _KB, 512 * _KB),
    Part("esp32c3", "rv32", 4096 * _KB, 384 * _KB),
)
PARTS = {part.name: part for part in (*(Part(core, core) for core in CORES), *_PARTS)}


def find(name: str) -> Part:
    """The part or core of that name; UnsupportedError lists what there is."""
    if name not in PARTS:
        close = difflib.get_close_matches(name, PARTS, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise UnsupportedError(f'micro target "{name}" is not known; {hint}there are: {", ".join(PARTS)}')
    return PARTS[name]
