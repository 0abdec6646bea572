"""What calls of operators have in common: the epilogue, threads, scratch."""

from __future__ import annotations

import ctypes as ct
import threading
from collections.abc import Callable
from dataclasses import astuple
from math import prod

import numpy as np

from edgeq._errors import UsageError

from ._arrays import F32, address, check, code, floats, row_bytes, scratch_memory, u32s
from ._library import call, library
from ._structures import RUN, CConv2d, CEpilogue, CGrid, CLinear, CQuant, CResidual, CThreads, CTuning
from .types import ACTS, OUTPUTS, QUANT_KINDS, RESIDUAL_MODES, Conv2d, Epilogue, Grid, Outputs, Quant, Tuning


def convolution(
    name: str,
    op: Conv2d,
    inputs: tuple[object, ...],
    epilogue: Epilogue,
    threads: int,
    *,
    described_by: object = None,
) -> Outputs:
    """described_by: what the scratch formula takes besides the geometry."""
    c_op = CConv2d(*u32s(*astuple(op)))
    spatial = (op.n, op.out_h, op.out_w)
    return operator(name, c_op, inputs, filled_epilogue(epilogue, (*spatial, op.o), spatial), threads, described_by)


def linear(
    name: str,
    size: tuple[int, int, int],
    inputs: tuple[object, ...],
    epilogue: Epilogue,
    threads: int,
    *,
    described_by: object = None,
) -> Outputs:
    """described_by: what the scratch formula takes besides the sizes."""
    m, _, o = size
    op = CLinear(*u32s(*size))
    return operator(name, op, inputs, filled_epilogue(epilogue, (m, 1, 1, o), (m,)), threads, described_by)


def operator(
    name: str,
    op: ct.Structure,
    inputs: tuple[object, ...],
    epilogue: tuple[CEpilogue, Outputs, list[object]],
    threads: int,
    described_by: object = None,
) -> Outputs:
    e, results, _keep = epilogue
    workers = team(threads)
    shared = ct.byref(workers) if workers else None
    description = () if described_by is None else (described_by,)
    size = getattr(library(), f"eq_{name}_scratch")(ct.byref(op), *description, ct.byref(e), shared)
    scratch = scratch_memory(size)
    call(name, ct.byref(op), *inputs, ct.byref(e), shared, address(scratch), size)
    return results


def filled_epilogue(
    e: Epilogue, shape: tuple[int, int, int, int], leading: tuple[int, ...]
) -> tuple[CEpilogue, Outputs, list[object]]:
    """The C epilogue, the arrays it will fill, and what must stay alive during the call."""
    n, _, _, o = shape
    unknown = set(e.outputs) - set(OUTPUTS)
    if unknown or not e.outputs:
        raise UsageError(f"epilogue outputs: expected some of {', '.join(OUTPUTS)}, got {e.outputs!r}")
    if min((*leading, o)) < 1 or prod(leading) * o >= 2**31:
        raise UsageError(f"output shape {(*leading, o)}: expected positive extents, fewer than 2^31 values in all")
    results = Outputs(
        acc=np.empty((*leading, o), np.int32) if "acc" in e.outputs else None,
        out=np.empty((*leading, o), np.float32) if "out" in e.outputs else None,
        bits=np.empty((*leading, row_bytes(o)), np.uint8) if "bits" in e.outputs else None,
        t2=np.empty((2, *leading, row_bytes(o)), np.uint8) if "t2" in e.outputs else None,
        codes=np.empty((*leading, o), np.int8) if "codes" in e.outputs else None,
        mean=np.empty((n, o), np.float32) if "mean" in e.outputs else None,
        moments=np.empty((n, 2, o), np.float32) if "moments" in e.outputs else None,
    )
    c = CEpilogue(act=code("act", e.act, ACTS))
    for name in ("scale", "bias", "pos", "neg", "shift", "scale2", "bias2", "shift_weight"):
        setattr(c, name, floats(name, getattr(e, name), (o,)))
    c.gain = floats("gain", e.gain, (n, o))
    c.row_scale, c.row_shift = floats("row_scale", e.row_scale, (n,)), floats("row_shift", e.row_shift, (n,))
    if e.grid is None and results.codes is not None:
        raise UsageError("epilogue: output codes need a grid")
    c.grid = grid_of(e.grid)
    if len(e.residuals) > 2:
        raise UsageError(f"epilogue: at most 2 residuals, got {len(e.residuals)}")
    for i, r in enumerate(e.residuals):
        if r.data.ndim not in (2, 4) or r.data.shape[0] != n:
            raise UsageError(f"residual {i}: expected ({n}, h, w, c) or ({n}, c), got {r.data.shape}")
        h, w = r.data.shape[1:3] if r.data.ndim == 4 else (1, 1)
        mode = code("residual mode", r.mode, RESIDUAL_MODES)
        integer = r.data.dtype == np.int8
        check(f"residual {i}", r.data, np.int8 if integer else np.float32)
        c.residual[i] = CResidual(None, *u32s(h, w, r.data.shape[-1]), mode, None, r.step)
        setattr(c.residual[i], "codes" if integer else "data", address(r.data))
    c.out_acc, c.out, c.out_bits = address(results.acc), address(results.out), address(results.bits)
    c.out_t2, c.out_i8, c.out_mean = address(results.t2), address(results.codes), address(results.mean)
    if e.tuning is not None:
        c.tuning = ct.pointer(c_tuning(e.tuning, n, o, results.moments))
    elif results.moments is not None:
        raise UsageError("epilogue: moments are those of a tuning, and there is none")
    return c, results, [e, results]


def c_tuning(t: Tuning, n: int, o: int, moments: F32 | None) -> CTuning:
    rows, width = t.ac.shape
    if rows not in (1, n) or not 0 <= t.start <= width - 2 * o:
        raise UsageError(f"ac: expected (1 or {n}, {t.start + 2 * o} or more), got {t.ac.shape}")
    first = (address(t.ac) or 0) + t.start * t.ac.itemsize
    return CTuning(first, first + o * t.ac.itemsize, width, rows, t.sigma, address(moments))


def grid_of(grid: Grid | None) -> CGrid:
    return CGrid() if grid is None else CGrid(grid.inv_step, grid.low, grid.high)


def quantiser(q: Quant, channels: int) -> CQuant:
    kind = code("quant kind", q.kind, QUANT_KINDS)
    scale, step = floats("quant scale", q.scale, (channels,)), floats("quant step", q.step, (channels,))
    return CQuant(kind, q.top, scale, step)


def team(workers: int) -> CThreads | None:
    """Plain threads that live for one call: ctypes releases the interpreter while C works."""
    if workers <= 1:
        return None

    def run(_context: int, task: Callable[[int | None, int, int, int], None], arg: int | None, count: int) -> None:
        bounds = [count * i // workers for i in range(workers + 1)]
        team = [
            threading.Thread(target=task, args=(arg, bounds[i], bounds[i + 1], i))
            for i in range(workers)
            if bounds[i] < bounds[i + 1]
        ]
        for thread in team:
            thread.start()
        for thread in team:
            thread.join()

    return CThreads(workers, RUN(run), None)
