"""`edgeq report`: runs as one self-contained page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeq.cli._options import examples
from edgeq.cli._output import remark

EPILOG = examples("edgeq report last --html run.html", "edgeq report 17 18 --md runs.md", "edgeq report last:5")


def command(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help='Run numbers, "last", or "last:N".')],
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="A page with drawings.")] = None,
    md: Annotated[Path | None, typer.Option("--md", metavar="FILE", help="Markdown.")] = None,
) -> None:
    """Write runs with every figure, its source, timings, operators, conditions and origin; Markdown on stdout if no
    file is named. Nothing on the page is loaded from elsewhere."""
    from edgeq.dashboard import report

    with report.open_store() as store:
        chosen = store.named(runs)
        if html is not None:
            html.write_text(report.html(store, chosen), encoding="utf-8")
            remark(f"wrote {html}")
        if md is not None:
            md.write_text(report.markdown(store, chosen), encoding="utf-8")
            remark(f"wrote {md}")
        if html is None and md is None:
            print(report.markdown(store, chosen), end="")
