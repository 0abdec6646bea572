"""EdgeQ: run, measure and teach 1- to 4-bit neural networks on the devices people hold and solder.

    model = edgeq.load("pokebnn-fashion")            verified, packed, an ordinary torch module
    artefact = edgeq.build("pokebnn-fashion")        compiled for ExecuTorch, cached
    with edgeq.connect("local") as device:
        net = device.deploy(artefact.path)
        logits = net.run((pictures,))

Names are imported when they are first used, so `import edgeq` stays light.
"""

import importlib
from typing import TYPE_CHECKING

from edgeq._errors import (
    CompileError,
    DeviceError,
    EdgeQError,
    EnergyError,
    FinetuneError,
    FormatError,
    HubError,
    IntegrityError,
    NoReplyError,
    NoRoomError,
    NotFoundError,
    PackageError,
    RefusedError,
    StoreError,
    UnsupportedError,
    UsageError,
)

if TYPE_CHECKING:
    from edgeq.device import connect
    from edgeq.hub import pull, push
    from edgeq.package import verify_package
    from edgeq.ptq import quantize
    from edgeq.zoo import build, load

_LAZY = {
    "build": "edgeq.zoo",
    "connect": "edgeq.device",
    "load": "edgeq.zoo",
    "pull": "edgeq.hub",
    "push": "edgeq.hub",
    "quantize": "edgeq.ptq",
    "verify_package": "edgeq.package",
}

__all__ = [
    "CompileError",
    "DeviceError",
    "EdgeQError",
    "EnergyError",
    "FinetuneError",
    "FormatError",
    "HubError",
    "IntegrityError",
    "NoReplyError",
    "NoRoomError",
    "NotFoundError",
    "PackageError",
    "RefusedError",
    "StoreError",
    "UnsupportedError",
    "UsageError",
    "build",
    "connect",
    "load",
    "pull",
    "push",
    "quantize",
    "verify_package",
]


def __getattr__(name: str) -> object:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'edgeq' has no attribute {name!r}")
