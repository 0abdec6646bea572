"""`edgeq bench kernels`: which kernels this machine takes for which shapes, and finding out what is fastest here.

All values of a choice give the same bits (checked while measuring), so a table changes speed only. Each value runs in
turns with what is built in; thread CPU time, the least of the turns counts. A value must be better by 3 % to be taken.
"""

from __future__ import annotations

import ctypes as ct
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path

import numpy as np

from edgeq import _native, _paths
from edgeq._errors import EdgeQError, StoreError
from edgeq._native import prepared
from edgeq._native._structures import CWeightsI4
from edgeq._native.choices import TITLE, Choice, choices, kernels_file

Shape = tuple[int, int, int]  # rows, inputs, outputs
Made = tuple[Callable[[], None], prepared.Array]  # a call, and what it writes
Progress = Callable[[str], None]
GAIN = 0.97  # of the time of what is built in
ROUNDS, SAMPLE_NS = 15, 100_000
GROUP = 32


@dataclass(frozen=True)
class Work:
    """What a choice acts on. rows: the choice is the most rows for which one of two kernels runs."""

    product: Callable[[Shape], Made]
    shapes: tuple[tuple[int, int], ...]  # inputs, outputs
    rows: tuple[int, ...]
    values: tuple[int, ...] = ()  # none: the choice is a number of rows


def table() -> list[tuple[str, str, int, int, int, int]]:
    """Instruction set, choice, value in force, built in, least, most."""
    return [(isa, c.name, c.value, c.built_in, c.least, c.most) for isa in _vector_sets() for c in choices(isa)]


def tune(progress: Progress = lambda _line: None, *, isas: Sequence[str] = (), rounds: int = ROUNDS) -> Path:
    """Measure every choice of this machine's instruction sets, use what is fastest, and store it.

    returns  the file; libraries of EdgeQ read it when they start
    """
    file = kernels_file() or _paths.home() / "kernels.txt"
    if "EDGEQ_KERNELS" not in os.environ:
        _paths.writable_home()
    before = _native.isa()
    lines = [TITLE, "# measured by `edgeq bench kernels --tune`; delete this file to return to what is built in"]
    try:
        for isa in isas or _vector_sets():
            _native.select_isa(isa)
            for choice in choices(isa):
                if work := WORK.get(choice.name):
                    best = _best(choice, work, rounds)
                    choice.set(best)
                    progress(f"{isa} {choice.name}: {best}" + ("" if best == choice.built_in else " (changed)"))
                    lines.append(f"{isa} {choice.name} {best}")
    finally:
        _native.select_isa(before)
    part = file.with_name(f"{file.name}.part")
    try:
        part.write_text("\n".join(lines) + "\n")
        part.replace(file)
    except OSError as error:
        raise StoreError(f"{file}: cannot be written: {error.strerror}") from error
    return file


def _vector_sets() -> list[str]:
    return [isa for isa in reversed(_native.usable_isas()) if isa != "ref"]


def _best(choice: Choice, work: Work, rounds: int) -> int:
    if work.values:
        fitting = [v for v in work.values if choice.least <= v <= choice.most]
        cost = {v: c for v, c in zip(fitting, _costs(choice, work, work.rows, fitting, rounds), strict=True)}
        best = min(cost, key=cost.__getitem__)
        return best if cost[best] < GAIN * cost.get(choice.built_in, np.inf) else choice.built_in
    limit = choice.least
    for rows in (r for r in work.rows if r <= choice.most):
        otherwise, few = _costs(choice, work, (rows,), (rows - 1, rows), rounds)
        same = rows <= choice.built_in  # what is built in wins a tie
        if few > otherwise * (1 / GAIN if same else GAIN):
            break
        limit = rows
    return limit


def _costs(choice: Choice, work: Work, rows: tuple[int, ...], values: Sequence[int], rounds: int) -> list[float]:
    """Geometric mean over the shapes of the least time of each value, nanoseconds."""
    totals = np.ones(len(values))
    shapes = [(m, k, o) for m in rows for k, o in work.shapes]
    for shape in shapes:
        calls, results = [], []
        for value in values:
            choice.set(value)  # scratch is that of the value
            call, result = work.product(shape)
            call()
            calls.append(call)
            results.append(result)
        if any(not np.array_equal(results[0], other) for other in results):
            raise EdgeQError(f"{choice.isa} {choice.name}: values give different bits at {shape}; please report it")
        totals *= [least ** (1 / len(shapes)) for least in _least(choice, values, calls, rounds)]
    choice.set(choice.built_in)
    return [float(total) for total in totals]


