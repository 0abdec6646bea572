"""SST-2 with a BERT that starts from MiniLM's first layers: float, or low-bit and distilled from the float one."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgeq._errors import UsageError
from edgeq.datasets import pretrained, snippets, sst2
from edgeq.datasets.sst2 import Sentence
from edgeq.importers import bert_checkpoint
from edgeq.importers.checkpoint import read_checkpoint
from edgeq.models._bert import AttentionTrace, Bert
from edgeq.nn.elastic import fit_at_next_input
from edgeq.text import VOCABULARY, WordPieces, format_vocabulary, read_vocabulary
from edgeq.train._record import check_ranges
from edgeq.train.recipe import Recipe
from edgeq.train.sentences import UNLABELLED, Sentences, needed_pieces
from edgeq.train.task import Batch, Part, Scores, Task

CALIBRATION_SENTENCES = 64
STATISTICS_SENTENCES = 512
EVALUATION_BATCH = 64


@dataclass(frozen=True)
class Options:
    """The sentences and what a student compares with its teacher beside the answers."""

    name: str
    length: int = 40  # word pieces at most, [CLS] and [SEP] included
    snippets: bool = False  # also review snippets without labels, less those that occur in SST-2
    crops: float = 0.0  # share of sentences of which only a random part is shown, labelled by the teacher
    distance: Literal["variance", "direction"] = "variance"  # between hidden states, see `_distances`

    def __post_init__(self) -> None:
        check_ranges({"length": (self.length, 3, 512), "crops": (self.crops, 0.0, 1.0)})


@dataclass(frozen=True)
class Sources:
    """Everything that is read from disk."""

    train: list[Sentence]
    validation: list[Sentence]
    test: list[Sentence]
    snippets: list[str]
    pretrained: Path  # MiniLM's folder


def published() -> Sources:
    """Raises NotFoundError with the way to get what is missing."""
    parts = (sst2.load("train"), sst2.load("validation"), sst2.load("test"))
    return Sources(*parts, snippets.load(), pretrained.minilm())


class Sentiment(Task):
    """Cross-entropy; with a teacher also its answers and hidden states (weights: recipe.distillation)."""

    def __init__(self, recipe: Recipe, sources: Sources) -> None:
        self.recipe, self.options, self.sources = recipe, recipe.data, sources
        known = [sentence.text for part in (sources.train, sources.validation, sources.test) for sentence in part]
        extra = snippets.without(sources.snippets, known)  # the test part's sentences are only looked at to avoid them
        texts, labels = [s.text for s in sources.train], [s.label for s in sources.train]
        self.full = read_vocabulary(sources.pretrained / VOCABULARY)
        self.vocabulary = needed_pieces([*texts, *extra], self.full)
        if recipe.model.vocabulary != len(self.vocabulary):
            raise UsageError(f"model.vocabulary: the training sentences need {len(self.vocabulary)} word pieces")
        self.tokenizer = WordPieces(self.vocabulary)
        if self.options.snippets:
            texts, labels = [*texts, *extra], [*labels, *[UNLABELLED] * len(extra)]
        self.train = Sentences(texts, labels, self.tokenizer, self.options.length)
        self.validation = self._labelled(sources.validation)

    def prepare(self, model: nn.Module, teacher: nn.Module | None) -> None:
        """MiniLM's tensors for a network without a teacher; steps of activations by least squares."""
        assert isinstance(model, Bert)
        if teacher is None:
            rows = {piece: number for number, piece in enumerate(self.full)}
            checkpoint = read_checkpoint(self.sources.pretrained)
            bert_checkpoint.start(model, checkpoint, torch.tensor([rows[piece] for piece in self.vocabulary]))
        fit_at_next_input(model)
        with torch.no_grad():
            model.train()
            model(*self.train.first(CALIBRATION_SENTENCES))

    def steps(self) -> int:
        return len(self.train) // self.recipe.training.batch

    def epoch(self, number: int, generator: torch.Generator) -> Iterator[Batch]:
        return self.train.batches(self.recipe.training.batch, self.options.crops, generator)

    def loss(self, model: nn.Module, batch: Batch, teacher: nn.Module | None) -> tuple[Tensor, float]:
        assert isinstance(model, Bert)
        ids, mask, labels = batch
        found = model.features(ids, mask)
        logits, labelled = found.logits, labels != UNLABELLED
        count = int(labelled.sum())
        hard = functional.cross_entropy(logits, labels, ignore_index=UNLABELLED, reduction="sum") / max(count, 1)
        correct = int((logits.detach().argmax(1) == labels).sum())
        loss, accuracy = hard, correct / max(count, 1)
        if isinstance(teacher, Bert) and (taught := self.recipe.distillation) is not None:
            with torch.no_grad():
                aims = teacher.features(ids, mask)
                answers = (aims.logits / taught.temperature).softmax(1)
            soft = functional.cross_entropy(logits / taught.temperature, answers) * taught.temperature**2
            loss = taught.weight * soft + (1 - taught.weight) * hard
            if taught.hidden:
                stride = len(teacher.layers) // len(model.layers)
                distances = _distances(found.hidden, aims.hidden[::stride], mask, self.options.distance)
                if self.options.distance == "direction":
                    distances += _relations(found.attention, aims.attention[stride - 1 :: stride])
                loss = loss + taught.hidden * torch.stack(distances).mean()
        return loss, accuracy

    def evaluate(self, model: nn.Module, part: Part) -> Scores:
        """Share of sentences whose larger logit is the label's, after the stored statistics have been renewed."""
        assert isinstance(model, Bert)
        renew_statistics(model, self.train)
        sentences = self.validation if part == "validation" else self._labelled(self.sources.test)
        correct = 0
        for ids, mask, labels in sentences.in_order(EVALUATION_BATCH):
            correct += int((model(ids, mask).argmax(1) == labels).sum())
        accuracy = correct / len(sentences)
        return Scores({"accuracy": accuracy}, accuracy)

    def files(self) -> Mapping[str, bytes]:
        return {VOCABULARY: format_vocabulary(self.vocabulary)}

    def _labelled(self, part: list[Sentence]) -> Sentences:
        texts, labels = [s.text for s in part], [s.label for s in part]
        return Sentences(texts, labels, self.tokenizer, self.options.length)


