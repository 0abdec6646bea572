"""The micro runtime computes what eager computes, bit for bit, under ASan and UBSan."""

import struct

import pytest
import torch
from micro_build import FIXTURES, ROOT, needs_fixtures, needs_gcc, run
from micro_programs import write_example
from torch import nn

from edgeq import models, ops
from edgeq.package import verify_package

pytestmark = needs_gcc


@needs_fixtures
@pytest.mark.parametrize("name", ["full", "slim", "mixed"])
def test_fixtures_give_their_recorded_outputs(demo_host, tmp_path, name):
    """forward, then perturb, which changes the weights in place, then forward again."""
    seed, eps = tmp_path / "seed", tmp_path / "eps"
    seed.write_bytes(struct.pack("<q", 7))
    eps.write_bytes(struct.pack("<f", 0.01))
    forward = f"forward:{FIXTURES / 'in.f32'}"
    done = run(demo_host, FIXTURES / f"{name}.pte", forward, f"perturb:{seed},{eps}", forward)
    assert done.status == 0, done.message
    assert done.output == (FIXTURES / "out1.f32").read_bytes() + eps.read_bytes() + (FIXTURES / "out2.f32").read_bytes()


@needs_fixtures
def test_a_delegated_method_is_refused_and_its_neighbours_are_not(demo_host):
    refused = run(demo_host, FIXTURES / "mixed.pte", "accel")
    assert "outside the micro profile" in refused.message
    assert run(demo_host, FIXTURES / "mixed.pte", "nothing").message == "nothing: no such method\n"


def test_pokebnn_gives_the_bits_of_eager(host, small):
    done = run(host, small.program, f"forward:{small.input}")
    assert done.status == 0, done.message
    assert done.output == small.output


def test_bundled_pokebnn_gives_the_bits_of_eager(host, tmp_path):
    package = verify_package(ROOT / "zoo/pokebnn-fashion/package")
    (x,) = models.example_inputs(package.config())
    x = torch.rand(x.shape, generator=torch.Generator().manual_seed(3))
    example = write_example(tmp_path, "zoo", models.from_package(package.config(), package.tensors()), x)
    done = run(host, example.program, f"forward:{example.input}")
    assert done.status == 0, done.message
    assert done.output == example.output


G = torch.Generator().manual_seed(4)


def real(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=G)


def raw(dtype: torch.dtype, *shape: int) -> torch.Tensor:
    low, high = (0, 256) if dtype == torch.uint8 else (-128, 128)
    return torch.randint(low, high, shape, generator=G).to(dtype)


def packed(k: int, *shape: int) -> torch.Tensor:
    """Rows of k random bits, pad bits 0."""
    return ops.pack_sign(real(*shape, k), None)


def binary_conv(x, w, stride=1, groups=1):
    return ops.conv2d_b1b1(ops.pack_sign(x, None), w, 16, stride, groups)


class EveryOperator(nn.Module):
    """Each operator once, on an input of its own, in the forms that PokeBNN does not use."""

    inputs = (real(2, 3, 70), real(2, 5, 4, 16), real(3, 100), real(2, 3, 5, 7), real(1, 6, 5, 16), real(2, 33))

    def __init__(self) -> None:
        super().__init__()
        self.threshold = nn.Buffer(real(70))
        self.plain = nn.Buffer(packed(16, 5, 3, 3))
        self.depthwise = nn.Buffer(packed(1, 32, 3, 2))
        self.grouped = nn.Buffer(packed(8, 4, 1, 1))
        self.binary = nn.Buffer(packed(100, 9))
        self.pointwise = nn.Buffer(packed(16, 8, 1, 1))
        self.dprelu = nn.Buffer(real(7, 8))
        self.conv_i8 = nn.Buffer(raw(torch.int8, 8, 2, 3, 4))
        self.affine = nn.Buffer(real(2, 8))
        self.steps = nn.Buffer(ops.pack_steps(torch.rand(16, generator=G) + 0.5))
        self.linear_i8 = nn.Buffer(raw(torch.int8, 6, 33))
        self.two_affines = nn.Buffer(real(4, 6))
        self.linear_i4 = nn.Buffer(raw(torch.uint8, 6, ops.row_bytes(4 * 33)))
        self.gate = nn.Buffer(real(2, 6))
        self.steps_33 = nn.Buffer(ops.pack_steps(torch.rand(33, generator=G) + 0.5))

    def named(self, a, b, c, d, e, f):
        return {
            "pack_sign": ops.pack_sign(a, self.threshold),
            "conv2d_b1b1": binary_conv(b, self.plain),
            "conv2d_b1b1 depthwise": binary_conv(b, self.depthwise, stride=2, groups=16),
            "conv2d_b1b1 groups": binary_conv(b, self.grouped, groups=2),
            "linear_b1b1": ops.linear_b1b1(ops.pack_sign(c, None), self.binary, 100),
            "epilogue": ops.epilogue(binary_conv(b, self.pointwise), ops.Act.DPRELU, self.dprelu, b, None, None),
            "mean_hw": ops.mean_hw(d),
            "conv2d_i8f32": ops.conv2d_i8f32(
                e, self.conv_i8, self.steps, ops.Quant.SYM8, 2, 0, 4, ops.Act.RELU, self.affine
            ),
            "linear_i8f32": ops.linear_i8f32(f, self.linear_i8, None, 0, 0, self.two_affines),
            "linear_i4f32": ops.linear_i4f32(
                f, self.linear_i4, self.steps_33, ops.Quant.POS4, ops.Act.HSIGMOID, self.gate
            ),
        }

    def forward(self, *inputs):
        return tuple(self.named(*inputs).values())


def test_every_operator_gives_the_bits_of_eager(host, tmp_path):
    model = EveryOperator()
    example = write_example(tmp_path, "every", model, *model.inputs)
    done = run(host, example.program, f"forward:{example.input}")
    assert done.status == 0, done.message
    at, different = 0, []
    for name, expected in model.named(*model.inputs).items():
        expected = expected.numpy().tobytes()
        if done.output[at : at + len(expected)] != expected:
            different.append(name)
        at += len(expected)
    assert at == len(done.output)
    assert not different


@needs_fixtures
def test_an_operator_that_the_firmware_lacks_is_refused(host):
    assert run(host, FIXTURES / "full.pte", "forward").message == (
        "call 0: forward: an operator that this firmware does not have\n"
    )
