"""Sentence vectors, judged by their cosine to those of the float network and by which sentences stay nearest."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeq._errors import FormatError, NotFoundError, UsageError
from edgeq.bench.report import Evaluation, Figure
from edgeq.data import SPLIT_FILE

from ._task import Outcome, Progress, Task

if TYPE_CHECKING:
    from edgeq.device import Net
    from edgeq.hub import PulledPackage

Array = np.ndarray[Any, Any]
MOST_BYTES = 64 << 20
CLEAR = 0.02  # cosine by which a nearest neighbour must lead the second to count as clear
_SHAPES = {"ids": 2, "length": 1, "vectors": 2}  # array of the file: axes


@dataclass(frozen=True)
class Sentences:
    """ids (n, T) int64, mask (n, T) int64, and the float network's vectors (n, H) of length 1."""

    ids: Array
    mask: Array
    vectors: Array
    dataset: str
    split: str

    def __len__(self) -> int:
        return len(self.ids)

    def head(self, n: int | None) -> Sentences:
        return Sentences(self.ids[:n], self.mask[:n], self.vectors[:n], self.dataset, self.split)


@dataclass(frozen=True)
class Agreement:
    """Of sentence vectors with the float network's; a cosine of 1 is perfect."""

    mean_cosine: float
    p5_cosine: float  # five of a hundred are below
    kept: int  # clear cases whose nearest other sentence is the same
    clear: int  # cases in which the nearest sentence leads the second by more than CLEAR


def agreement(exact: Array, other: Array) -> Agreement:
    """Compare vectors of length 1, (n, H) each."""
    exact, other = exact.astype(np.float64), other.astype(np.float64)
    cosine = (exact * other).sum(1)
    near, moved = exact @ exact.T, other @ other.T
    np.fill_diagonal(near, -2)
    np.fill_diagonal(moved, -2)
    second, first = np.sort(near, 1)[:, -2:].T if len(near) > 1 else np.zeros((2, len(near)))
    clear = first - second > CLEAR
    kept = (near.argmax(1) == moved.argmax(1)) & clear
    return Agreement(float(cosine.mean()), float(np.quantile(cosine, 0.05)), int(kept.sum()), int(clear.sum()))


def to_npz(ids: list[list[int]], vectors: Array, tokens: int) -> bytes:
    """The bytes of an evaluation split for a package: ids padded to `tokens`, vectors as float16."""
    padded = np.zeros((len(ids), tokens), np.uint16 if max(map(max, ids)) < 1 << 16 else np.int32)
    for row, sentence in zip(padded, ids, strict=True):
        row[: len(sentence)] = sentence
    out = io.BytesIO()
    length = np.array([len(sentence) for sentence in ids], np.uint16)
    np.savez_compressed(out, ids=padded, length=length, vectors=vectors.astype(np.float16))
    return out.getvalue()


class Similarity(Task[Sentences]):
    items = "sentences"

    def bundled(self, package: PulledPackage, dataset: str) -> Sentences:
        return _parse(package.read(SPLIT_FILE), SPLIT_FILE, dataset, "bundled")

    def full(self, dataset: str, config: Mapping[str, object]) -> Sentences:
        raise UsageError(f"{dataset}: has no test split of its own; the package carries sentences, or use --data PATH")

    def own(self, path: Path, config: Mapping[str, object]) -> Sentences:
        if not path.is_file():
            raise NotFoundError(f"{path}: no such file; expected an .npz with ids, length and vectors")
        return _parse(path.read_bytes()[: MOST_BYTES + 1], str(path), path.stem, "own")

    def inputs(self, samples: Sentences, config: Mapping[str, object]) -> tuple[Array, ...]:
        return samples.ids, samples.mask

    def evaluate(self, net: Net, samples: Sentences, config: Mapping[str, object], progress: Progress) -> Outcome:
        outcome = net.evaluate(self.inputs(samples, config), progress=progress)
        vectors = outcome.outputs[0].reshape(len(samples), -1)
        if vectors.shape != samples.vectors.shape:
            raise UsageError(
                f"{samples.dataset}: vectors of {samples.vectors.shape[1]}, the network's have {vectors.shape[1]}"
            )
        found = agreement(samples.vectors, vectors)
        method = "cosine to the float network's vector"
        figures = [
            Figure("mean_cosine", found.mean_cosine, "1", method),
            Figure("p5_cosine", found.p5_cosine, "1", f"{method}, 5th percentile"),
        ]
        if found.clear:
            how = f"nearest sentence unchanged in {found.kept} of {found.clear} clear cases"
            figures.append(Figure("neighbours_kept", 100 * found.kept / found.clear, "%", how))
        return Outcome(Evaluation(samples.dataset, samples.split, len(samples), figures=figures), outcome.ticks)


def _parse(raw: bytes, name: str, dataset: str, split: str) -> Sentences:
    if len(raw) > MOST_BYTES:
        raise FormatError(f"{name}: larger than {MOST_BYTES} bytes")
    try:
        with np.load(io.BytesIO(raw), allow_pickle=False) as file:
            arrays = {key: file[key] for key in _SHAPES if key in file}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise FormatError(f"{name}: not an .npz file of plain arrays: {error}") from None
    for key, axes in _SHAPES.items():
        if key not in arrays or arrays[key].ndim != axes or len(arrays[key]) != len(arrays["ids"]):
            raise FormatError(f"{name}: expected arrays ids (n, tokens), length (n,) and vectors (n, width)")
    ids, length, vectors = arrays["ids"], arrays["length"], arrays["vectors"].astype(np.float32)
    whole = all(np.issubdtype(array.dtype, np.integer) for array in (ids, length))
    if not len(ids) or not whole or (length < 1).any() or (length > ids.shape[1]).any():
        raise FormatError(f"{name}: ids and length must be whole numbers, lengths from 1 to {ids.shape[1]}")
    norm = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    if not np.isfinite(norm).all() or (norm == 0).any():
        raise FormatError(f"{name}: vectors that are zero, NaN or infinite")
    mask = np.arange(ids.shape[1]) < length[:, None]
    exact = (vectors / norm).astype(np.float32)
    return Sentences(ids.astype(np.int64), mask.astype(np.int64), exact, dataset, split)


def make() -> Similarity:
    return Similarity()
