"""INT4 grids, files, and GPTQ."""

import pytest
import torch
from torch import nn

from edgeq import ptq
from edgeq._errors import UsageError
from edgeq.ptq import gptq
from edgeq.ptq.network import quantise_linears
from edgeq.schemes import int4
from edgeq.schemes.grouped import GroupedWeight


def rounded(w, grid="asymmetric", group=32):
    """Nearest codes on the same grids, without any correction."""
    parts = []
    for block in w.split(group, 1):
        scale, zero = int4.fit(block, torch.ones(group), grid)
        parts.append((int4.encode(block, scale, zero).to(torch.uint8), scale, zero))
    codes, scales, zeros = zip(*parts, strict=True)
    return GroupedWeight(4, torch.cat(codes, 1), torch.stack(scales, 1), torch.stack(zeros, 1))


def correlated(rows, inputs, rank=8):
    return torch.randn(rows, rank) @ torch.randn(rank, inputs) + 0.1 * torch.randn(rows, inputs)


@pytest.mark.parametrize("grid", int4.GRIDS)
def test_a_fitted_grid_never_does_worse_than_the_full_range(grid):
    torch.manual_seed(0)
    w = torch.randn(64, 32) * 0.05
    scale, zero = int4.fit(w, torch.ones(32), grid)
    full_scale, full_zero = int4._grid(w, grid, 1.0, 16)

    def error(s, z):
        return (int4.decode(int4.encode(w, s, z), s, z) - w).square().sum(1)

    assert bool((error(scale, zero) <= error(full_scale, full_zero)).all())
    assert float(error(scale, zero).sum()) < 0.98 * float(error(full_scale, full_zero).sum())
    assert torch.equal(scale, scale.half().float())
    assert bool(((zero >= 0) & (zero < 16) & (zero == zero.round())).all())


def test_q4_0_puts_the_largest_magnitude_on_code_0():
    w = torch.tensor([[0.5, -4.0, 3.0, 0.0]])
    scale, zero = int4._grid(w, "q4_0", 1.0, 16)
    assert scale.tolist() == [0.5] and zero.tolist() == [8.0]
    assert int4.encode(w, scale, zero).tolist() == [[9.0, 0.0, 14.0, 8.0]]


@pytest.mark.parametrize("value", [0.0, 1e-9])
def test_a_group_of_nothing_stays_nothing(value):
    w = torch.full((2, 32), value)
    scale, zero = int4.fit(w, torch.ones(32))
    assert (
        bool(scale.isfinite().all()) and float(int4.decode(int4.encode(w, scale, zero), scale, zero).abs().max()) == 0
    )


@pytest.mark.parametrize(("grid", "parts"), [("asymmetric", {"codes", "scale", "zero"}), ("q4_0", {"codes", "scale"})])
@pytest.mark.parametrize("inputs", [32, 96])
def test_files_keep_every_code(grid, parts, inputs):
    torch.manual_seed(1)
    weight = rounded(torch.randn(7, inputs), grid)
    packed = int4.pack(weight, zeros="zero" in parts)
    assert packed.keys() == parts
    back = int4.unpack(packed["codes"], packed["scale"], packed.get("zero"), inputs)
    assert torch.equal(back.codes, weight.codes) and torch.equal(back.dequantise(), weight.dequantise())


def test_what_a_file_cannot_hold_is_refused():
    weight = rounded(torch.randn(4, 64))
    for broken in (
        GroupedWeight(4, weight.codes, weight.scale, weight.zero + 0.25),
        GroupedWeight(4, weight.codes, weight.scale, weight.zero, perm=torch.arange(64).flip(0)),
        GroupedWeight(8, weight.codes, weight.scale, weight.zero),
    ):
        with pytest.raises(UsageError):
            int4.pack(broken)
    with pytest.raises(UsageError, match="must be 8"):
        int4.pack(weight, zeros=False)


def test_gptq_halves_the_error_of_rounding_on_correlated_inputs():
    torch.manual_seed(2)
    x, w = correlated(2000, 64), torch.randn(48, 64) * 0.1
    weight = gptq.quantise(w, x.T @ x / len(x))
    plain = rounded(w)

    def error(q):
        return float((x @ (q.dequantise() - w).T).square().mean())

    assert error(weight) < 0.5 * error(plain)


def test_gptq_without_correlation_is_rounding():
    torch.manual_seed(3)
    w = torch.randn(5, 64)
    assert torch.equal(gptq.quantise(w, torch.eye(64)).codes, rounded(w).codes)


def test_aimed_weights_undo_a_change_of_the_input():
    torch.manual_seed(4)
    f, w = torch.randn(4000, 16), torch.randn(3, 16)
    x = f @ (torch.eye(16) + 0.1 * torch.randn(16, 16))
    target = gptq.aimed(w, x.T @ x / 4000, (f - x).T @ x / 4000)
    assert float((x @ target.T - f @ w.T).square().mean()) < 0.1 * float((x @ w.T - f @ w.T).square().mean())


@pytest.mark.parametrize(("group", "hessian"), [(24, torch.eye(64)), (32, torch.full((64, 64), float("nan")))])
def test_gptq_refuses_what_it_cannot_use(group, hessian):
    with pytest.raises(UsageError):
        gptq.quantise(torch.randn(2, 64), hessian, group=group)


class Net(nn.Module):
    """Two layers that read the same tensor, one behind them, one that nothing reaches."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(64, 32), nn.Linear(64, 32, bias=False), nn.Linear(32, 10)
        self.unused = nn.Linear(4, 4)

    def forward(self, x):
        return self.c(torch.relu(self.a(x) * self.b(x)))


def test_networks_are_quantised_in_order_of_use():
    torch.manual_seed(5)
    net, told = Net().eval(), []
    before = {name: value.clone() for name, value in net.state_dict().items()}
    weights = quantise_linears(
        net, [(torch.randn(400, 64),)], group=32, progress=lambda name, done, steps: told.append((name, done, steps))
    )
    assert list(weights) == ["a", "b", "c"] and told == [("a", 0, 2), ("c", 1, 2)]
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(weight.bias is not None and weight.activation != "float" for weight in weights.values())


def test_skipped_layers_stay_float_and_unknown_names_are_told():
    net = Net().eval()
    calibration = [(torch.randn(50, 64),)]
    assert list(quantise_linears(net, calibration, group=32, skip=("a", "c"))) == ["b"]
    for skip, text in ((("d",), "no layer 'd'"), (("a", "b", "c"), "no linear layer")):
        with pytest.raises(UsageError, match=text):
            quantise_linears(net, calibration, group=32, skip=skip)
    with pytest.raises(UsageError, match="no inputs"):
        quantise_linears(net, [], group=32)


@pytest.mark.parametrize("scheme", ["int3", "int2"])
def test_below_4_bits_needs_a_second_word(scheme):
    with pytest.raises(UsageError, match="edgeq train"):
        ptq.quantize(Net(), scheme, calibration=[(torch.randn(50, 64),)])
    with pytest.warns(UserWarning, match="below 4 bits"):
        net = ptq.quantize(Net(), scheme, calibration=[(torch.randn(50, 64),)], below_4_bits=True)
    codes = int4.unpack_nibbles(net.get_submodule("c").codes, 32)
    assert int(codes.max()) < 2 ** ptq.network.SCHEMES[scheme]
