"""Energy of a rail from a Qoitech Otii (Arc, Ace), through the Otii server that its desktop program runs.

    otii:                        the only instrument of the server on this machine, port 1905
    otii:HOST:PORT?volts=3.3     another server; supply the board with 3.3 V

Main current and voltage are recorded between start and stop (some 4,000 and 1,000 samples a second); the voltage is
interpolated to the current's times. The library is `otii-tcp-client` (extra `edgeq[energy]`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qs

import numpy as np

from edgeq._errors import EnergyError, UsageError
from edgeq.bench.energy._types import EnergySample, integrate

if TYPE_CHECKING:
    from otii_tcp_client.arc import Arc
    from otii_tcp_client.otii_client import Connect
    from otii_tcp_client.project import Project

HOST, PORT = "127.0.0.1", 1905
CURRENT, VOLTAGE = "mc", "mv"


@dataclass(frozen=True)
class _Token:
    project: Project


class Otii:
    """A connected instrument; its power stays as it was found unless `volts` are given."""

    name = "otii"
    kind: Literal["measured"] = "measured"
    scope: Literal["rail"] = "rail"
    watches: Literal["wire"] = "wire"
    window_s = 1.0

    def __init__(self, host: str = HOST, port: int = PORT, *, volts: float | None = None) -> None:
        self._server, self._arc = _connect(host, port)
        self._source = f"Otii {self._arc.name}"
        if volts is not None:
            self._arc.set_main_voltage(volts)
            self._arc.set_main(True)
        for channel in (CURRENT, VOLTAGE):
            self._arc.enable_channel(channel, True)

    def start(self) -> _Token:
        project = self._server.get_active_project() or self._server.create_project()
        self._arc.add_to_project()
        project.start_recording()
        return _Token(project)

    def stop(self, token: object, /) -> EnergySample:
        if not isinstance(token, _Token):
            raise EnergyError(f"otii: not a token of start(): {token!r}")
        try:
            token.project.stop_recording()
            recording = token.project.get_last_recording()
            if recording is None:
                raise EnergyError("otii: the server recorded nothing")
            (t, amperes), (t_v, volts) = (
                _samples(recording.get_channel_data(self._arc.id, channel, 0, count), channel)
                for channel in (CURRENT, VOLTAGE)
                if (count := recording.get_channel_data_count(self._arc.id, channel)) >= 0
            )
        except OSError as error:
            raise EnergyError(f"otii: the server is gone: {error}") from None
        watts = amperes * np.interp(t, t_v, volts)
        return integrate(list(zip(t.tolist(), watts.tolist(), strict=True)), self._source, scope=self.scope)


def _samples(data: dict[str, Any] | None, channel: str) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    values = np.asarray((data or {}).get("values", ()), dtype=np.float64)
    if data is None or values.ndim != 1 or values.size == 0:
        raise EnergyError(f'otii: channel "{channel}" of the recording is empty')
    return data["timestamp"] + data["interval"] * np.arange(values.size), values


def _connect(host: str, port: int) -> tuple[Connect, Arc]:
    try:
        from otii_tcp_client.otii_client import OtiiClient
        from otii_tcp_client.otii_exception import Otii_Exception
    except ImportError:
        raise EnergyError("otii: its library is not installed: pip install 'edgeq[energy]'") from None
    try:
        server = OtiiClient().connect(host=host, port=port)
        devices = server.get_devices()
    except (OSError, Otii_Exception) as error:
        raise EnergyError(f"otii: no server at {host}:{port} ({error}); start Otii's desktop program") from None
    if len(devices) != 1:
        raise EnergyError(f"otii: the server has {len(devices)} instruments, expected one")
    return server, devices[0]


def provider(where: str = "") -> Otii:
    place, _, query = where.partition("?")
    host, _, port = place.partition(":")
    options = parse_qs(query)
    try:
        volts = [float(text) for text in options.pop("volts", [])]
        number = int(port) if port else PORT
    except ValueError:
        volts, number, options = [], PORT, {"": [""]}
    if options:
        raise UsageError(f"otii:{where}: expected otii:HOST:PORT?volts=3.3, each of them as needed")
    return Otii(host or HOST, number, volts=volts[-1] if volts else None)
