"""Convolution, batch norm, residual and ReLU in one pass, deploy face of DenseShift: float or int8 activations.

Between int8 layers only codes travel: value = code * step, one static step per tensor. Everything is folded in double
precision and rounded once.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from edgeq import ops
from edgeq.nn.batch_norm import EPS, BatchNorm
from edgeq.nn.float_conv import Conv2d
from edgeq.nn.shift_conv import Form, ShiftConv2d
from edgeq.nn.tuning import Correction, TuningPass, fused
from edgeq.ops import Act, Latent, Quant, Want
from edgeq.schemes import int8, shift, uniform

Activations = Literal["f32", "i8"]
Format = Literal["s2", "s3", "s4", "i8", "f32"]


class PackedConv(nn.Module):
    """(N, H, W, I) -> (N, H', W', O), H' = (H + 2 padding - kernel) // stride + 1; ReLU where it is asked for.

    weight  s2 s3 s4: planes (bits, O, kh, kw, row), depthwise (bits, kh, kw, row of O), uint8; others (O, kh, kw, I/g)
    params  (2, O): accumulator to output
    skip    (1,): step of the residual's codes       } int8 activations only
    grid    (3,): of the output's codes, see `grid`  }
    """

    weight: Tensor
    params: Tensor
    skip: Tensor
    grid: Tensor

    def __init__(
        self,
        weights: Format,
        act: Activations,
        in_channels: int,
        out_channels: int,
        kernel: int,
        *,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
    ) -> None:
        super().__init__()
        self.weights, self.act = weights, act
        self.stride, self.padding, self.groups, self.in_channels = stride, padding, groups, in_channels
        shape: tuple[int, ...] = (out_channels, kernel, kernel, in_channels // groups)
        dtype = {"i8": torch.int8, "f32": torch.float32}.get(weights, torch.uint8)
        if dtype == torch.uint8:
            row = ops.row_bytes(shape[-1])
            depthwise = groups == in_channels > 1
            shape = (kernel, kernel, ops.row_bytes(out_channels)) if depthwise else (*shape[:-1], row)
            shape = (int(weights[1]), *shape)
        self.register_buffer("weight", torch.zeros(shape, dtype=dtype))
        self.register_buffer("params", torch.zeros(2, out_channels))
        if act == "i8":
            self.register_buffer("skip", torch.ones(1))
            self.register_buffer("grid", grid(1.0))

    @classmethod
    def from_trained(
        cls,
        conv: Conv2d,
        bn: BatchNorm | None = None,
        *,
        act: Activations = "f32",
        step_in: float = 1.0,
        step_residual: float = 1.0,
        step_out: float = 1.0,
    ) -> PackedConv:
        """Shift weights as planes; S3's as int8, for it has a zero; float ones as int8 where activations are."""
        weights = _format(conv, act)
        o, kernel, _, per_group = conv.kernel().shape
        self = cls(
            weights,
            act,
            per_group * conv.groups,
            o,
            kernel,
            stride=conv.stride,
            padding=conv.padding,
            groups=conv.groups,
        )
        scale, bias = _affine(bn, conv.bias, o)
        scale = scale * step_in
        if isinstance(conv, ShiftConv2d) and weights != "i8":
            sign, exponent = shift.weight_codes(conv.references)
            if self.weight.dim() == 4:  # depthwise: the row runs over the outputs
                sign, exponent = (codes.squeeze(-1).permute(1, 2, 0) for codes in (sign, exponent))
            self.weight.copy_(shift.pack(sign, exponent, conv.bits))
        elif weights == "i8" and not isinstance(conv, ShiftConv2d):
            codes, inverse = uniform.weight_codes(conv.kernel(), 8)
            self.weight.copy_(codes)
            scale = scale / inverse.double()
        else:
            self.weight.copy_(conv.kernel().detach())
        self.params.copy_(ops.stack_params(scale, bias))
        if act == "i8":
            self.skip.fill_(step_residual)
            self.grid.copy_(grid(step_out))
        return self

    def forward(
        self,
        x: Tensor,
        residual: Tensor | None = None,
        *,
        relu: bool = True,
        want: Want = Want.MAP,
        tuning: TuningPass | None = None,
        beside: bool = False,
    ) -> Tensor:
        """relu(conv(x) + residual): x and residual float32, or int8 codes; `want`: MAP, MEAN, or CODES of int8 ones."""
        correction = None if tuning is None else tuning.site(self, self.params, beside=beside)
        act = Act.RELU if relu else Act.NONE
        if self.weights == "i8" and self.act == "f32":
            return self._conv_i8f32(x, residual, act, want, correction)
        coded = self.act == "i8"
        weights: str = self.weights
        weight = self.weight
        if correction is not None and correction.latents is not None:
            weights, weight = "i8", self._codes_of(correction.latents)
            if correction.reads is not None:
                kernel = weight.shape[1:3]
                correction.reads.append(ops.mean_patches(x, *kernel, self.stride, self.padding))
        out, _, mean, codes = fused(
            f"conv2d_{weights}{self.act}",
            x,
            weight,
            self.stride,
            self.padding,
            self.groups,
            None,
            act,
            self.params,
            residual,
            self.skip if coded and residual is not None else None,
            self.grid if coded and want == Want.CODES else None,
            want=want,
            correction=correction,
        )
        found: dict[Want, Tensor] = {Want.MAP: out, Want.MEAN: mean, Want.CODES: codes}
        return found[want]

    def latent_codes(self) -> tuple[Tensor, Latent, int] | None:
        """(O, kh * kw * I) int8 codes that can be learned, how they follow from latents, the largest; None: it cannot.

        As int8 weights they give the same sums as packed ones.
        """
        form = self._latent_form
        if form is None:
            return None
        if self.weights == "i8":
            return self.weight.flatten(1), *form
        codes = shift.values(*shift.unpack(self.weight, self.in_channels))
        return codes.flatten(1).to(torch.int8), *form

    @property
    def _latent_form(self) -> tuple[Latent, int] | None:
        """Floats are no codes, and powers up to 128 do not fit into eight bits."""
        if self.act != "i8" or self.groups != 1 or self.weights in ("s4", "f32"):
            return None
        if self.weights == "i8":
            return Latent.INTEGERS, 127
        return Latent.POWERS, 1 << (shift.references(int(self.weights[1])) - 1)

    def _codes_of(self, latents: Tensor) -> Tensor:
        """(O, kh * kw * I) float32 -> (O, kh, kw, I) int8"""
        form = self._latent_form
        assert form is not None
        codes: Tensor = ops.latent_codes(latents, *form)
        return codes.view(len(latents), *self.weight.shape[-3:-1], self.in_channels)

    @property
    def codes_grid(self) -> Tensor | None:
        """Of its codes; None for float activations."""
        return self.grid if self.act == "i8" else None

    def _conv_i8f32(
        self, x: Tensor, residual: Tensor | None, act: Act, want: Want, correction: Correction | None
    ) -> Tensor:
        """S3: int8 weights against float activations, by an operator that knows no residual and other padding."""
        p = self.padding
        x = nn.functional.pad(x, (0, 0, p, p, p, p)) if p else x
        first = act if residual is None else Act.NONE
        arguments = (x, self.weight, None, Quant.NONE, self.stride, 0, self.groups, first, self.params)
        y = fused("conv2d_i8f32_fused", *arguments, want=Want.MAP, correction=correction)[0]
        if residual is not None:
            y = (y + residual).relu() if act == Act.RELU else y + residual
        return ops.mean_hw(y) if want == Want.MEAN else y

    def accumulators(self, x: Tensor) -> Tensor:
        """(N, H, W, I) int8 -> (N, H', W', O) float32: the sums of codes times weights, exact below 2^24."""
        params = torch.stack([torch.ones_like(self.params[0]), torch.zeros_like(self.params[1])])
        conv = getattr(ops, f"conv2d_{self.weights}{self.act}")
        arguments = (x, self.weight, self.stride, self.padding, self.groups, None, Act.NONE, params)
        out: Tensor = conv(*arguments, None, None, None, Want.MAP)[0]
        return out


