"""An agent at the end of a process's pipes: the process is the agent itself, or the ssh or adb that reaches it."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Sequence

from edgeq._errors import DeviceError

from ._shell import last_line
from .records import Condition
from .stream import FdStream

_EXIT_S = 10.0  # for a process whose output has ended


def open_pipe(
    name: str,
    words: Sequence[str],
    ending: Callable[[int | None, str], str],
    *,
    patience_s: float = 5.0,
    closed: Callable[[], None] = lambda: None,
    condition: Callable[[], Condition | None] = lambda: None,
) -> FdStream:
    """Start a process and return the stream through it, which ends it when it is closed.

    ending      from the process's exit code (None: it still runs) and the last line of what it complained: the reason
                that is told when the stream breaks off
    patience_s  given to the process to end by itself
    closed      called after that
    raises      DeviceError when it cannot be started
    """
    complaints = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the stream)
    try:
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints, bufsize=0)
    except OSError as error:
        complaints.close()
        raise DeviceError(f"{words[0]}: cannot be started: {error.strerror}") from error
    assert process.stdin is not None and process.stdout is not None
    reader, writer = process.stdout, process.stdin

    def close() -> None:
        writer.close()
        end(process, patience_s)
        reader.close()
        complaints.close()
        closed()

    def why() -> str:
        try:
            code = process.wait(_EXIT_S)
        except subprocess.TimeoutExpired:
            return ending(None, "")
        complaints.seek(0)
        return ending(code, last_line(complaints.read().decode("utf-8", "replace")))

    return FdStream(name, reader.fileno(), writer.fileno(), close, why, condition=condition)


def end(process: subprocess.Popen[bytes], patience_s: float) -> None:
    """Wait for a process to end by itself, then make it."""
    try:
        process.wait(patience_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
