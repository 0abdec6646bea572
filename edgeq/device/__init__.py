"""Devices: whatever has an EdgeQ agent at the end of a stream of bytes.

One transport is one module here that has `open_stream(url)` and perhaps `discover()`; the scheme of a URL is its name:
`local`, `ssh://user@host`, `adb:SERIAL`, `serial:///dev/ttyACM0`, `rfc2217://host:port`, `sim:cortex-m4`,
`tcp://host:port`.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Literal

from edgeq._errors import DeviceError, NoReplyError, UnsupportedError, UsageError

from . import _names
from ._board import Facts
from .device import Device, SentOnce
from .net import Net
from .program import AgentProgram
from .records import Condition, Entry, Found, Info, Loaded, Outcome, Predictions, Run, TensorSpec, Timing
from .runtime import ARCHITECTURES

__all__ = [
    "AgentProgram",
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
    "SentOnce",
    "TensorSpec",
    "Timing",
    "clean",
    "connect",
    "discover",
    "open_program",
    "probe",
    "resolve",
]

_ORDER = ("local", "ssh", "adb", "serial", "rfc2217", "tcp", "sim")  # of the list
Progress = Callable[[str], None]
_PROBE_S = 4.0  # a board may start anew when its port is opened


def _silent(stage: str) -> None:
    pass


def connect(url: str, *, target: str = "", progress: Progress = _silent) -> Device:
    """Open a device, by its URL or by what `resolve` takes.

    target    "litert": boards and phones get what a `.tflite` needs as well
    progress  told of connecting, which may take a firmware or an agent to build and send
    raises  UsageError for an unknown or ambiguous one, DeviceError when it cannot be reached
    """
    url = resolve(url)
    progress(f"connecting to {url}")
    return _open(url, target=target, progress=progress)


def resolve(text: str) -> str:
    """The URL of a device: of one that `devices.toml` names, or of the only one within reach that fits a word.

    raises  UsageError when nothing fits, or several do: it lists them
    """
    return _names.resolve(text, sorted(_transports()), discover)


def discover(scheme: str = "") -> list[Found]:
    """Every device that a transport can find without being told where, and those of `devices.toml`; local first.

    scheme  look for these only
    """
    modules = _transports()
    wanted = [name for name in _ORDER if name in modules and scheme in ("", name)]
    found = [found for name in wanted if hasattr(modules[name], "discover") for found in modules[name].discover()]
    names = {url: name for name, url in _names.named().items() if url.startswith(f"{scheme}:" if scheme else "")}
    listed = [replace(item, name=names.pop(item.url, "")) for item in found]
    told = "of devices.toml; ask it: --probe"
    own = [Found(url, url.partition(":")[0], "unknown", told, name) for url, name in names.items()]
    return sorted(listed + own, key=lambda item: item.url != "local")


def probe(found: Found) -> Found:
    """What answers at a place that `discover` left "unknown": a board, EdgeQ firmware, or nothing that we know.

    One HELLO is written to serial ports, so this is for ports whose owner asked for it. Nothing is put anywhere.
    """
    module = _transports().get(found.url.partition(":")[0])
    try:
        if module is not None and hasattr(module, "examine") and found.state in ("unknown", "ready"):
            return _examined(found, module.examine(found.url))
        if found.state != "unknown":
            return found
        with _open(found.url, timeout_s=_PROBE_S) as device:
            info = device.info
    except NoReplyError as error:
        silent = found.url.startswith(("serial:", "rfc2217:"))
        detail = "no EdgeQ firmware answers; put it there: edgeq flash" if silent else str(error)
        return replace(found, state="offline", detail=detail)
    except (DeviceError, UnsupportedError, UsageError) as error:
        return replace(found, state="offline", detail=str(error))
    return replace(found, kind=info.kind, state="ready", detail=f"{info.name}, {info.cpu}, takes {info.targets[0]}")


def open_program(url: str, progress: Progress = _silent) -> AgentProgram:
    """The agent's program on a machine, for `edgeq bench kernels`; close it.

    raises  UnsupportedError where nobody chooses kernels, DeviceError when the machine cannot be reached
    """
    url = resolve(url)
    module = _transport(url)
    if not hasattr(module, "open_program"):
        why = (
            "call edgeq bench kernels on that machine itself"
            if url.startswith("tcp:")
            else "its kernels were chosen when it was compiled"
        )
        raise UnsupportedError(f"{url}: {why}")
    progress(f"connecting to {url}")
    program: AgentProgram = module.open_program(url, progress)
    return program


def clean(url: str) -> str:
    """Remove everything of ours from a board or phone; the folder that was removed.

    raises  UsageError for devices that keep nothing there, DeviceError when it cannot be reached
    """
    url = resolve(url)
    module = _transports().get(url.partition(":")[0])
    if module is None or not hasattr(module, "clean"):
        raise UsageError(f"{url}: nothing was put there; only boards behind ssh: and phones behind adb: can be cleaned")
    removed: str = module.clean(url)
    return removed


def _examined(found: Found, facts: Facts) -> Found:
    arch = {"arm64": "aarch64", "amd64": "x86_64"}.get(facts.arch, facts.arch)
    words = [facts.name, facts.arch, facts.system, f"{facts.memory_bytes / 1e9:.1f} GB", facts.governor]
    state: Literal["ready", "no-runtime"] = "ready" if arch in ARCHITECTURES else "no-runtime"
    return replace(found, state=state, detail=", ".join(word for word in words if word))


def _open(url: str, *, target: str = "", timeout_s: float | None = None, progress: Progress = _silent) -> Device:
    transport = _transport(url)
    more = (progress, target) if hasattr(transport, "examine") else ()
    stream = transport.open_stream(url, *more)
    return Device(stream, timeout_s=timeout_s)


def _transport(url: str) -> ModuleType:
    scheme = re.match(r"[a-z][a-z0-9]*", url)
    transports = _transports()
    if scheme is None or scheme[0] not in transports or url[scheme.end() : scheme.end() + 1] not in ("", ":"):
        raise UsageError(f'no transport for device "{url}"; there are: {", ".join(sorted(transports))}')
    return transports[scheme[0]]


def _transports() -> dict[str, ModuleType]:
    public = [name for _, name, _ in pkgutil.iter_modules(__path__) if not name.startswith("_")]
    modules = {name: importlib.import_module(f"{__name__}.{name}") for name in public}
    return {name: module for name, module in modules.items() if hasattr(module, "open_stream")}
