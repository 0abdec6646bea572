"""`edgeq import`: somebody else's low-bit checkpoint to a package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeq.cli._options import Json, Key, Licence, PackageName, examples
from edgeq.cli._output import Progress, print_json, remark

EPILOG = examples(
    "edgeq import ./bit-sst2-checkpoint -o my-bit --licence CC-BY-NC-4.0",
    "edgeq import OWNER/NAME-GPTQ -o my-encoder",
    "edgeq import encoder-Q4_0.gguf -o my-encoder",
    "edgeq import resnet8.pt -o my-net --describe config.json",
)


def command(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="A checkpoint's folder or file, or OWNER/NAME on the Hub.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The package folder; new or empty.")],
    tokens: Annotated[int | None, typer.Option("--tokens", min=2, help="Longest text of a text network.")] = None,
    describe: Annotated[
        Path | None,
        typer.Option(
            "--describe", help="A JSON object with what the file does not say: task, input, preprocessing, labels."
        ),
    ] = None,
    name: PackageName = None,
    licence: Licence = "other",
    key: Key = None,
    json: Json = False,
) -> None:
    """Convert a checkpoint: BiBERT, BiT, ternary BART, DenseShift; BERT encoders as GGUF, GPTQ, AWQ and others."""
    from edgeq import foreign, keys
    from edgeq import package as packages

    signer = keys.load_named(key)
    packages.check_new(output)

    from edgeq import adopt  # takes seconds, so the arguments come first
    from edgeq.importers import recognise

    with Progress() as progress:
        path = foreign.find(source, progress=progress)
        progress("reading")
        found = recognise.read(path, tokens=tokens)
        progress("packing")
        manifest = adopt.imported(
            found,
            path,
            output,
            name=name or output.name,
            licence=licence,
            described=describe,
            tokens=tokens,
            key=signer,
        )
    for text in found.remarks:
        remark(text)
    if json:
        files = {file: entry.size for file, entry in manifest.files.items()}
        document = {"path": str(output), "name": manifest.name, "model": found.family, "files": files}
        print_json({**document, "remarks": list(found.remarks)})
    else:
        print(f"{manifest.name}: {found.family}, {output} ({'signed' if signer else 'NOT SIGNED'})")
