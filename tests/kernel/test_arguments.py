"""What the core refuses: every bad argument gives a status and leaves the outputs as they were."""

from __future__ import annotations

import ctypes as ct
from dataclasses import replace

import numpy as np
import pytest

from edgeq import _native as native
from edgeq._errors import UnsupportedError, UsageError
from edgeq._native import Conv2d, Epilogue, Residual, prepared
from edgeq._native._arrays import scratch_memory
from edgeq._native._library import library
from edgeq._native._structures import CConv2d, CEpilogue

OP = Conv2d.same((1, 5, 6, 16), 8, (3, 3))
X = np.zeros((1, 5, 6, 2), np.uint8)
W = np.zeros((8, 3, 3, 2), np.uint8)
ONES = np.ones(8, np.float32)


def test_accepted():
    assert native.conv2d_b1b1(X, W, OP, Epilogue()).out.shape == (1, 5, 6, 8)


@pytest.mark.parametrize(
    "changes",
    [
        {"out_h": 0},
        {"out_w": 0},
        {"out_h": 7},  # the last window starts past the image
        {"out_w": 8},
        {"pad_top": 3},  # the first window ends before the image
        {"pad_left": 3},
        {"stride_h": 0},
        {"stride_w": 2},  # then 6 columns need 11 pixels
        {"groups": 0},
        {"groups": 3},
        {"groups": 4},  # 4 channels a group are neither whole bytes nor one
        {"out_h": 2**31 - 1, "stride_h": 1},
    ],
)
def test_geometry_that_does_not_fit(changes):
    with pytest.raises(UsageError):
        native.conv2d_b1b1(X, W, replace(OP, **changes), Epilogue())


@pytest.mark.parametrize(
    "epilogue",
    [
        Epilogue(act="dprelu"),
        Epilogue(outputs=()),
        Epilogue(act="swish"),
        Epilogue(outputs=("codes",)),
        Epilogue(outputs=("codes",), grid=native.Grid(1.0, 5, 4)),
        Epilogue(outputs=("codes",), grid=native.Grid(1.0, -129, 4)),
        Epilogue(row_shift=np.ones(1, np.float32)),
        Epilogue(residuals=(Residual(np.zeros((1, 3, 3, 8), np.int8)),)),
        Epilogue(scale=np.ones(7, np.float32)),
        Epilogue(scale=np.ones(8, np.float64)),
        Epilogue(scale=np.ones(16, np.float32)[::2]),
        Epilogue(gain=ONES),
        Epilogue(residuals=(Residual(np.zeros((2, 5, 6, 8), np.float32)),)),
        Epilogue(residuals=(Residual(np.zeros((1, 5, 5, 8), np.float32)),)),
        Epilogue(residuals=(Residual(np.zeros((1, 5, 6, 3), np.float32), "tile"),)),
        Epilogue(residuals=(Residual(np.zeros((1, 5, 6, 8), np.float32)),) * 3),
    ],
)
def test_epilogues_that_do_not_fit(epilogue):
    with pytest.raises(UsageError):
        native.conv2d_b1b1(X, W, OP, epilogue)


@pytest.mark.parametrize("x", [X[0], X.astype(np.int8), X[:, :, ::2], np.zeros((1, 5, 6, 4), np.uint8)])
def test_inputs_that_do_not_fit(x):
    with pytest.raises(UsageError):
        native.conv2d_b1b1(x, W, OP, Epilogue())


def test_float_operators_have_no_accumulator():
    x, w = np.zeros((1, 4), np.float32), np.zeros((8, 4), np.int8)
    with pytest.raises(UsageError):
        native.linear_i8f32(x, native.Quant(), w, Epilogue(outputs=("acc",)))


def test_quantiser_needs_its_scales():
    x, w = np.zeros((1, 4), np.float32), np.zeros((8, 4), np.int8)
    with pytest.raises(UsageError):
        native.linear_i8f32(x, native.Quant("sym", 127.0), w, Epilogue())


