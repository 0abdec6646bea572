"""`edgeq doctor`: what of this machine is usable."""

from __future__ import annotations

import typer

from edgeq._errors import UnsupportedError
from edgeq.cli._options import Json, examples
from edgeq.cli._output import print_json, print_table

EPILOG = examples("edgeq doctor", "edgeq doctor --json")


def command(json: Json = False) -> None:
    """Say what of this machine is usable, and what to install for the rest. Ends with 7 if EdgeQ itself cannot run."""
    from dataclasses import asdict

    from edgeq import doctor

    checks = doctor.examine()
    broken = [check.name for check in checks if check.needed and not check.ok]
    if json:
        print_json({"ok": not broken, "checks": [asdict(check) for check in checks]})
    else:
        rows = [(c.name, "ok" if c.ok else "BROKEN" if c.needed else "absent", c.detail, c.fix) for c in checks]
        print_table(rows, head=("part", "state", "detail", "to have it"))
    if broken:
        raise typer.Exit(UnsupportedError.exit_code)
