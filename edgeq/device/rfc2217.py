"""`rfc2217://host:port?baud=N`: a serial port of another machine (`esp_rfc2217_server`, `ser2net`)."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

from edgeq._errors import DeviceError, UsageError

from ._port import PortStream

_BAUD = 115200


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
        return PortStream(url, rfc2217.Serial(f"rfc2217://{host}:{port}", baudrate=baud))
    except (OSError, ValueError) as error:
        raise DeviceError(f"{url}: cannot connect: {error}") from error
