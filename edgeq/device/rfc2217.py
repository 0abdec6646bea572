"""`rfc2217://host:port?baud=N`: a serial port of another machine (`esp_rfc2217_server`, `ser2net`)."""

from __future__ import annotations

import time
from urllib.parse import parse_qs, urlsplit

from edgeq._errors import DeviceError, UsageError

from ._port import PortStream

_BAUD = 115200
_SLICE_S = 0.05


class _RemoteStream(PortStream):
    """pyserial negotiates such a port anew whenever its timeout is set, and has none for writing."""

    def _first(self, timeout_s: float) -> bytes:
        deadline = time.monotonic() + timeout_s
        byte: bytes = self._port.read(1)  # waits _SLICE_S
        while not byte and time.monotonic() < deadline:
            byte = self._port.read(1)
        return byte

    def _send(self, data: bytes, timeout_s: float) -> None:
        self._port.write(data)

    def close(self) -> None:
        connection = getattr(self._port, "_socket", None)  # pyserial leaves it open where the server went first
        super().close()
        if connection:
            connection.close()


def open_stream(url: str) -> PortStream:
    """Connect; raises DeviceError when nobody listens there, or speaks something else."""
    parts = urlsplit(url)
    try:
        host, port = parts.hostname, parts.port
        baud = int(parse_qs(parts.query).get("baud", [str(_BAUD)])[-1])
    except ValueError as error:
        raise UsageError(f"{url}: {error}") from error
    if not host or not port:
        raise UsageError(f"{url}: expected rfc2217://host:port")
    from serial import rfc2217

    try:
        return _RemoteStream(url, rfc2217.Serial(f"rfc2217://{host}:{port}", baudrate=baud, timeout=_SLICE_S))
    except (OSError, ValueError) as error:
        reason = getattr(error.__context__, "strerror", None) or error
        raise DeviceError(f"{url}: cannot connect: {reason}; does a serial server listen there?") from error
