"""Spelling to phonemes: batches almost without padding, and greedy decoding."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from edgeq.datasets.cmudict import Entry
from edgeq.models.ternary_bart import TernaryBart
from edgeq.text import Spelling

LONGEST_OUTPUT = 23  # tokens that decoding may write, the end included
EVALUATION_BATCH = 512


class Words:
    """Encoded words, cut into batches of equal lengths."""

    def __init__(self, entries: Sequence[Entry], spelling: Spelling) -> None:
        self.spelling = spelling
        self.entries = entries
        letters = [spelling.encode(entry.word) for entry in entries]
        phonemes = [spelling.encode_phonemes(entry.pronunciations[0]) for entry in entries]
        self.sources = _padded(letters, spelling.padding)
        self.given = _padded([[spelling.start, *p] for p in phonemes], spelling.padding)
        self.wanted = _padded([[*p, spelling.end] for p in phonemes], spelling.padding)
        self.source_lengths = torch.tensor([len(x) for x in letters])
        self.target_lengths = torch.tensor([len(x) + 1 for x in phonemes])

    def __len__(self) -> int:
        return len(self.entries)

    def batch(self, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of words (B,): letters and end (B, S); start and phonemes (B, T); phonemes and end (B, T); int64, padded."""
        source, target = int(self.source_lengths[index].max()), int(self.target_lengths[index].max())
        return self.sources[index, :source], self.given[index, :target], self.wanted[index, :target]

    def mask(self, sources: Tensor) -> Tensor:
        """(B, S) -> (B, S) int64: 1 where there is a letter or the end."""
        return (sources != self.spelling.padding).long()

    def batches(self, size: int, generator: torch.Generator) -> Iterator[tuple[Tensor, ...]]:
        """One pass in random order: words of the same lengths stay together, what does not fill a batch is left out."""
        order = torch.randperm(len(self), generator=generator)
        lengths = self.source_lengths[order] * 64 + self.target_lengths[order]
        order = order[lengths.argsort(stable=True)]
        groups = order[int(torch.randint(0, len(self) % size + 1, (), generator=generator)) :]
        groups = groups[: len(self) // size * size].view(-1, size)
        for row in torch.randperm(len(groups), generator=generator):
            yield self.batch(groups[row])


def decode(model: TernaryBart, words: Words) -> list[list[str]]:
    """Phonemes that a network writes for each word."""
    out: list[list[str]] = [[] for _ in range(len(words))]
    for part in torch.split(words.source_lengths.argsort(stable=True), EVALUATION_BATCH):
        sources, _, _ = words.batch(part)
        written = model.generate(sources, words.mask(sources), longest=LONGEST_OUTPUT).tolist()
        for index, ids in zip(part.tolist(), written, strict=True):
            out[index] = words.spelling.decode(ids)
    return out


def _padded(rows: Sequence[Sequence[int]], padding: int) -> Tensor:
    out = torch.full((len(rows), max(map(len, rows))), padding)
    for row, ids in zip(out, rows, strict=True):
        row[: len(ids)] = torch.tensor(ids)
    return out
