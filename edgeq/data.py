"""Evaluation data: the small split inside a package, the whole test set from a copy of the user's, and preprocessing.

This is EdgeQ's one reader of idx files. Whatever is read is bounded before it is unpacked; a known data set is
compared with the sha256 of its array bytes, so that "fashion-mnist, test" means the same pictures everywhere.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from math import prod
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from edgeq._errors import FormatError, IntegrityError, NotFoundError, UsageError
from edgeq.datasets import places

Array = np.ndarray[Any, Any]

SPLIT_FILE = "eval.npz"
MAX_ARRAY_BYTES = 1 << 30
MAX_SPLIT_BYTES = 64 << 20


@dataclass(frozen=True)
class Split:
    """Pictures and labels.

    x  (n, h, w) or (n, h, w, c), uint8, or float32 as the network takes them
    y  (n,) int64
    """

    x: Array
    y: Array
    dataset: str
    split: str

    def __post_init__(self) -> None:
        kind, rank = self.x.dtype, self.x.ndim
        if kind not in (np.uint8, np.float32) or rank not in (3, 4) or self.y.shape != self.x.shape[:1]:
            raise FormatError(
                f"{self.dataset}: x must be n pictures (n, h, w) or (n, h, w, c), uint8, or float32 as the network "
                f"takes them, and y their n labels; got x {kind} {self.x.shape} and y {self.y.shape}"
            )

    def __len__(self) -> int:
        return len(self.y)

    def head(self, n: int | None) -> Split:
        """The first n pictures (all when n is None or larger)."""
        return self if n is None or n >= len(self) else Split(self.x[:n], self.y[:n], self.dataset, self.split)


@dataclass(frozen=True)
class KnownSet:
    """Where a public data set lies and what its arrays hash to (SHA-256 of the bytes, row-major)."""

    images: str
    labels: str
    images_sha256: str
    labels_sha256: str
    debian: str
    hub: str
    hub_file: str


TEST_SETS: Mapping[str, KnownSet] = {
    "fashion-mnist": KnownSet(
        images="t10k-images-idx3-ubyte",
        labels="t10k-labels-idx1-ubyte",
        images_sha256="c867c93ff95360594e8ec3287995350b824dd110b11595c0e13d5423f621867a",
        labels_sha256="3d0e6c6ea990b53b6f8f500a41cac93881d981b315f84578b7d915342ade01e9",
        debian="dataset-fashion-mnist",
        hub="zalando-datasets/fashion_mnist",
        hub_file="fashion_mnist/test-00000-of-00001.parquet",
    ),
}


class Readable(Protocol):
    """A verified package, as far as it is needed here."""

    def read(self, name: str, /) -> bytes: ...


def load_split(package: Readable, *, dataset: str, name: str = SPLIT_FILE) -> Split:
    """The evaluation split that a package carries.

    raises  NotFoundError when the package lists none, FormatError when the bytes are not one
    """
    return _from_npz(package.read(name), name, dataset, "bundled")


def full_test_set(name: str, path: Path | None = None) -> Split:
    """The whole test set of a known data set, checked against its sha256.

    path    a folder with the idx files or an .npz; None looks in EDGEQ_DATA, EdgeQ's data folder, the Debian
            package's folder, and then asks the Hub
    raises  UsageError for an unknown name, NotFoundError saying the ways to get it, IntegrityError for other content
    """
    known = TEST_SETS.get(name)
    if known is None:
        raise UsageError(f"no data set {name!r} is known; there are: {', '.join(TEST_SETS)} (own data: --data PATH)")
    where = [path] if path is not None else places.folders(name)
    for place in where:
        if place.is_file() or _idx_file(place, known.images) is not None:
            return _checked(from_path(place, dataset=name), name, known, str(place))
    if path is not None:
        raise NotFoundError(f"{path}: neither an .npz file nor a folder with {known.images}[.gz]")
    return _checked(_from_hub(name, known), name, known, known.hub)


def from_path(path: Path, *, dataset: str | None = None) -> Split:
    """The user's own data: an .npz with x and y (or x_test and y_test), or a folder with idx test files.

    What hashes like a known test set is called by its name; anything else by the path's.
    raises  NotFoundError, FormatError
    """
    label = dataset or path.stem
    if path.is_dir():
        images, labels = (_idx_file(path, f"t10k-{part}-ubyte") for part in ("images-idx3", "labels-idx1"))
        if images is None or labels is None:
            raise NotFoundError(f"{path}: no t10k-images-idx3-ubyte[.gz] with t10k-labels-idx1-ubyte[.gz] in it")
        split = Split(read_idx(images), read_idx(labels).astype(np.int64), label, "test")
    elif path.is_file():
        if (size := path.stat().st_size) > MAX_ARRAY_BYTES:
            raise FormatError(f"{path}: {size} bytes, at most {MAX_ARRAY_BYTES} are read")
        split = _from_npz(path.read_bytes(), str(path), label, "user", limit=MAX_ARRAY_BYTES)
    else:
        raise NotFoundError(f"{path}: no such file or folder")
    images_sha256 = _sha256(split.x)
    for name, known in TEST_SETS.items():
        if images_sha256 == known.images_sha256 and _sha256(split.y.astype(np.uint8)) == known.labels_sha256:
            return Split(split.x, split.y, name, "test")
    return split


def read_idx(path: Path) -> Array:
    """An idx file of bytes, plain or .gz: two zero bytes, type 8, rank, big-endian uint32 sizes, data.

    raises  FormatError naming the field that is wrong; NotFoundError
    """
    try:
        with path.open("rb") as raw, gzip.open(raw) if path.suffix == ".gz" else raw as file:
            head = file.read(4)
            if len(head) != 4 or head[:3] != b"\0\0\x08" or not 1 <= head[3] <= 4:
                raise FormatError(f"{path}: starts with {head.hex()}, expected 000008 and 1 to 4 dimensions")
            sizes = file.read(4 * head[3])
            shape = tuple(int(s) for s in np.frombuffer(sizes, ">u4")) if len(sizes) == 4 * head[3] else ()
            if not shape or prod(shape) > MAX_ARRAY_BYTES:
                raise FormatError(f"{path}: shape {shape} is missing or larger than {MAX_ARRAY_BYTES} bytes")
            data = file.read(prod(shape) + 1)
    except FileNotFoundError:
        raise NotFoundError(f"{path}: no such file") from None
    except (OSError, EOFError, zlib.error) as error:
        raise FormatError(f"{path}: cannot be read: {error}") from None
    if len(data) != prod(shape):
        raise FormatError(f"{path}: shape {shape} needs {prod(shape)} bytes, the file holds {_count(data, shape)}")
    return np.frombuffer(data, np.uint8).reshape(shape)


def preprocess(x: Array, config: Mapping[str, object]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Bytes to the network's input: (x * scale - mean) / std, all in float32; what is float32 is that input already.

    x       (n, h, w) or (n, h, w, c), uint8 or float32
    config  a package's config; its "preprocessing" is {"layout": "NHWC", "scale": s, "mean": [c], "std": [c]}
    return  (n, h, w, c) float32
    raises  FormatError naming the field that is wrong
    """
    rule = config.get("preprocessing")
    if not isinstance(rule, Mapping):
        raise FormatError("config.json: no object named preprocessing")
    if rule.get("layout", "NHWC") != "NHWC":
        raise FormatError(f"config.json: preprocessing.layout {rule.get('layout')!r}, only NHWC is known")
    if x.ndim == 3:
        x = x[..., None]
    if x.dtype == np.float32:
        return np.ascontiguousarray(x)
    scale, mean, std = (_floats(rule, key, x.shape[-1]) for key in ("scale", "mean", "std"))
    if not (std > 0).all():
        raise FormatError("config.json: preprocessing.std must be positive")
    return np.ascontiguousarray((x.astype(np.float32) * scale - mean) / std, dtype=np.float32)


