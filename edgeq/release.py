"""From trained latents to a package: pack the weights, describe the network, write and sign the folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeq import models
from edgeq._errors import FormatError
from edgeq._weights import write_tensors
from edgeq.card import Card, render
from edgeq.package import CARD, CONFIG, WEIGHTS, Manifest, Metric, write_package

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from torch import Tensor

LICENCE = "Apache-2.0"
FAMILY = "pokebnn"  # the one that edgeq.train knows
PICTURES = {"fashion-mnist": (28, 28)}  # height, width of a data set's pictures
LABELS = {
    "fashion-mnist": [
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ]
}


@dataclass(frozen=True)
class Trained:
    """What `edgeq train` left behind: latents (name -> tensor), the recipe, and the run's own figures."""

    recipe: Mapping[str, Any]
    latents: Mapping[str, Tensor]
    result: Mapping[str, Any]

    @property
    def name(self) -> str:
        return str(self.recipe["name"])

    @property
    def dataset(self) -> str:
        return str(self.recipe["data"]["name"])


def read_trained(weights: Path) -> Trained:
    """Read `model.safetensors` of a training folder.

    raises  FormatError when it was not written by `edgeq train`
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(weights, framework="pt") as file:
            about = file.metadata() or {}
            latents = {name: file.get_tensor(name) for name in file.offset_keys()}
        recipe, result = json.loads(about["recipe"]), json.loads(about["result"])
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise FormatError(f"{weights}: not a result of `edgeq train`: {error}") from error
    return Trained(recipe, latents, result)


def packed_files(trained: Trained) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The configuration, and `config.json` and `model.safetensors` of a package.

    raises  FormatError when the network was not trained to the end, or is a float twin
    """
    if not trained.result.get("quantised"):
        raise FormatError(f"{trained.name}: a float twin has no low-bit weights to package")
    shape, data = trained.recipe["model"], trained.recipe["data"]
    dataset = trained.dataset
    network = models.pack(FAMILY, shape, trained.latents)
    config = {
        "model": FAMILY,
        "task": "image-classification",
        "scheme": "binary",
        "network": shape,
        "input": {"shape": [*PICTURES[dataset], shape["in_channels"]], "dtype": "float32"},
        "preprocessing": {"layout": "NHWC", "scale": 1 / 255, "mean": [data["mean"]], "std": [data["deviation"]]},
        "dataset": dataset,
        "labels": LABELS[dataset],
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
    name = trained.name
    metrics = metrics or training_metrics(trained)
    about = card or Card(name, LICENCE, f"{FAMILY} trained on {trained.dataset} with EdgeQ.")
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
            label = {"dataset": trained.dataset, "split": split, "device": "training host, eager"}
            found.append({"name": "accuracy", "value": 100 * value, "unit": "%", "source": "measured", **label})
    return found
