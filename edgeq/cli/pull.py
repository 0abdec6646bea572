"""`edgeq pull`: find a package and verify it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeq.cli._options import AllowUnsigned, Json, Model, examples
from edgeq.cli._output import Progress, print_json, print_table, remark

EPILOG = examples(
    "edgeq pull pokebnn-fashion", "edgeq pull someone/net@v2", "edgeq pull ./my-package --allow-unsigned --json"
)


def command(
    model: Model,
    revision: Annotated[str | None, typer.Option("--revision", help="Branch, tag or commit.")] = None,
    allow_unsigned: AllowUnsigned = False,
    allow_downgrade: Annotated[bool, typer.Option("--allow-downgrade", help="Accept an older version.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Ask no server.")] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Put a verified copy there too.")] = None,
    json: Json = False,
) -> None:
    """Find a package in the cache, the bundled zoo or the Hub; check its signature and every file's hash."""
    from edgeq import hub

    with Progress() as progress:
        package = hub.pull(
            model,
            revision=revision,
            allow_unsigned=allow_unsigned,
            allow_downgrade=allow_downgrade,
            offline=True if offline else None,
            progress=progress,
        )
    path = package.path if output is None else package.copy_to(output).path
    remark(package.note)
    document = {
        "name": package.manifest.name,
        "version": package.manifest.version,
        "path": str(path),
        "source": package.source,
        "commit": package.commit,
        "signed_by": package.signed_by,
        "sha256": package.manifest.sha256,
    }
    if json:
        print_json(document)
    else:
        print_table([(key, "-" if value is None else str(value)) for key, value in document.items()])
