"""`edgeq export-web`: package to web page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeq.cli._options import AllowUnsigned, Json, Model, examples
from edgeq.cli._output import Progress, print_json, remark
from edgeq.cli.compile import micro_memory

EPILOG = examples("edgeq export-web pokebnn-fashion -o web", "edgeq export-web denseshift-kws -o site/kws")


def command(
    model: Model,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the page; made if it is missing.")],
    allow_unsigned: AllowUnsigned = False,
    json: Json = False,
) -> None:
    """Write a model as a web page that runs it (draw or drop a file), with the program and the JavaScript package."""
    from edgeq import hub
    from edgeq.compile import build, web

    with Progress() as progress:
        package = hub.pull(model, allow_unsigned=allow_unsigned, progress=progress)
        artefact = build(package, "micro", progress=progress)
        progress("building the WebAssembly module")
        made = web.export(
            artefact.path.read_bytes(),
            output,
            artefact.model_name,
            package.config(),
            version=str(package.manifest.version),
        )
    remark(package.note)
    if json:
        print_json({"folder": str(made.folder), "files": list(made.files), "micro": made.report.to_dict()})
    else:
        print(f"{made.folder / 'index.html'}  and {len(made.files) - 1} more files")
        print(micro_memory(made.report.to_dict()))
