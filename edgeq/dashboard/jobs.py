"""Verbs of the command line as children of the dashboard, watched through their JSON lines (`--follow`).

The pages never open a device themselves: what they start is what a user would type, in a process of its own that can be
stopped like one. One job runs at a time, because two on one machine would measure each other.
"""

from __future__ import annotations

import atexit
import json
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import IO

from edgeq._errors import UsageError

KEPT_TICKS = 2000
KEPT_POINTS = 20_000
STOP_S = 10.0
MAX_LINE = 1 << 20


@dataclass
class Curve:
    """A curve as it grows."""

    unit: str
    x_unit: str
    points: list[tuple[float, float]] = field(default_factory=list)


class Job:
    """A running or ended verb.

    words   what was started, as a user would type it after `edgeq`
    count   timings that have arrived; `ticks` are the newest of them
    report  the last line of a verb that got to its end
    said    the newest line that was no event: remarks, and the error at the end
    """

    def __init__(self, words: Sequence[str], *, command: Sequence[str] = (sys.executable, "-m", "edgeq.cli")) -> None:
        self.words = tuple(words)
        self.stage, self.done, self.total = "starting", 0, 0
        self.ticks: deque[int] = deque(maxlen=KEPT_TICKS)
        self.count = 0
        self.curves: dict[str, Curve] = {}
        self.report: dict[str, object] | None = None
        self.said = ""
        self.stopped = False
        self._process = subprocess.Popen(
            [*command, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
        self._threads = [
            threading.Thread(target=self._read, args=(pipe, take), daemon=True)
            for pipe, take in ((self._process.stdout, self._event), (self._process.stderr, self._remark))
        ]
        for thread in self._threads:
            thread.start()

    @property
    def running(self) -> bool:
        return self._process.poll() is None or any(thread.is_alive() for thread in self._threads)

    @property
    def code(self) -> int | None:
        """The exit code, None while it runs."""
        return None if self.running else self._process.returncode

    @property
    def run_id(self) -> int | None:
        """The run in the store, once there is one."""
        found = None if self.report is None else self.report.get("run_id")
        return found if isinstance(found, int) else None

    def stop(self) -> None:
        """Interrupt it like Ctrl-C, so that devices are let go; end it if it does not listen."""
        if self._process.poll() is None:
            self.stopped = True
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def wait(self, seconds: float) -> None:
        """Until it has ended and everything it said was read."""
        self._process.wait(seconds)
        for thread in self._threads:
            thread.join(seconds)

    def _read(self, pipe: IO[str], take: object) -> None:
        assert callable(take)
        with pipe:
            while line := pipe.readline(MAX_LINE):
                take(line.strip())

    def _remark(self, line: str) -> None:
        if line:
            self.said = line

    def _event(self, line: str) -> None:
        """One line of `--follow`; anything else is a remark."""
        try:
            event = json.loads(line)
            kind = event.pop("event")
            if kind == "progress":
                self.stage, self.done, self.total = str(event["stage"]), int(event["done"]), int(event["total"])
            elif kind == "samples":
                ticks = [int(tick) for tick in event["ticks"]]
                self.ticks.extend(ticks)
                self.count += len(ticks)
            elif kind == "point":
                curve = self.curves.setdefault(str(event["series"]), Curve(str(event["unit"]), str(event["x_unit"])))
                if len(curve.points) < KEPT_POINTS:
                    curve.points.append((float(event["x"]), float(event["value"])))
            elif kind == "report":
                self.report = event
        except (ValueError, KeyError, TypeError, AttributeError):
            self._remark(line)


class Jobs:
    """The jobs of one dashboard, by the page that started them; every session sees the same ones. They end with it."""

    def __init__(self) -> None:
        self._newest: dict[str, Job] = {}
        self._lock = threading.Lock()
        atexit.register(self.stop)

    def newest(self, page: str) -> Job | None:
        return self._newest.get(page)

    @property
    def running(self) -> Job | None:
        return next((job for job in self._newest.values() if job.running), None)

    def stop(self) -> None:
        """Stop whatever runs."""
        for job in self._newest.values():
            job.stop()

    def start(self, page: str, words: Sequence[str]) -> Job:
        """Start a verb. Raises UsageError while another one runs."""
        with self._lock:
            if (busy := self.running) is not None:
                raise UsageError(f"`edgeq {' '.join(busy.words)}` is still running; stop it, or wait")
            self._newest[page] = Job(words)
            return self._newest[page]
