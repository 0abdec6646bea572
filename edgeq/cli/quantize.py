"""`edgeq quantize`: a float network to INT4, without training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from edgeq._errors import UsageError
from edgeq.cli._options import Json, Key, Licence, PackageName, examples
from edgeq.cli._output import Progress, print_json, print_table, size

EPILOG = examples(
    "edgeq quantize sentence-transformers/all-MiniLM-L6-v2 -o my-minilm --calibration sentences.txt",
    "edgeq quantize ./encoder -o my-encoder --grid q4_0",
    "edgeq quantize my_net.py:build -o net.pte --calibration inputs.npz --group 64",
)


def command(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A BERT encoder's folder, OWNER/NAME on the Hub, or FILE.py:FUNCTION that returns a torch module.",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Package folder; for a module of yours a .pte file.")],
    scheme: Annotated[str, typer.Option("--scheme", help="int4; int3 and int2 need --below-4-bits.")] = "int4",
    calibration: Annotated[
        Path | None,
        typer.Option(
            "--calibration",
            help="Sentences, one a line (default: 500 film reviews); for a module an .npz, one array per argument.",
        ),
    ] = None,
    judge: Annotated[
        Path | None,
        typer.Option("--judge", help="Sentences to judge the result on; default: a fifth of the calibration's."),
    ] = None,
    grid: Annotated[str, typer.Option("--grid", help="asymmetric, symmetric or q4_0.")] = "asymmetric",
    group: Annotated[int, typer.Option("--group", min=1, help="Inputs that share a scale.")] = 32,
    tokens: Annotated[int | None, typer.Option("--tokens", min=2, help="Longest text; default 64.")] = None,
    below_4_bits: Annotated[
        bool, typer.Option("--below-4-bits", help="Do it although it loses most of what the network knows.")
    ] = False,
    name: PackageName = None,
    licence: Licence = "Apache-2.0",
    key: Key = None,
    json: Json = False,
) -> None:
    """Quantise the linear layers of a float network to INT4 with error correction (GPTQ)."""
    from edgeq import _own_code, own_module, ptq

    options: dict[str, Any] = {"scheme": scheme, "grid": grid, "group": group, "below_4_bits": below_4_bits}
    ptq.check(**options)
    if _own_code.is_function(source):
        if calibration is None:
            raise UsageError("--calibration: an .npz with inputs of the network is needed")
        with Progress() as progress:

            def tell(layer: str, done: int, steps: int) -> None:
                progress(f"quantising {layer}", done, steps)

            made = own_module.quantise(source, calibration, output, progress=progress, tell=tell, **options)
        if json:
            print_json({"path": str(made.path), "size_bytes": made.size_bytes, "artefact_sha256": made.sha256})
        else:
            print(f"{made.path}  {size(made.size_bytes)}  sha256 {made.sha256}")
        return
    from edgeq import adopt, foreign, keys
    from edgeq import package as packages

    signer = keys.load_named(key)
    packages.check_new(output)

    from edgeq import sentences  # takes seconds, so the arguments come first

    texts = sentences.read_sentences(calibration or sentences.SAMPLE)
    others = sentences.read_sentences(judge) if judge else ()
    with Progress() as progress:

        def tell(layer: str, done: int, steps: int) -> None:
            progress(f"quantising {layer}", done, steps)

        folder = foreign.find(source, progress=progress)
        done = sentences.quantised(folder, texts, others=others, tokens=tokens, progress=tell, **options)
        progress("comparing with the float network")
        manifest, found = adopt.encoder(
            done, output, name=name or output.name, licence=licence, origin=source, checkpoint=folder, key=signer
        )
    if json:
        print_json(
            {
                "path": str(output),
                "name": manifest.name,
                "sentences": len(done.held_out),
                "mean_cosine": found.mean_cosine,
                "p5_cosine": found.p5_cosine,
                "neighbours_kept": found.kept,
                "clear_cases": found.clear,
            }
        )
        return
    held = f"{len(done.held_out)} sentences that the calibration did not see"
    print_table(
        [
            ("mean cosine", f"{found.mean_cosine:.4f}", f"to the float network, {held}"),
            ("5th percentile", f"{found.p5_cosine:.4f}", ""),
            (
                "nearest kept",
                f"{found.kept} of {found.clear}",
                "cases where the nearest sentence leads by more than 0.02",
            ),
            ("package", str(output), "signed" if signer else "NOT SIGNED: edgeq deploy --allow-unsigned"),
        ],
        title=manifest.name,
    )
