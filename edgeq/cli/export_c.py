"""`edgeq export-c`: package to C sources."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeq.cli._options import AllowUnsigned, Json, Model, examples
from edgeq.cli._output import Progress, print_json, remark
from edgeq.cli.compile import micro_memory

EPILOG = examples("edgeq export-c pokebnn-fashion -o firmware/model", "edgeq export-c ./my-package -o out --name net")


def command(
    model: Model,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the sources; made if it is missing.")],
    name: Annotated[str | None, typer.Option("--name", help="C name of the model; default: from MODEL.")] = None,
    part: Annotated[str | None, typer.Option("--part", help="Refuse if this core or part is too small.")] = None,
    allow_unsigned: AllowUnsigned = False,
    json: Json = False,
) -> None:
    """Write a model as C sources: constant data, runtime, kernels, builds for CMake, Zephyr and Arduino, an example."""
    from edgeq import hub
    from edgeq.compile import build, csource

    with Progress() as progress:
        package = hub.pull(model, allow_unsigned=allow_unsigned, progress=progress)
        artefact = build(package, f"micro:{part}" if part else "micro", progress=progress)
    remark(package.note)
    made = csource.export(
        artefact.path.read_bytes(),
        output,
        name or csource.identifier(artefact.model_name),
        version=str(package.manifest.version),
    )
    if json:
        print_json({"folder": str(made.folder), "files": list(made.files), "micro": made.report.to_dict()})
    else:
        print(f"{made.folder}  {len(made.files)} files")
        print(micro_memory(made.report.to_dict()))
