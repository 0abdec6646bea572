"""PokeConv: binary convolution, residuals of another shape, DPReLU and squeeze-excite, as in PokeBNN."""

from typing import Literal

import torch
from torch import Tensor, nn

from edgeq._errors import UsageError
from edgeq.nn.batch_norm import BatchNorm
from edgeq.nn.conv import BinaryConv2d, pad_same
from edgeq.nn.dprelu import DPReLU
from edgeq.nn.linear import QuantLinear
from edgeq.schemes._clip import clip

SE_BITS = 4
SE_REDUCTION = 8


def radd(r: Tensor, y: Tensor, mode: Literal["tile", "zeropad"]) -> Tensor:
    """y + r, where the residual r (N, h, w, Ci) is first brought to the shape of y (N, H, W, Co).

    Too many channels: runs of Ci // Co consecutive ones are averaged, what is left over is dropped. Too few: the
    whole vector is repeated ("tile") or followed by zeros ("zeropad"). If the shapes still differ: mean over
    3x3, stride 2, SAME, always divided by 9.

    raises  UsageError if Co is no multiple of Ci in mode "tile"
    """
    have, want = r.shape[-1], y.shape[-1]
    if have < want and mode == "tile" and want % have:
        raise UsageError(f"residual of {have} channels cannot be tiled to {want}: no whole multiple")
    if have > want:
        r = r @ _run_average(have, want, r)
    if r.shape[1:3] != y.shape[1:3]:  # before the channels grow: the same numbers, and less work
        r, zeros = pad_same(r, (3, 3), 2)
        r = nn.functional.avg_pool2d(r.permute(0, 3, 1, 2), 3, 2, zeros).permute(0, 2, 3, 1)
    if have < want:
        r = r.repeat(1, 1, 1, want // have) if mode == "tile" else nn.functional.pad(r, (0, want - have))
    return y + r


def _run_average(have: int, want: int, like: Tensor) -> Tensor:
    """(have, want): a product with it averages runs of channels, several times faster than a strided mean."""
    run = have // want
    average = torch.eye(want, dtype=like.dtype, device=like.device).repeat_interleave(run, 0) / run
    return nn.functional.pad(average, (0, 0, 0, have - want * run))


class SqueezeExcite(nn.Module):
    """(N, H, W, I) -> (N, 1, 1, O): one factor in 0..1 per picture and channel, from 4-bit layers."""

    def __init__(self, in_channels: int, out_channels: int, *, quantised: bool = True) -> None:
        super().__init__()
        hidden = in_channels // SE_REDUCTION
        if hidden < 1:
            raise UsageError(f"squeeze-excite needs at least {SE_REDUCTION} input channels, got {in_channels}")
        self.fc1 = QuantLinear(in_channels, hidden, bits=SE_BITS, quantised=quantised)
        self.fc2 = QuantLinear(hidden, out_channels, bits=SE_BITS, grid="pos", quantised=quantised)

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean((1, 2), keepdim=True)
        z = self.fc2(self.fc1(mean).relu())
        return clip(z + 3.0, 0.0, 6.0) / 6.0


class PokeConv(nn.Module):
    """(N, H, W, I) -> (N, ceil(H/stride), ceil(W/stride), O)."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        *,
        stride: int = 1,
        initial_scale: float = 1.0,
        quantised: bool = True,
    ) -> None:
        super().__init__()
        self.conv = BinaryConv2d(in_channels, out_channels, kernel, stride=stride, quantised=quantised)
        self.bn1 = BatchNorm(out_channels, initial_scale=initial_scale)
        self.act = DPReLU(out_channels)
        self.se = SqueezeExcite(in_channels, out_channels, quantised=quantised)
        self.bn2 = BatchNorm(out_channels)

    def forward(self, x: Tensor, block_residual: Tensor | None = None) -> Tensor:
        y = radd(x, self.bn1(self.conv(x)), "zeropad")
        if block_residual is not None:
            y = radd(block_residual, y, "tile")
        y = self.act(y) * self.se(x)
        out: Tensor = self.bn2(y)
        return out
