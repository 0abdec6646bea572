"""Package energy of an x86 host from RAPL counters (Linux powercap).

/sys/class/powercap/intel-rapl:N/energy_uj counts microjoules of package N and falls back to 0 after
max_energy_range_uj (AMD parts use the same names). The counter moves about every millisecond (Intel SDM volume 3,
section 15.10: RAPL). Scope is the package: every process on it is in the number.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgeq._errors import EnergyError
from edgeq.bench.energy._types import MIN_SAMPLES, EnergySample

ROOT = Path("/sys/class/powercap")
UPDATE_S = 1e-3
MAX_PACKAGE_W = 1000.0  # no package draws more, so a window this rules out cannot hide a second wrap


@dataclass(frozen=True)
class _Domain:
    path: Path
    range_uj: int


@dataclass(frozen=True)
class _Token:
    seconds: float
    counters_uj: tuple[int, ...]


class Rapl:
    """Sum over the packages found under `root`; `clock` gives monotonic seconds."""

    name = "rapl"
    kind: Literal["measured"] = "measured"
    scope: Literal["package"] = "package"
    watches: Literal["host"] = "host"
    window_s = 0.5

    def __init__(self, root: Path = ROOT, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._domains = _packages(root)
        self._read()

    def start(self) -> _Token:
        return _Token(self._clock(), self._read())

    def stop(self, token: object, /) -> EnergySample:
        if not isinstance(token, _Token):
            raise EnergyError(f"rapl: not a token of start(): {token!r}")
        counters, seconds = self._read(), self._clock() - token.seconds
        updates = int(seconds / UPDATE_S)
        if updates < MIN_SAMPLES:
            raise EnergyError(
                f"rapl: a window of {seconds * 1e3:.1f} ms holds {updates} counter updates, "
                f"at least {MIN_SAMPLES} needed; run longer"
            )
        joules = 0.0
        for domain, before, after in zip(self._domains, token.counters_uj, counters, strict=True):
            if seconds * MAX_PACKAGE_W > domain.range_uj / 1e6:
                raise EnergyError(
                    f"rapl: in {seconds:.0f} s the counter of {domain.range_uj / 1e6:.0f} J may wrap twice; run shorter"
                )
            joules += (after - before + (domain.range_uj if after < before else 0)) / 1e6
        source = f"RAPL counters of {len(self._domains)} package(s)"
        half = joules / updates
        return EnergySample(joules, seconds, joules / seconds, updates, half, source, kind=self.kind, scope=self.scope)

    def _read(self) -> tuple[int, ...]:
        return tuple(_integer(domain.path / "energy_uj") for domain in self._domains)


def provider() -> Rapl:
    return Rapl()


def _packages(root: Path) -> list[_Domain]:
    """Zones named package-N; their subzones (core, dram) and psys would count the same energy again."""
    zones = sorted(p for p in root.glob("intel-rapl:*") if re.fullmatch(r"intel-rapl:\d+", p.name))
    found = [
        _Domain(zone, _integer(zone / "max_energy_range_uj"))
        for zone in zones
        if _text(zone / "name").startswith("package")
    ]
    if not found:
        raise EnergyError(f"{root}: no RAPL package zone (a virtual machine, or a kernel without intel_rapl_common)")
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except PermissionError:
        raise EnergyError(
            f"{path}: not readable by this user; run as root, or: sudo chmod a+r {path.parent}/energy_uj"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise EnergyError(f"{path}: cannot be read: {error}") from None


def _integer(path: Path) -> int:
    text = _text(path)
    if not text.isascii() or not text.isdigit():
        raise EnergyError(f"{path}: {text[:40]!r} is not a count of microjoules")
    return int(text)
