"""The command line: one verb, one file, no logic. What a verb needs is imported when it runs, so that --help is quick.

Errors become one line on stderr, `edgeq: ...`, and the exit code of their class; EDGEQ_DEBUG=1 shows the traceback.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from edgeq._errors import EdgeQError
from edgeq.cli._output import remark

__all__ = ["main", "run"]

INTERRUPTED = 130
INTERNAL = 70


def main() -> None:
    """Entry point of the `edgeq` command."""
    sys.exit(run(sys.argv[1:]))


def run(args: Sequence[str]) -> int:
    """Run one command line; give back its exit code. Prints, never raises, unless EDGEQ_DEBUG is set."""
    try:
        from edgeq.cli._app import app  # here, so that Ctrl-C during the imports is told like any other

        code = app(args=list(args), prog_name="edgeq", standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        return _unread()
    except SystemExit as end:  # what the parser and the tables make of a broken pipe
        if isinstance(end.__context__, BrokenPipeError):
            return _unread()
        raise
    except KeyboardInterrupt:
        return _say("interrupted", INTERRUPTED)
    except Exception as error:
        return _explain(error)
    if code == INTERRUPTED:  # how the parser reports it
        return _say("interrupted", INTERRUPTED)
    return code if isinstance(code, int) else 0


def _unread() -> int:
    """The reader of our output (head, less) has seen enough."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _explain(error: Exception) -> int:
    if os.environ.get("EDGEQ_DEBUG"):
        raise error
    if _was_interrupted(error):
        return _say("interrupted", INTERRUPTED)
    if isinstance(error, EdgeQError):
        return _say(str(error), error.exit_code)
    if type(error).__name__ == "Abort":
        return _say("interrupted", INTERRUPTED)
    if hasattr(error, "format_message"):  # a wrong command line, as the parser found it
        text, code = error.format_message(), int(getattr(error, "exit_code", 2))
        command = getattr(getattr(error, "ctx", None), "command_path", "edgeq")
        return _say(f"{text} (try: {command} --help)", code) if text else code  # no text: the help was printed
    if isinstance(error, OSError) and error.filename is not None:
        return _say(f"{os.fsdecode(error.filename)}: {error.strerror}", EdgeQError.exit_code)
    text = f"internal error: {type(error).__name__}: {error} (EDGEQ_DEBUG=1 shows where; please report it)"
    return _say(text, INTERNAL)


def _was_interrupted(error: BaseException | None) -> bool:
    """Ctrl-C reaches agents and emulators too: what closing their line then raises is no news."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


def _say(text: str, code: int) -> int:
    remark(" ".join(text.split()))
    return code
