"""cmudict: spelling to phonemes with a ternary BART, alone or distilled from its float twin."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Protocol

import torch
from torch import Tensor, nn

from edgeq._errors import UsageError
from edgeq.datasets import cmudict
from edgeq.models.ternary_bart import TernaryBart
from edgeq.nn.elastic import fit_at_next_input
from edgeq.text import VOCABULARY, Spelling, format_vocabulary
from edgeq.train._record import check_ranges
from edgeq.train.g2p import Words, decode
from edgeq.train.recipe import Recipe
from edgeq.train.task import Batch, Part, Scores, Task

CALIBRATION_WORDS = 256


class Loader(Protocol):
    """Gives the words of a part."""

    def __call__(self, part: cmudict.Part, /) -> list[cmudict.Entry]: ...


@dataclass(frozen=True)
class Options:
    """The dictionary, its parts and its symbols are fixed."""

    name: str
    words: int = 0  # an epoch has so many training words, others each time; 0: all

    def __post_init__(self) -> None:
        check_ranges({"words": (self.words, 0, 1_000_000)})


class Pronouncing(Task):
    """Cross-entropy of the first pronunciation; with a teacher also its answers and hidden states."""

    def __init__(self, recipe: Recipe, load: Loader) -> None:
        self.spelling = Spelling()
        config, s = recipe.model, self.spelling
        fits = (config.padding, config.start, config.end) == (s.padding, s.start, s.end)
        if not fits or config.vocabulary != len(s.symbols):
            raise UsageError(
                f"model: spelling to phonemes needs vocabulary = {len(s.symbols)}, padding = {s.padding}, "
                f"start = {s.start}, end = {s.end}"
            )
        self.recipe, self.load = recipe, load
        self.train = Words(load("train"), s)
        self.validation = Words(load("validation"), s)

    def prepare(self, model: nn.Module, teacher: nn.Module | None) -> None:
        """Learnt steps of activations by least squares."""
        assert isinstance(model, TernaryBart)
        fit_at_next_input(model)
        sources, given, _ = self.train.batch(torch.arange(0, len(self.train), len(self.train) // CALIBRATION_WORDS + 1))
        with torch.no_grad():
            model(sources, self.train.mask(sources), given)

    def steps(self) -> int:
        words = self.recipe.data.words
        return min(words or len(self.train), len(self.train)) // self.recipe.training.batch

    def epoch(self, number: int, generator: torch.Generator) -> Iterator[Batch]:
        return islice(self.train.batches(self.recipe.training.batch, generator), self.steps())

    def loss(self, model: nn.Module, batch: Batch, teacher: nn.Module | None) -> tuple[Tensor, float]:
        assert isinstance(model, TernaryBart)
        sources, given, wanted = batch
        mask = self.train.mask(sources)
        found = model.features(sources, mask, given)
        padding = self.spelling.padding
        logits, labels = found.logits.flatten(0, 1), wanted.flatten()
        loss = nn.functional.cross_entropy(logits, labels, ignore_index=padding)
        if isinstance(teacher, TernaryBart) and (taught := self.recipe.distillation) is not None:
            with torch.no_grad():
                aims = teacher.features(sources, mask, given)
                answers = (aims.logits.flatten(0, 1) / taught.temperature).softmax(1)
                real = (labels != padding).float()
            soft = nn.functional.cross_entropy(logits / taught.temperature, answers, reduction="none")
            soft = (soft * real).sum() / real.sum() * taught.temperature**2
            loss = taught.weight * soft + (1 - taught.weight) * loss
            if taught.hidden:
                pairs = [*zip(found.encoder_hidden, aims.encoder_hidden, strict=True)]
                pairs += zip(found.decoder_hidden, aims.decoder_hidden, strict=True)
                distances = [nn.functional.mse_loss(own, aim) for own, aim in pairs]
                loss = loss + taught.hidden * torch.stack(distances).mean()
        right = (logits.detach().argmax(1) == labels) & (labels != padding)
        return loss, float(right.sum() / (labels != padding).sum())

    def evaluate(self, model: nn.Module, part: Part) -> Scores:
        """Error rates of greedy decoding."""
        assert isinstance(model, TernaryBart)
        words = self.validation if part == "validation" else Words(self.load("test"), self.spelling)
        rates = cmudict.error_rates(decode(model, words), words.entries)
        figures = {name: value for name, value in asdict(rates).items() if name != "count"}
        return Scores(figures, -rates.phoneme_error_rate)

    def files(self) -> Mapping[str, bytes]:
        return {VOCABULARY: format_vocabulary(self.spelling.symbols)}


def make(recipe: Recipe, load: Loader = cmudict.load) -> Pronouncing:
    """The task of a recipe; raises NotFoundError with the way to get the dictionary, UsageError for other symbols."""
    return Pronouncing(recipe, load)
