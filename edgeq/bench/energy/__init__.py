"""Energy providers: one sensor or model per file, found by its file name, or by the entry points `edgeq.energy`.

A provider file has a function `provider()` that gives an `EnergyProvider` or raises EnergyError. A provider whose
sensor cannot be read raises; nothing falls back to a model in silence. `best_available` does fall back, and the
kind of what it gives says so.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module
from importlib.metadata import entry_points
from typing import cast

from edgeq._errors import EnergyError, UsageError
from edgeq.bench.energy._types import EnergyProvider, EnergySample

__all__ = ["EnergyProvider", "EnergySample", "best_available", "get", "names"]

GROUP = "edgeq.energy"


def names() -> list[str]:
    """Every provider that can be asked for, usable here or not."""
    own = [m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_")]
    return sorted({*own, *(e.name for e in entry_points(group=GROUP))})


def get(name: str) -> EnergyProvider:
    """The provider of that name, ready to start; UsageError for an unknown one, EnergyError for a silent sensor."""
    if name not in names():
        raise UsageError(f"no energy provider {name!r}; there are: {', '.join(names())}")
    for entry in entry_points(group=GROUP):
        if entry.name == name:
            return cast(EnergyProvider, entry.load()())
    return cast(EnergyProvider, import_module(f"{__name__}.{name}").provider())


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