def make(recipe: Recipe, sources: Sources | None = None) -> Sentiment:
    """The task of a recipe. Raises NotFoundError with the way to get what is missing, UsageError."""
    return Sentiment(recipe, sources or published())


def renew_statistics(model: Bert, sentences: Sentences) -> None:
    """Mean and variance of the pooled features over the first training sentences, for the network as it is now.

    Features drift faster than a running average follows. A network without such statistics is left alone.
    """
    for layer in model.pooler.modules():
        if isinstance(layer, nn.BatchNorm1d):
            layer.reset_running_stats()
            layer.momentum, kept = 1.0, layer.momentum
            layer.train()
            model(*sentences.first(STATISTICS_SENTENCES))
            layer.eval()
            layer.momentum = kept


def _distances(found: list[Tensor], aims: list[Tensor], mask: Tensor, kind: str) -> list[Tensor]:
    """One () for each hidden state (B, T, H), over real tokens.

    variance   mean square of the error divided by the aim's variance of the channel: a large constant vector, which
               hidden states carry, does not count
    direction  BiBERT: distance of the tensors after each was divided by its norm
    """
    real = mask.bool()
    pairs = [(own[real], aim[real]) for own, aim in zip(found, aims, strict=True)]
    if kind == "direction":
        return [_direction(own, aim) for own, aim in pairs]
    return [((own - aim).square() / (aim.var(0) + 1e-6)).mean() for own, aim in pairs]


def _relations(found: list[AttentionTrace], aims: list[AttentionTrace]) -> list[Tensor]:
    """BiBERT: the distance in direction between the products q q^T, k k^T and v v^T (B, h, T, T) of each layer."""
    pairs = [
        (getattr(own, name), getattr(aim, name))
        for own, aim in zip(found, aims, strict=True)
        for name in ("query", "key", "value")
    ]
    return [_direction(own @ own.mT, aim @ aim.mT) for own, aim in pairs]


def _direction(own: Tensor, aim: Tensor) -> Tensor:
    norm = torch.linalg.vector_norm
    distance: Tensor = norm(own / norm(own) - aim / norm(aim))
    return distance
