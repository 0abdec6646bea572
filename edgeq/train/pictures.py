"""Classifying pictures: the last items of the training split are for validation, training pictures are varied."""

from typing import Literal, Protocol

import torch
from torch import Tensor

from edgeq._errors import UsageError
from edgeq.data import Split
from edgeq.train.augment import Augmenter
from edgeq.train.recipe import Recipe
from edgeq.train.task import Classification


class Loader(Protocol):
    """Gives a split of a data set."""

    def __call__(self, split: Literal["train", "test"], /) -> Split: ...


class Pictures(Classification):
    """A data set of pictures that fits into memory as uint8."""

    def __init__(self, recipe: Recipe, loader: Loader, augmenter: Augmenter) -> None:
        images, labels = _tensors(loader("train"))
        held_out = recipe.data.validation_items
        super().__init__(recipe, images[:-held_out], labels[:-held_out], (images[-held_out:], labels[-held_out:]))
        self._loader, self._augmenter = loader, augmenter

    def varied(self, items: Tensor, generator: torch.Generator) -> Tensor:
        return self._augmenter.varied(self.inputs[items], generator)

    def plain(self, inputs: Tensor) -> Tensor:
        return self._augmenter.plain(inputs)

    def test_part(self) -> tuple[Tensor, Tensor]:
        return _tensors(self._loader("test"))


def _tensors(split: Split) -> tuple[Tensor, Tensor]:
    if split.x.ndim not in (3, 4):
        raise UsageError(f"{split.dataset}: pictures are (n, h, w) or (n, h, w, c), got shape {split.x.shape}")
    return torch.from_numpy(split.x.copy()), torch.from_numpy(split.y)
