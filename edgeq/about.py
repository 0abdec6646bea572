"""What a package tells of the data that its network was trained on: the task, the input and its making, the labels.

One function per data set, by the name that recipes give it: config.json's entries beside the network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from edgeq._errors import UnsupportedError
from edgeq.text import VOCABULARY
from edgeq.train import Trained

Describe = Callable[[Trained, nn.Module], dict[str, Any]]
DIGITS = [*("zero", "one", "two", "three", "four"), *("five", "six", "seven", "eight", "nine")]
CLOTHES = [
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
]
THINGS = [*("airplane", "automobile", "bird", "cat", "deer"), *("dog", "frog", "horse", "ship", "truck")]
LARGEST_FEATURE = 4.0  # log-mel features reach about 3


def describe(trained: Trained, network: nn.Module) -> dict[str, Any]:
    """The entries for a finished run and its packed network.

    raises  UnsupportedError for a data set that no function here describes
    """
    name = str(trained.recipe.data.name)
    if name not in BY_DATASET:
        raise UnsupportedError(
            f"{name}: no package can be made of this data set yet; there are: {', '.join(BY_DATASET)}"
        )
    return {**BY_DATASET[name](trained, network), "dataset": name}


def _fashion_mnist(trained: Trained, network: nn.Module) -> dict[str, Any]:
    data = trained.recipe.data
    return {
        "task": "image-classification",
        "input": {"shape": [28, 28, trained.recipe.model.in_channels], "dtype": "float32"},
        "preprocessing": {"layout": "NHWC", "scale": 1 / 255, "mean": [data.mean], "std": [data.deviation]},
        "labels": CLOTHES,
    }


def _spoken_digits(trained: Trained, network: nn.Module) -> dict[str, Any]:
    """Features travel as bytes, 128 for 0; where the network quantises its input, on that very grid."""
    from edgeq.datasets import features

    step = getattr(network, "input_step", None) or LARGEST_FEATURE / 127
    return {
        "task": "audio-classification",
        "input": {"shape": [features.FRAMES, features.BANDS, 1], "dtype": "float32"},
        "preprocessing": {"layout": "NHWC", "scale": step, "mean": [128 * step], "std": [1.0]},
        "features": {"kind": "log-mel", "rate_hz": features.RATE_HZ, "samples": features.SAMPLES},
        "labels": DIGITS,
    }


def _cifar10(trained: Trained, network: nn.Module) -> dict[str, Any]:
    data = trained.recipe.data
    return {
        "task": "image-classification",
        "input": {"shape": [32, 32, 3], "dtype": "float32"},
        "preprocessing": {"layout": "NHWC", "scale": 1 / 255, "mean": list(data.mean), "std": list(data.deviation)},
        "labels": THINGS,
    }


def _sst2(trained: Trained, network: nn.Module) -> dict[str, Any]:
    from edgeq.datasets import sst2

    return {
        "task": "text-classification",
        "input": {"tokens": trained.recipe.data.length, "dtype": "int64"},
        "tokenizer": {"kind": "word pieces, uncased", "file": VOCABULARY},
        "labels": list(sst2.LABELS),
    }


def _cmudict(trained: Trained, network: nn.Module) -> dict[str, Any]:
    """A word of 20 letters and its end; the longest pronunciation of the dictionary has 19 phonemes."""
    return {
        "task": "text2text-generation",
        "input": {"source": 21, "target": 20, "dtype": "int64"},
        "tokenizer": {"kind": "letters and phonemes", "file": VOCABULARY},
    }


BY_DATASET: Mapping[str, Describe] = {
    "fashion-mnist": _fashion_mnist,
    "fsdd": _spoken_digits,
    "cifar10": _cifar10,
    "cifar10-jpeg": _cifar10,
    "sst2": _sst2,
    "cmudict": _cmudict,
}
