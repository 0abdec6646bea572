"""From trained latents to a package: pack the weights, describe the network, write and sign the folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeq import models
from edgeq._errors import FormatError
from edgeq._weights import write_tensors
from edgeq.card import Card, render
from edgeq.package import CARD, CONFIG, WEIGHTS, Manifest, Metric, write_package
from edgeq.train import Trained

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

LICENCE = "Apache-2.0"
FAMILY = "pokebnn"  # the one that edgeq.train knows
PICTURES = {"fashion-mnist": (28, 28)}  # height, width of a data set's pictures
LABELS = {
    "fashion-mnist": [
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ]
}


def packed_files(trained: Trained) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The configuration, and `config.json` and `model.safetensors` of a package.

    raises  FormatError when the network was not trained to the end, or is a float twin
    """
    if not trained.result.get("quantised"):
        raise FormatError(f"{trained.recipe.name}: a float twin has no low-bit weights to package")
    shape, data = trained.recipe.model, trained.recipe.data
    network = models.pack(FAMILY, trained.model)
    config = {
        "model": FAMILY,
        "task": "image-classification",
        "scheme": "binary",
        "network": asdict(shape),
        "input": {"shape": [*PICTURES[data.name], shape.in_channels], "dtype": "float32"},
        "preprocessing": {"layout": "NHWC", "scale": 1 / 255, "mean": [data.mean], "std": [data.deviation]},
        "dataset": data.name,
        "labels": LABELS[data.name],
        "targets": ["executorch"],
    }
    tensors = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    files = {CONFIG: json.dumps(config, indent=1).encode(), WEIGHTS: write_tensors(tensors)}
    return config, files


def release(
    trained: Trained,
    folder: Path,
    *,
    version: int,
    key: Ed25519PrivateKey | None,
    metrics: Sequence[Metric] = (),
    card: Card | None = None,
    extra: Mapping[str, bytes] | None = None,
) -> Manifest:
    """Write a package folder from a finished training run.

    key      None leaves it unsigned
    metrics  what the card and the manifest tell; default: the accuracies that the training printed
    extra    further files, such as an evaluation split
    """
    config, files = packed_files(trained)
    name = trained.recipe.name
    metrics = metrics or training_metrics(trained)
    about = card or Card(name, LICENCE, f"{FAMILY} trained on {trained.recipe.data.name} with EdgeQ.")
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