def c_call(x=X, w=W, scratch=None, size=None, op=OP, out=None):
    """The C function itself, without the binding's checks."""
    lib = library()
    c_op = CConv2d(*(getattr(op, name) for name, _ in CConv2d._fields_))
    e = CEpilogue(out=None if out is None else out.ctypes.data)
    needed = lib.eq_conv2d_b1b1_scratch(ct.byref(c_op), ct.byref(e), None)
    memory = scratch_memory(needed)
    address = memory.ctypes.data if scratch is None else scratch(memory.ctypes.data)
    pointers = [None if a is None else a.ctypes.data for a in (x, w)]
    return lib.eq_conv2d_b1b1(
        ct.byref(c_op), *pointers, ct.byref(e), None, address, needed if size is None else size(needed)
    )


OK, BAD_ARGUMENT, BAD_SHAPE, NO_SCRATCH = range(4)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({}, OK),
        ({"x": None}, BAD_ARGUMENT),
        ({"w": None}, BAD_ARGUMENT),
        ({"scratch": lambda _: None}, NO_SCRATCH),
        ({"scratch": lambda address: address + 4}, NO_SCRATCH),
        ({"size": lambda needed: needed - 1}, NO_SCRATCH),
        ({"op": replace(OP, n=2**31 - 1, h=2**31 - 1)}, BAD_SHAPE),
        ({"op": replace(OP, kh=2**31 - 1, pad_top=2**31 - 2)}, BAD_SHAPE),
        ({"op": replace(OP, o=2**30)}, BAD_SHAPE),
        ({"op": replace(OP, c=2**32 - 1, o=2**32 - 1, groups=2**32 - 1)}, BAD_SHAPE),
    ],
)
def test_statuses_of_c(change, status):
    out = np.full((1, 5, 6, 8), 7.0, np.float32)
    assert c_call(out=out, **change) == status
    assert (out == 7.0).all() == (status != OK)


def test_no_output_asked_for():
    assert c_call(out=None) == BAD_ARGUMENT


@pytest.mark.parametrize("change", [{"h": 8}, {"o": 9}, {"pad_top": 0}, {"groups": 2}])
def test_tiles_of_another_convolution(change):
    op, x = prepared.conv2d(2, 7, 7, 16, 8, (3, 3), 1), np.zeros((2, 8, 8, 2), np.uint8)
    e = prepared.epilogue({"out": np.empty((2, 8, 8, 9), np.float32)})
    made = prepared.tiles_conv2d_b1b1(op, np.zeros((9, 3, 3, 2), np.uint8))
    prepared.tiled_conv2d_b1b1(op, x, made, e)()
    op.n = 1
    prepared.tiled_conv2d_b1b1(op, x, made, e)()
    for name, value in change.items():
        setattr(op, name, value)
    with pytest.raises(UsageError, match=f"status {BAD_ARGUMENT}"):
        prepared.tiled_conv2d_b1b1(op, x, made, e)()


def test_status_texts():
    lib = library()
    texts = {lib.eq_status_text(i).decode() for i in range(5)}
    assert len(texts) == 5
    assert all(texts)


def test_instruction_sets():
    assert native.usable_isas()[0] == "ref"
    for name in native.usable_isas():
        native.select_isa(name)
        assert native.isa() == name
    with pytest.raises(UsageError, match="sse9"):
        native.select_isa("sse9")
    foreign = next(name for name in native.isa_names() if name not in native.usable_isas())
    with pytest.raises(UnsupportedError, match=foreign):
        native.select_isa(foreign)


def test_missing_library(monkeypatch, tmp_path):
    monkeypatch.setenv("EDGEQ_LIBRARY", str(tmp_path / "libedgeq.so"))
    library.cache_clear()
    try:
        with pytest.raises(UnsupportedError, match="EDGEQ_LIBRARY"):
            native.isa()
        (tmp_path / "libedgeq.so").write_bytes(b"not a library")
        with pytest.raises(UnsupportedError, match="not a usable"):
            native.isa()
    finally:
        monkeypatch.undo()
        library.cache_clear()
