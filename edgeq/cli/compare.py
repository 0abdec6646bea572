"""`edgeq compare`: is B slower than A, or is it chance?"""

from __future__ import annotations

from typing import Annotated

import typer

from edgeq.cli._options import DEFAULT_DEVICE, AllowUnsigned, Device, Json, examples
from edgeq.cli._output import Progress, print_json, print_table, remark

EPILOG = examples(
    "edgeq compare bit-sst2 bibert-sst2", "edgeq compare 17 18", "edgeq compare net.pte net.tflite -d local"
)
_HELP = "Run number, FILE.json with samples_ns, FILE.pte or FILE.tflite, or a model as in bench."
Side = Annotated[str, typer.Argument(help=_HELP)]


def command(
    a: Side,
    b: Side,
    device: Device = DEFAULT_DEVICE,
    rounds: Annotated[int, typer.Option("--rounds", min=8, help="Loads of both, for models and programs.")] = 16,
    margin: Annotated[
        float, typer.Option("--margin", min=0, help="Percent below which a difference is not worth a word.")
    ] = 2.0,
    allow_unsigned: AllowUnsigned = False,
    json: Json = False,
) -> None:
    """Compare two stored runs by their samples, or two models by running them in turn, and say what is significant."""
    from edgeq.bench import compare

    with Progress() as progress:
        found = compare.compare(
            a, b, device, rounds=rounds, margin=margin / 100, allow_unsigned=allow_unsigned, progress=progress
        )
    for warning in found.warnings:
        remark(f"warning: {warning}")
    if json:
        print_json(found.as_json())
        return
    print_table([(r.metric, r.a, r.b, r.verdict) for r in found.rows], head=("figure", "A", "B", "B beside A"))
    print(f"A: {found.a}\nB: {found.b}\nmethod: {found.method}\nverdict: {found.line}")
