"""What a tuning run is described by, field by field as in `runtime/include/edgeq/tune.h`."""

from __future__ import annotations

import ctypes as ct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from ._arrays import F32, I8, I32, address, check

Method = Literal["auto", "stats", "solve", "head", "t0", "t1", "t2", "t3", "zeroqat", "mezo"]
METHODS: tuple[Method, ...] = ("auto", "stats", "solve", "head", "t0", "t1", "t2", "t3", "zeroqat", "mezo")
Loss = Literal["cross-entropy", "squares", "score"]
LOSSES: tuple[Loss, ...] = ("cross-entropy", "squares", "score")
Optimiser = Literal["adam", "scalar", "sgd"]
OPTIMISERS: tuple[Optimiser, ...] = ("adam", "scalar", "sgd")
FLAGS = (
    *("no_stats", "no_cache", "unguarded", "exact_head", "few_samples", "fresh", "prefer_head"),
    *("weights", "no_start"),
)
KINDS = ("forward", "read", "write", "erase", "flush", "progress", "done")
AREAS = ("slot-a", "slot-b", "log", "delta")
OUTPUTS = ("logits", "hidden", "taps", "moments", "inputs", "scores")
STAGES = ("recover", "baseline", "stats", "solve", "head", "steps", "decide", "commit")
Outcome = Literal["committed", "rejected", "stopped", "diverged", "failed"]
OUTCOMES: tuple[Outcome, ...] = ("committed", "rejected", "stopped", "diverged", "failed")


class CLayer(ct.Structure):
    _fields_ = (
        ("channels", ct.c_uint32),
        ("depth", ct.c_uint32),
        ("sigma", ct.c_float),
        ("bias", ct.c_void_p),
        ("mean", ct.c_void_p),
        ("deviation", ct.c_void_p),
    )


class CTap(ct.Structure):
    _fields_ = (("width", ct.c_uint32), ("rms", ct.c_float))


class CLatent(ct.Structure):
    _fields_ = (
        *((name, ct.c_uint32) for name in ("layer", "outputs", "inputs")),
        ("low", ct.c_int32),
        ("high", ct.c_int32),
        ("binary", ct.c_bool),
        ("codes", ct.c_void_p),
        ("scale", ct.c_void_p),
        ("start", ct.c_void_p),
    )


class CModel(ct.Structure):
    _fields_ = (
        ("base", ct.c_uint8 * 32),
        ("layout", ct.c_uint8 * 32),
        *((name, ct.c_uint32) for name in ("layer_count", "tap_count", "latent_count")),
        ("layers", ct.POINTER(CLayer)),
        ("taps", ct.POINTER(CTap)),
        ("latents", ct.POINTER(CLatent)),
        ("moments", ct.c_bool),
        ("classes", ct.c_uint32),
        ("hidden", ct.c_uint32),
        ("head_weight", ct.c_void_p),
        ("head_bias", ct.c_void_p),
        ("head_scale", ct.c_void_p),
        ("head_sigma", ct.c_float),
        ("base_triangle", ct.c_void_p),
        ("base_samples", ct.c_uint32),
        ("start_ac", ct.c_void_p),
    )


class CData(ct.Structure):
    _fields_ = (
        ("id", ct.c_uint8 * 32),
        ("count", ct.c_uint32),
        ("labels", ct.c_void_p),
        ("targets", ct.c_void_p),
    )


class CSettings(ct.Structure):
    _fields_ = (
        *((name, ct.c_int) for name in ("method", "loss", "optimiser")),
        ("flags", ct.c_uint32),
        ("seed", ct.c_uint64),
        *((name, ct.c_uint32) for name in ("micro", "steps", "batch", "head_steps")),
        *((name, ct.c_float) for name in ("eps", "lr_ac", "lr_head", "lr_bias", "lr_latent")),
        *((name, ct.c_uint32) for name in ("evaluate_every", "patience", "converged")),
        *((name, ct.c_float) for name in ("tolerance", "margin", "held_out")),
        ("sweeps", ct.c_uint32),
        *((name, ct.c_float) for name in ("shrink", "base_weight", "ridge")),
        ("base_classes", ct.c_uint32),
        ("cost", ct.c_void_p),
        ("flip_share", ct.c_float),
        ("flip_every", ct.c_uint32),
    )


class CPlan(ct.Structure):
    _fields_ = (("model", ct.POINTER(CModel)), ("data", ct.POINTER(CData)), ("settings", CSettings))


