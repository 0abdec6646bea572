"""Snippets of movie and product reviews from the source archive of vaderSentiment 3.3.2 (Hutto and Gilbert 2014, MIT).

14 313 sentences. The movie snippets come from the reviews that SST-2 was made of: what also occurs there must be left
out before a model is trained on them, see `without`. With the mean of twenty people's ratings: `rated`, tweets too.
"""

import hashlib
import io
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgeq._errors import FormatError, IntegrityError, NotFoundError
from edgeq.datasets import places

NAME = "snippets"
FILE = "vaderSentiment-3.3.2.tar.gz"
SHA256 = "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9"
HOW = f"pip download --no-deps --no-binary :all: vaderSentiment==3.3.2, and put {FILE} there"
LARGEST_BYTES = 16 << 20
COMPARED_LETTERS = 25

_INNER = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
_FILES = {"movies": "movieReviewSnippets", "products": "amazonReviewSnippets", "tweets": "tweets"}

Kind = Literal["movies", "products", "tweets"]


@dataclass(frozen=True)
class Rated:
    """rating: mean of people's, -4 to 4; document: sentences of one review share it."""

    text: str
    rating: float
    document: str


def load(directory: Path | None = None) -> list[str]:
    """All snippets, movies first.

    directory  holds the archive; None: `snippets` where data sets lie
    raises     NotFoundError with the way to get it, IntegrityError for another archive
    """
    inner = _archive(directory)
    return [row.text for row in (*_rows(inner, "movies"), *_rows(inner, "products"))]


def rated(kind: Kind, directory: Path | None = None) -> list[Rated]:
    """One kind of snippets with its ratings. Raises what `load` raises."""
    return _rows(_archive(directory), kind)


def _archive(directory: Path | None) -> bytes:
    path = (directory or places.folder(NAME, HOW)) / FILE
    try:
        with open(path, "rb") as stream:
            raw = stream.read(LARGEST_BYTES + 1)
    except OSError:
        raise NotFoundError(f"{path}: no such file; {HOW}") from None
    if (digest := hashlib.sha256(raw).hexdigest()) != SHA256:
        raise IntegrityError(f"{path}: not the archive of vaderSentiment 3.3.2: sha256 {digest[:12]}...")
    return _member(raw, _INNER)


def _rows(inner: bytes, kind: Kind) -> list[Rated]:
    """Lines "document_sentence, tab, rating, tab, text"."""
    lines = _member(inner, f"hutto_ICWSM_2014/{_FILES[kind]}_GroundTruth.txt").decode("utf-8", "replace").splitlines()
    parts = (line.split("\t", 2) for line in lines)
    return [
        Rated(fields[2].strip(), float(fields[1]), fields[0].partition("_")[0])
        for fields in parts
        if len(fields) == 3 and fields[2].strip()
    ]


def without(snippets: Iterable[str], known: Iterable[str]) -> list[str]:
    """The snippets that are none of the known sentences, each once.

    Letters alone are compared, in lower case: a snippet goes if all of them, the first 25 or the last 25 are the same.
    """
    whole, starts, ends = set(), set(), set()
    for text in known:
        letters = _letters(text)
        whole.add(letters)
        if len(letters) >= COMPARED_LETTERS:
            starts.add(letters[:COMPARED_LETTERS])
            ends.add(letters[-COMPARED_LETTERS:])
    kept: dict[str, str] = {}
    for snippet in snippets:
        letters = _letters(snippet)
        if letters and not (
            letters in whole or letters[:COMPARED_LETTERS] in starts or letters[-COMPARED_LETTERS:] in ends
        ):
            kept.setdefault(letters, snippet)
    return list(kept.values())


def _letters(text: str) -> str:
    return "".join(c for c in text.lower() if "a" <= c <= "z")


def _member(archive: bytes, name: str) -> bytes:
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as files:
            member = files.extractfile(name)
            if member is None:
                raise KeyError(name)
            return member.read(LARGEST_BYTES)
    except (tarfile.TarError, KeyError, OSError, EOFError) as error:
        raise FormatError(f"{FILE}: no readable {name}: {error}") from error
