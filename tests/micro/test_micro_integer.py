"""Shift networks with int8 activations on the micro runtime: the same bits as in eager, in every form of weights."""

import pytest
import torch
from micro_build import ROOT, needs_gcc, run
from micro_programs import write_example

from edgeq import models
from edgeq.compile import micro
from edgeq.models import denseshift
from edgeq.models.denseshift import DenseShiftConfig
from edgeq.nn.packed_shift import PackedConv, PackedInput
from edgeq.nn.shift_conv import ShiftConv2d
from edgeq.ops import Want
from edgeq.package import verify_package

pytestmark = needs_gcc


class Two(torch.nn.Module):
    """A quantiser and two convolutions, the second with groups and a residual of codes."""

    def __init__(self, bits: int, form: str) -> None:
        super().__init__()
        torch.manual_seed(bits)
        first = ShiftConv2d(5, 12, 3, stride=2, padding=1, bits=bits, form=form, bias=True)
        second = ShiftConv2d(12, 12, 3, padding=1, groups=3, bits=bits, form=form)
        for conv in (first, second):
            conv.references.data.normal_()
        self.quantise = PackedInput(0.03)
        self.first = PackedConv.from_trained(first, act="i8", step_in=0.03, step_out=0.2)
        self.second = PackedConv.from_trained(second, act="i8", step_in=0.2, step_residual=0.2, step_out=1.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.first(self.quantise(x), want=Want.CODES)
        z: torch.Tensor = self.second(y, y, want=Want.CODES)
        return z


@pytest.mark.parametrize(("bits", "form"), [(2, "denseshift"), (3, "denseshift"), (4, "denseshift"), (3, "s3")])
def test_shift_convolutions_give_the_codes_of_eager(host, tmp_path, bits, form):
    x = torch.randn(1, 9, 8, 5, generator=torch.Generator().manual_seed(7))
    example = write_example(tmp_path, "two", Two(bits, form).eval(), x)
    done = run(host, example.program, f"forward:{example.input}")
    assert done.status == 0, done.message
    assert done.output == example.output and len(set(example.output)) > 20


def test_spoken_digits_give_the_bits_of_eager(host, tmp_path):
    package = verify_package(ROOT / "zoo/denseshift-kws/package")
    x = torch.randn(1, 49, 40, 1, generator=torch.Generator().manual_seed(3))
    example = write_example(tmp_path, "kws", models.from_package(package.config(), package.tensors()), x)
    done = run(host, example.program, f"forward:{example.input}")
    assert done.status == 0, done.message
    assert done.output == example.output
    need = micro.report(example.program.read_bytes())
    print(f"denseshift-kws: {need}")
    assert need.program_bytes < 40_000 and need.ram_bytes < 64_000


def test_float_activations_are_refused_by_name():
    model = denseshift.packed(DenseShiftConfig(3, in_channels=1, widths=(4,), blocks=(1,))).eval()
    with pytest.raises(Exception, match="conv2d_f32f32"):
        micro.lower(model, (torch.randn(1, 8, 8, 1),))
