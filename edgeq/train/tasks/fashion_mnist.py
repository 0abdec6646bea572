"""Fashion-MNIST: 28 x 28 grey pictures of clothes, refused unless every array is the published one."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from edgeq import data
from edgeq._errors import IntegrityError
from edgeq.datasets import places
from edgeq.train._record import check_ranges
from edgeq.train.augment import Augmenter
from edgeq.train.pictures import Loader, Pictures
from edgeq.train.recipe import Recipe

NAME = "fashion-mnist"
_TRAIN_SHA256 = {  # of the array bytes, so that recompressed copies pass
    "train-images-idx3-ubyte.gz": "2e487a6c89124f78f2d7521542223cafe96f7123c3ca13d447772ac6ecbb3012",
    "train-labels-idx1-ubyte.gz": "657fbd221bfc9f4198cc14b5619cc33ec57c58dd0e47af4d99d6650759e869a7",
}


@dataclass(frozen=True)
class Options:
    """The pictures, how they are normalised (0..1 scale), and how training pictures are varied."""

    name: str
    validation_items: int  # the last ones of the training split; choices are made on them only
    mean: float
    deviation: float
    shift_pixels: int  # random shift of -n..n in both directions, filled with black
    flip: bool  # mirrored left to right with probability 1/2
    labels: int = 10  # only those below; to see how a network is taught the others later

    def __post_init__(self) -> None:
        check_ranges(
            {
                "validation_items": (self.validation_items, 1, 1_000_000),
                "mean": (self.mean, -1e6, 1e6),
                "deviation": (self.deviation, 1e-6, 1e6),
                "shift_pixels": (self.shift_pixels, 0, 16),
                "labels": (self.labels, 2, 10),
            }
        )

    def augmenter(self) -> Augmenter:
        return Augmenter(self.mean, self.deviation, shift_pixels=self.shift_pixels, flip=self.flip)


def make(recipe: Recipe, loader: Loader | None = None) -> Pictures:
    """The task of a recipe; `loader` gives other pictures than `load`."""
    read, labels = loader or load, recipe.data.labels

    def known(split: Literal["train", "test"]) -> data.Split:
        whole = read(split)
        chosen = whole.y < labels
        return whole if chosen.all() else data.Split(whole.x[chosen], whole.y[chosen], whole.dataset, whole.split)

    return Pictures(recipe, known, recipe.data.augmenter())


def load(split: Literal["train", "test"], directory: Path | None = None) -> data.Split:
    """60 000 (train) or 10 000 (test) pictures 28 x 28.

    There is no official validation part; EdgeQ takes the last items of the training split.
    directory  holds the idx.gz files; None: `$EDGEQ_DATA/fashion-mnist`, then Debian's dataset-fashion-mnist
    raises     NotFoundError if a file is absent, FormatError if it is no idx file, IntegrityError if it is not
               the published one
    """
    if split == "test":
        return data.full_test_set(NAME, directory)
    directory = directory or places.folder(NAME, f"apt-get install dataset-{NAME}")
    images, labels = (_read(directory / name, digest) for name, digest in _TRAIN_SHA256.items())
    return data.Split(images, labels.astype(np.int64), NAME, "train")


def _read(path: Path, sha256: str) -> np.ndarray[Any, Any]:
    array = data.read_idx(path)
    if (digest := hashlib.sha256(array.tobytes()).hexdigest()) != sha256:
        raise IntegrityError(f"{path}: not the published Fashion-MNIST array: sha256 {digest[:12]}...")
    return array
