"""A thread that reads a power sensor in steady intervals between start and stop."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from edgeq._errors import EnergyError
from edgeq.bench.energy._types import Point


@dataclass
class Window:
    """Samples that a thread takes until `done` is set; `failed` holds what stopped it early."""

    done: threading.Event = field(default_factory=threading.Event)
    points: list[Point] = field(default_factory=list)
    failed: EnergyError | None = None
    thread: threading.Thread | None = None


def begin(
    name: str, read: Callable[[], list[Point]], period_s: float, failures: tuple[type[Exception], ...] = ()
) -> Window:
    """Start to collect what `read` gives, every period_s.

    failures  what `read` may raise besides EnergyError, from the library of an instrument
    """
    window = Window()

    def work() -> None:
        try:
            window.points += read()
            while not window.done.wait(period_s):
                window.points += read()
        except EnergyError as error:
            window.failed = error
        except failures as error:
            window.failed = EnergyError(f"{name}: failed while it measured: {error}")

    window.thread = threading.Thread(target=work, name=f"edgeq-{name}", daemon=True)
    window.thread.start()
    return window


def end(name: str, token: object) -> list[Point]:
    """What was collected. Raises EnergyError for what is no window, or when the sensor failed meanwhile."""
    if not isinstance(token, Window) or token.thread is None:
        raise EnergyError(f"{name}: not a token of start(): {token!r}")
    token.done.set()
    token.thread.join()
    if token.failed is not None:
        raise token.failed
    return token.points


def one(clock: Callable[[], float], watts: Callable[[], float]) -> Callable[[], list[Point]]:
    """A reader of a single value with its time."""
    return lambda: [(clock(), watts())]