class CRequest(ct.Structure):
    _fields_ = (
        ("kind", ct.c_int),
        ("count", ct.c_uint32),
        ("samples", ct.POINTER(ct.c_uint32)),
        ("outputs", ct.c_uint32),
        ("ac_rows", ct.c_uint32),
        ("ac", ct.POINTER(ct.c_float)),
        ("head_weight", ct.POINTER(ct.c_float)),
        ("head_bias", ct.POINTER(ct.c_float)),
        ("latent", ct.POINTER(ct.POINTER(ct.c_float))),
        ("area", ct.c_int),
        ("offset", ct.c_uint32),
        ("bytes", ct.c_uint32),
        ("from_", ct.c_void_p),
        ("into", ct.c_void_p),
        ("outcome", ct.c_int),
        ("status", ct.c_int),
    )


class COutputs(ct.Structure):
    _fields_ = (
        ("count", ct.c_uint32),
        *((name, ct.c_void_p) for name in ("logits", "hidden", "taps", "moments")),
        ("inputs", ct.POINTER(ct.c_void_p)),
        ("scores", ct.c_void_p),
    )


class CScore(ct.Structure):
    _fields_ = (("loss", ct.c_float), ("metric", ct.c_float), ("samples", ct.c_uint32))


class CReport(ct.Structure):
    _fields_ = (
        *((name, ct.c_int) for name in ("stage", "outcome", "status")),
        *((name, ct.c_uint32) for name in ("step", "steps")),
        ("forwards", ct.c_uint64),
        *((name, CScore) for name in ("base", "stats", "now", "best")),
        ("leave_one_out", ct.c_bool),
        *((name, ct.c_float) for name in ("base_weight", "ridge", "temperature")),
        *((name, ct.c_uint32) for name in ("restores", "dropped_steps", "rate_halvings", "step_samples")),
    )


class CDelta(ct.Structure):
    _fields_ = (
        ("method", ct.c_int),
        ("step", ct.c_uint32),
        ("seed", ct.c_uint64),
        ("base", CScore),
        ("tuned", CScore),
        ("trained", ct.c_uint32),
        ("held_out", ct.c_uint32),
        *((name, ct.c_float) for name in ("base_weight", "ridge", "temperature")),
        ("ac_count", ct.c_uint32),
        ("ac", ct.c_void_p),
        ("classes", ct.c_uint32),
        ("head_width", ct.c_uint32),
        ("tap_width", ct.c_uint32),
        ("head", ct.c_void_p),
        ("code_count", ct.c_uint32),
        ("codes", ct.c_void_p),
    )


# ---- the Python side
@dataclass(frozen=True)
class TuneLayer:
    """A tunable layer; bias, mean and deviation are (channels,). Without mean and deviation `stats` leaves it alone.

    depth   layers of equal depth read nothing of each other: `stats` corrects them in one sweep; None: its index
    """

    channels: int
    sigma: float
    bias: F32 | None = None
    mean: F32 | None = None
    deviation: F32 | None = None
    depth: int | None = None


@dataclass(frozen=True)
class TuneTap:
    """One block of the `taps` output, and its root mean square over the base's training data."""

    width: int
    rms: float


@dataclass(frozen=True)
class TuneLatent:
    """A fully connected layer, `layer` among the tunable ones, whose codes (outputs, inputs) int8 may be learned.

    start  the latents that `zeroqat` begins with, of the same shape
    """

    layer: int
    codes: I8
    scale: F32
    low: int
    high: int
    binary: bool = False
    start: F32 | None = None


@dataclass(frozen=True)
class TuneModel:
    """What the tuning manifest says. head_weight (classes, hidden), head_bias and head_scale (classes,), real units.

    base, layout    32 bytes each
    base_triangle   float32, packed rows as tune.h describes; d = widths of the taps + 1, classes as head_weight
    start_ac        (2 channels,) that `zeroqat` begins with, where all latents have a start too
    """

    base: bytes
    layout: bytes
    layers: Sequence[TuneLayer]
    head_weight: F32
    head_bias: F32
    head_scale: F32
    head_sigma: float
    taps: Sequence[TuneTap] = ()
    latents: Sequence[TuneLatent] = ()
    moments: bool = False
    base_triangle: F32 | None = None
    base_samples: int = 0
    start_ac: F32 | None = None

    @property
    def channels(self) -> int:
        """Of all tunable layers; an ac row has twice as many entries."""
        return sum(layer.channels for layer in self.layers)

    @property
    def tap_width(self) -> int:
        return sum(tap.width for tap in self.taps)


