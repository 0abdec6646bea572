"""One label per text, and a network that takes ids of word pieces and their mask and gives a score per class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeq._errors import FormatError, UsageError
from edgeq.bench import accuracy
from edgeq.bench.report import Evaluation
from edgeq.datasets import own_texts, sst2
from edgeq.text import VOCABULARY, WordPieces, parse_vocabulary

from ._task import Outcome, Progress, Task

if TYPE_CHECKING:
    from edgeq.device import Net
    from edgeq.hub import PulledPackage

Array = np.ndarray[Any, Any]


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
        sentences = sst2.load("test")
        return self._texts([s.text for s in sentences], [s.label for s in sentences], config, dataset, "test")

    def own(self, path: Path, config: Mapping[str, object]) -> Texts:
        """What `edgeq.datasets.own_texts` reads, with labels."""
        texts = self.unlabelled(path, config)
        if (texts.labels < 0).any():
            raise FormatError(f"{path}: no labels in it; expected a .csv with text and label, or label, tab, text")
        names = config.get("labels")
        if isinstance(names, list) and (bad := np.flatnonzero(texts.labels >= len(names))).size:
            raise FormatError(f"{path}: text {bad[0] + 1} has label {texts.labels[bad[0]]} of {len(names)}, from 0")
        return texts

    def unlabelled(self, path: Path, config: Mapping[str, object]) -> Texts:
        """The same where labels may be missing: they are -1 then."""
        names = config.get("labels")
        found = own_texts.read(path, [str(name) for name in names] if isinstance(names, list) else [])
        labels = [-1] * len(found.texts) if found.labels is None else found.labels
        return self._texts(found.texts, labels, config, path.stem, "own")

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
        self, texts: Sequence[str], labels: Sequence[int], config: Mapping[str, object], dataset: str, split: str
    ) -> Texts:
        assert self._tokenizer is not None  # `open` came first
        given = config.get("input")
        tokens = given.get("tokens") if isinstance(given, Mapping) else None
        if type(tokens) is not int or not 2 < tokens <= 4096:
            raise FormatError(f'config.json: "input" must hold "tokens", 3 to 4096, got {tokens!r}')
        ids, mask = padded(self._tokenizer, texts, tokens)
        return Texts(ids, mask, np.array(labels, np.int64), dataset, split)


def padded(tokenizer: WordPieces, texts: Sequence[str], tokens: int) -> tuple[Array, Array]:
    """Ids and mask (n, tokens) int64 of texts, cut where they are longer."""
    ids = np.zeros((len(texts), tokens), np.int64)
    mask = np.zeros_like(ids)
    for row, text in enumerate(texts):
        encoded = tokenizer.encode(text, tokens)
        ids[row, : len(encoded)], mask[row, : len(encoded)] = encoded, 1
    return ids, mask


def make() -> TextClassification:
    return TextClassification()
