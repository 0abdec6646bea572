"""`edgeq push`: publish a package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeq.cli._options import AllowUnsigned, Json, examples
from edgeq.cli._output import Progress, print_json

EPILOG = examples("edgeq push ./my-net me/my-net", "edgeq push ./my-net me/my-net --private -m 'Retrained'")


def command(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A package folder.")],
    repository: Annotated[
        str,
        typer.Argument(metavar="OWNER/NAME", help="Repository on the Hub; NAME is the one in the package's manifest."),
    ],
    message: Annotated[str | None, typer.Option("--message", "-m", help="Of the commit.")] = None,
    private: Annotated[bool, typer.Option("--private", help="When the repository is made by this call.")] = False,
    revision: Annotated[str | None, typer.Option("--revision", help="Branch.")] = None,
    allow_unsigned: AllowUnsigned = False,
    json: Json = False,
) -> None:
    """Verify a package folder and commit it to the repository of the same name on the Hub (HF_ENDPOINT, HF_TOKEN)."""
    from edgeq import hub

    with Progress() as progress:
        progress(f"pushing to {repository}")
        pushed = hub.push(
            folder, repository, message=message, private=private, revision=revision, allow_unsigned=allow_unsigned
        )
    if json:
        print_json({"repository": repository, "commit": pushed.commit, "url": pushed.url})
    else:
        print(f"{pushed.url} at {pushed.commit}")