def as_bytes(x: np.ndarray[Any, np.dtype[np.float32]], config: Mapping[str, object]) -> Array:
    """The bytes that `preprocess` turns into the network's input nearest to x; x (n, h, w) or (n, h, w, c) float32."""
    one, zero = (preprocess(np.full((1, 1, 1), byte, np.uint8), config) for byte in (1, 0))
    nearest: Array = np.rint((x - zero.item()) / (one - zero).item()).clip(0, 255).astype(np.uint8)
    return nearest


def _floats(rule: Mapping[str, object], key: str, channels: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    value = rule.get(key, {"scale": 1 / 255, "mean": 0.0, "std": 1.0}[key])
    items = value if isinstance(value, list) else [value]
    if len(items) not in (1, channels) or any(isinstance(i, bool) or not isinstance(i, int | float) for i in items):
        raise FormatError(f"config.json: preprocessing.{key} must be a number or {channels} of them, got {value!r}")
    array = np.asarray(items, np.float32)
    if not np.isfinite(array).all():
        raise FormatError(f"config.json: preprocessing.{key} is not finite")
    return array


def _idx_file(folder: Path, name: str) -> Path | None:
    return next((p for p in (folder / f"{name}.gz", folder / name) if p.is_file()), None)


def _checked(split: Split, name: str, known: KnownSet, where: str) -> Split:
    for part, array, expected in (
        ("images", split.x, known.images_sha256),
        ("labels", split.y.astype(np.uint8), known.labels_sha256),
    ):
        if (got := _sha256(array)) != expected:
            raise IntegrityError(
                f"{where}: the {part} are not those of the {name} test set: sha256 {got[:12]}..., "
                f"expected {expected[:12]}... (own data: --data PATH)"
            )
    return Split(split.x, split.y, name, "test")


def _sha256(array: Array) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()


def _count(data: bytes, shape: tuple[int, ...]) -> str:
    return "more" if len(data) > prod(shape) else str(len(data))


def _from_npz(data: bytes, where: str, dataset: str, split: str, *, limit: int = MAX_SPLIT_BYTES) -> Split:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {info.filename: info for info in archive.infolist()}
            names = ("x_test.npy", "y_test.npy") if "x_test.npy" in members else ("x.npy", "y.npy")
            if missing := [name for name in names if name not in members]:
                raise FormatError(f"{where}: no array {missing[0].removesuffix('.npy')!r} in it")
            x, y = (_read_npy(archive, members[name], where, limit) for name in names)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise FormatError(f"{where}: not an .npz file: {error}") from None
    if not np.issubdtype(y.dtype, np.integer):
        raise FormatError(f"{where}: labels are {y.dtype}, expected integers")
    return Split(x, y.astype(np.int64), dataset, split)


def _read_npy(archive: zipfile.ZipFile, info: zipfile.ZipInfo, where: str, limit: int) -> Array:
    """One array of plain numbers whose declared size is checked before anything is allocated; never unpickles."""
    if info.file_size > limit:
        raise FormatError(f"{where}: {info.filename} unpacks to {info.file_size} bytes, at most {limit} are read")
    with archive.open(info) as file:
        try:
            version = np.lib.format.read_magic(file)
            if version not in ((1, 0), (2, 0)):
                raise ValueError(f"version {version[0]}.{version[1]}")
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, fortran, dtype = read(file)
        except ValueError as error:
            raise FormatError(f"{where}: {info.filename} is not a .npy array: {str(error)[:80]}") from None
        if dtype.hasobject or (dtype.kind not in "ui" and dtype != np.float32) or fortran:
            raise FormatError(f"{where}: {info.filename} holds {dtype}, expected integers or float32, in C order")
        size = prod(shape) * dtype.itemsize
        if size > limit or any(s < 0 for s in shape):
            raise FormatError(f"{where}: {info.filename} declares shape {shape}, at most {limit} bytes are read")
        data = file.read(size + 1)
    if len(data) != size:
        raise FormatError(f"{where}: {info.filename} declares {size} bytes of data, has {_count(data, (size,))}")
    return np.frombuffer(data, dtype).reshape(shape)


def _from_hub(name: str, known: KnownSet) -> Split:
    """Download the Hub's copy (parquet of PNG pictures); needs the packages pyarrow and pillow."""
    ways = (
        f"apt-get install {known.debian}; or --data FOLDER with {known.images}.gz and {known.labels}.gz; "
        f"or let it come from the Hub ({known.hub}; needs: pip install pyarrow pillow)"
    )
    try:
        parquet, image = import_module("pyarrow.parquet"), import_module("PIL.Image")
        from huggingface_hub import hf_hub_download
    except ImportError as error:
        raise NotFoundError(f"{name}: the whole test set is not on this machine ({error.name}); {ways}") from None
    try:
        file = hf_hub_download(known.hub, known.hub_file, repo_type="dataset", library_name="edgeq")
        table = parquet.read_table(file).to_pydict()
        pictures = [np.asarray(image.open(io.BytesIO(cell["bytes"])).convert("L")) for cell in table["image"]]
        return Split(np.stack(pictures), np.asarray(table["label"], np.int64), name, "test")
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise NotFoundError(f"{name}: the Hub's copy cannot be used ({str(error)[:120]}); {ways}") from None
