"""`edgeq package`: a finished training run to a signed package folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeq.cli._options import Json, Key, examples
from edgeq.cli._output import print_json

EPILOG = examples("edgeq package out/pokebnn-fashion -o my-model --key me", "edgeq package RUN -o next --version 2")


def command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder that `edgeq train` wrote.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The package folder; new or empty.")],
    key: Key = None,
    version: Annotated[int, typer.Option("--version", min=1, help="Grows with every change; receivers insist.")] = 1,
    json: Json = False,
) -> None:
    """Pack the trained weights, write card and manifest, and sign them."""
    from edgeq import keys
    from edgeq import package as packages

    signer = keys.load_named(key)
    packages.check_new(output)

    from edgeq import release  # takes seconds, so the arguments come first
    from edgeq.text import VOCABULARY, format_vocabulary, read_vocabulary
    from edgeq.train import load_trained

    trained = load_trained(run / "model.safetensors")
    words = run / VOCABULARY  # of a network that reads text
    extra = {VOCABULARY: format_vocabulary(read_vocabulary(words))} if words.is_file() else None
    manifest = release.release(trained, output, version=version, key=signer, extra=extra)
    if json:
        files = {name: entry.size for name, entry in manifest.files.items()}
        print_json({"path": str(output), "name": manifest.name, "version": manifest.version, "files": files})
    else:
        print(f"{manifest.name} version {manifest.version}: {output} ({'signed' if signer else 'NOT SIGNED'})")
