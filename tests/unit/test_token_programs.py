"""Programs with attention, embedding tables, layer normalisation and planes with zeros give eager's bits on the local
device; a wrong argument ends with an error."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgeq import ops
from edgeq._errors import CompileError, UsageError
from edgeq.compile import executorch, host
from edgeq.ops import Act, Keep, Probability, Want

C, HEADS, WORDS = 60, 5, 13


class Binary(nn.Module):
    """ids, mask, used -> an embedding, attention over signs by every rule, linear layers on its context."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", ops.pack_sign(torch.randn(WORDS, C), None))
        self.register_buffer("scale", torch.rand(WORDS))
        for name in ("q", "k", "v", "out"):
            self.register_buffer(name, ops.pack_sign(torch.randn(C, C), None))
        self.register_buffer("params", ops.stack_params(torch.rand(C), torch.randn(C)))
        self.register_buffer("threshold", torch.randn(C))
        self.register_buffer("steps", torch.tensor([0.05, 0.04, 1.5]))
        self.register_buffer("gamma", torch.randn(C))
        self.register_buffer("beta", torch.randn(C))

    def forward(self, ids: Tensor, mask: Tensor, used: Tensor) -> tuple[Tensor, ...]:
        x = ops.embedding_b1(ids, self.table, self.scale, C)
        x, bits = ops.layer_norm(x, None, self.gamma, self.beta, 1e-6, None, int(Want.MAP | Want.T2))
        q, k, v = (
            ops.linear_b1t2(bits, w, C, Act.NONE, self.params, None, None, int(Want.T2))[1]
            for w in (self.q, self.k, self.v)
        )
        results = []
        for keep in Keep:
            out, context = ops.attention_b1(
                q, k, v, C, HEADS, keep, 3, self.steps, self.threshold, mask, used, 0, int(Want.MAP | Want.T2)
            )
            y, _, _ = ops.linear_b1t2(context, self.out, C, Act.GELU, self.params, x, None, int(Want.MAP))
            _, ones = ops.layer_norm(y, x, self.gamma, self.beta, 1e-6, self.threshold, int(Want.BITS))
            z, _, _ = ops.linear_b1u1(ones, self.out, C, Act.RELU, self.params, y, None, int(Want.MAP))
            results += [out, z]
        return tuple(results)


class Codes(nn.Module):
    """ids -> tables of every kind, attention over codes by every rule, ternary weights, a ternary picture."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("t2", ops.pack_t2(torch.randn(WORDS, C).round(), None))
        self.register_buffer("i8", torch.randint(-128, 128, (WORDS, C), dtype=torch.int8))
        self.register_buffer("i4", torch.randint(0, 256, (WORDS, 32)).byte())
        self.register_buffer("scale", torch.rand(WORDS))
        self.register_buffer("group_scale", torch.rand(WORDS, 2).half())
        self.register_buffer("grid", torch.tensor([20.0, -127, 127]))
        self.register_buffer("steps", torch.tensor([1e-3, 0.5, 0.05]))
        self.register_buffer("params", ops.stack_params(torch.rand(8), torch.randn(8)))
        self.register_buffer("ternary", ops.pack_t2(torch.randn(8, C).round(), None))
        self.register_buffer("kernel", ops.pack_sign(torch.randn(8, 3, 3, C), None))

    def forward(self, ids: Tensor) -> tuple[Tensor, ...]:
        x = ops.embedding_t2(ids, self.t2, self.scale, C)
        x = x + ops.embedding_i4(ids, self.i4, self.group_scale, None, 32, C)
        c = ops.quantise_i8(x + ops.embedding_i8(ids, self.i8, self.scale), self.grid)
        results = []
        for probability in Probability:
            y = ops.attention_i8(c, c, c, HEADS, probability, 15, 1, self.steps, None, None, 1)
            signs, want = ops.pack_sign(y, None), int(Want.MAP | Want.BITS)
            z, bits, _ = ops.linear_t2b1(signs, self.ternary, C, Act.NONE, self.params, None, None, want)
            results += [y, z, bits]
        picture = ops.pack_t2(y[:, None], None)
        mean = ops.conv2d_b1t2(picture, self.kernel, C, 1, 1, 1, 0, self.params, None, None, int(Want.MEAN))[2]
        return (*results, mean)


class Floats(nn.Module):
    """Attention over floats, with and without a mask."""

    def forward(self, qkv: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        return ops.attention_f32(qkv, HEADS, 0.3, mask), ops.attention_f32(qkv, HEADS, 0.3, None)


class Pictures(nn.Module):
    """A picture as zeros and ones, signs, codes and floats, against signs, ternary weights, 4 bits and shifts."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("params", ops.stack_params(torch.rand(8), torch.randn(8)))
        self.register_buffer("signs", ops.pack_sign(torch.randn(8, 3, 3, C), None))
        self.register_buffer("ternary", ops.pack_t2(torch.randn(8, 3, 3, C).round(), None))
        for bits in (2, 3, 4):
            shifts = ops.pack_sign(torch.randn(bits, 8, C), None)
            self.register_buffer(f"s{bits}", shifts)
        self.register_buffer("grid", torch.tensor([20.0, -127, 127]))
        self.register_buffer("codes", torch.randint(0, 256, (8, ops.row_bytes(4 * 9 * C))).byte())
        self.register_buffer("scale", torch.rand(8, 1).half())

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        want = int(Want.MAP | Want.BITS | Want.MEAN)
        results = []
        for conv, w, stride in ((ops.conv2d_b1u1, self.signs, 2), (ops.conv2d_t2b1, self.ternary, 1)):
            results += conv(ops.pack_sign(x, None), w, C, stride, 1, 1, Act.RELU, self.params, None, None, want)[:3]
        for linear, w in ((ops.linear_s2f32, self.s2), (ops.linear_s3f32, self.s3), (ops.linear_s4f32, self.s4)):
            results.append(linear(x, w, None, Act.NONE, self.params, None, None, None, int(Want.MAP))[0])
        codes, group = ops.quantise_i8(x, self.grid), 9 * C
        image = codes, 3, 3, self.codes, self.scale, None, group, 1, 1
        results += ops.conv2d_i4i8(*image, None, Act.RELU, self.params, None, None, None, want)[:3]
        return tuple(results)


