"""What a model computes, in products and bits: neither energy nor time, and never joules.

    ACE = sum over multiply-accumulates of weight bits x activation bits       (PokeBNN, arXiv 2112.00133)

It is free of everything that is no product: normalisation, activations, residuals, pooling. In low-bit networks those
can dominate (PikeLPN, arXiv 2404.00103), so their elements are counted beside it. kind `estimated`, scope `model`,
unit ACE.

The table below is that of an ideal 45 nm, 0.9 V datapath (M. Horowitz, ISSCC 2014), picojoules per operation. It has no
instruction fetch, no control and no memory but what is asked for, and is wrong by a factor of thousands for a
microcontroller or a phone: it is for comparing designs of accelerators, and no verb uses it.
"""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgeq._errors import EnergyError, FormatError, UnsupportedError, UsageError
from edgeq.bench.energy._types import EnergyProvider

UNIT = "ACE"
DATAPATH = "ideal 45 nm datapath"
PICOJOULES = {
    "int8 add": 0.03,
    "int32 add": 0.1,
    "fp16 add": 0.4,
    "fp32 add": 0.9,
    "int8 multiply": 0.2,
    "int32 multiply": 3.1,
    "fp16 multiply": 1.1,
    "fp32 multiply": 3.7,
    "SRAM read 64 bit, 8 KB": 10.0,
    "SRAM read 64 bit, 32 KB": 20.0,
    "SRAM read 64 bit, 1 MB": 100.0,
}


@dataclass(frozen=True)
class Counts:
    """Of one input.

    ace          sum of products times bits
    elementwise  elements that pass through layers without products, by the layer's name; all of them float32
    """

    ace: int
    elementwise: Mapping[str, int]


def of_config(config: Mapping[str, Any]) -> Counts:
    """What the network of a package's `config.json` computes for one picture.

    raises  UnsupportedError for a family whose file has no `ace`, FormatError for an input that is no picture
    """
    import torch
    from torch import nn

    from edgeq.models import FAMILIES, configuration

    family = str(config.get("model"))
    module = importlib.import_module(f"edgeq.models.{family}") if family in FAMILIES else None
    if module is None or not hasattr(module, "ace"):
        raise UnsupportedError(f"no count of products for models of the family {family}")
    shape = (config.get("input") or {}).get("shape")
    if not isinstance(shape, list) or len(shape) != 3:
        raise FormatError(f"config.json: products are counted for pictures (height, width, channels), not {shape}")
    network = configuration(family, config["network"])
    elements: Counter[str] = Counter()

    def see(layer: nn.Module, _inputs: object, output: object) -> None:
        if isinstance(output, torch.Tensor) and not any(p.ndim > 1 for p in layer.parameters(recurse=False)):
            elements[type(layer).__name__] += output.numel()

    with torch.no_grad():
        model = module.build(network).eval()
        for layer in model.modules():
            if not list(layer.children()):
                layer.register_forward_hook(see)
        model(torch.zeros(1, *shape))
    return Counts(int(module.ace(network, shape[0], shape[1]).ace), dict(elements))


def datapath_joules(operations: Mapping[str, int]) -> float:
    """Joules of so many operations (names of PICOJOULES) in an ideal 45 nm datapath: say so wherever you write it.

    raises  UsageError for an operation that the table does not have: exclusive or and population count are not in it
    """
    unknown = operations.keys() - PICOJOULES.keys()
    if unknown:
        raise UsageError(f"{DATAPATH}: no energy for {', '.join(sorted(unknown))}; there are: {', '.join(PICOJOULES)}")
    return sum(PICOJOULES[name] * count for name, count in operations.items()) * 1e-12


def provider() -> EnergyProvider:
    """There is nothing to start or stop, and there are no joules."""
    raise EnergyError("ace: counts products times bits, which are no joules; use --energy estimate")
