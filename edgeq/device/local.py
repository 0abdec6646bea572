"""`local`: this machine, through an agent that lives as long as the connection. `local:?threads=2` sets its threads.

EDGEQ_THREADS sets them where the URL does not.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from edgeq import _paths
from edgeq._errors import DeviceError, StoreError, UnsupportedError, UsageError

from ._pipe import open_pipe
from ._shell import call
from .program import KERNELS, AgentProgram
from .records import Found
from .runtime import Progress, installed_litert
from .stream import FdStream

_CLOSE_S = 1.0  # an idle agent ends at once; a busy one works on what nobody will read


def open_stream(url: str) -> FdStream:
    """Start `edgeq-agent`; raises UnsupportedError when it is not installed, StoreError without a home."""
    threads = _threads(url)
    program = _paths.native("edgeq-agent", "EDGEQ_AGENT")
    command = [str(program), "--store", str(_paths.writable_home() / "agent"), "--threads", str(threads), *_litert()]
    return open_pipe("local", command, _ending, patience_s=_CLOSE_S)


def open_program(url: str, progress: Progress = lambda stage: None) -> AgentProgram:
    """`edgeq-agent` as it is installed; raises as `open_stream`."""
    _threads(url)
    program = str(_paths.native("edgeq-agent", "EDGEQ_AGENT"))
    return AgentProgram("local", lambda words, s: call("local", [program, *words], timeout_s=s), _keep, lambda: None)


def discover() -> list[Found]:
    """This machine."""
    from .device import Device

    try:
        with Device(open_stream("local")) as device:
            info = device.info
            return [Found("local", "host", "ready", f"{info.cpu}, {info.arch}, {info.isa}")]
    except UnsupportedError as error:
        return [Found("local", "host", "no-runtime", str(error))]
    except (DeviceError, StoreError) as error:
        return [Found("local", "host", "offline", str(error))]


def _keep(table: str) -> str:
    """For the agent and for `edgeq._native`, which look in the same place."""
    named = os.environ.get("EDGEQ_KERNELS")
    file = Path(named) if named else _paths.writable_home() / KERNELS
    part = file.with_name(f"{file.name}.part")
    try:
        part.write_text(table)
        part.replace(file)
    except OSError as error:
        raise StoreError(f"{file}: cannot be written: {error.strerror}") from error
    return str(file)


def _litert() -> list[str]:
    """Where LiteRT's library lies, if it is installed: the agent loads it when it sees the first `.tflite`."""
    library = installed_litert()
    return ["--litert", str(library)] if library else []


def _threads(url: str) -> int:
    options = parse_qs(urlsplit(url).query, strict_parsing=bool(urlsplit(url).query))
    preset = os.environ.get("EDGEQ_THREADS", "1")
    if not _is_count(preset):
        raise UsageError(f"EDGEQ_THREADS={preset} is not a number from 1 to 256")
    text = options.pop("threads", [preset])[-1]
    if options or not _is_count(text):
        raise UsageError(f"{url}: the only option is threads=N, N from 1 to 256")
    return int(text)


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdecimal() and 1 <= int(text) <= 256


def _ending(code: int | None, said: str) -> str:
    """How the agent ended, in its own words where it had any."""
    if code is None:
        return " (the agent closed its output)"
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    return f" (the agent ended with {how}{': ' + said if said else ''})"
