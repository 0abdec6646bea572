"""Scratch and tiles of operators: more than 1 % beyond memory.json fails. To renew it: UPDATE_COUNTS=1 pytest this.

No compiler has a part in these numbers; instruction sets that this machine lacks are not compared.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from edgeq import _native
from edgeq._native import prepared
from edgeq._native._structures import CWeightsI4
from edgeq._native.choices import choices

MEMORY = Path(__file__).parent / "memory.json"
WORSE = 1.01
SHAPES = ((1, 768, 768), (16, 768, 3072), (128, 768, 768))
GROUP = 32


def scratch(call: prepared.Call) -> int:
    """The last argument of an operator."""
    return call.arguments[-1]


def linear(m: int, k: int, o: int) -> dict[str, int]:
    op, e = prepared.linear(m, k, o), prepared.epilogue({"out": np.empty((m, o), np.float32)})
    bits, codes = np.zeros((m, _native.row_bytes(k)), np.uint8), np.zeros((m, k), np.int8)
    planes, bytes_ = np.zeros((2, o, _native.row_bytes(k)), np.uint8), np.zeros((o, k), np.int8)
    fours, scale = np.zeros((o, k // 2), np.uint8), np.ones((o, k // GROUP), np.float16)
    i4 = CWeightsI4(fours.ctypes.data, scale.ctypes.data, 0, None, GROUP)
    tiles = {
        "b1b1": prepared.tiles("b1b1", o, k, planes[0]),
        "t2": prepared.tiles("t2", o, k, planes),
        "i4": prepared.tiles("i4", o, k, i4),
        "i8": prepared.tiles("i8", o, k, bytes_),
        "s3": prepared.tiles("s3", o, k, np.zeros((3, *planes.shape[1:]), np.uint8)),
        "s4": prepared.tiles("s4", o, k, np.zeros((4, *planes.shape[1:]), np.uint8)),
    }
    found = {f"tiles_{name}": made.nbytes for name, made in tiles.items()}
    found["linear_b1b1"] = scratch(prepared.operator("linear_b1b1", op, (bits, planes[0].copy()), e))
    found["linear_t2i8"] = scratch(prepared.operator("linear_t2i8", op, (codes, planes), e))
    found["linear_i8i8"] = scratch(prepared.operator("linear_i8i8", op, (codes, bytes_), e))
    found["linear_i4i8"] = scratch(prepared.i4i8(op, codes, i4, e))
    inputs = {"b1b1": (bits,), "i4i8": (codes, None)}
    for name in ("b1b1", "t2i8", "i4i8", "i8i8", "s3i8", "s4i8"):
        made = tiles[name if name in tiles else name[:2]]
        found[f"linear_{name}_tiled"] = scratch(prepared.tiled_linear(name, op, inputs.get(name, (codes,)), made, e))
    return found


def conv2d(size: int, c: int, o: int) -> dict[str, int]:
    op, row = prepared.conv2d(1, size, size, c, o, (3, 3), 1), _native.row_bytes(c)
    e = prepared.epilogue({"out": np.empty((1, size, size, o), np.float32)})
    bits, codes = np.zeros((1, size, size, row), np.uint8), np.zeros((1, size, size, c), np.int8)
    weights = np.zeros((o, 3, 3, c), np.int8)
    planes = np.zeros((2, o, 3, 3, row), np.uint8)
    fours, scale = np.zeros((o, 3, 3, c // 2), np.uint8), np.ones((o, 9 * c // GROUP), np.float16)
    i4 = CWeightsI4(fours.ctypes.data, scale.ctypes.data, 0, None, GROUP)
    return {
        "tiles_conv2d_b1b1": prepared.tiles_conv2d_b1b1(op, planes[0]).nbytes,
        "conv2d_b1b1": scratch(prepared.operator("conv2d_b1b1", op, (bits, np.zeros((o, 3, 3, row), np.uint8)), e)),
        "conv2d_t2b1": scratch(prepared.operator("conv2d_t2b1", op, (bits, planes), e)),
        "conv2d_i4i8": scratch(prepared.i4i8(op, codes, i4, e)),
        "conv2d_i8i8": scratch(prepared.operator("conv2d_i8i8", op, (codes, weights), e)),
    }


@pytest.mark.parametrize("isa", _native.usable_isas())
def test_operators_take_no_more_memory_than_committed(isa):
    _native.select_isa(isa)
    for choice in choices(isa):
        choice.set(choice.built_in)
    now = {f"{'x'.join(map(str, shape))} {name}": size for shape in SHAPES for name, size in linear(*shape).items()}
    now |= {f"14x14x256 {name}": size for name, size in conv2d(14, 256, 256).items()}
    if os.environ.get("UPDATE_COUNTS"):
        known = json.loads(MEMORY.read_text()) if MEMORY.exists() else {}
        MEMORY.write_text(json.dumps({**known, isa: now}, indent=1, sort_keys=True) + "\n")
    known = json.loads(MEMORY.read_text())
    if isa not in known:
        pytest.skip(f"memory.json has no figures of {isa}; UPDATE_COUNTS=1 adds them")
    assert now.keys() == known[isa].keys()
    assert not {name: (size, known[isa][name]) for name, size in now.items() if size > WORSE * known[isa][name]}
