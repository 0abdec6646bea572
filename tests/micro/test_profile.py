"""What the compiler says about a program before it is flashed is what the runtime then does."""

import re
import struct

import pytest
import torch
from micro_build import FIXTURES, RUNTIME, needs_fixtures, needs_gcc, run
from torch import nn

from edgeq import ops
from edgeq._errors import CompileError
from edgeq.compile import executorch, micro


def test_operators_are_those_of_the_runtime():
    table = (RUNTIME / "micro/operators.c").read_text()
    assert set(re.findall(r'"(edgeq::\w+\.out)"', table)) == micro.OPERATORS


def test_limits_are_those_of_the_runtime():
    header = (RUNTIME / "micro/micro.h").read_text()
    for name in ("ARENAS", "MOST_DIMS", "MOST_ARGS", "MOST_ITEMS", "MOST_VALUES", "MOST_CALLS"):
        declared = int(re.search(rf"EQM_{name} = (\d+)", header)[1])
        assert getattr(micro, name if name.startswith("MOST") else f"MOST_{name}") == declared


def test_a_network_of_packed_layers_fits(small):
    assert micro.check(small.program.read_bytes()) == []


@needs_gcc
def test_report_is_what_the_runtime_asks_for(host, small):
    report = micro.report(small.program.read_bytes())
    (asked,) = run(host, small.program, f"forward:{small.input}").sizes
    assert list(report.arena_bytes) == asked["arenas"][: len(report.arena_bytes)]
    assert not any(asked["arenas"][len(report.arena_bytes) :])
    assert report.scratch_bytes == asked["scratch"][0]
    # a value takes 32 bytes on this 64-bit machine, 16 on a 32-bit one
    calls = report.workspace_bytes % micro.VALUE_BYTES
    assert (asked["workspace"][0] - report.workspace_bytes) % micro.VALUE_BYTES == 0
    assert asked["workspace"][0] % micro.VALUE_BYTES == calls


def test_report_divides_the_program(small):
    report = micro.report(small.program.read_bytes())
    assert report.program_bytes == small.program.stat().st_size
    assert report.program_bytes - 12_000 < report.weight_bytes < report.program_bytes
    assert report.calls == 27
    assert report.floor_bytes <= report.arena_bytes[0] <= 1.15 * report.floor_bytes
    assert 0 <= report.ram_bytes - sum((*report.arena_bytes, report.workspace_bytes, report.scratch_bytes)) < 3 * 16


def test_floor_is_the_largest_sum_of_living_tensors():
    class Chain(nn.Module):
        def forward(self, x):
            return ops.mean_hw(x), ops.pack_sign(x, None)

    x = torch.zeros(1, 4, 4, 8)  # 512 bytes, beside 32 of the mean and then 16 of the bits
    report = micro.report(executorch.lower(Chain(), (x,)))
    assert report.floor_bytes == 512 + 32 + 16
    assert report.scratch_bytes == 32  # a row of sums
    assert report.weight_bytes == 0


@needs_fixtures
def test_every_violation_of_the_fixtures_is_found():
    mixed = (FIXTURES / "mixed.pte").read_bytes()
    delegated, *_ = map(str, micro.check(mixed, "accel"))
    assert delegated.startswith("accel: delegates to XnnpackBackend; replace its layers by EdgeQ's")
    assert {v.what for v in micro.check(mixed, "perturb")} == {"operator edgeq::zo_perturb.out"}
    with pytest.raises(CompileError, match='no method "nothing"; the program has: '):
        micro.check(mixed, "nothing")


def test_bytes_that_are_no_program_are_refused():
    with pytest.raises(CompileError, match="not an ExecuTorch program"):
        micro.check(struct.pack("<16I", *range(16)))


def damaged(pte: bytes, change) -> bytes:
    """The program after `change(plan)`."""
    from executorch.exir._serialize._program import deserialize_pte_binary, serialize_pte_binary

    file = deserialize_pte_binary(pte)
    change(file.program.execution_plan[0])
    return bytes(serialize_pte_binary(file, segment_alignment=16, constant_tensor_alignment=16))


def first_tensor(plan):
    return plan.values[plan.inputs[0]].val


def swapped(plan):
    first_tensor(plan).dim_order = [0, 2, 1, 3]


def unplanned(plan):
    first_tensor(plan).allocation_info = None


def dynamic(plan):
    from executorch.exir.schema import TensorShapeDynamism

    first_tensor(plan).shape_dynamism = TensorShapeDynamism.DYNAMIC_BOUND


def wide(plan):
    next(v.val for v in plan.values if type(v.val).__name__ == "Int").int_val = 1 << 40


def renamed(plan):
    plan.operators[0].name = "aten::relu"


@needs_gcc
@pytest.mark.parametrize(
    ("change", "what"),
    [
        (swapped, "dimension order [0, 2, 1, 3]"),
        (unplanned, "no memory is planned for it"),
        (dynamic, "dynamic shape"),
        (wide, f"is {1 << 40}"),
        (renamed, "operator aten::relu.out"),
    ],
)
def test_what_check_names_the_runtime_refuses(host, small, tmp_path, change, what):
    pte = damaged(small.program.read_bytes(), change)
    assert any(what in v.what for v in micro.check(pte))
    with pytest.raises(CompileError, match="forward: "):
        micro.report(pte)
    (tmp_path / "damaged.pte").write_bytes(pte)
    assert run(host, tmp_path / "damaged.pte", "forward").status > 0
