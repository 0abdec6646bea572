"""What the training loop asks of a data set, and the usual answer where every item has one label."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from edgeq._errors import UsageError
from edgeq.train.recipe import Recipe

Batch = tuple[Tensor, ...]
Part = Literal["validation", "test"]
EVALUATION_BATCH = 500


@dataclass(frozen=True)
class Scores:
    """What an evaluation found."""

    figures: Mapping[str, float]  # as they are printed and stored: {"accuracy": 0.98}; fractions of 1
    goodness: float  # what keep = "best" compares: larger is better


class Task(Protocol):
    """Training batches, their loss, and evaluation.

    Randomness comes from the generator, or from torch's global one, which the loop seeds for every epoch. Nothing else
    may be carried from batch to batch: a resumed run would differ.
    """

    def prepare(self, model: nn.Module, teacher: nn.Module | None) -> None:
        """Once before the first step of a fresh run: initial scales, pretrained tensors."""
        return None

    def steps(self) -> int:
        """Batches in an epoch."""

    def epoch(self, number: int, generator: torch.Generator) -> Iterator[Batch]:
        """That many training batches."""

    def loss(self, model: nn.Module, batch: Batch, teacher: nn.Module | None) -> tuple[Tensor, float]:
        """The mean loss (), and the batch's accuracy or the like, to be told to the user."""

    def evaluate(self, model: nn.Module, part: Part) -> Scores:
        """The model is in evaluation mode. "test" is asked for once, after the last epoch."""

    def files(self) -> Mapping[str, bytes]:
        """What belongs beside the weights by name: a vocabulary."""
        return {}


class Classification(Task, ABC):
    """Items in memory, each with one label; a network that gives logits; cross-entropy and, with a teacher, its own.

    inputs, labels  the training part, (n, ...) and (n,) int64
    validation      the same of the validation part
    """

    def __init__(self, recipe: Recipe, inputs: Tensor, labels: Tensor, validation: tuple[Tensor, Tensor]) -> None:
        if len(inputs) < recipe.training.batch:
            raise UsageError(
                f"{len(inputs)} training items, less {len(validation[0])} for validation, do not fill a batch"
            )
        self.recipe = recipe
        self.inputs, self.labels = inputs, labels
        self.validation = validation

    @abstractmethod
    def varied(self, items: Tensor, epoch: int, generator: torch.Generator) -> Tensor:
        """Training items with these indices (b,), augmented, as the network takes them."""

    @abstractmethod
    def plain(self, inputs: Tensor) -> Tensor:
        """Inputs as the network takes them."""

    @abstractmethod
    def test_part(self) -> tuple[Tensor, Tensor]:
        """Inputs and labels of the test split."""

    def steps(self) -> int:
        return len(self.inputs) // self.recipe.training.batch  # the odd rest is left out

    def epoch(self, number: int, generator: torch.Generator) -> Iterator[Batch]:
        batch = self.recipe.training.batch
        order = torch.randperm(len(self.inputs), generator=generator)
        for index in range(self.steps()):
            chosen = order[index * batch : (index + 1) * batch]
            yield self.varied(chosen, number, generator), self.labels[chosen]

    def loss(self, model: nn.Module, batch: Batch, teacher: nn.Module | None) -> tuple[Tensor, float]:
        inputs, labels = batch
        logits = model(inputs)
        loss = nn.functional.cross_entropy(logits, labels, label_smoothing=self.recipe.training.label_smoothing)
        if teacher is not None and (taught := self.recipe.distillation) is not None:
            with torch.no_grad():
                answers = (teacher(inputs) / taught.temperature).softmax(1)
            soft = nn.functional.cross_entropy(logits / taught.temperature, answers) * taught.temperature**2
            loss = taught.weight * soft + (1 - taught.weight) * loss
        return loss, float((logits.detach().argmax(1) == labels).float().mean())

    def evaluate(self, model: nn.Module, part: Part) -> Scores:
        """Fraction of items whose largest logit is the label's."""
        inputs, labels = self.validation if part == "validation" else self.test_part()
        correct = 0
        for start in range(0, len(inputs), EVALUATION_BATCH):
            some = slice(start, start + EVALUATION_BATCH)
            correct += int((model(self.plain(inputs[some])).argmax(1) == labels[some]).sum())
        accuracy = correct / len(inputs)
        return Scores({"accuracy": accuracy}, accuracy)
