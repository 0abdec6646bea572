"""Energy of a microcontroller's rail from Nordic's Power Profiler Kit II, 100,000 samples a second.

    ppk2:PORT?volts=3.3            supply the board with 3.3 V (0.8 to 5) and measure what it draws
    ppk2:PORT?volts=3.3&meter=1    measure in the board's own supply, which has 3.3 V
    ...&marker=0                   count only while logic input D0 is high: drive it from the firmware around inferences

PORT may be left out when one PPK2 is plugged in. The library `ppk2-api` (extra `edgeq[energy]`) speaks to the
instrument and knows its calibration. Every sample carries a counter of 6 bits: samples that the line lost are gaps in
time here, not a faster clock. The instrument measures current only, so its voltage is the one it was told.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qs

import numpy as np

from edgeq._errors import EnergyError, UsageError
from edgeq.bench.energy._capture import over_pulses
from edgeq.bench.energy._types import EnergySample, Point, integrate, windows

if TYPE_CHECKING:
    from ppk2_api.ppk2_api import PPK2_API

RATE_HZ = 100_000.0
MIN_V, MAX_V = 0.8, 5.0
MAX_WINDOW_S = 120.0
_READ_S = 0.005
_EMPTY = 3  # reads in a row
_WORD = 4
_COUNTER = (18, 0x3F)  # its place in a sample


@dataclass
class _Window:
    done: threading.Event = field(default_factory=threading.Event)
    raw: bytearray = field(default_factory=bytearray)
    failed: EnergyError | None = None
    thread: threading.Thread | None = None


class Ppk2:
    """An open PPK2. `marker`: the logic input (0..7) that is high during inferences, None: the whole window counts."""

    name = "ppk2"
    kind: Literal["measured"] = "measured"
    scope: Literal["rail"] = "rail"
    watches: Literal["wire"] = "wire"
    window_s = 0.5

    def __init__(self, port: str, *, volts: float, meter: bool = False, marker: int | None = None) -> None:
        if not MIN_V <= volts <= MAX_V:
            raise UsageError(f"ppk2: {volts:g} V is not between {MIN_V} and {MAX_V} V")
        if marker is not None and not 0 <= marker < 8:
            raise UsageError(f"ppk2: there is no logic input D{marker}; there are D0 to D7")
        self._volts, self._marker = volts, marker
        self._api = _open(port)
        self._source = f"PPK2, {'own supply' if meter else 'source'} at {volts:g} V"
        if meter:
            self._api.use_ampere_meter()
        else:
            self._api.use_source_meter()
        self._api.set_source_voltage(round(1000 * volts))
        self._api.toggle_DUT_power("ON")

    def start(self) -> _Window:
        window = _Window()
        self._api.get_data()  # what was left of before
        self._api.remainder = {"sequence": b"", "len": 0}
        self._api.start_measuring()
        window.thread = threading.Thread(target=self._collect, args=(window,), name="edgeq-ppk2", daemon=True)
        window.thread.start()
        return window

    def stop(self, token: object, /) -> EnergySample:
        at, microamperes, logic = self._samples(token)
        points = self._points(at, microamperes)
        if self._marker is None:
            return integrate(points, self._source, scope=self.scope)
        high = [(t, bool(bits >> self._marker & 1)) for t, bits in zip(at, logic, strict=True)]
        return over_pulses(points, windows(high), f"{self._source}, D{self._marker}")[0]

    def stop_idle(self, token: object, /) -> EnergySample:
        at, microamperes, _ = self._samples(token)
        return integrate(self._points(at, microamperes), self._source, scope=self.scope)

    def _samples(self, token: object) -> tuple[list[float], Sequence[float], Sequence[int]]:
        """Times in seconds, currents in uA, logic inputs."""
        if not isinstance(token, _Window) or token.thread is None:
            raise EnergyError(f"ppk2: not a token of start(): {token!r}")
        self._api.stop_measuring()
        token.done.set()
        token.thread.join()
        if token.failed is not None:
            raise token.failed
        raw = bytes(token.raw[: len(token.raw) // _WORD * _WORD])
        if not raw:
            raise EnergyError("ppk2: sent no sample; is its switch on, and the right one of its two ports in use?")
        microamperes, logic = self._api.get_samples(raw)
        return times(raw), microamperes, logic

    def _points(self, at: Sequence[float], microamperes: Sequence[float]) -> list[Point]:
        return [(t, 1e-6 * ua * self._volts) for t, ua in zip(at, microamperes, strict=True)]

    def _collect(self, window: _Window) -> None:
        most = int(MAX_WINDOW_S * RATE_HZ) * _WORD
        try:
            empty = 0
            while empty < _EMPTY:  # after the stop: until nothing comes any more
                data = self._api.get_data()
                window.raw += data
                if len(window.raw) > most:
                    window.failed = EnergyError(f"ppk2: a window longer than {MAX_WINDOW_S:.0f} s; run shorter")
                    return
                empty = empty + 1 if window.done.is_set() and not data else 0
                if window.done.is_set():
                    time.sleep(_READ_S)
                else:
                    window.done.wait(_READ_S)
        except OSError as error:
            window.failed = EnergyError(f"ppk2: unplugged while it measured: {error}")


def times(raw: bytes) -> list[float]:
    """Seconds of each sample since the first, from the counters: a lost sample leaves its place empty."""
    words = np.frombuffer(raw, "<u4")
    shift, mask = _COUNTER
    counters = (words.astype(np.int64) >> shift) & mask
    steps = np.mod(np.diff(counters), mask + 1)
    steps[steps == 0] = mask + 1  # the counter went once around
    index = np.concatenate(([0], np.cumsum(steps)))
    seconds: list[float] = (index / RATE_HZ).tolist()
    return seconds


def _open(port: str) -> PPK2_API:
    try:
        from ppk2_api.ppk2_api import PPK2_API
    except ImportError:
        raise EnergyError("ppk2: its library is not installed: pip install 'edgeq[energy]'") from None
    if not port:
        ports = PPK2_API.list_devices()
        if len(ports) != 1:
            raise EnergyError(f"ppk2: {len(ports)} of them are plugged in; name the port: --energy ppk2:/dev/ttyACM1")
        port = ports[0]
    try:
        api = PPK2_API(port, timeout=1, write_timeout=1, exclusive=True)
    except (OSError, ValueError) as error:
        raise EnergyError(f"ppk2: {port} cannot be opened: {error}") from None
    api.stop_measuring()
    time.sleep(_READ_S)
    api.get_data()
    if not api.get_modifiers():
        raise EnergyError(f"ppk2: {port} does not answer like a PPK2; it has two ports, try the other one")
    return api


def provider(where: str = "") -> Ppk2:
    port, _, query = where.partition("?")
    options: dict[str, Any] = {key: value[-1] for key, value in parse_qs(query).items()}
    try:
        volts, marker = float(options.pop("volts")), options.pop("marker", None)
        meter = options.pop("meter", "0") == "1"
        chosen = None if marker is None else int(marker)
    except (KeyError, ValueError):
        raise UsageError(f"ppk2:{where}: expected ppk2:PORT?volts=3.3, with &meter=1 and &marker=0 as needed") from None
    if options:
        raise UsageError(f"ppk2: no option {', '.join(options)}; there are volts, meter, marker")
    return Ppk2(port, volts=volts, meter=meter, marker=chosen)
