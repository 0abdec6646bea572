"""`edgeq profile`: where the time goes."""

from __future__ import annotations

from typing import Annotated

import typer

from edgeq.cli._options import DEFAULT_DEVICE, DEVICE_TARGET, AllowUnsigned, Device, Json, Model, Target, examples
from edgeq.cli._output import Progress, print_json, print_table, remark

EPILOG = examples("edgeq profile pokebnn-fashion", "edgeq profile pokebnn-fashion -d local --layers --json")


def command(
    model: Model,
    device: Device = DEFAULT_DEVICE,
    target: Target = DEVICE_TARGET,
    runs: Annotated[int, typer.Option("--runs", "-n", min=1, help="Traced runs.")] = 20,
    layers: Annotated[bool, typer.Option("--layers", help="Every operator too, in order of execution.")] = False,
    allow_unsigned: AllowUnsigned = False,
    json: Json = False,
) -> None:
    """Trace a model on a device and show the share of time of every kind of operator."""
    from edgeq.bench import profile

    with Progress() as progress:
        found = profile.run(model, device, target=target, runs=runs, allow_unsigned=allow_unsigned, progress=progress)
    report, kinds = found.report, found.kinds
    for warning in report.warnings:
        remark(f"warning: {warning}")
    if json:
        print_json(
            {
                "model": report.model,
                "device": report.device,
                "target": report.target,
                "isa": report.isa,
                "artefact_sha256": report.artefact_sha256,
                "run_id": report.run_id,
                "total_ns": found.total_ns,
                "kinds": [{"op": k.op, "count": k.count, "ns": k.ns, "share": k.share} for k in kinds],
                "layers": [{"name": x.name, "op": x.op, "ns": x.ns} for x in found.layers],
            }
        )
        return
    if layers:
        print_table([(x.name, f"{(x.ns or 0) / 1e3:.1f}") for x in found.layers], head=("operator", "us"))
    title = f"{report.model} on {report.device} ({report.isa}): {found.total_ns / 1e6:.3f} ms under the tracer"
    rows = [(k.op, str(k.count or ""), f"{k.ns / 1e3:.1f}", f"{100 * k.share:.1f} %") for k in kinds]
    print_table(rows, head=("kind of operator", "count", "us", "share"), title=title)
