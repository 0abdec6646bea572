"""Sentence encoders from text to INT4: word pieces, calibration, and sentences kept apart to judge the result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edgeq._errors import UsageError
from edgeq.importers import minilm as importer
from edgeq.importers.checkpoint import read_checkpoint
from edgeq.models import minilm
from edgeq.models.minilm import MiniLM
from edgeq.nn.int8_embedding import Int8Embedding
from edgeq.ptq.network import Batches, quantize
from edgeq.text import VOCABULARY, WordPieces, read_vocabulary

SAMPLE = Path(__file__).parent / "ptq" / "sentences.txt"
HELD_OUT = 5  # every fifth sentence is kept from the calibration, for the comparison


@dataclass(frozen=True)
class Quantised:
    """A packed encoder, and the sentences that were kept from its calibration."""

    network: MiniLM
    held_out: list[list[int]]  # ids
    exact: Tensor  # (n, H) their vectors from the float network


def read_sentences(path: Path) -> list[str]:
    """The lines of a text file, without empty ones and without comments (#).

    raises  UsageError for a file that is not readable UTF-8 text, or has fewer than 20 lines
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not readable as UTF-8 text: {error}") from None
    sentences = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if len(sentences) < 4 * HELD_OUT:
        raise UsageError(f"{path}: {len(sentences)} sentences, one a line; calibration needs at least {4 * HELD_OUT}")
    return sentences


def quantised(
    folder: Path,
    sentences: Sequence[str],
    *,
    others: Sequence[str] = (),
    tokens: int | None = None,
    **options: Any,
) -> Quantised:
    """The packed network of a float encoder's checkpoint folder.

    folder     config.json, weights, vocab.txt
    sentences  like those that the encoder will read, to calibrate with
    others     to judge the result on; where there are none, every fifth of `sentences` is held out
    options    of `edgeq.ptq.quantize`
    raises     FormatError, UnsupportedError, NotFoundError for the checkpoint
    """
    model = importer.build(read_checkpoint(folder), tokens)
    pieces = WordPieces(read_vocabulary(folder / VOCABULARY))
    calibration = list(sentences) if others else [s for i, s in enumerate(sentences) if i % HELD_OUT]
    held_out, seen = (
        [pieces.encode(sentence, model.config.tokens) for sentence in texts]
        for texts in (others or sentences[::HELD_OUT], calibration)
    )
    packed = pack(model, batches(seen), **options)
    return Quantised(packed, held_out, vectors(model, held_out))


def pack(model: MiniLM, calibration: Batches, *, group: int = 32, **options: Any) -> MiniLM:
    """The packed form of a float network.

    calibration  (ids, mask) of real sentences, all tokens real
    options      further ones of `edgeq.ptq.quantize`
    """
    packed = quantize(model, calibration=calibration, group=group, **options)
    assert isinstance(packed, MiniLM) and isinstance(model.word, nn.Embedding)
    packed.config = replace(model.config, group=group)
    return minilm.deploy(packed, Int8Embedding.from_float(model.word))


def batches(ids: Sequence[Sequence[int]]) -> Batches:
    """Sentences of the same length together, so that none is padded: [(ids (n, t), mask (n, t))]."""
    by_length: dict[int, list[Sequence[int]]] = {}
    for sentence in ids:
        by_length.setdefault(len(sentence), []).append(sentence)
    return [(block := torch.tensor(rows), torch.ones_like(block)) for rows in by_length.values()]


@torch.no_grad()
def vectors(model: MiniLM, ids: Sequence[Sequence[int]]) -> Tensor:
    """(n, H) in the order of the sentences."""
    rows = [torch.tensor([sentence]) for sentence in ids]
    return torch.cat([model(row, torch.ones_like(row)) for row in rows])
