"""Trained weights on disk: one safetensors file with the state of the network and, as metadata, its recipe."""

import hashlib
import importlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from edgeq._errors import FormatError, NotFoundError
from edgeq.train.recipe import Recipe, recipe_from


@dataclass(frozen=True)
class Trained:
    """A finished training run: the network in evaluation mode, its recipe, and the run's own figures."""

    model: nn.Module
    recipe: Recipe
    result: Mapping[str, Any]


def save_trained(path: Path, model: nn.Module, recipe: Recipe, result: Mapping[str, object]) -> None:
    """Write the latents, statistics and bounds of a network, beside `path` first."""
    metadata = {"recipe": json.dumps(recipe.as_dict()), "result": json.dumps(dict(result)), "torch": torch.__version__}
    partial = path.with_name(path.name + ".part")
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, partial, metadata)
    os.replace(partial, path)


def load_trained(path: Path) -> Trained:
    """What `save_trained` wrote.

    raises  NotFoundError, or FormatError naming the metadata or tensor that is wrong
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.offset_keys()}
    except FileNotFoundError:
        raise NotFoundError(f"{path}: no such file; edgeq train writes it") from None
    except (SafetensorError, OSError) as error:
        raise FormatError(f"{path}: not a safetensors file: {error}") from error
    try:
        document, result = json.loads(metadata["recipe"]), json.loads(metadata["result"])
        document["model"].setdefault("family", "pokebnn")  # the only one of the first releases
        quantised = bool(result["quantised"])
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise FormatError(f"{path}: no metadata of a training run: {error}") from error
    recipe = recipe_from(document, str(path))
    model: nn.Module = importlib.import_module(f"edgeq.models.{recipe.family}").build(recipe.model, quantised=quantised)
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise FormatError(f"{path}: {name} holds numbers that are not finite")
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise FormatError(f"{path}: tensors do not fit the recipe: {' '.join(str(error).split())[:300]}") from error
    return Trained(model.eval(), recipe, result)


def digest(model: nn.Module) -> str:
    """SHA-256 over the state of a network: names and bytes."""
    found = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        found.update(name.encode() + b"\0" + tensor.numpy().tobytes())
    return found.hexdigest()
