"""Words and their pronunciations: a network that writes phonemes, judged by how many are wrong."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeq._errors import FormatError, NotFoundError, UsageError
from edgeq.bench import accuracy
from edgeq.bench.report import Evaluation, Figure
from edgeq.data import SPLIT_FILE
from edgeq.datasets import cmudict
from edgeq.datasets.cmudict import Entry
from edgeq.text import VOCABULARY, Spelling, parse_vocabulary

from ._task import Outcome, Progress, Task

if TYPE_CHECKING:
    from edgeq.device import Device, Net
    from edgeq.hub import PulledPackage

Array = np.ndarray[Any, Any]
MOST_BYTES = 16 << 20
MOST_TOKENS = 1024
BETWEEN = "|"  # two pronunciations of a word in the bundled split
EXAMPLE = "pronunciation"  # what is timed when there is no word


@dataclass(frozen=True)
class Words:
    entries: Sequence[Entry]
    dataset: str
    split: str

    def __len__(self) -> int:
        return len(self.entries)

    def head(self, n: int | None) -> Words:
        return Words(self.entries[:n], self.dataset, self.split)


def to_npz(entries: Sequence[Entry]) -> bytes:
    """The bytes of an evaluation split for a package: words and, in the dictionary's symbols, their pronunciations."""
    spoken = [BETWEEN.join(" ".join(phonemes) for phonemes in entry.pronunciations) for entry in entries]
    out = io.BytesIO()
    np.savez_compressed(out, words=np.array([entry.word for entry in entries]), pronunciations=np.array(spoken))
    return out.getvalue()


class Pronunciation(Task[Words]):
    """The package carries the symbols; "input" says how many tokens the network reads (source) and writes (target)."""

    items = "words"

    def __init__(self) -> None:
        self._spelling = Spelling()

    def open(self, package: PulledPackage) -> None:
        self._spelling = Spelling(parse_vocabulary(package.read(VOCABULARY), VOCABULARY))

    def bundled(self, package: PulledPackage, dataset: str) -> Words:
        return Words(_parse(package.read(SPLIT_FILE), SPLIT_FILE), dataset, "bundled")

    def full(self, dataset: str, config: Mapping[str, object]) -> Words:
        if dataset != cmudict.NAME:
            raise UsageError(f"{dataset}: no test split of this name is known; use --data PATH")
        return Words(cmudict.load("test"), dataset, "test")

    def own(self, path: Path, config: Mapping[str, object]) -> Words:
        """Lines "word PH ON EM ES", as in the CMU dictionary."""
        try:
            with open(path, "rb") as stream:
                raw = stream.read(MOST_BYTES + 1)
        except OSError:
            raise NotFoundError(f"{path}: no readable file; expected lines of a word and its phonemes") from None
        try:
            entries = cmudict.parse(raw.decode("utf-8"), path.name)
        except UnicodeDecodeError as error:
            raise FormatError(f"{path}: not UTF-8 at byte {error.start}") from error
        if len(raw) > MOST_BYTES or not entries:
            raise FormatError(f"{path}: no words of letters with phonemes, or more than {MOST_BYTES} bytes")
        return Words(entries, path.stem, "own")

    def deploy(self, device: Device, path: Path, config: Mapping[str, object], progress: Callable[..., None]) -> Net:
        """Both methods of one program; a `Net` whose one execution is a whole word."""
        from edgeq.device.sequence import SequenceNet

        _, target = _lengths(config)
        stored = device.put(path, progress=progress).name
        encode, decode = (device.load(stored, method) for method in ("encode", "decode"))
        return SequenceNet(encode, decode, start=self._spelling.start, end=self._spelling.end, longest=target)

    def inputs(self, samples: Words, config: Mapping[str, object]) -> tuple[Array, ...]:
        """ids and mask (n, S) int64. Raises UsageError for a word that is too long for the network."""
        source, _ = _lengths(config)
        ids = np.full((len(samples), source), self._spelling.padding, np.int64)
        mask = np.zeros_like(ids)
        for row, entry in enumerate(samples.entries):
            letters = self._spelling.encode(entry.word)
            if len(letters) > source:
                raise UsageError(f"{entry.word}: {len(letters) - 1} letters; this network reads at most {source - 1}")
            ids[row, : len(letters)], mask[row, : len(letters)] = letters, 1
        return ids, mask

    def first(self, net: Net, samples: Words | None, config: Mapping[str, object]) -> tuple[Array, ...]:
        return self.inputs(samples.head(1) if samples else Words([Entry(EXAMPLE, ())], "example", "own"), config)

    def evaluate(self, net: Net, samples: Words, config: Mapping[str, object], progress: Progress) -> Outcome:
        outcome = net.evaluate(self.inputs(samples, config), progress=progress)
        written = [self._spelling.decode(row) for row in outcome.outputs[0].tolist()]
        rates = cmudict.error_rates(written, samples.entries)
        figures = []
        for key, references in (("", "the first pronunciation"), ("_any", "the nearest listed pronunciation")):
            how = f"greedy decoding against {references}"
            words = getattr(rates, f"word_error_rate{key}")
            low, high = accuracy.wilson(round(words * len(samples)), len(samples))
            figures += [
                Figure(f"phoneme_error_rate{key}", 100 * getattr(rates, f"phoneme_error_rate{key}"), "%", how),
                Figure(f"word_error_rate{key}", 100 * words, "%", how, 100 * low, 100 * high),
            ]
        evaluation = Evaluation(samples.dataset, samples.split, len(samples), figures=figures)
        return Outcome(evaluation, outcome.ticks)


def _lengths(config: Mapping[str, object]) -> tuple[int, int]:
    given = config.get("input")
    found = [given.get(key) if isinstance(given, Mapping) else None for key in ("source", "target")]
    source, target = (n if type(n) is int and 1 < n <= MOST_TOKENS else 0 for n in found)
    if not source or not target:
        raise FormatError(f'config.json: "input" must hold "source" and "target", 2 to {MOST_TOKENS} tokens each')
    return source, target


def _parse(raw: bytes, name: str) -> list[Entry]:
    if len(raw) > MOST_BYTES:
        raise FormatError(f"{name}: larger than {MOST_BYTES} bytes")
    try:
        with np.load(io.BytesIO(raw), allow_pickle=False) as file:
            arrays = [file[key] for key in ("words", "pronunciations")]
    except (KeyError, ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise FormatError(f"{name}: not an .npz file of words and pronunciations: {error}") from None
    words, spoken = arrays
    if words.dtype.kind != "U" or spoken.dtype.kind != "U" or words.ndim != 1 or words.shape != spoken.shape:
        raise FormatError(f"{name}: words and pronunciations must be texts (n,), got {words.dtype}, {spoken.dtype}")
    text = "\n".join(
        f"{word} {phonemes}"
        for word, several in zip(words.tolist(), spoken.tolist(), strict=True)
        for phonemes in several.split(BETWEEN)
    )
    entries = cmudict.parse(text, name)
    if len(entries) != len(words) or not entries:
        raise FormatError(f"{name}: {len(words)} words, of which {len(entries)} are different words of letters")
    return entries


def make() -> Pronunciation:
    return Pronunciation()