def assert_same(got: list[Tensor], wanted: tuple[Tensor, ...]) -> None:
    for a, b in zip(got, wanted, strict=True):
        assert torch.equal(a, b)


def test_program_over_codes_gives_the_bits_of_eager():
    torch.manual_seed(2)
    model = Codes().eval()
    inputs = (torch.randint(0, WORDS, (2, 7)),)
    assert_same(host.run(executorch.lower(model, inputs), inputs), model(*inputs))


def test_program_over_pictures_gives_the_bits_of_eager():
    torch.manual_seed(2)
    model, inputs = Pictures().eval(), (torch.randn(1, 5, 6, C),)
    wanted = model(*inputs)
    assert_same(host.run(executorch.lower(model, inputs), inputs), wanted)
    signs = torch.where(inputs[0] >= 0, 1.0, -1.0).permute(0, 3, 1, 2)
    bits = np.unpackbits(model.ternary.numpy(), axis=-1, bitorder="little")[..., :C].astype(np.float32)
    kernel = torch.from_numpy(bits[1] * (2 * bits[0] - 1)).permute(0, 3, 1, 2)
    sums = nn.functional.conv2d(signs, kernel, padding=1).permute(0, 2, 3, 1)
    torch.testing.assert_close(wanted[3], torch.relu(sums * model.params[0] + model.params[1]))


def test_program_over_floats_gives_the_bits_of_eager():
    torch.manual_seed(2)
    qkv, mask = torch.randn(2, 7, 3 * C), torch.ones(2, 7, dtype=torch.uint8)
    mask[1, 4:] = 0
    model = Floats().eval()
    got = model(qkv, mask)
    assert_same(host.run(executorch.lower(model, (qkv, mask)), (qkv, mask)), got)
    q, k, v = (part.view(2, 7, HEADS, -1).transpose(1, 2) for part in qkv.chunk(3, -1))
    for context, hidden in zip(got, (mask[:, None, None].bool(), None), strict=True):
        wanted = nn.functional.scaled_dot_product_attention(q, k, v, hidden, scale=0.3)
        torch.testing.assert_close(context, wanted.transpose(1, 2).reshape(2, 7, C))


def test_program_over_signs_gives_the_bits_of_eager_and_refuses_bad_arguments():
    torch.manual_seed(2)
    model = Binary().eval()
    ids, mask, used = torch.randint(0, WORDS, (2, 7)), torch.ones(2, 7, dtype=torch.uint8), torch.tensor([6])
    mask[1, 4:] = 0
    pte = executorch.lower(model, (ids, mask, used))
    assert_same(host.run(pte, (ids, mask, used)), model(ids, mask, used))
    for bad_ids, bad_used in ((ids + WORDS, used), (ids - WORDS, used), (ids, used + 7), (ids, used * 0)):
        with pytest.raises(CompileError, match="cannot be executed"):
            host.run(pte, (bad_ids, mask, bad_used))
    with pytest.raises(UsageError, match="is not in the table"):
        model(ids + WORDS, mask, used)


@pytest.mark.parametrize("act", [Act.NONE, Act.RELU, Act.GELU])
def test_linear_layers_over_planes(act):
    torch.manual_seed(3)
    x, w = torch.randn(2, 3, C).round(), torch.randn(8, C).round()
    params, skip = ops.stack_params(torch.rand(8), torch.randn(8)), torch.randn(2, 3, 8)
    after = {Act.NONE: nn.Identity(), Act.RELU: nn.ReLU(), Act.GELU: nn.GELU()}[act]
    signs = torch.where(w >= 0, 1.0, -1.0)
    b1, t2, want = ops.pack_sign(w, None), ops.pack_t2(w, None), int(Want.MAP)
    for got, product in (
        (ops.linear_b1t2(ops.pack_t2(x, None), b1, C, act, params, skip, None, want)[0], x.sign() @ signs.T),
        (ops.linear_b1u1(ops.pack_t2(x, None)[0], b1, C, act, params, skip, None, want)[0], (x > 0).float() @ signs.T),
        (
            ops.linear_t2b1(ops.pack_sign(x, None), t2, C, act, params, skip, None, want)[0],
            torch.where(x >= 0, 1.0, -1.0) @ w.sign().T,
        ),
    ):
        torch.testing.assert_close(got, after(product * params[0] + params[1] + skip), rtol=2e-6, atol=2e-6)
