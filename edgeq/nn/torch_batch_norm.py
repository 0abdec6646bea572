"""Batch normalisation as PyTorch's networks train it: the running variance is the unbiased one."""

from torch import Tensor, nn

from edgeq.nn.batch_norm import EPS, MOMENTUM, BatchNorm


class TorchBatchNorm(BatchNorm):
    """(..., C) -> (..., C); the same tensors as `BatchNorm`, so it folds alike."""

    def forward(self, x: Tensor) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        y = nn.functional.batch_norm(
            rows, self.running_mean, self.running_var, self.scale, self.bias, self.training, MOMENTUM, EPS
        )
        return y.view(x.shape)
