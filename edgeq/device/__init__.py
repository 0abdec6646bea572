"""Devices: whatever has an EdgeQ agent at the end of a stream of bytes.

One transport is one module here that has `open_stream(url)` and perhaps `discover()`; the scheme of a URL is its name:
`local`, `tcp://host:port`.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from types import ModuleType

from edgeq._errors import UsageError

from .device import Device
from .net import Net
from .records import Entry, Found, Info, Loaded, Outcome, Predictions, Run, TensorSpec, Timing

__all__ = [
    "Device",
    "Entry",
    "Found",
    "Info",
    "Loaded",
    "Net",
    "Outcome",
    "Predictions",
    "Run",
    "TensorSpec",
    "Timing",
    "connect",
    "discover",
]


def connect(url: str) -> Device:
    """Open a device; raises UsageError for an unknown scheme, DeviceError when it cannot be reached."""
    scheme = re.match(r"[a-z][a-z0-9]*", url)
    transports = _transports()
    if scheme is None or scheme[0] not in transports or url[scheme.end() : scheme.end() + 1] not in ("", ":"):
        raise UsageError(f'no transport for device "{url}"; there are: {", ".join(sorted(transports))}')
    return Device(transports[scheme[0]].open_stream(url))


def discover() -> list[Found]:
    """Every device that a transport can find without being told where."""
    return [found for module in _transports().values() if hasattr(module, "discover") for found in module.discover()]


def _transports() -> dict[str, ModuleType]:
    modules = {name: importlib.import_module(f"{__name__}.{name}") for _, name, _ in pkgutil.iter_modules(__path__)}
    return {name: module for name, module in modules.items() if hasattr(module, "open_stream")}
