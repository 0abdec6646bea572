"""`edgeq energy`: joules out of what an instrument's own program recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeq.cli._options import Json, examples
from edgeq.cli._output import print_json, print_table

EPILOG = examples(
    "edgeq energy capture.csv --volts 3.3 --marker D0", "edgeq energy capture.csv --inferences 1000 --json"
)


def command(
    capture: Annotated[Path, typer.Argument(metavar="CSV", help="Export of Power Profiler, Otii, Joulescope, ...")],
    volts: Annotated[
        float | None, typer.Option("--volts", help="Of the supply, for a file with current alone.")
    ] = None,
    marker: Annotated[
        str | None, typer.Option("--marker", help="Count only while this column is high, one pulse an inference.")
    ] = None,
    inferences: Annotated[
        int | None, typer.Option("--inferences", min=1, help="In the file, or in its pulses; default: one a pulse.")
    ] = None,
    json: Json = False,
) -> None:
    """Integrate a recorded capture: joules in all, and of one inference, with their uncertainty."""
    from edgeq.bench.energy import _capture

    sample, pulses = _capture.energy(_capture.read(capture, volts=volts), marker, capture.name)
    count = inferences or pulses
    document = {
        "joules": sample.joules,
        "uncertainty_joules": sample.uncertainty,
        "seconds": sample.seconds,
        "average_watts": sample.avg_w,
        "samples": sample.n_samples,
        "pulses": pulses,
        "inferences": count,
        "millijoules_per_inference": None if count is None else 1e3 * sample.joules / count,
        "kind": sample.kind,
        "scope": sample.scope,
        "source": sample.source,
    }
    if json:
        print_json(document)
        return
    print_table([(key.replace("_", " "), "-" if value is None else _text(value)) for key, value in document.items()])


def _text(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
