"""One label per text, and a network that takes ids of word pieces and their mask and gives a score per class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeq._errors import FormatError, NotFoundError, UsageError
from edgeq.bench import accuracy
from edgeq.bench.report import Evaluation
from edgeq.datasets import sst2
from edgeq.text import VOCABULARY, WordPieces, parse_vocabulary

from ._task import Outcome, Progress, Task

if TYPE_CHECKING:
    from edgeq.device import Net
    from edgeq.hub import PulledPackage

Array = np.ndarray[Any, Any]
LARGEST_OWN_BYTES = 64 << 20


@dataclass(frozen=True)
class Texts:
    """ids and mask (n, T) int64, labels (n,) int64."""

    ids: Array
    mask: Array
    labels: Array
    dataset: str
    split: str

    def __len__(self) -> int:
        return len(self.ids)

    def head(self, n: int | None) -> Texts:
        return Texts(self.ids[:n], self.mask[:n], self.labels[:n], self.dataset, self.split)


class TextClassification(Task[Texts]):
    """The package carries the vocabulary; SST-2, which has no licence, it does not carry."""

    items = "sentences"

    def __init__(self) -> None:
        self._tokenizer: WordPieces | None = None

    def open(self, package: PulledPackage) -> None:
        self._tokenizer = WordPieces(parse_vocabulary(package.read(VOCABULARY), VOCABULARY))

    def bundled(self, package: PulledPackage, dataset: str) -> Texts:
        raise UsageError(f"{dataset}: packages carry no sentences; use --full or --data PATH")

    def full(self, dataset: str, config: Mapping[str, object]) -> Texts:
        if dataset != sst2.NAME:
            raise UsageError(f"{dataset}: no test split of this name is known; use --data PATH")
        return self._texts(sst2.load("test"), config, dataset, "test")

    def own(self, path: Path, config: Mapping[str, object]) -> Texts:
        """Lines "label, tab, text"."""
        try:
            with open(path, "rb") as stream:
                raw = stream.read(LARGEST_OWN_BYTES + 1)
        except OSError:
            raise NotFoundError(f"{path}: no readable file; expected lines of label, tab and text") from None
        if len(raw) > LARGEST_OWN_BYTES:
            raise FormatError(f"{path}: larger than {LARGEST_OWN_BYTES} bytes")
        try:
            return self._texts(sst2.parse(raw.decode("utf-8"), path.name), config, path.stem, "own")
        except UnicodeDecodeError as error:
            raise FormatError(f"{path}: not UTF-8 at byte {error.start}") from error

    def inputs(self, samples: Texts, config: Mapping[str, object]) -> tuple[Array, ...]:
        return samples.ids, samples.mask

    def first(self, net: Net, samples: Texts | None, config: Mapping[str, object]) -> tuple[Array, ...]:
        """Without a sentence: ids of random words of full length, the longest that the network takes."""
        if samples is not None:
            return super().first(net, samples, config)
        assert self._tokenizer is not None
        shape = net.inputs[0].shape
        ids = np.random.default_rng(0).integers(0, len(self._tokenizer.ids), shape)
        return ids, np.ones(shape, np.int64)

    def evaluate(self, net: Net, samples: Texts, config: Mapping[str, object], progress: Progress) -> Outcome:
        outcome = net.evaluate(self.inputs(samples, config), progress=progress)
        score = accuracy.top1(outcome.outputs[0].reshape(len(samples), -1), samples.labels)
        return Outcome(Evaluation(samples.dataset, samples.split, score.n, accuracy=score), outcome.ticks)

    def _texts(
        self, sentences: Sequence[sst2.Sentence], config: Mapping[str, object], dataset: str, split: str
    ) -> Texts:
        assert self._tokenizer is not None  # `open` came first
        given = config.get("input")
        tokens = given.get("tokens") if isinstance(given, Mapping) else None
        if type(tokens) is not int or not 2 < tokens <= 4096:
            raise FormatError(f'config.json: "input" must hold "tokens", 3 to 4096, got {tokens!r}')
        ids = np.zeros((len(sentences), tokens), np.int64)
        mask = np.zeros_like(ids)
        for row, sentence in enumerate(sentences):
            encoded = self._tokenizer.encode(sentence.text, tokens)
            ids[row, : len(encoded)], mask[row, : len(encoded)] = encoded, 1
        return Texts(ids, mask, np.array([s.label for s in sentences], np.int64), dataset, split)


def make() -> TextClassification:
    return TextClassification()
