"""From trained latents to a package: pack the weights, describe the network, write and sign the folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from edgeq import models
from edgeq._errors import CompileError, FormatError, UnsupportedError
from edgeq._weights import write_tensors
from edgeq.about import describe
from edgeq.card import Card, render
from edgeq.compile import micro
from edgeq.package import CARD, CONFIG, WEIGHTS, Manifest, Metric, write_package
from edgeq.train import Trained, tasks
from edgeq.train.recipe import Recipe
from edgeq.train.task import Classification

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

LICENCE = "Apache-2.0"
CALIBRATION_ITEMS = 512  # of the validation part, for activation steps that are found when packing


def packed_files(trained: Trained, samples: Tensor | None = None) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The configuration, and `config.json` and `model.safetensors` of a package.

    samples  inputs (n, ...) to calibrate with; None takes some of the recipe's data, where they are needed
    raises   FormatError when the network was not trained to the end, or is a float twin
    """
    recipe = trained.recipe
    network, samples = pack(trained, samples)
    config = {
        "model": recipe.family,
        "scheme": models.scheme(recipe.family, recipe.model),
        "network": asdict(recipe.model),
        **describe(trained, network),
    }
    config["targets"] = targets(config, network)
    if samples is not None:
        config["calibration"] = {"dataset": recipe.data.name, "split": "validation", "items": len(samples)}
    tensors = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    files = {CONFIG: json.dumps(config, indent=1).encode(), WEIGHTS: write_tensors(tensors)}
    return config, files


def targets(config: Mapping[str, Any], network: nn.Module) -> list[str]:
    """What a packed network compiles for: "executorch", "micro" where it keeps to the micro profile, "litert" where
    that is installed and can express it."""
    methods = models.methods(config, network)
    found = ["executorch"]
    if list(methods) == ["forward"]:
        with suppress(CompileError):
            micro.lower(*methods["forward"])
            found.append("micro")
    with suppress(CompileError, UnsupportedError):
        from edgeq.compile import litert

        litert.lower(methods, {})
        found.append("litert")
    return found


def pack(trained: Trained, samples: Tensor | None = None) -> tuple[nn.Module, Tensor | None]:
    """The packed network, and the samples that it was calibrated with; arguments and errors as `packed_files`."""
    recipe = trained.recipe
    if not trained.result.get("quantised"):
        raise FormatError(f"{recipe.name}: a float twin has no low-bit weights to package")
    if samples is None and models.needs_samples(recipe.family, trained.model):
        samples = calibration_items(recipe)
    return models.pack(recipe.family, trained.model, samples), samples


def calibration_items(recipe: Recipe) -> Tensor:
    """The first items of the recipe's validation part, as the network takes them.

    raises  UnsupportedError for data without such a part, and what loading the data raises
    """
    task = tasks.module(recipe.data.name).make(recipe)
    if not isinstance(task, Classification):
        raise UnsupportedError(f"{recipe.data.name}: has no plain items to calibrate with")
    return task.plain(task.validation[0][:CALIBRATION_ITEMS])


def release(
    trained: Trained,
    folder: Path,
    *,
    version: int,
    key: Ed25519PrivateKey | None,
    metrics: Sequence[Metric] = (),
    card: Card | None = None,
    extra: Mapping[str, bytes] | None = None,
    samples: Tensor | None = None,
) -> Manifest:
    """Write a package folder from a finished training run.

    key      None leaves it unsigned
    metrics  what the card and the manifest tell; default: the accuracies that the training printed
    extra    further files, such as an evaluation split
    samples  to calibrate with, see `packed_files`
    """
    config, files = packed_files(trained, samples)
    name = trained.recipe.name
    metrics = metrics or training_metrics(trained)
    about = card or Card(name, LICENCE, f"{trained.recipe.family} trained on {trained.recipe.data.name} with EdgeQ.")
    files = {**files, CARD: render(about, config, metrics).encode(), **(extra or {})}
    return write_package(
        folder, files=files, name=name, version=version, licence=about.licence, metrics=metrics, key=key
    )


def training_metrics(trained: Trained) -> list[Metric]:
    """Accuracies of the training run itself, in eager PyTorch on the latents."""
    found: list[Metric] = []
    for split in ("test", "validation"):
        value = trained.result.get(f"{split}_accuracy")
        if isinstance(value, float):
            label = {"dataset": trained.recipe.data.name, "split": split, "device": "training host, eager"}
            found.append({"name": "accuracy", "value": 100 * value, "unit": "%", "source": "measured", **label})
    return found
