"""Quantisation of a whole tensor with one learnt step (BiT, TBT)."""

import torch
from torch import Tensor, nn

from edgeq.schemes import elastic
from edgeq.schemes.elastic import Grid
from edgeq.schemes.quantised import Quantised


class Elastic(nn.Module):
    """(...) -> (...) on `grid`. `alpha` is NaN until the first input that comes through sets it; a loaded one stays."""

    def __init__(self, grid: Grid, *, per_row: bool = False) -> None:
        super().__init__()
        self.grid = grid
        self.per_row = per_row  # of the minimum of a shifted grid
        self.fits = False  # whether a new alpha is fitted, or the papers' initial value
        self.alpha = nn.Parameter(torch.tensor(torch.nan))  # ()

    def reset(self) -> None:
        """Let the next input set alpha again."""
        with torch.no_grad():
            self.alpha.fill_(torch.nan)

    def forward(self, x: Tensor) -> Quantised:
        if bool(self.alpha.isnan()):
            with torch.no_grad():
                first = elastic.fitted_alpha if self.fits else elastic.initial_alpha
                self.alpha.copy_(first(x, self.grid))
        return elastic.quantise(x, self.alpha, self.grid, per_row=self.per_row)


def fit_at_next_input(model: nn.Module) -> None:
    """Let the next input set the alpha of every Elastic of a network by least squares."""
    for module in model.modules():
        if isinstance(module, Elastic):
            module.reset()
            module.fits = True
