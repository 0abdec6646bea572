"""Time and energy of an inference on a microcontroller, computed from instructions: estimates, never measurements.

    t = instructions * CPI / clock        E = instructions * CPI * pJ per cycle

CPI, cycles per instruction, holds pipeline and flash: its low end is code that meets no wait state, its high end the
part's wait states with a poor cache. pJ per cycle = volts * current per MHz, of the whole chip, peripherals off. The
value is the middle of the span, the uncertainty its half width.

  core          example part        clock     flash wait states          CPI        pJ per cycle
  cortex-m0     nRF51822             16 MHz   0                          1.3 .. 2.0   500 .. 900
  cortex-m0plus RP2040              133 MHz   0 from SRAM, XIP cache     1.2 .. 2.5   200 .. 400
  cortex-m3     STM32F103            72 MHz   2, prefetch buffer         1.2 .. 2.0  1000 .. 1700
  cortex-m4     STM32F411           100 MHz   3, ART cache               1.1 .. 1.6   330 .. 430
  cortex-m7     STM32H743           480 MHz   4, L1 caches               0.6 .. 1.2   200 .. 500
  cortex-m33    STM32U575           160 MHz   4, instruction cache       1.0 .. 1.5    64 .. 130
  cortex-m55    40 nm class         400 MHz   from TCM                   1.0 .. 2.0    66 .. 264
  rv32          ESP32-C3            160 MHz   from SRAM or cache         1.1 .. 1.8   250 .. 450

Sources: pJ per cycle of the M4 is about 130 uA/MHz at 3.3 V, the range of the 40 nm class 20 to 80 uA/MHz at 3.3 V,
both quoted second-hand; everything else in the table is from memory of data sheets and of the cores' reference manuals.
All of it is unverified, none of it was measured here.

Limits, which the source text of a sample repeats in short: emulators count instructions, not cycles; sleep, regulator,
sensors and radio are outside. The figure may rank two programs on one core; it may not compare cores.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgeq._errors import EnergyError
from edgeq.bench.energy._types import EnergyProvider, EnergySample


@dataclass(frozen=True)
class Core:
    """A row of the table above; pairs are the ends of a span."""

    part: str
    clock_hz: float
    wait_states: int
    cpi: tuple[float, float]
    pj_per_cycle: tuple[float, float]


CORES = {
    "cortex-m0": Core("nRF51822", 16e6, 0, (1.3, 2.0), (500, 900)),
    "cortex-m0plus": Core("RP2040", 133e6, 0, (1.2, 2.5), (200, 400)),
    "cortex-m3": Core("STM32F103", 72e6, 2, (1.2, 2.0), (1000, 1700)),
    "cortex-m4": Core("STM32F411", 100e6, 3, (1.1, 1.6), (330, 430)),
    "cortex-m7": Core("STM32H743", 480e6, 4, (0.6, 1.2), (200, 500)),
    "cortex-m33": Core("STM32U575", 160e6, 4, (1.0, 1.5), (64, 130)),
    "cortex-m55": Core("40 nm class", 400e6, 0, (1.0, 2.0), (66, 264)),
    "rv32": Core("ESP32-C3", 160e6, 0, (1.1, 1.8), (250, 450)),
}


@dataclass(frozen=True)
class Cost:
    """What `instructions` cost on a core: middle and half width of each span. Label it `estimated`."""

    core: str
    instructions: int
    seconds: float
    seconds_uncertainty: float
    energy: EnergySample


def cost(core: str, instructions: int, *, clock_hz: float | None = None) -> Cost:
    """Time and energy of that many instructions.

    core          a key of CORES; "rv32-zbb" counts as "rv32"
    instructions  of one inference, counted by an emulator
    clock_hz      of the part at hand; default: the example part's
    raises        EnergyError for a core that the table does not have
    """
    row = CORES.get(core.removesuffix("-zbb"))
    if row is None:
        raise EnergyError(f'no cost model for core "{core}"; there is one for: {", ".join(CORES)}')
    clock = clock_hz or row.clock_hz
    low, high = (instructions * cpi for cpi in row.cpi)  # cycles
    seconds, half = (low + high) / 2 / clock, (high - low) / 2 / clock
    least, most = low * row.pj_per_cycle[0] * 1e-12, high * row.pj_per_cycle[1] * 1e-12
    joules = (least + most) / 2
    source = (
        f"{instructions} instructions x {row.cpi[0]:g}..{row.cpi[1]:g} cycles x "
        f"{row.pj_per_cycle[0]:g}..{row.pj_per_cycle[1]:g} pJ ({core}, {row.part}; table unverified, core only)"
    )
    watts = joules / seconds if seconds else 0.0
    spread = (most - least) / 2
    energy = EnergySample(joules, seconds, watts, 0, spread, source, kind="estimated", scope="model")
    return Cost(core, instructions, seconds, half, energy)


def provider() -> EnergyProvider:
    """There is no clock or sensor to read: the device that counts instructions calls `cost`."""
    raise EnergyError("mcu: needs a core and a count of instructions; deploy to a sim: or serial: device")
