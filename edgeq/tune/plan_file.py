"""The plan of a tuning run as the bytes that a device reads (`runtime/proto/tune/tune_plan.h`)."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from edgeq._errors import UnsupportedError
from edgeq._native.tune import TuneSettings
from edgeq._native.tune_types import TuneData, TuneModel

_VERSION = 1
_MOMENTS, _LABELS, _TRIANGLE, _COST, _TARGETS = 1, 2, 4, 8, 16
_AFTER_SEED = "<4I5f3I3fI3fIfI"  # micro .. flip_every, without cost
_NAMES = (
    *("micro", "steps", "batch", "head_steps", "eps", "lr_ac", "lr_head", "lr_bias", "lr_latent"),
    *("evaluate_every", "patience", "converged", "tolerance", "margin", "held_out", "sweeps"),
    *("shrink", "base_weight", "ridge", "base_classes", "flip_share", "flip_every"),
)


def plan_bytes(model: TuneModel, data: TuneData, chosen: TuneSettings) -> bytes:
    """raises  UnsupportedError for latents: a device has no methods that learn them yet"""
    if model.latents:
        raise UnsupportedError("learning on the device itself: no latents yet; leave t2, t3 and zeroqat to the host")
    classes, hidden = model.head_weight.shape
    has = {
        _MOMENTS: model.moments,
        _LABELS: data.labels is not None,
        _TRIANGLE: model.base_triangle is not None,
        _COST: chosen.cost is not None,
        _TARGETS: data.targets is not None,
    }
    head = struct.pack("<4sI", b"EQTP", _VERSION) + model.base + model.layout + data.id
    head += struct.pack("<4I", len(model.layers), len(model.taps), classes, hidden)
    head += struct.pack("<If", model.base_samples, model.head_sigma)
    head += struct.pack("<2I", data.count, sum(bit for bit, there in has.items() if there))
    values = chosen.values
    head += struct.pack("<4IQ", values.method, values.loss, values.optimiser, values.flags, values.seed)
    head += struct.pack(_AFTER_SEED, *(getattr(values, name) for name in _NAMES))
    rows, arrays = [], []
    for index, layer in enumerate(model.layers):
        parts = (layer.bias, layer.mean, layer.deviation)
        what = sum(1 << i for i, part in enumerate(parts) if part is not None)
        depth = index if layer.depth is None else layer.depth
        rows.append(struct.pack("<2IfI", layer.channels, depth, layer.sigma, what))
        arrays += [part for part in parts if part is not None]
    rows += [struct.pack("<If", tap.width, tap.rms) for tap in model.taps]
    arrays += [model.head_weight, model.head_bias, model.head_scale]
    further: tuple[np.ndarray[Any, Any] | None, ...] = (model.base_triangle, data.labels, data.targets, chosen.cost)
    arrays += [array for array in further if array is not None]
    return head + b"".join(rows) + b"".join(_words(array) for array in arrays)


def _words(array: np.ndarray[Any, Any]) -> bytes:
    return array.astype("<i4" if array.dtype.kind == "i" else "<f4").tobytes()
