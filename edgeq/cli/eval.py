"""`edgeq eval`: accuracy of the deployed file."""

from __future__ import annotations

from edgeq.cli._measure import measure
from edgeq.cli._options import (
    DEFAULT_DEVICE,
    DEVICE_TARGET,
    AllowUnsigned,
    Data,
    Delta,
    Device,
    Follow,
    Full,
    Json,
    Limit,
    Model,
    Target,
    examples,
)

EPILOG = examples(
    "edgeq eval pokebnn-fashion --limit 100",
    "edgeq eval pokebnn-fashion -d local --full --json",
    "edgeq eval ./my-package --data my-pictures.npz",
)


def command(
    model: Model,
    device: Device = DEFAULT_DEVICE,
    target: Target = DEVICE_TARGET,
    full: Full = False,
    data: Data = None,
    limit: Limit = None,
    delta: Delta = None,
    allow_unsigned: AllowUnsigned = False,
    json: Json = False,
    follow: Follow = False,
) -> None:
    """Run pictures with known labels through the deployed file on the device and count the right answers."""
    options = {"full": full, "data": data, "limit": limit, "delta": delta}
    measure("eval", model, device, target, options, allow_unsigned=allow_unsigned, json=json, follow=follow)
