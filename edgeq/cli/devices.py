"""`edgeq devices`: what can be deployed to."""

from __future__ import annotations

from edgeq.cli._options import Json, examples
from edgeq.cli._output import print_json, print_table

EPILOG = examples("edgeq devices", "edgeq devices --json")


def command(json: Json = False) -> None:
    """List the devices within reach and whether they are ready."""
    from dataclasses import asdict

    from edgeq.device import discover

    found = [asdict(device) for device in discover()]
    if json:
        print_json(found)
    else:
        head = tuple(found[0]) if found else ("no device found; what is missing: edgeq doctor",)
        print_table([tuple(str(value) for value in device.values()) for device in found], head=head)
