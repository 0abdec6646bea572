"""Programs with integer operators give eager's bits on the local device; hostile arguments end with an error."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from edgeq import ops
from edgeq.compile import executorch, host
from edgeq.ops import Act, Codes, Want


def codes(*shape: int) -> Tensor:
    return torch.randint(-128, 128, shape, dtype=torch.int8)


def planes(*shape: int) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8)


class Pictures(nn.Module):
    """Quantised input, a 3-bit shift convolution, a depthwise one, residual codes, a mean, an int8 head."""

    def __init__(self) -> None:
        super().__init__()
        grid, weights = torch.tensor([20.0, -127, 127]), torch.randint(0, 2, (3, 16, 3, 3, 8))
        self.register_buffer("grid", grid)
        self.register_buffer("first", weights.to(torch.uint8) * 7)
        self.register_buffer("depthwise", planes(3, 3, 3, 2))
        self.register_buffer("head", codes(5, 16))
        self.register_buffer("params", ops.stack_params(torch.rand(16) * 0.01, torch.randn(16)))
        self.register_buffer("params5", ops.stack_params(torch.rand(5) * 0.01, torch.randn(5)))
        self.register_buffer("step", torch.tensor([0.05]))

    def forward(self, x: Tensor) -> Tensor:
        c = ops.quantise_i8(x, self.grid)
        _, _, _, c = ops.conv2d_s3i8(
            c, self.first, 2, 1, 1, None, Act.RELU, self.params, None, None, self.grid, int(Want.CODES)
        )
        _, _, mean, _ = ops.conv2d_s3i8(
            c, self.depthwise, 1, 1, 16, None, Act.RELU, self.params, c, self.step, None, int(Want.MEAN)
        )
        m, rows = ops.quantise_rows_i8(mean, Codes.ROW_SYM, 0.0)
        out: Tensor = ops.linear_i8i8(m, self.head, rows, Act.NONE, self.params5, None, None, None, int(Want.MAP))[0]
        return out


class Tokens(nn.Module):
    """Ternary and 4-bit layers over rows with a zero point, ternary planes out."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("ternary", planes(2, 24, 8))
        self.register_buffer("codes", planes(40, 16))
        self.register_buffer("scale", torch.rand(40, 1).half())
        self.register_buffer("zero", planes(40, 1) & 15)
        for name, o in (("params24", 24), ("params40", 40)):
            self.register_buffer(name, ops.stack_params(torch.rand(o), torch.randn(o), shift_weight=torch.randn(o)))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        c, rows = ops.quantise_rows_i8(x, Codes.ROW_ASYM, 2.5)
        y = ops.linear_t2i8(c, self.ternary, rows, Act.GELU, self.params24, None, None, None, int(Want.MAP))[0]
        c, rows = ops.quantise_rows_i8(y, Codes.TENSOR_ASYM, 0.0)
        out, bits, _ = ops.linear_i4i8(
            c,
            self.codes,
            self.scale,
            self.zero,
            24,
            None,
            rows,
            Act.NONE,
            self.params40,
            x,
            None,
            None,
            int(Want.MAP | Want.T2),
        )
        return out, bits


@pytest.mark.parametrize(("model", "x"), [(Pictures, (2, 9, 7, 64)), (Tokens, (2, 3, 40))])
def test_program_gives_the_bits_of_eager(model, x):
    torch.manual_seed(1)
    network, inputs = model().eval(), (torch.randn(x),)
    wanted = network(*inputs)
    got = host.run(executorch.lower(network, inputs), inputs)
    for a, b in zip(got, wanted if isinstance(wanted, tuple) else (wanted,), strict=True):
        assert torch.equal(a, b)
