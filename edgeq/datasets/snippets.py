"""Snippets of movie and product reviews from the source archive of vaderSentiment 3.3.2 (Hutto and Gilbert 2014, MIT).

14 313 sentences whose labels EdgeQ does not use. The movie snippets come from the reviews that SST-2 was made of: what
also occurs there must be left out before a model is trained on them, see `without`.
"""

import hashlib
import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

from edgeq._errors import FormatError, IntegrityError, NotFoundError
from edgeq.datasets import places

NAME = "snippets"
FILE = "vaderSentiment-3.3.2.tar.gz"
SHA256 = "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9"
HOW = f"pip download --no-deps --no-binary :all: vaderSentiment==3.3.2, and put {FILE} there"
LARGEST_BYTES = 16 << 20
COMPARED_LETTERS = 25

_INNER = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
_TEXTS = tuple(f"hutto_ICWSM_2014/{kind}ReviewSnippets_GroundTruth.txt" for kind in ("movie", "amazon"))


def load(directory: Path | None = None) -> list[str]:
    """All snippets, movies first.

    directory  holds the archive; None: `snippets` where data sets lie
    raises     NotFoundError with the way to get it, IntegrityError for another archive
    """
    path = (directory or places.folder(NAME, HOW)) / FILE
    try:
        with open(path, "rb") as stream:
            raw = stream.read(LARGEST_BYTES + 1)
    except OSError:
        raise NotFoundError(f"{path}: no such file; {HOW}") from None
    if (digest := hashlib.sha256(raw).hexdigest()) != SHA256:
        raise IntegrityError(f"{path}: not the archive of vaderSentiment 3.3.2: sha256 {digest[:12]}...")
    inner = _member(raw, _INNER)
    lines = [line for name in _TEXTS for line in _member(inner, name).decode("utf-8", "replace").splitlines()]
    return [fields[2].strip() for line in lines if len(fields := line.split("\t", 2)) == 3 and fields[2].strip()]


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
