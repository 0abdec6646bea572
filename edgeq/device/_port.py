"""Byte streams over pyserial's ports, whatever they are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeq._errors import DeviceError, NoReplyError

from .records import Condition

if TYPE_CHECKING:
    from serial import Serial
    from serial.rfc2217 import Serial as RemoteSerial


class PortStream:
    """A stream over an open port, which it closes. Serial lines lose bytes, and are unplugged."""

    lossy = True

    def __init__(self, name: str, port: Serial | RemoteSerial) -> None:
        self.name = name
        self._port = port

    def read(self, timeout_s: float) -> bytes:
        try:
            data = self._first(max(0.0, timeout_s))
            data += self._port.read(self._port.in_waiting)
        except (OSError, TypeError) as error:  # pyserial's errors are OSErrors; a port closed meanwhile gives TypeError
            raise self._gone() from error
        if not data:
            raise NoReplyError(f"{self.name}: the device sent nothing for {timeout_s:.1f} s")
        return data

    def write(self, data: bytes, timeout_s: float) -> None:
        import serial

        try:
            self._send(data, max(0.0, timeout_s))
        except serial.SerialTimeoutException as error:
            raise NoReplyError(f"{self.name}: the device took no data for {timeout_s:.1f} s") from error
        except (OSError, TypeError) as error:
            raise self._gone() from error

    def close(self) -> None:
        self._port.close()

    def condition(self) -> Condition | None:
        return None

    def _first(self, timeout_s: float) -> bytes:
        """A byte, or none after the timeout."""
        self._port.timeout = timeout_s
        byte: bytes = self._port.read(1)
        return byte

    def _send(self, data: bytes, timeout_s: float) -> None:
        self._port.write_timeout = timeout_s
        self._port.write(data)

    def _gone(self) -> DeviceError:
        return DeviceError(f"{self.name}: the connection ended (unplugged?); connect it again, a transfer is resumed")
