"""`--target micro`: the profile is kept or the operators are named, the arena is tight, a small part is refused."""

import numpy as np
import pytest
import torch
from torch import nn

from edgeq import ops
from edgeq._errors import CompileError, UnsupportedError
from edgeq.compile import compile_module, executorch, host, micro, parts


def test_executorch_runs_the_same_file(small):
    picture = torch.from_numpy(np.fromfile(small.input, np.float32).reshape(1, 28, 28, 1))
    (got,) = host.run(small.program.read_bytes(), (picture,))
    assert got.numpy().tobytes() == small.output


def test_arena_is_close_to_the_bound(small):
    report = micro.report(small.program.read_bytes())
    assert report.floor_bytes <= report.arena_bytes[0] <= 1.15 * report.floor_bytes


class Twice(nn.Module):
    """The residual of the second epilogue is the first one's result: it dies there, so it can be replaced."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Buffer(torch.zeros(16, 1, 1, 2, dtype=torch.uint8))
        self.affine = nn.Buffer(torch.ones(2, 16))

    def forward(self, x):
        acc = ops.conv2d_b1b1(ops.pack_sign(x, None), self.w, 16, 1, 1)
        first = ops.epilogue(acc, ops.Act.RELU, self.affine, None, None, None)
        return ops.epilogue(acc, ops.Act.NONE, self.affine, first, None, None)


def test_a_result_takes_the_place_of_a_dying_residual():
    x = torch.randn(1, 8, 8, 16, generator=torch.Generator().manual_seed(5))
    model = Twice()
    pte = micro.lower(model, (x,))
    plane = 4 * x.numel()
    assert micro.report(pte).arena_bytes[0] < 2 * plane + plane // 8
    (got,) = host.run(pte, (x,))
    assert torch.equal(got, model(x))


def test_operators_that_do_not_fit_are_named_with_a_way_out():
    class Float(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x):
            return torch.sigmoid(self.layer(x))

    with pytest.raises(CompileError) as refused:
        micro.lower(Float(), (torch.zeros(1, 4),))
    assert "operator aten::addmm.out: quantise the linear layer" in str(refused.value)
    assert "operator aten::sigmoid.out: replace the layer" in str(refused.value)
    executorch.lower(Float(), (torch.zeros(1, 4),))


def test_a_part_that_is_too_small_is_refused_with_the_numbers(small):
    need = micro.report(small.program.read_bytes())
    micro.require(need, parts.find("nrf52840"))
    micro.require(need, parts.find("cortex-m0"))  # a core alone sets no limits
    ram = need.ram_bytes + parts.LIBRARY_RAM_BYTES
    with pytest.raises(UnsupportedError, match=rf"^nrf51822 is too small: forward needs {ram} bytes of RAM .* 16384"):
        micro.require(need, parts.find("nrf51822"))
    assert micro.Report.from_dict(need.to_dict()) == need


def test_artefacts_tell_their_memory_and_refuse_parts(tmp_path):
    x = torch.zeros(1, 8, 8, 16)
    made = compile_module(Twice(), (x,), name="twice", target="micro:nrf51822", folder=tmp_path)
    assert made.manifest["micro"] == micro.report(made.path.read_bytes()).to_dict()
    for unknown in ("micro:z80", "executorch:nrf52840", "zx"):
        with pytest.raises(UnsupportedError, match="is not known"):
            compile_module(Twice(), (x,), name="twice", target=unknown, folder=tmp_path)
    with pytest.raises(UnsupportedError, match=r"did you mean esp32c3\?"):
        parts.find("esp32-c3")
