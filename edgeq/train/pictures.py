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
    """A data set of pictures that fits into memory as uint8.

    small_side  if not 0, training sees squares of this side until the learning rate begins to fall: cheaper epochs
    """

    def __init__(self, recipe: Recipe, loader: Loader, augmenter: Augmenter, *, small_side: int = 0) -> None:
        images, labels = _tensors(loader("train"))
        held_out = recipe.data.validation_items
        super().__init__(recipe, images[:-held_out], labels[:-held_out], (images[-held_out:], labels[-held_out:]))
        self._loader, self._augmenter = loader, augmenter
        self._small_side = small_side

    def varied(self, items: Tensor, epoch: int, generator: torch.Generator) -> Tensor:
        t = self.recipe.training
        small = self._small_side and epoch < t.epochs - t.decay_epochs
        return self._augmenter.varied(self.inputs[items], generator, side=self._small_side if small else None)

    def plain(self, inputs: Tensor) -> Tensor:
        return self._augmenter.plain(inputs)

    def test_part(self) -> tuple[Tensor, Tensor]:
        return _tensors(self._loader("test"))


def _tensors(split: Split) -> tuple[Tensor, Tensor]:
    if split.x.ndim not in (3, 4):
        raise UsageError(f"{split.dataset}: pictures are (n, h, w) or (n, h, w, c), got shape {split.x.shape}")
    return torch.from_numpy(split.x.copy()), torch.from_numpy(split.y)
