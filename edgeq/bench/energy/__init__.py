"""Energy providers: one sensor or model per file, found by its file name, or by the entry points `edgeq.energy`.

A provider file has a function `provider()` that gives an `EnergyProvider` or raises EnergyError; where there may be
several sensors of a kind it takes what follows the colon in `--energy ppk2:/dev/ttyACM1?volts=3.3`. A provider whose
sensor cannot be read raises; nothing falls back to a model in silence. `best_available` does fall back, and the
kind of what it gives says so.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module
from importlib.metadata import entry_points
from inspect import signature
from typing import cast

from edgeq._errors import EnergyError, UsageError
from edgeq.bench.energy._types import EnergyProvider, EnergySample, Marked

__all__ = ["EnergyProvider", "EnergySample", "Marked", "best_available", "get", "names"]

GROUP = "edgeq.energy"


def names() -> list[str]:
    """Every provider that can be asked for, usable here or not."""
    own = [m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_")]
    return sorted({*own, *(e.name for e in entry_points(group=GROUP))})


def get(text: str) -> EnergyProvider:
    """The provider of "NAME" or "NAME:WHERE", ready to start.

    raises  UsageError for an unknown name or a WHERE it does not take, EnergyError for a silent sensor
    """
    name, colon, where = text.partition(":")
    if name not in names():
        raise UsageError(f"no energy provider {name!r}; there are: {', '.join(names())}")
    entry = next((e for e in entry_points(group=GROUP) if e.name == name), None)
    make = entry.load() if entry else import_module(f"{__name__}.{name}").provider
    if colon and not signature(make).parameters:
        raise UsageError(f"{name}: takes nothing after a colon, got {where!r}")
    return cast(EnergyProvider, make(where) if colon else make())


def best_available(*, on_this_host: bool, isa: str, threads: int) -> EnergyProvider:
    """RAPL where the device is this host and its counters can be read, else the labelled estimate.

    raises  EnergyError when there is no model for the device's ISA either
    """
    from edgeq.bench.energy import estimate, rapl

    if on_this_host:
        try:
            return rapl.provider()
        except EnergyError:
            pass
    return estimate.for_cpu(isa, threads)
