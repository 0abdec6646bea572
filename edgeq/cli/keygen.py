"""`edgeq keygen`: a key pair for signing packages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeq.cli._options import Json, examples
from edgeq.cli._output import print_json

EPILOG = examples("edgeq keygen me", "edgeq keygen release --folder ./keys")


def command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the key's files.")],
    folder: Annotated[
        Path | None, typer.Option("--folder", help="Holds both files; else EdgeQ's key and trust folders.")
    ] = None,
    json: Json = False,
) -> None:
    """Make an Ed25519 key pair. Packages signed with it are accepted here from now on."""
    from edgeq import keys

    pair = keys.keygen(name, folder=folder)
    if json:
        document = {"private": str(pair.private), "public": str(pair.public), "fingerprint": pair.key.fingerprint}
        print_json(document)
    else:
        print(f"private key (keep it to yourself): {pair.private}")
        print(f"public key (give it to others):    {pair.public}")
        print(f"fingerprint: {pair.key.fingerprint}")
