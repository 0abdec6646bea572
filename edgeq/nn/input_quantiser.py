"""Quantisation of a layer's input with one bound per channel, and the statistics that the bounds come from."""

from typing import Literal

import torch
from torch import Tensor, nn

from edgeq.schemes import uniform

UNSET = -1.0  # a bounds array that is -1 throughout: the input is passed through
STATISTIC_RATE = 0.1


class InputQuantiser(nn.Module):
    """(..., C) -> (..., C) on a SYM or POS grid; identity as long as every bound is -1.

    Calibration (training only): after `start_calibration()` every training step moves the statistics of each channel
    a tenth of the way to the batch maximum and minimum, exact zeros left out (no bias correction: a few dozen steps
    are needed). After `freeze_bounds()` the next training step updates them a last time and sets the bounds, which it
    already uses itself; from then on they are constant.
    """

    bounds: Tensor
    statistic_max: Tensor
    statistic_min: Tensor

    def __init__(self, channels: int, bits: int, grid: Literal["sym", "pos"]) -> None:
        super().__init__()
        self.bits = bits
        self.grid = grid
        self.phase: Literal["constant", "observe", "freeze"] = "constant"
        self.register_buffer("bounds", torch.full((channels,), UNSET))  # (C,)
        self.register_buffer("statistic_max", torch.zeros(channels))  # (C,)
        self.register_buffer("statistic_min", torch.zeros(channels))  # (C,)

    def start_calibration(self) -> None:
        self.phase = "observe"

    def freeze_bounds(self) -> None:
        self.phase = "freeze"

    @property
    def is_set(self) -> bool:
        """Whether the input is quantised at all; a single -1 among other bounds has no meaning of its own."""
        return bool((self.bounds != UNSET).any())

    def forward(self, x: Tensor) -> Tensor:
        if self.training and self.phase != "constant":
            self._observe(x.detach())
            if self.phase == "freeze":
                self.bounds.copy_(torch.maximum(self.statistic_max.abs(), self.statistic_min.abs()))
                self.phase = "constant"
        if not self.is_set:
            return x
        quantise = uniform.symmetric if self.grid == "sym" else uniform.positive
        return quantise(x, self.bounds, self.bits)

    def _observe(self, x: Tensor) -> None:
        rows = x.reshape(-1, x.shape[-1])
        zero = rows == 0
        seen = ~zero.all(0)
        high = rows.masked_fill(zero, -torch.inf).amax(0)
        low = rows.masked_fill(zero, torch.inf).amin(0)
        for statistic, batch in ((self.statistic_max, high), (self.statistic_min, low)):
            statistic.copy_(torch.where(seen, statistic + STATISTIC_RATE * (batch - statistic), statistic))
