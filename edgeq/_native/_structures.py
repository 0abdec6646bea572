"""The C side of the types, field by field as in `runtime/include/edgeq/types.h`."""

from __future__ import annotations

import ctypes as ct

CONV2D_FIELDS = (
    *("n", "h", "w", "c", "o", "kh", "kw", "stride_h", "stride_w"),
    *("pad_top", "pad_left", "out_h", "out_w", "groups"),
)


class CConv2d(ct.Structure):
    _fields_ = tuple((name, ct.c_uint32) for name in CONV2D_FIELDS)


class CLinear(ct.Structure):
    _fields_ = (("m", ct.c_uint32), ("k", ct.c_uint32), ("o", ct.c_uint32))


class CResidual(ct.Structure):
    _fields_ = (
        ("data", ct.c_void_p),
        ("h", ct.c_uint32),
        ("w", ct.c_uint32),
        ("c", ct.c_uint32),
        ("mode", ct.c_int),
        ("codes", ct.c_void_p),
        ("step", ct.c_float),
    )


class CGrid(ct.Structure):
    _fields_ = (("inv_step", ct.c_float), ("low", ct.c_int32), ("high", ct.c_int32))


class CCodes(ct.Structure):
    _fields_ = (("kind", ct.c_int), ("grid", CGrid), ("clip", ct.c_float))


class CWeightsI4(ct.Structure):
    _fields_ = (
        ("codes", ct.c_void_p),
        ("scale", ct.c_void_p),
        ("zero_kind", ct.c_int),
        ("zero", ct.c_void_p),
        ("group", ct.c_uint32),
    )


class CTuning(ct.Structure):
    _fields_ = (
        ("a", ct.c_void_p),
        ("c", ct.c_void_p),
        ("pitch", ct.c_size_t),
        ("rows", ct.c_uint32),
        ("sigma", ct.c_float),
        ("moments", ct.c_void_p),
    )


class CEpilogue(ct.Structure):
    _fields_ = (
        ("scale", ct.c_void_p),
        ("bias", ct.c_void_p),
        ("row_scale", ct.c_void_p),
        ("row_shift", ct.c_void_p),
        ("shift_weight", ct.c_void_p),
        ("residual", CResidual * 2),
        ("act", ct.c_int),
        ("pos", ct.c_void_p),
        ("neg", ct.c_void_p),
        ("shift", ct.c_void_p),
        ("gain", ct.c_void_p),
        ("scale2", ct.c_void_p),
        ("bias2", ct.c_void_p),
        ("out_acc", ct.c_void_p),
        ("out", ct.c_void_p),
        ("out_bits", ct.c_void_p),
        ("out_t2", ct.c_void_p),
        ("out_i8", ct.c_void_p),
        ("grid", CGrid),
        ("out_mean", ct.c_void_p),
        ("tuning", ct.POINTER(CTuning)),
    )


class CAttention(ct.Structure):
    _fields_ = (
        *((name, ct.c_uint32) for name in ("batch", "heads", "d", "queries", "keys", "used")),
        ("causal", ct.c_bool),
        ("mask", ct.c_void_p),
    )


class CKeep(ct.Structure):
    _fields_ = (("kind", ct.c_int), ("margin", ct.c_uint32), ("step", ct.c_float), ("cut", ct.c_float))


class CContext(ct.Structure):
    _fields_ = (
        ("scale", ct.c_float),
        ("threshold", ct.c_void_p),
        ("out", ct.c_void_p),
        ("out_t2", ct.c_void_p),
    )


class CProbability(ct.Structure):
    _fields_ = (("kind", ct.c_int), ("per_row", ct.c_bool), ("step", ct.c_float), ("top", ct.c_uint32))


class CAttentionCodes(ct.Structure):
    _fields_ = (
        *((name, ct.c_void_p) for name in ("q", "k", "v")),
        ("step_scores", ct.c_float),
        ("step_v", ct.c_float),
    )


class CAttentionFloats(ct.Structure):
    _fields_ = (
        *((name, ct.c_void_p) for name in ("q", "k", "v")),
        *((name, ct.c_size_t) for name in ("q_pitch", "key_pitch")),
        ("step", ct.c_float),
    )


class CLookup(ct.Structure):
    _fields_ = (("ids", ct.c_void_p), ("count", ct.c_size_t), ("rows", ct.c_uint32), ("k", ct.c_uint32))


class CNorm(ct.Structure):
    _fields_ = (
        ("rows", ct.c_size_t),
        ("k", ct.c_uint32),
        ("eps", ct.c_float),
        *((name, ct.c_void_p) for name in ("x", "residual", "gamma", "beta", "threshold", "out", "out_bits", "out_t2")),
    )


class CQuant(ct.Structure):
    _fields_ = (("kind", ct.c_int), ("top", ct.c_float), ("scale", ct.c_void_p), ("step", ct.c_void_p))


TASK = ct.CFUNCTYPE(None, ct.c_void_p, ct.c_size_t, ct.c_size_t, ct.c_uint)
RUN = ct.CFUNCTYPE(None, ct.c_void_p, TASK, ct.c_void_p, ct.c_size_t)


class CThreads(ct.Structure):
    _fields_ = (("workers", ct.c_uint), ("run", RUN), ("context", ct.c_void_p))
