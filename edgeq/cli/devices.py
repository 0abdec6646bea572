"""`edgeq devices`: what can be deployed to."""

from __future__ import annotations

from typing import Annotated

import typer

from edgeq.cli._options import Json, examples
from edgeq.cli._output import print_json, print_table

EPILOG = examples("edgeq devices", "edgeq devices --probe", "edgeq devices --json")


def command(
    probe: Annotated[
        bool, typer.Option("--probe", help="Ask every serial port whether EdgeQ firmware is there (writes to it).")
    ] = False,
    json: Json = False,
) -> None:
    """List the devices within reach and whether they are ready. Serial ports are opened only with --probe."""
    from dataclasses import asdict

    from edgeq import device

    places = device.discover()
    found = [asdict(device.probe(place) if probe else place) for place in places]
    if json:
        print_json(found)
    else:
        head = tuple(found[0]) if found else ("no device found; what is missing: edgeq doctor",)
        print_table([tuple(str(value) for value in device.values()) for device in found], head=head)
