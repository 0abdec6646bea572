"""`tcp://host:port`: an agent that listens (`edgeq-agent --listen 127.0.0.1:PORT`), perhaps behind a forwarded port."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

from edgeq._errors import DeviceError, UsageError

from .stream import FdStream

_CONNECT_S = 10.0


def open_stream(url: str) -> FdStream:
    """Connect; raises DeviceError when nobody listens there."""
    parts = urlsplit(url)
    try:
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise UsageError(f"{url}: {error}") from error
    if not host or not port:
        raise UsageError(f"{url}: expected tcp://host:port")
    try:
        connection = socket.create_connection((host, port), _CONNECT_S)
    except OSError as error:
        raise DeviceError(f"{url}: cannot connect: {error.strerror or error}; is the agent running there?") from error
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return FdStream(url, connection.fileno(), connection.fileno(), connection.close)
