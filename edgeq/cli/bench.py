"""`edgeq bench`: time a model on a device; `edgeq bench kernels`: which kernels this machine takes."""

from __future__ import annotations

from typing import Annotated

import typer

from edgeq._errors import UsageError
from edgeq.cli._measure import measure
from edgeq.cli._options import (
    DEFAULT_DEVICE,
    DEFAULT_RUNS,
    DEFAULT_WARMUP,
    DEVICE_TARGET,
    AllowUnsigned,
    Delta,
    Device,
    Energy,
    Follow,
    Json,
    MaxTemp,
    Model,
    Runs,
    Target,
    Warmup,
    examples,
)

EPILOG = examples(
    "edgeq bench pokebnn-fashion", "edgeq bench pokebnn-fashion -d local -n 1000 --json", "edgeq bench kernels --tune"
)
KERNELS = "kernels"  # instead of a model
Tune = Annotated[
    bool,
    typer.Option("--tune", help="With `kernels`: measure which kernels are fastest here, and use them from now on."),
]


def command(
    model: Model,
    device: Device = DEFAULT_DEVICE,
    target: Target = DEVICE_TARGET,
    warmup: Warmup = DEFAULT_WARMUP,
    runs: Runs = DEFAULT_RUNS,
    energy: Energy = "auto",
    max_temp: MaxTemp = None,
    delta: Delta = None,
    allow_unsigned: AllowUnsigned = False,
    json: Json = False,
    follow: Follow = False,
    tune: Tune = False,
) -> None:
    """Measure latency, memory and energy of a model on a device; every raw timing is kept.

    MODEL `kernels`: show which kernels this machine takes for which shapes; --tune finds the fastest.
    """
    if model == KERNELS:
        _kernels(device, tune=tune, json=json)
        return
    if tune:
        raise UsageError("--tune is for kernels, not for models: edgeq bench kernels --tune")
    options = {"warmup": warmup, "runs": runs, "energy": energy, "max_temp_c": max_temp, "delta": delta}
    measure("bench", model, device, target, options, allow_unsigned=allow_unsigned, json=json, follow=follow)


def _kernels(device: str, *, tune: bool, json: bool) -> None:
    from edgeq.bench import kernels
    from edgeq.cli._output import print_json, print_table, remark

    if device != "local":
        raise UsageError("edgeq bench kernels runs where it is called: call it on the device itself, without --device")
    if tune:
        remark(f"stored in {kernels.tune(remark)}")
    rows = kernels.table()
    head = ("isa", "choice", "value", "built in", "least", "most")
    if json:
        print_json([dict(zip(head, row, strict=True)) for row in rows])
    else:
        print_table([tuple(map(str, row)) for row in rows], head=head, title="kernels of this machine")
