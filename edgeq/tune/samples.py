"""What to learn from: inputs as the network takes them, and a label each where there are labels."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeq import data
from edgeq._errors import FormatError, NotFoundError, UnsupportedError, UsageError
from edgeq.bench import tasks
from edgeq.bench.tasks.text_classification import TextClassification

if TYPE_CHECKING:
    from edgeq.hub import PulledPackage

Array = np.ndarray[Any, Any]
MOST_BYTES = 1 << 30


@dataclass(frozen=True)
class Samples:
    """inputs: arrays with the samples along the first axis; labels (n,) int32, or None."""

    inputs: tuple[Array, ...]
    labels: np.ndarray[Any, np.dtype[np.int32]] | None
    name: str

    def __len__(self) -> int:
        return len(self.inputs[0])

    @property
    def id(self) -> bytes:
        """32 bytes over samples and labels."""
        digest = hashlib.sha256()
        for array in (*self.inputs, *(() if self.labels is None else (self.labels,))):
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.digest()

    def part(self, chosen: Array) -> Samples:
        labels = None if self.labels is None else np.ascontiguousarray(self.labels[chosen])
        return Samples(tuple(np.ascontiguousarray(array[chosen]) for array in self.inputs), labels, self.name)

    def check(self, classes: int) -> Samples:
        """Raises UsageError for an empty set, NaN or infinity, or a label outside of 0..classes - 1."""
        if len(self) == 0:
            raise UsageError(f"{self.name}: holds no sample")
        for array in self.inputs:
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                bad = np.flatnonzero(~np.isfinite(array.reshape(len(array), -1)).all(1))
                raise UsageError(
                    f"{self.name}: {len(bad)} of {len(array)} samples hold NaN or infinity, first {bad[0]}"
                )
        if self.labels is not None:
            bad = np.flatnonzero((self.labels < 0) | (self.labels >= classes))
            if bad.size:
                raise UsageError(
                    f"{self.name}: label {bad[0]} is {self.labels[bad[0]]}, the model knows 0 to {classes - 1} "
                    f"({bad.size} such labels; to teach new classes: --classes N)"
                )
        return self


def read_samples(path: Path, package: PulledPackage) -> Samples:
    """The user's samples for the network of a package.

    path    .npz with x and, where there are labels, y: bytes (n, h, w[, c]) that the package's preprocessing reads,
            or float32 (n, ...) as the network takes them; texts as `edgeq.datasets.own_texts` reads them; or what
            `edgeq eval --data` takes for the package's task
    raises  NotFoundError, FormatError, UsageError, UnsupportedError for a network that gives no scores of classes
    """
    config = package.config()
    task = tasks.of(config)
    if not str(config["task"]).endswith("-classification"):
        raise UnsupportedError(
            f"{package.manifest.name}: gives no scores of classes ({config['task']}): no head to tune"
        )
    if not path.exists():
        raise NotFoundError(f"{path}: no such file; give an .npz with x and y")
    if isinstance(task, TextClassification):
        task.open(package)
        texts = task.unlabelled(path, config)
        known = None if len(texts) == 0 or texts.labels[0] < 0 else texts.labels.astype(np.int32)
        return Samples((texts.ids, texts.mask), known, path.name)
    if path.is_file() and zipfile.is_zipfile(path):
        x, y = _arrays(path)
        if x.dtype == np.uint8:
            x = data.preprocess(x, config)
        return _fitting(x, y, config, path.name)
    task.open(package)
    found = task.own(path, config)
    labels = np.asarray(getattr(found, "y", getattr(found, "labels", None)), np.int32)
    return Samples(tuple(task.inputs(found, config)), labels, path.name)


def _fitting(x: Array, y: Array | None, config: Mapping[str, object], name: str) -> Samples:
    given = config.get("input")
    shape = tuple(given["shape"]) if isinstance(given, Mapping) and isinstance(given.get("shape"), list) else None
    if shape is None:
        raise UsageError(f"{name}: arrays are for networks with one input of a fixed shape; see `edgeq eval --help`")
    if x.shape[1:] == shape[:-1] and shape[-1] == 1:
        x = x[..., None]
    if x.shape[1:] != shape:
        raise UsageError(f"{name}: x is {x.shape}, the network takes (n, {', '.join(map(str, shape))})")
    if y is not None and y.shape != (len(x),):
        raise UsageError(f"{name}: y is {y.shape}, expected ({len(x)},)")
    if y is not None and not ((y >= -(2**31)) & (y < 2**31)).all():
        raise UsageError(f"{name}: y holds numbers that are no labels")
    labels = None if y is None else np.ascontiguousarray(y, np.int32)
    return Samples((np.ascontiguousarray(x, np.float32),), labels, name)


def _arrays(path: Path) -> tuple[Array, Array | None]:
    """x and y of an .npz; sizes are checked before anything is unpacked, nothing is unpickled."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename: info for info in archive.infolist()}
            if "x.npy" not in members:
                raise FormatError(f"{path}: no array 'x' in it")
            x = _array(archive, members["x.npy"], path, "uf")
            y = _array(archive, members["y.npy"], path, "ui") if "y.npy" in members else None
    except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        raise FormatError(f"{path}: not an .npz file: {error}") from None
    if x.dtype not in (np.uint8, np.float32):
        raise FormatError(f"{path}: x is {x.dtype}, expected uint8 or float32")
    if x.ndim < 2:
        raise FormatError(f"{path}: x is {x.shape}, expected samples along the first axis")
    return x, y


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path, kinds: str) -> Array:
    if info.file_size > MOST_BYTES:
        raise FormatError(f"{path}: {info.filename} unpacks to {info.file_size} bytes, at most {MOST_BYTES} are read")
    raw = archive.read(info)
    try:
        array: Array = np.lib.format.read_array(io.BytesIO(raw), allow_pickle=False)
    except ValueError as error:
        raise FormatError(f"{path}: {info.filename} is not a plain array: {str(error)[:80]}") from None
    if array.dtype.kind not in kinds:
        raise FormatError(f"{path}: {info.filename} holds {array.dtype}")
    if prod(array.shape) * array.dtype.itemsize > MOST_BYTES:
        raise FormatError(f"{path}: {info.filename} is larger than {MOST_BYTES} bytes")
    return array
