"""A serial port that a server gives to the network by RFC 2217, as `ser2net` and `esp_rfc2217_server` do."""

import os
import select
import socket
import threading
import tty

from serial.rfc2217 import PortManager

_CHUNK = 4096
_ACCEPT_S = 20


class _Port:
    """What the client asked for; a pseudo-terminal has neither rate nor control lines."""

    baudrate, bytesize, parity, stopbits = 9600, 8, "N", 1
    xonxoff = rtscts = dsrdtr = rts = dtr = break_condition = False
    cts = dsr = ri = cd = False

    def reset_input_buffer(self):
        pass

    def reset_output_buffer(self):
        pass


class RemoteLine:
    """A server in front of the terminal at `path`, for one client; a context manager."""

    def __init__(self, path):
        self.port = _Port()
        self._fd = os.open(path, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(self._fd)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(_ACCEPT_S)
        self.url = f"rfc2217://127.0.0.1:{self._listener.getsockname()[1]}"
        self._stop, self._stopped = socket.socketpair()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._thread.is_alive():
            self.stop()
        for end in (self._listener, self._stop, self._stopped):
            end.close()
        os.close(self._fd)

    def stop(self):
        """The server goes away."""
        self._stop.send(b"x")
        self._thread.join()

    def write(self, data):
        """What PortManager has to say to the client."""
        self._client.sendall(data)

    def _serve(self):
        self._client, _ = self._listener.accept()
        with self._client:
            manager = PortManager(self.port, self)
            while True:
                ready, _, _ = select.select([self._client, self._fd, self._stopped], [], [])
                if self._stopped in ready:
                    return
                if self._fd in ready:
                    self._client.sendall(b"".join(manager.escape(os.read(self._fd, _CHUNK))))
                if self._client in ready:
                    data = self._client.recv(_CHUNK)
                    if not data:
                        return
                    view = memoryview(b"".join(manager.filter(data)))
                    while view:
                        view = view[os.write(self._fd, view) :]
