"""A Cortex-M microcontroller in unicorn, where there is no QEMU.

    python -m edgeq.device._emulator IMAGE FD CORE UART MHZ

Memory, CMSDK UART 0 (its line is the socket FD) and SysTick are what the firmware of `runtime/ports/boards/mps2` has of
its board. A nanosecond is one instruction, as with QEMU's -icount shift=0; instructions are counted by blocks.
"""

from __future__ import annotations

import select
import socket
import struct
import sys
from pathlib import Path
from typing import Any

import unicorn
from unicorn import arm_const as arm

CORES = {
    "cortex-m3": arm.UC_CPU_ARM_CORTEX_M3,
    "cortex-m4": arm.UC_CPU_ARM_CORTEX_M4,
    "cortex-m7": arm.UC_CPU_ARM_CORTEX_M7,
    "cortex-m33": arm.UC_CPU_ARM_CORTEX_M33,
}
_MEMORY = 4 << 20  # of each kind, as on the boards
_DATA, _STATE, _RECEIVED = 0x0, 0x4, 2
_SYSTEM, _SYSTEM_BYTES = 0xE0000000, 1 << 20
_TICK_VALUE, _TICK_PERIOD, _TICK_HANDLER = 0xE018, 1 << 24, 15
_RESET, _RESET_KEY = 0xED0C, 0x05FA0004
_WAIT = b"\x30\xbf"  # wfi
_CHUNK = 1 << 12
_NOWHERE = 0xFFFFFFF0  # where a handler returns to


class Machine:
    """The board, from power-on until the other end of the line is closed."""

    def __init__(self, image: bytes, line: socket.socket, core: str, uart: int, mhz: int) -> None:
        self._line, self._received, self._sent = line, bytearray(), bytearray()
        self._gone = self._reset = False
        self._instructions, self._per_tick, self._wraps = 0, 1000 // mhz, 0
        self._lengths: dict[tuple[int, int], int] = {}
        self._uc = uc = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
        uc.ctl_set_cpu_model(CORES[core])
        self._vectors = self._load(image)
        uc.mmio_map(_SYSTEM, _SYSTEM_BYTES, self._read_system, None, self._write_system, None)
        uc.mmio_map(uart, 0x1000, self._read_uart, None, self._write_uart, None)
        uc.hook_add(unicorn.UC_HOOK_BLOCK, self._count)

    def run(self) -> None:
        """Until the line is closed."""
        at = self._power_on()
        while not self._gone:
            self._uc.emu_start(at | 1, _NOWHERE)
            at = self._uc.reg_read(arm.UC_ARM_REG_PC)
            if self._reset:
                at = self._power_on()
            elif self._ticks() // _TICK_PERIOD > self._wraps:
                self._tick()
            elif bytes(self._uc.mem_read(at - 2, 2)) == _WAIT:
                self._sleep()

    def _load(self, image: bytes) -> int:
        """The segments of an ELF file; where its vectors lie."""
        (offset,), (count,) = struct.unpack_from("<I", image, 28), struct.unpack_from("<H", image, 44)
        segments = [struct.unpack_from("<8I", image, offset + 32 * i) for i in range(count)]
        loaded = [(at, lies, image[start : start + size]) for kind, start, at, lies, size, *_ in segments if kind == 1]
        for base in sorted({at & -_MEMORY for at, _, _ in loaded}):
            self._uc.mem_map(base, _MEMORY)
        for _, lies, data in loaded:
            self._uc.mem_write(lies, data)
        return int(min(lies for _, lies, _ in loaded))

    def _power_on(self) -> int:
        stack, start = struct.unpack("<II", self._uc.mem_read(self._vectors, 8))
        self._uc.reg_write(arm.UC_ARM_REG_SP, stack)
        self._reset = False
        return int(start)

    # ---- time
    def _count(self, uc: Any, address: int, size: int, _: object) -> None:
        length = self._lengths.get((address, size))
        if length is None:
            length = self._lengths[address, size] = _instructions(bytes(uc.mem_read(address, size)))
        self._instructions += length
        if self._ticks() // _TICK_PERIOD > self._wraps:
            uc.emu_stop()

    def _ticks(self) -> int:
        return self._instructions // self._per_tick

    def _tick(self) -> None:
        """SysTick's interrupt: its handler, as a call in between."""
        self._wraps += 1
        saved = self._uc.context_save()
        (handler,) = struct.unpack("<I", self._uc.mem_read(self._vectors + 4 * _TICK_HANDLER, 4))
        self._uc.reg_write(arm.UC_ARM_REG_LR, _NOWHERE | 1)
        self._uc.emu_start(handler, _NOWHERE)
        self._uc.context_restore(saved)

    def _sleep(self) -> None:
        """Until a byte comes, or SysTick wraps."""
        self._flush()
        left_s = ((self._wraps + 1) * _TICK_PERIOD * self._per_tick - self._instructions) * 1e-9
        if not self._received and not select.select([self._line], [], [], left_s)[0]:
            self._instructions += round(left_s * 1e9)
            self._tick()

    # ---- line
    def _flush(self) -> None:
        if self._sent:
            self._line.sendall(self._sent)
            self._sent.clear()

    def _fill(self) -> None:
        if self._received or not select.select([self._line], [], [], 0)[0]:
            return
        data = self._line.recv(_CHUNK)
        self._received += data
        if not data:
            self._gone = True
            self._uc.emu_stop()

    def _read_uart(self, uc: Any, offset: int, size: int, _: object) -> int:
        self._fill()
        if offset == _STATE:
            return _RECEIVED if self._received else 0
        return self._received.pop(0) if offset == _DATA and self._received else 0

    def _write_uart(self, uc: Any, offset: int, size: int, value: int, _: object) -> None:
        if offset == _DATA:
            self._sent.append(value & 255)
            if len(self._sent) >= _CHUNK:
                self._flush()

    # ---- system
    def _read_system(self, uc: Any, offset: int, size: int, _: object) -> int:
        return _TICK_PERIOD - 1 - self._ticks() % _TICK_PERIOD if offset == _TICK_VALUE else 0

    def _write_system(self, uc: Any, offset: int, size: int, value: int, _: object) -> None:
        if offset == _RESET and value == _RESET_KEY:
            self._reset = True
            uc.emu_stop()


def _instructions(code: bytes) -> int:
    """How many instructions of Thumb there are: those that begin with 0b11101, 0b1111 take two halfwords."""
    count = at = 0
    while at < len(code):
        at += 4 if code[at + 1] >> 3 >= 0b11101 else 2
        count += 1
    return count


def main(image: str, line: str, core: str, uart: str, mhz: str) -> None:
    with socket.socket(fileno=int(line)) as connection:
        Machine(Path(image).read_bytes(), connection, core, int(uart, 0), int(mhz)).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
