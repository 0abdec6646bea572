"""Packages of networks that were not trained here: imported, or quantised after training."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from torch import Tensor

from edgeq import _json, models, sentences
from edgeq._errors import UsageError
from edgeq._weights import write_tensors
from edgeq.bench.tasks import similarity
from edgeq.bench.tasks.similarity import Agreement
from edgeq.card import Card, render
from edgeq.data import SPLIT_FILE
from edgeq.importers.recognise import Imported, labels
from edgeq.package import CARD, CONFIG, MAX_CONFIG_BYTES, WEIGHTS, Manifest, Metric, write_package
from edgeq.sentences import Quantised
from edgeq.text import VOCABULARY

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

DEFAULT_TOKENS = 128
NOTES = {
    "How": "GPTQ in groups with input-error and bias correction, layer by layer; activations in 255 steps per token."
}


class Packed(Protocol):
    """A network's deploy face."""

    @property
    def config(self) -> Any: ...
    def state_dict(self) -> Mapping[str, Tensor]: ...


def write(
    network: Packed,
    family: str,
    folder: Path,
    *,
    card: Card,
    about: Mapping[str, Any],
    metrics: Sequence[Metric] = (),
    extra: Mapping[str, bytes] | None = None,
    version: int = 1,
    key: Ed25519PrivateKey | None = None,
) -> Manifest:
    """Write a package folder.

    about  the configuration's entries beside the network: task, input, labels, dataset, ...
    extra  further files, such as a vocabulary or an evaluation split
    key    None leaves it unsigned
    raises PackageError for a folder that is not empty
    """
    config = {
        "model": family,
        "scheme": models.scheme(family, network.config),
        "network": asdict(network.config),
        **about,
        "targets": ["executorch"],
    }
    tensors = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    files = {
        CONFIG: json.dumps(config, indent=1).encode(),
        WEIGHTS: write_tensors(tensors),
        CARD: render(card, config, metrics).encode(),
        **(extra or {}),
    }
    return write_package(
        folder, files=files, name=card.name, version=version, licence=card.licence, metrics=metrics, key=key
    )


def encoder(
    done: Quantised,
    folder: Path,
    *,
    name: str,
    licence: str,
    origin: str,
    checkpoint: Path,
    version: int = 1,
    key: Ed25519PrivateKey | None = None,
) -> tuple[Manifest, Agreement]:
    """The package of a quantised sentence encoder, and how far its vectors are from the float network's.

    origin      what the card says it was made of
    checkpoint  the folder with its vocabulary
    """
    vectors = sentences.vectors(done.network, done.held_out).numpy()
    found = similarity.agreement(done.exact.numpy(), vectors)
    tokens = done.network.config.tokens
    label = {
        "dataset": "calibration",
        "split": f"{len(vectors)} sentences that the calibration did not see",
        "device": "this host, eager",
    }
    metrics: list[Metric] = [
        {"name": "mean_cosine", "value": found.mean_cosine, "unit": "1", "source": "measured", **label}
    ]
    card = Card(name, licence, f"{origin}: INT4 linear layers, 8-bit activations, 8-bit word embedding.", NOTES)
    about = {"task": "sentence-similarity", "input": {"tokens": tokens}, "dataset": "calibration"}
    extra = {
        VOCABULARY: (checkpoint / VOCABULARY).read_bytes(),
        SPLIT_FILE: similarity.to_npz(done.held_out, done.exact.numpy(), tokens),
    }
    manifest = write(
        done.network,
        "minilm",
        folder,
        card=card,
        about=about,
        metrics=metrics,
        extra=extra,
        version=version,
        key=key,
    )
    return manifest, found


def imported(
    found: Imported,
    path: Path,
    folder: Path,
    *,
    name: str,
    licence: str,
    described: Path | None,
    tokens: int | None,
    key: Ed25519PrivateKey | None = None,
) -> Manifest:
    """The package of an imported network.

    described  a JSON file with entries of config.json that the checkpoint does not tell, or tells wrongly
    raises     FormatError, UsageError when something is needed that neither tells
    """
    about = about_imported(found, tokens)
    if described is not None:
        if not described.is_file() or described.stat().st_size > MAX_CONFIG_BYTES:
            raise UsageError(f"{described}: not a file of at most {MAX_CONFIG_BYTES} bytes")
        about |= _json.parse(described.read_bytes(), described.name)
    if "task" not in about or "input" not in about:
        raise UsageError(
            f"{found.family}: the file does not say what goes in and what comes out; give --describe with JSON such as "
            '{"task": "image-classification", "input": {"shape": [32, 32, 3], "dtype": "float32"}, '
            '"preprocessing": {"layout": "NHWC", "scale": 0.0039, "mean": [0], "std": [1]}, "labels": ["cat", "dog"]}'
        )
    network = found.network if found.packed else models.pack(found.family, found.network)
    vocabulary = path / VOCABULARY
    extra = {VOCABULARY: vocabulary.read_bytes()} if vocabulary.is_file() else {}
    summary = f"Imported from {path.name}. Nobody has measured its accuracy here; that is up to you."
    return write(network, found.family, folder, card=Card(name, licence, summary), about=about, extra=extra, key=key)


def about_imported(found: Imported, tokens: int | None) -> dict[str, Any]:
    """The entries of config.json that a checkpoint tells by itself."""
    config: Any = found.network.config
    if found.family == "minilm":
        return {"task": "sentence-similarity", "input": {"tokens": config.tokens}}
    if found.family in ("bit", "bibert"):
        length = min(config.positions, tokens or DEFAULT_TOKENS)
        return {
            "task": "text-classification",
            "input": {"tokens": length},
            "labels": labels(found.about, config.labels),
        }
    return {}
