"""CIFAR-10, the original and the copy re-compressed as JPEG: 32 x 32 pictures in colour, ten classes."""

from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch

from edgeq import data
from edgeq.datasets import cifar10
from edgeq.train._record import check_ranges
from edgeq.train.augment import Augmenter
from edgeq.train.pictures import Loader, Pictures
from edgeq.train.recipe import Recipe


@dataclass(frozen=True)
class Options:
    """Normalisation on the 0..1 scale, channel by channel, and variation; as for Fashion-MNIST."""

    name: str
    validation_items: int
    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]
    shift_pixels: int
    flip: bool
    small_side: int = 0  # 0: none; training sees squares of this side until the learning rate begins to fall

    def __post_init__(self) -> None:
        check_ranges(
            {
                "validation_items": (self.validation_items, 1, 1_000_000),
                **{f"mean[{i}]": (mean, -1e6, 1e6) for i, mean in enumerate(self.mean)},
                **{f"deviation[{i}]": (deviation, 1e-6, 1e6) for i, deviation in enumerate(self.deviation)},
                "shift_pixels": (self.shift_pixels, 0, 16),
                "small_side": (self.small_side, 0, cifar10.SIDE),
            }
        )

    def augmenter(self) -> Augmenter:
        mean, deviation = torch.tensor(self.mean), torch.tensor(self.deviation)
        return Augmenter(mean, deviation, shift_pixels=self.shift_pixels, flip=self.flip)


def make(recipe: Recipe, loader: Loader | None = None) -> Pictures:
    """The task of a recipe; `loader` gives other pictures than the data set that it names."""
    options: Options = recipe.data
    loader = loader or partial(load, options.name)
    return Pictures(recipe, loader, options.augmenter(), small_side=options.small_side)


def load(name: str, split: Literal["train", "test"], /) -> data.Split:
    return data.Split(*cifar10.load(name, split), name, split)
