"""Quantised layers, deploy face: weights in their packed form, batch norm folded, eager runs the C core.

Each class is made from its trained twin with `from_trained`; the latents are not needed any more. Folding is done in
double precision and rounded once. Layouts of the buffers: `edgeq.ops`.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from edgeq import ops
from edgeq.nn.batch_norm import EPS as BN_EPS
from edgeq.nn.batch_norm import BatchNorm
from edgeq.nn.conv import QuantConv2d
from edgeq.nn.dprelu import DPReLU
from edgeq.nn.input_quantiser import InputQuantiser
from edgeq.nn.linear import QuantLinear
from edgeq.nn.poke_conv import SE_REDUCTION, PokeConv, SqueezeExcite
from edgeq.nn.tuning import TuningPass, fused
from edgeq.ops import Act, Quant, Want
from edgeq.schemes import binary, uniform


class PackedConv2d(nn.Module):
    """QuantConv2d + BatchNorm + DPReLU: int8 weights, float activations on the input's grid."""

    weight: Tensor
    steps: Tensor
    params: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        *,
        stride: int = 1,
        groups: int = 1,
        same: bool,
    ) -> None:
        super().__init__()
        self.stride, self.groups, self.same = stride, groups, same
        self.quant = Quant.SYM8
        shape = (out_channels, kernel, kernel, in_channels // groups)
        self.register_buffer("weight", torch.zeros(shape, dtype=torch.int8))  # OHWI codes
        self.register_buffer("steps", torch.zeros(2, in_channels))
        self.register_buffer("params", torch.zeros(5, out_channels))

    @classmethod
    def from_trained(cls, conv: QuantConv2d, bn: BatchNorm, act: DPReLU) -> PackedConv2d:
        o, kernel, _, per_group = conv.weight.shape
        self = cls(
            per_group * conv.groups,
            o,
            kernel,
            stride=conv.stride,
            groups=conv.groups,
            same=conv.padding == "same",
        )
        codes, scale = uniform.weight_codes(conv.weight, conv.bits)
        self.weight.copy_(codes)
        self.quant = _quant(conv.input_quantiser, self.steps)
        self.params.copy_(ops.stack_params(*_fold(bn, 1.0 / scale.double(), act), dprelu=_dprelu(act)))
        return self

    def forward(self, x: Tensor, tuning: TuningPass | None = None) -> Tensor:
        """(n, h, w, c) -> (n, h', w', o), float32."""
        correction = None if tuning is None else tuning.site(self, self.params)
        steps, same = _given(self.steps, self.quant), int(self.same)
        arguments = (x, self.weight, steps, self.quant, self.stride, same, self.groups, Act.DPRELU, self.params)
        if correction is not None:
            return fused("conv2d_i8f32_fused", *arguments, want=Want.MAP, correction=correction)[0]
        y: Tensor = ops.conv2d_i8f32(*arguments)
        return y


class PackedLinear(nn.Module):
    """QuantLinear with 8-bit weights."""

    weight: Tensor
    steps: Tensor
    params: Tensor

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.quant = Quant.SYM8
        self.register_buffer("weight", torch.zeros((out_features, in_features), dtype=torch.int8))
        self.register_buffer("steps", torch.zeros(2, in_features))
        self.register_buffer("params", torch.zeros(2, out_features))

    @classmethod
    def from_trained(cls, linear: QuantLinear) -> PackedLinear:
        o, k = linear.weight.shape
        self = cls(k, o)
        codes, scale = uniform.weight_codes(linear.weight, linear.bits)
        self.weight.copy_(codes)
        self.quant = _quant(linear.input_quantiser, self.steps)
        self.params.copy_(ops.stack_params(1.0 / scale.double(), linear.bias))
        return self

    def real(self) -> tuple[Tensor, Tensor]:
        """(o, k) weights and (o,) biases in real units."""
        return self.weight.to(torch.float32) * self.params[0][:, None], self.params[1]

    def seen(self, x: Tensor) -> Tensor:
        """(m, k): the values that the product sees of x, which are those of its input's grid."""
        if self.quant == Quant.NONE:
            return x
        y: Tensor = ops.fake_quantise(x, self.steps, self.quant)
        return y

    def forward(self, x: Tensor) -> Tensor:
        """(m, k) -> (m, o), float32."""
        y: Tensor = ops.linear_i8f32(x, self.weight, _given(self.steps, self.quant), self.quant, Act.NONE, self.params)
        return y


class PackedPokeConv(nn.Module):
    """PokeConv: bits through a binary convolution, then one epilogue; the gain comes from two 4-bit layers."""

    weight: Tensor
    params: Tensor
    se_codes: Tensor
    se_params: Tensor

    def __init__(self, in_channels: int, out_channels: int, kernel: int, *, stride: int = 1) -> None:
        super().__init__()
        self.channels, self.stride = in_channels, stride
        self.hidden = in_channels // SE_REDUCTION
        self.se_quant = (Quant.SYM4, Quant.POS4)
        row = ops.row_bytes(in_channels)
        self.register_buffer("weight", torch.zeros((out_channels, kernel, kernel, row), dtype=torch.uint8))
        self.register_buffer("params", torch.zeros(7, out_channels))
        codes = self.hidden * ops.row_bytes(4 * in_channels) + out_channels * ops.row_bytes(4 * self.hidden)
        self.register_buffer("se_codes", torch.zeros(codes, dtype=torch.uint8))
        self.register_buffer("se_params", torch.zeros(2 * in_channels + 4 * self.hidden + 2 * out_channels))

    @classmethod
    def from_trained(cls, layer: PokeConv) -> PackedPokeConv:
        o, kernel, _, c = layer.conv.weight.shape
        self = cls(c, o, kernel, stride=layer.conv.stride)
        bits, alpha = binary.weight_codes(layer.conv.weight)
        self.weight.copy_(pack_bits(bits))
        scale, bias = _fold(layer.bn1, alpha.double() * binary.ACTIVATION_VALUE, layer.act)
        affine = _affine(layer.bn2)
        self.params.copy_(ops.stack_params(scale, bias, dprelu=_dprelu(layer.act), affine=affine))
        self._pack_gain(layer.se)
        return self

    def _pack_gain(self, se: SqueezeExcite) -> None:
        codes, params, kinds = [], [], []
        for layer in (se.fc1, se.fc2):
            integers, scale = uniform.weight_codes(layer.weight, layer.bits)
            codes.append(pack_nibbles(integers).reshape(-1))
            steps = torch.zeros(2, layer.weight.shape[1])
            kinds.append(_quant(layer.input_quantiser, steps))
            params += [steps.reshape(-1), ops.stack_params(1.0 / scale.double(), layer.bias).reshape(-1)]
        self.se_codes.copy_(torch.cat(codes))
        self.se_params.copy_(torch.cat(params))
        self.se_quant = (kinds[0], kinds[1])

    def gain(self, x: Tensor) -> Tensor:
        """(n, h, w, c) -> (n, o): the squeeze-excite factor."""
        g: Tensor = ops.squeeze_excite_i4f32(ops.mean_hw(x), self.se_codes, self.se_params, self.hidden, *self.se_quant)
        return g

    def accumulators(self, x: Tensor) -> Tensor:
        """(n, h, w, c) float32 -> (n, h', w', o) int32."""
        acc: Tensor = ops.conv2d_b1b1(ops.pack_sign(x, None), self.weight, self.channels, self.stride, 1)
        return acc

    def forward(self, x: Tensor, block_residual: Tensor | None = None, tuning: TuningPass | None = None) -> Tensor:
        correction = None if tuning is None else tuning.site(self, self.params)
        behind = (Act.DPRELU, self.params, x, block_residual, self.gain(x))
        if correction is not None:
            geometry = (ops.pack_sign(x, None), self.weight, self.channels, self.stride, 1)
            return fused("conv2d_b1b1_fused", *geometry, *behind, want=Want.MAP, correction=correction)[0]
        y: Tensor = ops.epilogue(self.accumulators(x), *behind)
        return y


def pack_bits(signs: Tensor) -> Tensor:
    """(..., k) bool -> (..., row_bytes(k)) uint8, lowest bit first, 1 = +1."""
    return _pad_rows(np.packbits(signs.numpy(), axis=-1, bitorder="little"), signs.shape[-1])


def pack_nibbles(integers: Tensor) -> Tensor:
    """(..., k) int8 in -8..7 -> (..., row_bytes(4 k)) uint8: codes value + 8, even k in the low nibble; padding 0."""
    codes = (integers.numpy() + 8).astype(np.uint8)
    if codes.shape[-1] % 2:
        codes = np.concatenate([codes, np.zeros((*codes.shape[:-1], 1), np.uint8)], axis=-1)
    return _pad_rows(codes[..., ::2] | codes[..., 1::2] << 4, 4 * integers.shape[-1])


def _pad_rows(rows: np.ndarray, bits: int) -> Tensor:
    out = np.zeros((*rows.shape[:-1], ops.row_bytes(bits)), np.uint8)
    out[..., : rows.shape[-1]] = rows
    return torch.from_numpy(out)


def _affine(bn: BatchNorm) -> tuple[Tensor, Tensor]:
    """Batch norm in eval mode as scale * x + bias, double precision."""
    scale = bn.scale.detach().double() / (bn.running_var.double() + BN_EPS).sqrt()
    return scale, bn.bias.detach().double() - bn.running_mean.double() * scale


def _fold(bn: BatchNorm, weight_scale: Tensor, act: DPReLU) -> tuple[Tensor, Tensor]:
    """accumulator -> input of DPReLU's two slopes: weight scale, batch norm and the activation's input shift."""
    scale, bias = _affine(bn)
    return weight_scale * scale, bias - act.bias_x.detach().double()


def _dprelu(act: DPReLU) -> tuple[Tensor, Tensor, Tensor]:
    return act.pos_slope, act.neg_slope, act.bias_y


def _quant(quantiser: InputQuantiser, steps: Tensor) -> Quant:
    """The kind of a trained input quantiser; fills `steps` (2, C) when it is in use."""
    if not quantiser.is_set:
        return Quant.NONE
    signed = quantiser.grid == "sym"
    steps.copy_(ops.pack_steps(uniform.activation_scale(quantiser.bounds, quantiser.bits, signed=signed)))
    return {("sym", 4): Quant.SYM4, ("pos", 4): Quant.POS4, ("sym", 8): Quant.SYM8}[quantiser.grid, quantiser.bits]


def _given(steps: Tensor, quant: Quant) -> Tensor | None:
    return steps if quant != Quant.NONE else None
