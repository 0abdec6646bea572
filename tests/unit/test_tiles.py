"""Products keep tiles of their weights between runs of a program: the same bits, each program its own weights."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from edgeq import ops
from edgeq._errors import CompileError
from edgeq.compile import executorch, host
from edgeq.compile.tiles import BACKEND
from edgeq.nn.int4_linear import Int4Linear
from edgeq.ops import Act, Want

K = 96


class Products(nn.Module):
    """One product of each kind that can keep tiles."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(seed)
        self.int4 = nn.ModuleList(Int4Linear(K, K, zeros=zeros) for zeros in (True, False))
        for layer in self.int4:
            for name, tensor in layer.named_buffers():
                if tensor.dtype == torch.uint8:
                    tensor.copy_(torch.randint(0, 256, tensor.shape, generator=random))
                elif name == "scale":
                    tensor.copy_(torch.rand(tensor.shape, generator=random) / 50)
            layer.params[0] = 1
        self.register_buffer("ternary", ops.pack_t2(torch.randn(70, K, generator=random).round(), None))
        self.register_buffer("bytes", torch.randint(-128, 128, (70, K), dtype=torch.int8, generator=random))
        for planes in range(2, 5):
            shape = (planes, 70, ops.pack_sign(torch.ones(1, K), None).shape[-1])
            shift = torch.randint(0, 256, shape, dtype=torch.uint8, generator=random)
            self.register_buffer(f"shift{planes}", shift)
        self.register_buffer("grid", torch.tensor([20.0, -127.0, 127.0]))
        self.register_buffer("params70", ops.stack_params(torch.ones(70), torch.zeros(70)))
        self.register_buffer("w", ops.pack_sign(torch.randn(8, K, generator=random), None))
        for channels in (K, 8):  # of a word and more, and less
            kernel = torch.randn(12, 3, 3, channels, generator=random)
            self.register_buffer(f"kernel{channels}", ops.pack_sign(kernel, None))
        self.register_buffer("params12", ops.stack_params(torch.ones(12), torch.full((12,), 0.5)))
        self.register_buffer("params", ops.stack_params(torch.ones(8), torch.zeros(8)))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        for layer in self.int4:
            x = layer(x)
        signs, planes, want = ops.pack_sign(x, None), ops.pack_t2(x, None), int(Want.MAP)
        codes = ops.quantise_i8(x, self.grid)
        image, narrow = signs.view(1, 1, 5, -1), ops.pack_sign(x.reshape(1, 5, 12, 8), None)
        return (
            x,
            ops.linear_b1b1(signs[0], self.w, K),
            ops.conv2d_b1b1(image, self.kernel96, K, 1, 1),
            ops.conv2d_b1b1_fused(narrow, self.kernel8, 8, 2, 1, 0, self.params12, None, None, None, want | Want.BITS)[
                1
            ],
            ops.linear_b1t2(planes, self.w, K, Act.NONE, self.params, None, None, want)[0],
            ops.linear_b1u1(signs, self.w, K, Act.NONE, self.params, None, None, want)[0],
            ops.linear_t2i8(codes, self.ternary, None, Act.NONE, self.params70, None, None, None, want)[0],
            ops.linear_i8i8(codes, self.bytes, None, Act.NONE, self.params70, None, None, None, want)[0],
            ops.linear_s2i8(codes, self.shift2, None, Act.NONE, self.params70, None, None, None, want)[0],
            ops.linear_s3i8(codes, self.shift3, None, Act.NONE, self.params70, None, None, None, want)[0],
            ops.linear_s4i8(codes, self.shift4, None, Act.NONE, self.params70, None, None, None, want)[0],
        )


def test_programs_of_one_shape_keep_their_own_weights():
    inputs = (torch.randn(1, 5, K, generator=torch.Generator().manual_seed(0)),)
    models = [Products(seed).eval() for seed in range(2)]
    programs = [executorch.lower(model, inputs) for model in models]
    assert all(program.count(b"edgeq::linear_i4i8.out") == 1 for program in programs)  # one name for both places
    kept = ["conv2d_b1b1", "conv2d_b1b1_fused", *(f"linear_{weights}i8" for weights in ("t2", "i8", "s2", "s3", "s4"))]
    for name in kept:
        assert all(f"edgeq::{name}.out".encode() in program for program in programs)
    for _ in range(2):  # memory of the one is soon the other's
        for program, model in zip(programs, models, strict=True):
            for got, wanted in zip(host.run(program, inputs), model(*inputs), strict=True):
                assert torch.equal(got, wanted)


def test_weights_that_are_computed_keep_no_tiles():
    class Computed(nn.Module):
        def forward(self, x: Tensor, w: Tensor) -> Tensor:
            product: Tensor = ops.linear_b1b1(ops.pack_sign(x, None), ops.pack_sign(w, None), K)
            return product

    inputs = (torch.randn(2, K), torch.randn(3, K))
    program = executorch.lower(Computed().eval(), inputs)
    assert BACKEND.encode() not in program
    other = (inputs[0], -inputs[1])
    assert torch.equal(host.run(program, other)[0], Computed()(*other))


def test_a_place_for_an_operator_that_does_not_exist_is_refused():
    inputs = (torch.randn(1, 5, K),)
    program, good = executorch.lower(Products(0).eval(), inputs), b"edgeq::linear_i4i8.out"
    at = program.rindex(good)  # the segment behind the flatbuffer
    for name in (b"edgeq::linear_i4i9.out", b"aten::linear_i4i8.out?", b"edgeq::" + b"\xff" * 15):
        with pytest.raises(CompileError):
            host.run(program[:at] + name + program[at + len(good) :], inputs)
