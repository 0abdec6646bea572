"""What follows an operator, on its own (`edgeq/glue.h`)."""

from __future__ import annotations

import ctypes as ct
from dataclasses import astuple
from typing import Literal

import numpy as np

from edgeq._errors import UsageError

from ._arrays import F32, I8, I32, address, check, code, floats, scratch_memory, u32s
from ._library import call, library
from ._operator import filled_epilogue
from ._structures import CConv2d
from .types import Conv2d, Epilogue, Outputs

LatentKind = Literal["integers", "signs", "powers"]
LATENT_KINDS: tuple[LatentKind, ...] = ("integers", "signs", "powers")


def epilogue_i32(acc: I32, epilogue: Epilogue) -> Outputs:
    """The epilogue alone over acc (n, h, w, o) int32."""
    if acc.ndim != 4:
        raise UsageError(f"acc: expected (n, h, w, o), got {acc.ndim} axes")
    n, h, w, o = acc.shape
    check("acc", acc, np.int32, (n, h, w, o))
    e, results, keep = filled_epilogue(epilogue, (n, h, w, o), (n, h, w))
    size = library().eq_epilogue_i32_scratch(n, h, w, o, ct.byref(e))
    scratch = scratch_memory(size)
    call("epilogue_i32", address(acc), n, h, w, o, ct.byref(e), address(scratch), size)
    del keep
    return results


def mean_hw(x: F32) -> F32:
    """x (n, h, w, c) float32 -> (n, c): the mean over each image, rows summed first (types.h, out_mean)."""
    if x.ndim != 4:
        raise UsageError(f"x: expected (n, h, w, c), got {x.ndim} axes")
    n, h, w, c = x.shape
    out = np.empty((n, c), np.float32)
    size = library().eq_mean_hw_scratch(n, h, w, c)
    scratch = scratch_memory(size)
    call("mean_hw", floats("x", x), n, h, w, c, address(out), address(scratch), size)
    return out


def mean_quarters(x: F32 | I8, inv_step: float = 1.0) -> F32:
    """x (n, h, w, c) float32, or int8 codes worth code / inv_step -> (n, 4 c), 2 c or c: means over its quarters."""
    if x.ndim != 4:
        raise UsageError(f"x: expected (n, h, w, c), got {x.ndim} axes")
    n, h, w, c = x.shape
    integer = x.dtype == np.int8
    check("x", x, np.int8 if integer else np.float32)
    out = np.empty((n, c * min(h, 2) * min(w, 2)), np.float32)
    pair = (None, address(x)) if integer else (address(x), None)
    call("mean_quarters", *pair, inv_step, n, h, w, c, address(out))
    return out


def latent_codes(latents: F32, kind: LatentKind, top: int) -> I8:
    """Codes, of the shape of the latents: rounded to -top..top, and as the kind says (glue.h)."""
    out = np.empty(latents.shape, np.int8)
    call("latent_codes", code("kind", kind, LATENT_KINDS), top, floats("latents", latents), out.size, address(out))
    return out


def mean_patches(x: I8, op: Conv2d) -> F32:
    """x (n, h, w, c) int8 -> (n, kh * kw * c): mean over the output's pixels of what each tap of `op` reads."""
    check("x", x, np.int8, (op.n, op.h, op.w, op.c))
    out = np.empty((op.n, op.kh * op.kw * op.c), np.float32)
    call("mean_patches", ct.byref(CConv2d(*u32s(*astuple(op)))), address(x), address(out))
    return out