def _least(choice: Choice, values: Sequence[int], calls: Sequence[Callable[[], None]], rounds: int) -> list[float]:
    least = [np.inf] * len(calls)
    repeat = 1
    for turn in range(rounds + 1):  # the first one only tells how often to repeat
        for i, (value, call) in enumerate(zip(values, calls, strict=True)):
            choice.set(value)
            call()
            start = time.thread_time_ns()
            for _ in range(repeat):
                call()
            taken = (time.thread_time_ns() - start) / repeat
            if turn:
                least[i] = min(least[i], taken)
            elif i == len(calls) - 1:
                repeat = max(1, int(SAMPLE_NS / max(taken, 1)))
    return least


# ---- the products


def _random(shape: tuple[int, ...], *, dtype: type = np.uint8) -> prepared.Array:
    drawn = np.random.default_rng(prod(shape)).integers(0, 256, shape, np.uint8)
    return drawn.view(dtype)


def _out(shape: Shape) -> tuple[prepared.Array, ct.Structure]:
    m, _, o = shape
    out = np.empty((m, o), np.float32)
    return out, prepared.epilogue({"out": out})


def _bits(shape: Shape, *, tiled: bool) -> Made:
    m, k, o = shape
    out, e = _out(shape)
    op, row = prepared.linear(m, k, o), _native.row_bytes(k)
    x, w = _random((m, row)), _random((o, row))
    if not tiled:
        return prepared.operator("linear_b1b1", op, (x, w), e), out
    return prepared.tiled_linear("b1b1", op, (x,), prepared.tiles("b1", o, k, w), e), out


def _canonical_i8(shape: Shape) -> Made:
    m, k, o = shape
    out, e = _out(shape)
    x, w = _random((m, k), dtype=np.int8), _ternary(o, k)
    return prepared.operator("linear_t2i8", prepared.linear(m, k, o), (x, w), e), out


def _tiled_t2(shape: Shape) -> Made:
    m, k, o = shape
    out, e = _out(shape)
    made = prepared.tiles("t2", o, k, _ternary(o, k))
    return prepared.tiled_linear("t2i8", prepared.linear(m, k, o), (_random((m, k), dtype=np.int8),), made, e), out


def _ternary(o: int, k: int) -> prepared.Array:
    planes = _random((2, o, _native.row_bytes(k)))
    planes[0] &= planes[1]
    return planes


def _i4(shape: Shape, *, tiled: bool) -> Made:
    m, k, o = shape
    out, e = _out(shape)
    codes, scale = _random((o, k // 2)), np.full((o, k // GROUP), 0.01, np.float16)
    weights = CWeightsI4(codes.ctypes.data, scale.ctypes.data, 0, None, GROUP)
    weights.kept = (codes, scale)
    x, op = _random((m, k), dtype=np.int8), prepared.linear(m, k, o)
    if tiled:
        return prepared.tiled_linear("i4i8", op, (x, None), prepared.tiles("i4", o, k, weights), e), out
    return prepared.i4i8(op, x, weights, e), out


MIDDLING = ((768, 768), (768, 3072))
WORK = {
    "b1-rows": Work(partial(_bits, tiled=False), MIDDLING, (1, 2, 3, 4, 6, 8, 12, 16)),
    "b1-unit": Work(partial(_bits, tiled=True), MIDDLING, (16, 128), (64, 128, 256, 512, 1024)),
    "i8-rows": Work(_canonical_i8, MIDDLING, (1, 2, 3, 4)),
    "t2-rows": Work(_tiled_t2, MIDDLING, (1, 2, 3, 4)),
    "t2-words": Work(_tiled_t2, ((1536, 768), (3072, 768)), (16, 32), (8, 16, 24, 32, 48, 96, 192)),
    "i4-rows": Work(partial(_i4, tiled=False), MIDDLING, (1, 2, 3, 4)),
    "i4-tiled-rows": Work(partial(_i4, tiled=True), MIDDLING, (1, 2, 3, 4, 6, 8)),
}
