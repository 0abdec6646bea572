"""`edgeq dashboard`: the results in a browser."""

from __future__ import annotations

from typing import Annotated

import typer

from edgeq.cli._options import examples
from edgeq.cli._output import remark

EPILOG = examples(
    "edgeq dashboard",
    "edgeq dashboard --port 0",
    "edgeq dashboard --read-only --host 0.0.0.0",
    "EDGEQ_DB=runs.db edgeq dashboard",
)


def command(
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="On this machine only; 0 takes a free one.")
    ] = 8501,
    host: Annotated[
        str, typer.Option("--host", help="Another interface, to share the pages; --read-only.")
    ] = "127.0.0.1",
    read_only: Annotated[bool, typer.Option("--read-only", help="Pages to look at: nothing can be started.")] = False,
) -> None:
    """Show the results store in a browser, and measure live from there: overview, comparison, runs, live, fine-tune,
    zoo. Ctrl-C ends it."""
    import signal

    from edgeq.dashboard.server import serve

    def end(number: int, frame: object) -> None:
        raise typer.Exit(0)

    before = signal.signal(signal.SIGTERM, end)
    remark("starting the dashboard")
    try:
        with serve(port, host=host, readonly=read_only) as server:
            print(server.address, flush=True)
            server.process.wait()
    except KeyboardInterrupt:
        remark("dashboard ended")
    finally:
        signal.signal(signal.SIGTERM, before)
