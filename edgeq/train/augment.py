"""Picture batches: random shift and flip by a seeded generator, and normalisation."""

import torch
from torch import Tensor


class Augmenter:
    """Turns uint8 pictures (n, H, W) or (n, H, W, C) into normalised float32 batches (b, H, W, C).

    mean, deviation  of the 0..1 scale, one for all channels or (C,)
    shift_pixels     shift of training pictures by -n..n both ways; black comes in
    flip             training pictures are mirrored with probability 1/2
    """

    def __init__(self, mean: float | Tensor, deviation: float | Tensor, *, shift_pixels: int, flip: bool) -> None:
        self._mean, self._deviation = mean, deviation
        self._shift_pixels, self._flip = shift_pixels, flip

    def plain(self, images: Tensor) -> Tensor:
        """Normalisation only."""
        x = images.to(torch.float32).div_(255.0).sub_(self._mean).div_(self._deviation)
        return x.unsqueeze(-1) if x.ndim == 3 else x

    def varied(self, images: Tensor, generator: torch.Generator, *, side: int | None = None) -> Tensor:
        """Each picture shifted and perhaps mirrored, then `plain`; with a side, a square of it instead of the whole."""
        count, height, width = images.shape[:3]
        n, spare = self._shift_pixels, 0
        if side is not None:
            spare, height, width = height - side, side, side
        padded = _bordered(images, n)
        offsets = torch.randint(0, 2 * n + spare + 1, (2, count, 1), generator=generator)
        rows = torch.arange(height) + offsets[0]
        columns = torch.arange(width).expand(count, width)
        if self._flip:
            mirrored = torch.randint(0, 2, (count, 1), generator=generator)
            columns = torch.where(mirrored == 1, columns.flip(1), columns)
        columns = columns + offsets[1]
        picture = torch.arange(count)[:, None, None]
        return self.plain(padded[picture, rows[:, :, None], columns[:, None, :]])


def _bordered(images: Tensor, n: int) -> Tensor:
    """Black borders of n pixels around (n, H, W) or (n, H, W, C)."""
    channels = (0, 0) if images.ndim == 4 else ()
    return torch.nn.functional.pad(images, (*channels, n, n, n, n))
