"""Picture batches: random shift and flip by a seeded generator, and normalisation."""

import torch
from torch import Tensor

from edgeq.train.recipe import DataRecipe


class Augmenter:
    """Turns uint8 pictures (n, H, W) into normalised float32 batches (b, H, W, 1)."""

    def __init__(self, recipe: DataRecipe) -> None:
        self._recipe = recipe

    def plain(self, images: Tensor) -> Tensor:
        """Normalisation only."""
        x = images.to(torch.float32).div_(255.0).sub_(self._recipe.mean).div_(self._recipe.deviation)
        return x.unsqueeze(-1)

    def varied(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Each picture shifted by -n..n pixels both ways (black comes in) and perhaps mirrored, then `plain`."""
        count, height, width = images.shape
        n = self._recipe.shift_pixels
        padded = torch.nn.functional.pad(images, (n, n, n, n))
        offsets = torch.randint(0, 2 * n + 1, (2, count, 1), generator=generator)
        rows = torch.arange(height) + offsets[0]
        columns = torch.arange(width).expand(count, width)
        if self._recipe.flip:
            mirrored = torch.randint(0, 2, (count, 1), generator=generator)
            columns = torch.where(mirrored == 1, columns.flip(1), columns)
        columns = columns + offsets[1]
        picture = torch.arange(count)[:, None, None]
        return self.plain(padded[picture, rows[:, :, None], columns[:, None, :]])
