"""Reading a trace of a program whose operators are known (`traces/make.py`)."""

from pathlib import Path

import pytest

from edgeq._errors import DeviceError, UnsupportedError
from edgeq.bench import profile
from edgeq.bench.profile import by_kind, read_trace

TRACES = Path(__file__).parent / "traces"


@pytest.fixture(scope="module")
def program() -> bytes:
    return (TRACES / "small.pte").read_bytes()


@pytest.fixture(scope="module")
def trace() -> bytes:
    return (TRACES / "small.etdump").read_bytes()


def test_operators_come_in_order_with_times_that_fit_into_the_run(program: bytes, trace: bytes) -> None:
    layers, total_ns = read_trace(trace, program)
    ops = [layer.op for layer in layers]
    norm = ops.index("aten::native_layer_norm")
    assert any("Convolution" in op for op in ops[:norm]) and any("Fully Connected" in op for op in ops[norm:])
    assert ops.count("XnnpackBackend (rest)") == 2
    assert len({layer.name for layer in layers}) >= len(layers) - 1  # XNNPACK numbers its own inside each delegate
    assert 0 < sum(layer.ns or 0 for layer in layers) <= total_ns
    kinds = by_kind(layers, total_ns)
    assert kinds[-1].op == "(not in an operator)" and sum(kind.share for kind in kinds) == pytest.approx(1.0)


def test_bytes_that_are_no_trace_of_this_program(program: bytes, trace: bytes) -> None:
    for bytes_ in (b"", b"no trace", trace[: len(trace) // 2]):
        with pytest.raises(DeviceError, match="the trace of"):
            read_trace(bytes_, program)


def test_a_target_without_a_tracer_is_refused_with_the_way_out() -> None:
    with pytest.raises(UnsupportedError, match=r"profile pokebnn-fashion without --target litert.*edgeq compare"):
        profile.run("pokebnn-fashion", "local", target="litert")
