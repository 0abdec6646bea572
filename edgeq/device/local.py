"""`local`: this machine, through an agent that lives as long as the connection. `local:?threads=2` sets its threads.

EDGEQ_THREADS sets them where the URL does not.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import IO
from urllib.parse import parse_qs, urlsplit

from edgeq import _paths
from edgeq._errors import DeviceError, StoreError, UnsupportedError, UsageError

from .records import Found
from .stream import FdStream

_EXIT_S = 10.0
_CLOSE_S = 1.0  # an idle agent ends at once; a busy one works on what nobody will read


def open_stream(url: str) -> FdStream:
    """Start `edgeq-agent`; raises UnsupportedError when it is not installed, StoreError without a home."""
    threads = _threads(url)
    program = _paths.native("edgeq-agent", "EDGEQ_AGENT")
    command = [str(program), "--store", str(_paths.writable_home() / "agent"), "--threads", str(threads), *_litert()]
    errors = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the stream)
    try:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, bufsize=0)
    except OSError as error:
        errors.close()
        raise DeviceError(f"{program}: cannot be started: {error.strerror}") from error
    assert process.stdin is not None and process.stdout is not None
    reader, writer = process.stdout, process.stdin

    def close() -> None:
        writer.close()
        try:
            process.wait(_CLOSE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        reader.close()
        errors.close()

    return FdStream("local", reader.fileno(), writer.fileno(), close, lambda: _why(process, errors))


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


def _litert() -> list[str]:
    """Where LiteRT's library lies, if it is installed: the agent loads it when it sees the first `.tflite`."""
    package = find_spec("ai_edge_litert")
    folders = package.submodule_search_locations if package else None
    library = Path(folders[0]) / "libLiteRt.so" if folders else None
    return ["--litert", str(library)] if library and library.is_file() else []


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


def _why(process: subprocess.Popen[bytes], errors: IO[bytes]) -> str:
    """How the agent ended, in its own words where it had any."""
    try:
        code = process.wait(_EXIT_S)
    except subprocess.TimeoutExpired:
        return " (the agent closed its output)"
    errors.seek(0)
    lines = errors.read().decode("utf-8", "replace").strip().splitlines()
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    return f" (the agent ended with {how}{': ' + lines[-1] if lines else ''})"
