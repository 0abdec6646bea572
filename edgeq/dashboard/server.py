"""The pages as a child process on a loopback port."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from edgeq._errors import UnsupportedError, UsageError

HOST = "127.0.0.1"
READONLY = "EDGEQ_DASHBOARD_READONLY"  # in the environment of the pages
START_S = 60.0
STOP_S = 10.0
_SCRIPT = Path(__file__).with_name("app.py")
_FLAGS = {
    "server.headless": "true",
    "server.fileWatcherType": "none",
    "browser.gatherUsageStats": "false",
    "client.toolbarMode": "minimal",
    "logger.level": "error",
}


@dataclass(frozen=True)
class Server:
    """A running dashboard: its address, and the process that serves it."""

    address: str
    process: subprocess.Popen[str]


@contextmanager
def serve(port: int, *, host: str = HOST, readonly: bool = False) -> Iterator[Server]:
    """Start the dashboard, wait until it answers, and end it with the block.

    port      0 takes a free one
    host      the interface; another than the loopback one only read-only, for the pages start programs
    readonly  nothing can be started from the pages
    raises  UnsupportedError: the extra is missing, or the server does not start; UsageError: the port is taken
    """
    if find_spec("streamlit") is None:
        raise UnsupportedError("the dashboard needs Streamlit, which is not installed: pip install 'edgeq[dashboard]'")
    if host != HOST and not readonly:
        raise UsageError(f"--host {host}: whoever reaches the pages could run programs here; share them --read-only")
    port = _free(host, port)
    flags = [
        f"--{name}={value}" for name, value in {**_FLAGS, "server.address": host, "server.port": str(port)}.items()
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "streamlit", "run", str(_SCRIPT), *flags],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=None,
        text=True,
        env={**os.environ, READONLY: "1"} if readonly else None,
    )
    try:
        _await(process, host, port)
        yield Server(f"http://{host}:{port}", process)
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free(host: str, port: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UsageError(f"port {port}: {error.strerror}; give another, or --port 0 for a free one") from None
        return int(probe.getsockname()[1])


def _await(process: subprocess.Popen[str], host: str, port: int) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise UnsupportedError(f"the dashboard's server ended with code {process.returncode} before it answered")
        with socket.socket() as probe:
            if probe.connect_ex((host, port)) == 0:
                return
        time.sleep(0.1)
    raise UnsupportedError(f"the dashboard did not answer on {host}:{port} within {START_S:.0f} s")
