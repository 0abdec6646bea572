"""Texts of a user's own, with a label each or without, as a table, lines or arrays.

    .csv   a header with the columns `text` and, where there are labels, `label`
    .npz   `x`, an array of strings, and `y`, labels
    .txt   one text a line, no labels
    other  lines "label, tab, text"

A label is one of the model's names, or its number. Files are read as hostile: size, encoding, shapes, no pickles.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeq._errors import FormatError, NotFoundError

LARGEST_BYTES = 64 << 20
MOST_DIGITS = 9  # of a label


@dataclass(frozen=True)
class OwnTexts:
    texts: list[str]
    labels: list[int] | None  # numbers, from 0


def read(path: Path, names: Sequence[str] = ()) -> OwnTexts:
    """The texts of a file.

    names   of the model's classes, in order
    raises  NotFoundError, or FormatError naming the line that is none
    """
    try:
        with open(path, "rb") as stream:
            raw = stream.read(LARGEST_BYTES + 1)
    except OSError:
        raise NotFoundError(f"{path}: no readable file; expected lines of label, tab and text, or a .csv") from None
    if len(raw) > LARGEST_BYTES:
        raise FormatError(f"{path}: larger than {LARGEST_BYTES} bytes")
    if zipfile.is_zipfile(io.BytesIO(raw)):
        return _arrays(raw, names, path)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError(f"{path}: not UTF-8 at byte {error.start}") from error
    if path.suffix == ".txt":
        return OwnTexts([line.strip() for line in text.split("\n") if line.strip()], None)
    rows = _table(text, path) if path.suffix == ".csv" else _lines(text, path)
    return _of(rows, names, path)


def _of(rows: Iterable[tuple[int, str, str | None]], names: Sequence[str], path: Path) -> OwnTexts:
    """From line number, text and label."""
    texts: list[str] = []
    labels: list[int] = []
    for number, text, label in rows:
        if not text.strip():
            raise FormatError(f"{path}: line {number}: no text")
        texts.append(text)
        if label is not None:
            labels.append(_label(label.strip(), names, f"{path}: line {number}"))
    if labels and len(labels) != len(texts):
        raise FormatError(f"{path}: {len(labels)} of {len(texts)} texts have a label")
    return OwnTexts(texts, labels or None)


def _label(text: str, names: Sequence[str], where: str) -> int:
    if text in names:
        return names.index(text)
    if text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS:
        return int(text)
    known = f"one of {', '.join(names)}, or its number" if names else "a number"
    raise FormatError(f"{where}: label {text[:40]!r} is not known; expected {known}")


def _lines(text: str, path: Path) -> Iterator[tuple[int, str, str | None]]:
    for number, line in enumerate(text.removesuffix("\n").split("\n"), 1):
        label, tab, sentence = line.removesuffix("\r").partition("\t")
        if not tab or not sentence.strip():
            raise FormatError(f"{path}: line {number}: expected a label, a tab and a text, got {line[:40]!r}")
        yield number, sentence, label


def _table(text: str, path: Path) -> Iterator[tuple[int, str, str | None]]:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    try:
        columns = reader.fieldnames or ()
        if "text" not in columns:
            raise FormatError(f"{path}: no column `text` in its header, only {', '.join(columns)[:80] or 'nothing'}")
        for row in reader:
            if row["text"] is None or ("label" in columns and row["label"] is None):
                raise FormatError(f"{path}: line {reader.line_num}: too few columns")
            yield reader.line_num, row["text"], row["label"] if "label" in columns else None
    except csv.Error as error:
        raise FormatError(f"{path}: line {reader.line_num}: {error}") from None


def _arrays(raw: bytes, names: Sequence[str], path: Path) -> OwnTexts:
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            found = {info.filename: _array(archive, info, path) for info in archive.infolist()}
    except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        raise FormatError(f"{path}: not an .npz file: {error}") from None
    x, y = found.get("x.npy"), found.get("y.npy")
    if x is None or x.ndim != 1 or x.dtype.kind != "U":
        raise FormatError(f"{path}: for texts it must hold x, an array of strings (n,)")
    if y is not None and (y.shape != x.shape or y.dtype.kind not in "iuU"):
        raise FormatError(f"{path}: y is {y.dtype} {y.shape}, expected a label for each of {len(x)} texts")
    labels: Iterable[str | None] = [None] * len(x) if y is None else map(str, y.tolist())
    return _of(zip(range(1, len(x) + 1), x.tolist(), labels, strict=True), names, path)


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> np.ndarray[Any, Any]:
    if info.file_size > LARGEST_BYTES:
        raise FormatError(f"{path}: {info.filename} unpacks to more than {LARGEST_BYTES} bytes")
    try:
        array: np.ndarray[Any, Any] = np.lib.format.read_array(io.BytesIO(archive.read(info)), allow_pickle=False)
    except ValueError as error:
        raise FormatError(f"{path}: {info.filename} is not a plain array: {str(error)[:80]}") from None
    return array
