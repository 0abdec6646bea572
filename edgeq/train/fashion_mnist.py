"""Both splits of Fashion-MNIST for training, refused unless every array is the published one."""

import hashlib
import os
from pathlib import Path
from typing import Any, Literal

import numpy as np

from edgeq import data
from edgeq._errors import IntegrityError

NAME = "fashion-mnist"
_TRAIN_SHA256 = {  # of the array bytes, so that recompressed copies pass
    "train-images-idx3-ubyte.gz": "2e487a6c89124f78f2d7521542223cafe96f7123c3ca13d447772ac6ecbb3012",
    "train-labels-idx1-ubyte.gz": "657fbd221bfc9f4198cc14b5619cc33ec57c58dd0e47af4d99d6650759e869a7",
}


def load(split: Literal["train", "test"], directory: Path | None = None) -> data.Split:
    """60 000 (train) or 10 000 (test) pictures 28 x 28.

    There is no official validation part; EdgeQ takes the last items of the training split.
    directory  holds the idx.gz files; None: `$EDGEQ_DATA/fashion-mnist`, then Debian's dataset-fashion-mnist
    raises     NotFoundError if a file is absent, FormatError if it is no idx file, IntegrityError if it is not
               the published one
    """
    if split == "test":
        return data.full_test_set(NAME, directory)
    directory = directory or _default_directory()
    images, labels = (_read(directory / name, digest) for name, digest in _TRAIN_SHA256.items())
    return data.Split(images, labels.astype(np.int64), NAME, "train")


def _default_directory() -> Path:
    own = os.environ.get("EDGEQ_DATA")
    if own and (Path(own) / NAME).is_dir():
        return Path(own) / NAME
    return data.DEBIAN_ROOT / NAME


def _read(path: Path, sha256: str) -> np.ndarray[Any, Any]:
    array = data.read_idx(path)
    if (digest := hashlib.sha256(array.tobytes()).hexdigest()) != sha256:
        raise IntegrityError(f"{path}: not the published Fashion-MNIST array: sha256 {digest[:12]}...")
    return array
