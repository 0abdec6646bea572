"""`edgeq bench`: time a model on a device; `edgeq bench kernels`: which kernels a machine takes."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict, fields
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
    "edgeq bench pokebnn-fashion",
    "edgeq bench pokebnn-fashion -d local -n 1000 --json",
    "edgeq bench kernels --tune",
    "edgeq bench kernels --tune -d ssh:board",
)
KERNELS = "kernels"  # instead of a model
Tune = Annotated[
    bool,
    typer.Option("--tune", help="With `kernels`: measure which kernels are fastest there, and use them from now on."),
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

    MODEL `kernels`: show which kernels the machine takes for which shapes; --tune finds the fastest.
    """
    if model == KERNELS:
        _kernels(device, tune=tune, json=json)
        return
    if tune:
        raise UsageError("--tune is for kernels, not for models: edgeq bench kernels --tune")
    options = {"warmup": warmup, "runs": runs, "energy": energy, "max_temp_c": max_temp, "delta": delta}
    measure("bench", model, device, target, options, allow_unsigned=allow_unsigned, json=json, follow=follow)


def _kernels(url: str, *, tune: bool, json: bool) -> None:
    from edgeq import device
    from edgeq.bench import kernels
    from edgeq.cli._output import print_json, print_table, remark

    with closing(device.open_program(url, remark)) as program:
        if tune:
            remark(f"stored in {kernels.tune(program, remark)}")
        found = [asdict(choice) for choice in kernels.table(program)]
    if json:
        print_json(found)
    else:
        head = [field.name.replace("_", " ") for field in fields(kernels.Choice)]
        print_table([tuple(map(str, each.values())) for each in found], head=head, title=f"kernels of {url}")
