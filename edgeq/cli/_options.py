"""Arguments and options that several verbs share; their help texts live here once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def _resolved(context: typer.Context, text: str) -> str:
    """The URL that `--device` means."""
    if context.resilient_parsing or text == "local":
        return text
    from edgeq.device import resolve

    return resolve(text)


Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="Zoo name, OWNER/NAME[@REVISION] on the Hub, or a package folder.")
]
Device = Annotated[
    str,
    typer.Option(
        "--device", "-d", envvar="EDGEQ_DEVICE", callback=_resolved, help="Where it runs; `edgeq devices` lists them."
    ),
]
Target = Annotated[str, typer.Option("--target", help="What the model is compiled to; auto: what the device takes.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else there.")]
Follow = Annotated[
    bool, typer.Option("--follow", help="JSON lines on stdout while it happens; the last one is that of --json.")
]
MaxTemp = Annotated[
    float | None, typer.Option("--max-temp", metavar="C", help="Wait before timing until the machine is cooler.")
]
AllowUnsigned = Annotated[
    bool, typer.Option("--allow-unsigned", help="Accept a package without a trusted signature; every report says so.")
]
Warmup = Annotated[int, typer.Option("--warmup", min=0, help="Runs that are thrown away first.")]
Runs = Annotated[int, typer.Option("--runs", "-n", min=1, help="Timed runs.")]
Energy = Annotated[
    str,
    typer.Option("--energy", help="auto (a sensor if one is readable, else an estimate), none, or a provider[:WHERE]."),
]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Only the first N pictures.")]
Full = Annotated[bool, typer.Option("--full", help="The whole test set (EDGEQ_DATA, the Debian package, or the Hub).")]
Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="PATH",
        help="Own data: .npz with x (bytes, or float32 as the network takes it) and y, or a folder of idx files.",
    ),
]
Delta = Annotated[
    str | None, typer.Option("--delta", help="What was learned: an id, a package folder, or none; else what is in use.")
]
Key = Annotated[
    str | None, typer.Option("--key", help="Sign with this key of `edgeq keygen`, or this file; else unsigned.")
]
PackageName = Annotated[
    str | None, typer.Option("--name", help="Name of the package; default: that of the output folder.")
]
Licence = Annotated[str, typer.Option("--licence", help="Of the weights, as an SPDX identifier.")]
DEFAULT_DEVICE = "local"
DEFAULT_TARGET = "executorch"
DEVICE_TARGET = "auto"
DEFAULT_WARMUP = 10
DEFAULT_RUNS = 100


def examples(*lines: str) -> str:
    """The epilog of a help text; blank lines keep the lines apart."""
    return "\n\n".join(("Examples:" if len(lines) > 1 else "Example:", *lines))
