"""Energy of an inference on a CPU, computed from time: an estimate, never a measurement.

    E = P_core * threads * t

t is the time of the work on the device, P_core the power of one busy core with its share of the chip: the data
sheet's thermal design power over its cores. The span of P_core over the parts below is the uncertainty.

    ISA      part (data-sheet TDP / cores; figures quoted from memory: unverified)           W per core
    x86-64   Xeon Platinum 8480+ 350 W / 56, Xeon 8380 270 W / 40, EPYC 7763 280 W / 64,
             Core i7-1165G7 28 W / 4                                                         4.4 .. 7.0
    aarch64  Ampere Altra Q80-30 210 W / 80; Cortex-A72 board under load                     1.0 .. 2.6

A simulated microcontroller has no time, only instructions:

    E = P_cycle * C * n

n is the instructions, C the cycles of one (1 to 2, taken, not measured: wait states, loads of two cycles and dual
issue are unknown), P_cycle the energy of one cycle, volt times current per MHz: 66 to 264 pJ for parts of the 40 nm
class, about 430 pJ for an STM32F4 of 90 nm (data-sheet values quoted second-hand: unverified). Sleep, sensors, radio
and regulators are outside.

Limits: DRAM, regulators and the rest of the device are outside; frequency and voltage scaling are ignored; the
figure may rank two models on the same device by their time, which is all it holds. The scope is `model`, the
kind `estimated`, and it is never ranked against a measured one (energy.md, section 1).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

from edgeq._errors import EnergyError
from edgeq.bench.energy._types import EnergySample

CORE_W = {"x86-64": (4.4, 7.0), "aarch64": (1.0, 2.6)}
CYCLE_PJ, CYCLES_PER_INSTRUCTION = (66.0, 430.0), (1.0, 2.0)
_FAMILY = {
    "x86": "x86-64",
    "amd64": "x86-64",
    "avx": "x86-64",
    "aarch64": "aarch64",
    "arm64": "aarch64",
    "neon": "aarch64",
}


class CpuEstimate:
    """The formula above for one family of cores; the middle of the span is the value."""

    name = "estimate"
    kind: Literal["estimated"] = "estimated"
    scope: Literal["model"] = "model"
    watches: Literal["wire"] = "wire"
    window_s = 0.0

    def __init__(self, family: str, threads: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._low_w, self._high_w = (threads * w for w in CORE_W[family])
        self._clock = clock
        self._source = f"{(self._low_w + self._high_w) / 2:.2g} W ({family}, {threads} thread(s)) x time"

    def of(self, seconds: float) -> EnergySample:
        """Energy of `seconds` of work."""
        watts, half = (self._low_w + self._high_w) / 2, (self._high_w - self._low_w) / 2
        return EnergySample(
            watts * seconds, seconds, watts, 0, half * seconds, self._source, kind=self.kind, scope=self.scope
        )

    def start(self) -> float:
        return self._clock()

    def stop(self, token: object, /) -> EnergySample:
        if not isinstance(token, float):
            raise EnergyError(f"estimate: not a token of start(): {token!r}")
        return self.of(self._clock() - token)


def of_instructions(count: float) -> EnergySample:
    """Energy of `count` instructions of a microcontroller; the span of the figures above is the uncertainty."""
    low, high = (pj * cycles for pj, cycles in zip(CYCLE_PJ, CYCLES_PER_INSTRUCTION, strict=True))
    middle, half = (low + high) / 2, (high - low) / 2
    source = f"{low:.0f} to {high:.0f} pJ per instruction (66 to 430 pJ per cycle, 1 to 2 cycles) x instructions"
    joules, spread = middle * 1e-12 * count, half * 1e-12 * count
    return EnergySample(joules, 0.0, 0.0, 0, spread, source, kind="estimated", scope="model")


def for_cpu(isa: str, threads: int) -> CpuEstimate:
    """The estimate for an ISA name such as "x86_avx512", "x86-64" or "neon"; EnergyError when there is no model."""
    for prefix, family in _FAMILY.items():
        if isa.lower().startswith(prefix):
            return CpuEstimate(family, max(1, threads))
    raise EnergyError(f"no power model for ISA {isa!r}; there is one for: {', '.join(CORE_W)}")


def provider() -> CpuEstimate:
    import platform

    return for_cpu(platform.machine(), 1)