@dataclass(frozen=True)
class TuneData:
    """What the module knows of the samples: how many, an id of 32 bytes over them, labels (count,) int32 or targets."""

    id: bytes
    count: int
    labels: I32 | None = None
    targets: F32 | None = None


@dataclass(frozen=True)
class Score:
    """Mean loss and metric (share right, or minus the cost, or minus the loss) over so many samples."""

    loss: float
    metric: float
    samples: int


@dataclass(frozen=True)
class TuneReport:
    stage: str
    outcome: str
    status: str
    step: int
    steps: int
    forwards: int
    base: Score
    stats: Score
    now: Score
    best: Score
    leave_one_out: bool
    base_weight: float
    ridge: float
    temperature: float
    restores: int
    dropped_steps: int
    rate_halvings: int
    step_samples: int


@dataclass(frozen=True)
class Delta:
    """What was learned: ac (2 * channels,); a new head over `hidden` or `taps`, or None; codes by latent, or ()."""

    method: Method
    step: int
    seed: int
    base: Score
    tuned: Score
    trained: int
    held_out: int
    base_weight: float
    ridge: float
    temperature: float
    ac: F32
    over: Literal["hidden", "taps"] | None
    weight: F32 | None  # (classes, width)
    bias: F32 | None  # (classes,)
    codes: tuple[I8, ...] = field(default=())


def bytes32(what: str, value: bytes) -> ct.Array[ct.c_uint8]:
    if len(value) != 32:
        raise ValueError(f"{what}: expected 32 bytes, got {len(value)}")
    return (ct.c_uint8 * 32)(*value)


def c_model(model: TuneModel) -> CModel:
    """The structure of a model; its arrays must outlive it, so keep `model` beside it."""
    classes, hidden = model.head_weight.shape
    layers = (CLayer * max(1, len(model.layers)))()
    for index, (c, layer) in enumerate(zip(layers, model.layers, strict=False)):
        for what in ("bias", "mean", "deviation"):
            array = getattr(layer, what)
            if array is not None:
                check(what, array, np.float32, (layer.channels,))
            setattr(c, what, address(array))
        c.channels, c.sigma = layer.channels, layer.sigma
        c.depth = index if layer.depth is None else layer.depth
    latents = (CLatent * max(1, len(model.latents)))()
    for c_latent, latent in zip(latents, model.latents, strict=False):
        outputs, inputs = latent.codes.shape
        check("codes", latent.codes, np.int8)
        check("scale", latent.scale, np.float32, (outputs,))
        c_latent.layer, c_latent.outputs, c_latent.inputs = latent.layer, outputs, inputs
        c_latent.low, c_latent.high, c_latent.binary = latent.low, latent.high, latent.binary
        if latent.start is not None:
            check("start", latent.start, np.float32, (outputs, inputs))
        c_latent.codes, c_latent.scale = address(latent.codes), address(latent.scale)
        c_latent.start = address(latent.start)
    taps = (CTap * max(1, len(model.taps)))(*(CTap(tap.width, tap.rms) for tap in model.taps))
    check("head_weight", model.head_weight, np.float32)
    check("head_bias", model.head_bias, np.float32, (classes,))
    check("head_scale", model.head_scale, np.float32, (classes,))
    if model.base_triangle is not None:
        d = model.tap_width + 1
        check("base_triangle", model.base_triangle, np.float32, (d * (d + 1) // 2 + d * classes,))
    if model.start_ac is not None:
        check("start_ac", model.start_ac, np.float32, (2 * model.channels,))
    return CModel(
        bytes32("base", model.base),
        bytes32("layout", model.layout),
        len(model.layers),
        len(model.taps),
        len(model.latents),
        layers,
        taps,
        latents,
        model.moments,
        classes,
        hidden,
        address(model.head_weight),
        address(model.head_bias),
        address(model.head_scale),
        model.head_sigma,
        address(model.base_triangle),
        model.base_samples,
        address(model.start_ac),
    )


def c_data(data: TuneData, classes: int) -> CData:
    if data.labels is not None:
        check("labels", data.labels, np.int32, (data.count,))
    if data.targets is not None:
        check("targets", data.targets, np.float32, (data.count, classes))
    return CData(bytes32("data id", data.id), data.count, address(data.labels), address(data.targets))
