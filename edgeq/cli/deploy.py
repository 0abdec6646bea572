"""`edgeq deploy`: the whole way, ending in a table."""

from __future__ import annotations

from edgeq.cli._measure import measure
from edgeq.cli._options import (
    DEFAULT_DEVICE,
    DEFAULT_RUNS,
    DEFAULT_WARMUP,
    DEVICE_TARGET,
    AllowUnsigned,
    Data,
    Delta,
    Device,
    Energy,
    Follow,
    Full,
    Json,
    Limit,
    MaxTemp,
    Model,
    Runs,
    Target,
    Warmup,
    examples,
)

EPILOG = examples("edgeq deploy pokebnn-fashion", "edgeq deploy ./my-package -d local --full --json")


def command(
    model: Model,
    device: Device = DEFAULT_DEVICE,
    target: Target = DEVICE_TARGET,
    warmup: Warmup = DEFAULT_WARMUP,
    runs: Runs = DEFAULT_RUNS,
    energy: Energy = "auto",
    max_temp: MaxTemp = None,
    full: Full = False,
    data: Data = None,
    limit: Limit = None,
    delta: Delta = None,
    allow_unsigned: AllowUnsigned = False,
    json: Json = False,
    follow: Follow = False,
) -> None:
    """Pull, verify, compile, put on the device, and measure: accuracy, latency, memory, size, energy."""
    options = {
        "delta": delta,
        "warmup": warmup,
        "runs": runs,
        "energy": energy,
        "max_temp_c": max_temp,
        "full": full,
        "data": data,
        "limit": limit,
    }
    measure("deploy", model, device, target, options, allow_unsigned=allow_unsigned, json=json, follow=follow)
