"""Networks: one paper, one file.

Each file has a configuration dataclass, `build(config)` (train face), and `packed(config)` (deploy face, weights to be
loaded). A package's `config.json` names the file under "model" and holds the configuration under "network".
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from edgeq._errors import FormatError, UnsupportedError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

FAMILIES = ("bibert", "bit", "bivit", "denseshift", "minilm", "pokebnn", "ternary_bart")
MOST_TOKENS = 4096


def from_package(config: Mapping[str, Any], tensors: Mapping[str, np.ndarray[Any, Any]]) -> nn.Module:
    """The packed network that a package describes, in eval mode.

    config   content of `config.json`
    tensors  content of `model.safetensors`
    raises   UnsupportedError for a family this EdgeQ does not know, FormatError when tensors and network do not fit
    """
    import torch

    family = config.get("model")
    if family not in FAMILIES:
        raise UnsupportedError(f'config.json: model "{family}" is not known; this EdgeQ has: {", ".join(FAMILIES)}')
    module = importlib.import_module(f"edgeq.models.{family}")
    network = config.get("network")
    if not isinstance(network, dict):
        raise FormatError('config.json: "network" must be an object with the configuration of the model')
    with torch.device("meta"):  # nothing is allocated before the sizes have been compared
        model: nn.Module = module.packed(configuration(family, network))
    expected = model.state_dict()
    for name in sorted(expected.keys() | tensors.keys()):
        have, want = tensors.get(name), expected.get(name)
        if have is None or want is None:
            raise FormatError(f'model.safetensors: tensor "{name}" is {"missing" if have is None else "not expected"}')
        if tuple(have.shape) != tuple(want.shape) or str(have.dtype) != str(want.dtype).removeprefix("torch."):
            raise FormatError(
                f'model.safetensors: tensor "{name}" is {have.dtype} {tuple(have.shape)}, '
                f"the network needs {str(want.dtype).removeprefix('torch.')} {tuple(want.shape)}"
            )
    model.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in tensors.items()}, assign=True)
    return model.eval()


def pack(family: str, trained: nn.Module, samples: Tensor | None = None) -> nn.Module:
    """The packed form of a trained network.

    samples  inputs (n, ...) that it was trained on, for families that find activation steps when they are packed
    raises   FormatError when an input was never calibrated, UsageError when samples are needed and not given
    """
    from edgeq.nn.input_quantiser import InputQuantiser

    for name, layer in trained.named_modules():
        if isinstance(layer, InputQuantiser) and not layer.is_set:
            raise FormatError(f"{name}: its bounds were never set; train past the recipe's bounds_epoch")
    module = importlib.import_module(f"edgeq.models.{family}")
    packed: nn.Module = module.pack(trained) if samples is None else module.pack(trained, samples)
    return packed


def needs_samples(family: str, trained: nn.Module) -> bool:
    """Must `pack` be given samples?"""
    ask = getattr(importlib.import_module(f"edgeq.models.{family}"), "needs_samples", None)
    return ask is not None and bool(ask(trained))


def scheme(family: str, network: Any) -> str:
    """What a package calls the number formats of a network, from its configuration: weights, then activations."""
    name: str = importlib.import_module(f"edgeq.models.{family}").scheme(network)
    return name


def example_inputs(config: Mapping[str, Any]) -> tuple[Tensor, ...]:
    """What a package's network takes, batch 1 in front, from `config["input"]`.

    "shape"   zeros of this shape
    "tokens"  that many ids and their mask, int64, all tokens real
    """
    import torch

    given = config.get("input")
    tokens = given.get("tokens") if isinstance(given, dict) else None
    if isinstance(tokens, int) and not isinstance(tokens, bool) and 0 < tokens <= MOST_TOKENS:
        return torch.zeros(1, tokens, dtype=torch.int64), torch.ones(1, tokens, dtype=torch.int64)
    shape = given.get("shape") if isinstance(given, dict) else None
    if not isinstance(shape, list) or not all(isinstance(n, int) and 0 < n <= 4096 for n in shape):
        raise FormatError(
            'config.json: "input" must hold "shape", a list of positive sizes without the batch, or "tokens"'
        )
    return (torch.zeros(1, *shape),)


def methods(config: Mapping[str, Any], model: nn.Module) -> dict[str, tuple[nn.Module, tuple[Tensor, ...]]]:
    """What a package's program offers: name -> the module that runs, and inputs of its shapes. Mostly `forward` alone.

    raises  FormatError when "input" does not say the shapes
    """
    family = importlib.import_module(f"edgeq.models.{config['model']}")
    if hasattr(family, "methods"):
        given = config.get("input")
        found: dict[str, tuple[nn.Module, tuple[Tensor, ...]]] = family.methods(
            model, given if isinstance(given, dict) else {}
        )
        return found
    return {"forward": (model, example_inputs(config))}


def configuration(family: str, network: Mapping[str, Any]) -> Any:
    """The family's configuration dataclass from its JSON form. Raises FormatError for other fields, UsageError."""
    kind = importlib.import_module(f"edgeq.models.{family}").Config
    try:
        return kind(**{name: tuple(v) if isinstance(v, list) else v for name, v in network.items()})
    except TypeError as error:
        raise FormatError(f'config.json: "network" does not describe a {kind.__name__}: {error}') from error
