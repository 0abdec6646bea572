"""`edgeq bench`: time a model on a device."""

from __future__ import annotations

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

EPILOG = examples("edgeq bench pokebnn-fashion", "edgeq bench pokebnn-fashion -d local -n 1000 --json")


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
) -> None:
    """Measure latency, memory and energy of a model on a device; every raw timing is kept."""
    options = {"warmup": warmup, "runs": runs, "energy": energy, "max_temp_c": max_temp, "delta": delta}
    measure("bench", model, device, target, options, allow_unsigned=allow_unsigned, json=json, follow=follow)
