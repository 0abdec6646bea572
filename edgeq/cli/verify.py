"""`edgeq verify`: is this folder what its maker signed?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeq.cli._options import AllowUnsigned, Json, examples
from edgeq.cli._output import print_json

EPILOG = examples("edgeq verify ./my-package", "edgeq verify ./my-package --allow-unsigned --json")


def command(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A package folder.")],
    allow_unsigned: AllowUnsigned = False,
    json: Json = False,
) -> None:
    """Check a package folder: signature, sha256 and size of every file, and that its weights can be read."""
    from edgeq.package import verify_package

    package = verify_package(folder, allow_unsigned=allow_unsigned)
    tensors = package.tensors()
    manifest = package.manifest
    if json:
        print_json(
            {
                "ok": True,
                "name": manifest.name,
                "version": manifest.version,
                "signed_by": package.signed_by,
                "files": len(manifest.files),
                "tensors": len(tensors),
                "sha256": manifest.sha256,
            }
        )
    else:
        who = f"signed by {package.signed_by}" if package.signed_by else "NOT signed by a trusted key"
        print(f"{manifest.name} version {manifest.version}: {len(manifest.files)} files, {who}")
