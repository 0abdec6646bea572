"""`edgeq export`: stored runs for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeq.cli._options import examples
from edgeq.cli._output import remark

EPILOG = examples(
    "edgeq export all -o runs.csv",
    "edgeq export last:10 -o runs.parquet",
    "edgeq export 17 --format mlperf -o tiny.json",
)


def command(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help='Run numbers, "last", "last:N", or "all".')],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Its ending says the format.")],
    form: Annotated[
        str | None,
        typer.Option("--format", help="json, csv, parquet, mlperf, or model-index (metadata of a Hub card)."),
    ] = None,
    samples: Annotated[bool, typer.Option("--samples", help="Raw timings too (json).")] = False,
) -> None:
    """Write runs of the results store as JSON, CSV, Parquet, MLPerf-Tiny-style results or metadata of a Hub card."""
    from edgeq.bench import export
    from edgeq.results import Store

    with Store.open(readonly=True) as store:
        chosen = store.run_ids() if runs == ["all"] else store.named(runs)
        count = export.write(store, chosen, form or output.suffix[1:], output, samples=samples)
    remark(f"wrote {count} record{'s' * (count != 1)} to {output}")
