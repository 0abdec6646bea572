"""Devices: whatever has an EdgeQ agent at the end of a stream of bytes.

One transport is one module here that has `open_stream(url)` and perhaps `discover()`; the scheme of a URL is its name:
`local`, `serial:///dev/ttyACM0`, `rfc2217://host:port`, `sim:cortex-m4`, `tcp://host:port`.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from dataclasses import replace
from types import ModuleType

from edgeq._errors import DeviceError, NoReplyError, UnsupportedError, UsageError

from .device import Device
from .net import Net
from .records import Condition, Entry, Found, Info, Loaded, Outcome, Predictions, Run, TensorSpec, Timing

__all__ = [
    "Condition",
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
    "probe",
]

_PROBE_S = 4.0  # a board may start anew when its port is opened


def connect(url: str) -> Device:
    """Open a device; raises UsageError for an unknown scheme, DeviceError when it cannot be reached."""
    return _open(url)


def discover() -> list[Found]:
    """Every device that a transport can find without being told where."""
    return [found for module in _transports().values() if hasattr(module, "discover") for found in module.discover()]


def probe(found: Found) -> Found:
    """What answers at a place that `discover` left "unknown": EdgeQ firmware, or nothing that we know.

    One HELLO is written there, so this is for ports whose owner asked for it.
    """
    if found.state != "unknown":
        return found
    try:
        with _open(found.url, timeout_s=_PROBE_S) as device:
            info = device.info
    except NoReplyError:
        return replace(found, state="offline", detail="no EdgeQ firmware answers; put it there: edgeq flash")
    except (DeviceError, UnsupportedError) as error:
        return replace(found, state="offline", detail=str(error))
    return replace(found, kind=info.kind, state="ready", detail=f"{info.name}, {info.cpu}, takes {info.targets[0]}")


def _open(url: str, *, timeout_s: float | None = None) -> Device:
    scheme = re.match(r"[a-z][a-z0-9]*", url)
    transports = _transports()
    if scheme is None or scheme[0] not in transports or url[scheme.end() : scheme.end() + 1] not in ("", ":"):
        raise UsageError(f'no transport for device "{url}"; there are: {", ".join(sorted(transports))}')
    return Device(transports[scheme[0]].open_stream(url), timeout_s=timeout_s)


def _transports() -> dict[str, ModuleType]:
    modules = {name: importlib.import_module(f"{__name__}.{name}") for _, name, _ in pkgutil.iter_modules(__path__)}
    return {name: module for name, module in modules.items() if hasattr(module, "open_stream")}
