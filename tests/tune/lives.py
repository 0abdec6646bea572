"""Processes that are killed with SIGKILL at random moments, forked from one that has imported everything."""

from __future__ import annotations

import os
import random
import select
import signal
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

PATIENCE_S = 300
LIVES = 5  # of a run; then it may end


def begin(run: Callable[[], int], log: Path) -> int:
    """The process id of a child that does `run`, whose result is its exit code; what it says goes to `log`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads: the child starts its own
        child = os.fork()
    if child:
        return child
    code = 70
    try:
        said = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for stream in (1, 2):
            os.dup2(said, stream)
        code = run()
    except BaseException:
        log.write_text(traceback.format_exc())
    finally:
        os._exit(code)


def ends(child: int, within_s: float) -> bool:
    """Wait so long for a child to end by itself, and end it then: did it?"""
    handle = os.pidfd_open(child)
    try:
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        by_itself = bool(poll.poll(1000 * within_s))
        if not by_itself:
            signal.pidfd_send_signal(handle, signal.SIGKILL)
    finally:
        os.close(handle)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, -signal.SIGKILL), f"ended with {status}"
    return status == 0


def whole(run: Callable[[], int], log: Path) -> float:
    """Let it run to its end; seconds that it took."""
    began = time.monotonic()
    assert ends(begin(run, log), PATIENCE_S), log.read_text()
    return time.monotonic() - began


def killed(make: Callable[[Path], Callable[[], int]], check: Callable[[Path], None], folder: Path, kills: int) -> None:
    """Kill that many processes. make(place): the run that lives in `place`; check(place): it ended as it should have.

    Runs are killed at moments spread evenly over what a whole one lasts, and begun again, `LIVES` times at most.
    """
    folder.mkdir(exist_ok=True)
    log, rng, done, number = folder / "log", random.Random(kills), 0, 0
    lasted = whole(make(folder / "first"), log)
    check(folder / "first")
    while done < kills:
        place, number = folder / str(number), number + 1
        for _ in range(LIVES):
            if ends(begin(make(place), log), lasted * rng.random()):
                break
            done += 1
        else:
            whole(make(place), log)
        check(place)
    print(f"\n{done} lives were killed, {number} runs came to their end; a whole one took {lasted:.1f} s")