class PackedInput(nn.Module):
    """float32 -> int8 codes of one static step."""

    grid: Tensor

    def __init__(self, step: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("grid", grid(step))

    def forward(self, x: Tensor) -> Tensor:
        codes: Tensor = ops.quantise_i8(x, self.grid)
        return codes

    @property
    def step(self) -> float:
        return 1 / float(self.grid[0])


class PackedHead(nn.Module):
    """(N, C) float32 -> (N, classes); weights float32, or 8 bits with one scale per class."""

    weight: Tensor
    params: Tensor

    def __init__(self, in_features: int, classes: int, act: Activations) -> None:
        super().__init__()
        dtype = torch.int8 if act == "i8" else torch.float32
        self.register_buffer("weight", torch.zeros(classes, in_features, dtype=dtype))
        self.register_buffer("params", torch.zeros(2, classes))

    @classmethod
    def from_trained(cls, linear: nn.Linear, act: Activations) -> PackedHead:
        self = cls(linear.in_features, linear.out_features, act)
        codes, inverse = uniform.weight_codes(linear.weight, 8)
        scale = 1 / inverse.double() if act == "i8" else torch.ones(linear.out_features)
        self.weight.copy_(codes if act == "i8" else linear.weight.detach())
        self.params.copy_(ops.stack_params(scale, linear.bias))
        return self

    def real(self) -> tuple[Tensor, Tensor]:
        """(classes, C) weights and (classes,) biases in real units."""
        return self.weight.to(torch.float32) * self.params[0][:, None], self.params[1]

    def seen(self, x: Tensor) -> Tensor:
        """The values that the product sees of x (N, C): all of them."""
        return x

    def forward(self, x: Tensor) -> Tensor:
        if self.weight.dtype == torch.int8:
            y: Tensor = ops.linear_i8f32(x, self.weight, None, Quant.NONE, Act.NONE, self.params)
        else:
            y = ops.linear_f32f32(x, self.weight, None, Act.NONE, self.params, None, None, None, Want.MAP)[0]
        return y


def grid(step: float) -> Tensor:
    """(3,): what the operators take for codes of that step: 1 / step, lowest and highest code."""
    return torch.tensor([1 / step, -int8.TOP, int8.TOP])


def _format(conv: Conv2d, act: Activations) -> Format:
    if isinstance(conv, ShiftConv2d):
        return weight_format(conv.bits, conv.form)
    return act


def weight_format(bits: int, form: Form) -> Format:
    """Of a packed shift convolution; S3's weights take 8 bits, for they have a zero."""
    formats: dict[int, Format] = {2: "s2", 3: "s3", 4: "s4"}
    return "i8" if form == "s3" else formats[bits]


def _affine(bn: BatchNorm | None, bias: Tensor | None, channels: int) -> tuple[Tensor, Tensor]:
    """What follows the convolution as scale * y + bias, double precision."""
    own = torch.zeros(channels, dtype=torch.float64) if bias is None else bias.detach().double()
    if bn is None:
        return torch.ones(channels, dtype=torch.float64), own
    scale = bn.scale.detach().double() / (bn.running_var.double() + EPS).sqrt()
    return scale, bn.bias.detach().double() + (own - bn.running_mean.double()) * scale
