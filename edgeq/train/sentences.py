"""Sentences for a BERT: word pieces in a table, batches of similar lengths, random crops."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

from edgeq.text import FIRST, LAST, PAD, UNKNOWN, WordPieces

SHORTEST_CROP = 0.25  # of a sentence's word pieces
UNLABELLED = -1


def needed_pieces(texts: Iterable[str], full: Sequence[str]) -> tuple[str, ...]:
    """The entries of a vocabulary that occur in the texts, the special ones first, then single characters and pieces.

    A word of the texts is split as with the full vocabulary; what is new can still be spelt.
    """
    tokenizer = WordPieces(full)
    found = Counter(piece for text in texts for piece in tokenizer.pieces(text))
    special = (PAD, UNKNOWN, FIRST, LAST)
    ascii_letters = {piece for piece in full if len(piece.removeprefix("##")) == 1 and piece.isascii()}
    return (*special, *(p for p in full if p not in special and (p in found or p in ascii_letters)))


class Sentences:
    """Tokenised texts: ids (N, length) int64 padded with 0, lengths (N,), labels (N,), -1 where there is none."""

    def __init__(self, texts: Sequence[str], labels: Sequence[int], tokenizer: WordPieces, length: int) -> None:
        rows = [tokenizer.encode(text, length) for text in texts]
        self.ids = torch.zeros(len(rows), length, dtype=torch.int64)
        for row, ids in zip(self.ids, rows, strict=True):
            row[: len(ids)] = torch.tensor(ids)
        self.lengths = torch.tensor([len(ids) for ids in rows])
        self.labels = torch.tensor(labels)

    def __len__(self) -> int:
        return len(self.ids)

    def first(self, count: int) -> tuple[Tensor, Tensor]:
        """ids and mask of the first sentences."""
        return _trimmed(self.ids[:count], self.lengths[:count])

    def in_order(self, size: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """ids (B, T), mask (B, T), labels (B,) of all, short ones first."""
        for part in torch.split(self.lengths.argsort(stable=True), size):
            yield *_trimmed(self.ids[part], self.lengths[part]), self.labels[part]

    def batches(self, size: int, crops: float, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """One pass in random order, batches of similar lengths; the odd rest is left out.

        crops  share of sentences of which a random run of word pieces is taken, between the first and the last token;
               these have no label
        """
        order = torch.randperm(len(self), generator=generator)[: len(self) // size * size]
        ids, lengths, labels = self._cropped(order, crops, generator)
        groups = lengths.argsort(stable=True).view(-1, size)
        for row in torch.randperm(len(groups), generator=generator):
            part = groups[row]
            yield *_trimmed(ids[part], lengths[part]), labels[part]

    def _cropped(self, order: Tensor, share: float, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        ids, lengths, labels = self.ids[order], self.lengths[order], self.labels[order]
        if not share:
            return ids, lengths, labels
        inner = lengths - 2
        chosen = torch.rand(len(order), generator=generator) < share
        part = SHORTEST_CROP + (1 - SHORTEST_CROP) * torch.rand(len(order), generator=generator)
        kept = torch.where(chosen, (inner * part).ceil().long().clamp_min(1), inner)
        start = (torch.rand(len(order), generator=generator) * (inner - kept + 1)).long()
        column = torch.arange(ids.shape[1])
        source = torch.where(column == 0, 0, column + start[:, None]).clamp_max(ids.shape[1] - 1)
        last = ids.gather(1, (lengths - 1)[:, None])
        ids = torch.where(column < kept[:, None] + 1, ids.gather(1, source), 0)
        ids = torch.where(column == kept[:, None] + 1, last, ids)
        return ids, kept + 2, torch.where(kept < inner, UNLABELLED, labels)


def _trimmed(ids: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    longest = int(lengths.max())
    return ids[:, :longest], (torch.arange(longest) < lengths[:, None]).long()
