"""Batch normalisation over the last axis, with the biased variance also in the running statistic."""

import torch
from torch import Tensor, nn

EPS = 1e-5
MOMENTUM = 0.1


class BatchNorm(nn.Module):
    """(..., C) -> (..., C); running = 0.9 running + 0.1 batch, for mean and (biased) variance alike."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, *, initial_scale: float = 1.0) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((channels,), initial_scale))  # (C,)
        self.bias = nn.Parameter(torch.zeros(channels))  # (C,)
        self.register_buffer("running_mean", torch.zeros(channels))  # (C,)
        self.register_buffer("running_var", torch.ones(channels))  # (C,)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        if not self.training:
            y = nn.functional.batch_norm(
                rows, self.running_mean, self.running_var, self.scale, self.bias, False, MOMENTUM, EPS
            )
            return y.view(x.shape)
        y, mean, inverse_std = torch.native_batch_norm(rows, self.scale, self.bias, None, None, True, MOMENTUM, EPS)
        with torch.no_grad():
            self.running_mean.lerp_(mean, MOMENTUM)
            self.running_var.lerp_(inverse_std.pow(-2).sub_(EPS), MOMENTUM)
        return y.view(x.shape)
