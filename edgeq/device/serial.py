"""`serial:///dev/ttyACM0`: a board on a serial line or USB. `?baud=921600` sets the rate, 115200 if it does not."""

from __future__ import annotations

import errno
from urllib.parse import parse_qs, urlsplit

from edgeq._errors import DeviceError, UsageError

from ._port import PortStream
from .records import Found

_BAUD = 115200


def open_stream(url: str) -> PortStream:
    """Open the port; raises DeviceError when it is not there, not ours to open, or in use."""
    port, baud = _parse(url)
    import serial

    try:
        return PortStream(url, serial.Serial(port, baud, exclusive=True))
    except (OSError, ValueError) as error:
        raise DeviceError(f"{url}: {_reason(port, error)}") from error


def discover() -> list[Found]:
    """The serial ports of this machine. Nothing is opened: what is behind them only a probe can tell."""
    from serial.tools import list_ports

    return [
        Found(f"serial://{_path(port.device)}", "serial", "unknown", f"{_description(port)}; ask it: --probe")
        for port in sorted(list_ports.comports(), key=lambda port: port.device)
        if port.hwid != "n/a"  # ttyS0 and the like: no one knows whether anything is there
    ]


def _path(device: str) -> str:
    return device if device.startswith("/") else f"/{device}"


def _description(port: object) -> str:
    words = [getattr(port, name, None) for name in ("manufacturer", "product")]
    text = " ".join(str(word) for word in words if word) or str(getattr(port, "description", "")) or "serial port"
    vid, pid = getattr(port, "vid", None), getattr(port, "pid", None)
    return f"{text} ({vid:04x}:{pid:04x})" if vid is not None and pid is not None else text


def _parse(url: str) -> tuple[str, int]:
    """ "serial:///dev/ttyACM0?baud=N", "serial://COM3" -> port, baud."""
    parts = urlsplit(url)
    port = f"{parts.netloc}{parts.path}"
    try:
        options = parse_qs(parts.query, strict_parsing=bool(parts.query))
        baud = options.pop("baud", [str(_BAUD)])[-1]
    except ValueError as error:
        raise UsageError(f"{url}: {error}") from error
    if not port or options or not (baud.isascii() and baud.isdecimal() and 0 < int(baud) <= 50_000_000):
        raise UsageError(f"{url}: expected serial:///dev/PORT, with ?baud=N if it is not {_BAUD}")
    if port.startswith("/COM"):
        port = port[1:]
    return port, int(baud)


def _reason(port: str, error: Exception) -> str:
    code = getattr(error, "errno", None)
    if code == errno.ENOENT:
        return f"there is no {port}; is the board plugged in? edgeq devices lists the ports"
    if code == errno.EACCES:
        return f"{port} is not yours to open; as root: usermod -aG dialout $USER, then log in again"
    if code in (errno.EBUSY, errno.EAGAIN) or "lock" in str(error):
        return f"{port} is in use by another program"
    return f"cannot be opened: {error}"
