"""`edgeq devices`: what can be deployed to."""

from __future__ import annotations

from typing import Annotated

import typer

from edgeq.cli._options import Json, examples
from edgeq.cli._output import print_json, print_table, remark

EPILOG = examples(
    "edgeq devices", "edgeq devices --probe", "edgeq devices --clean ssh://pi@board", "edgeq devices --json"
)


def command(
    probe: Annotated[
        bool,
        typer.Option("--probe", help="Ask boards what they are, and serial ports for EdgeQ firmware (writes to them)."),
    ] = False,
    clean: Annotated[
        str, typer.Option("--clean", metavar="DEVICE", help="Remove everything of EdgeQ from this board or phone.")
    ] = "",
    json: Json = False,
) -> None:
    """List the devices within reach and whether they are ready. Boards and serial ports are asked only with --probe."""
    from dataclasses import asdict

    from edgeq import device

    if clean:
        removed = device.clean(clean)
        if json:
            print_json({"device": clean, "removed": removed})
        else:
            remark(f"{clean}: removed {removed}")
        return
    places = device.discover()
    found = [asdict(device.probe(place) if probe else place) for place in places]
    if json:
        print_json(found)
    else:
        head = tuple(found[0]) if found else ("no device found; what is missing: edgeq doctor",)
        print_table([tuple(str(value) for value in device.values()) for device in found], head=head)
