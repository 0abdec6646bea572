"""The tuning module (`edgeq/tune.h`): it asks for forward passes and storage, the caller answers.

    tuner = Tuner(model, data, settings("auto", seed=1))
    report = converse(tuner, forward, store)

`forward` runs the model's `forward_tune` for one `Forward` and returns `Outputs`; `store` keeps the four areas.
"""

from __future__ import annotations

import ctypes as ct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import numpy as np
import numpy.typing as npt

from edgeq._errors import FormatError, IntegrityError, UsageError

from ._arrays import F32, I32, U8, address, check, floats
from ._library import library
from .tune_types import (
    AREAS,
    FLAGS,
    KINDS,
    LOSSES,
    METHODS,
    OPTIMISERS,
    OUTCOMES,
    OUTPUTS,
    STAGES,
    CData,
    CDelta,
    CModel,
    COutputs,
    CPlan,
    CReport,
    CRequest,
    CScore,
    CSettings,
    Delta,
    Method,
    Outcome,
    Score,
    TuneData,
    TuneModel,
    TuneReport,
    c_data,
    c_model,
)

U32 = npt.NDArray[np.uint32]


@dataclass(frozen=True)
class Forward:
    """Run `forward_tune` for these rows. Arrays are the module's own memory, to be read until the answer.

    samples   (count,) uint32 indices; a two-sided request names each sample twice: all of them, and all again
    outputs   what is wanted, of logits hidden taps moments inputs scores
    ac        (1, 2 or count, 2 * channels) float32: with 2 one row for each half of the samples
    head_weight, head_bias   (classes, hidden), (classes,)
    latents   float32 (outputs, inputs) in codes per latent layer; None: the codes of the base
    """

    samples: U32
    outputs: frozenset[str]
    ac: F32
    head_weight: F32
    head_bias: F32
    latents: tuple[F32, ...] | None

    @property
    def ac_rows(self) -> F32:
        """(1 or count, 2 * channels)"""
        rows, count = len(self.ac), len(self.samples)
        return self.ac if rows in (1, count) else np.repeat(self.ac, count // rows, axis=0)


@dataclass(frozen=True)
class Outputs:
    """Answer to `Forward`, float32, rows in its order: at least what it wanted."""

    logits: F32 | None = None
    hidden: F32 | None = None
    taps: F32 | None = None
    moments: F32 | None = None  # (count, 2, channels)
    inputs: Sequence[F32] = ()
    scores: F32 | None = None


@dataclass(frozen=True)
class StoreRequest:
    """kind is read, write, erase or flush; data is what to write; a read is answered with `size` bytes."""

    kind: str
    area: str
    offset: int
    size: int
    data: bytes


@dataclass(frozen=True)
class Progress:
    """A step worth showing: see `Tuner.report`."""


@dataclass(frozen=True)
class Done:
    outcome: Outcome
    status: str  # one line when the outcome is "failed", else "ok"
    code: int  # eq_tune_status


class TuneStore(Protocol):
    """Four areas of bytes, by name: slot-a slot-b log delta. An OSError anywhere ends the run as failed."""

    def read(self, area: str, offset: int, size: int) -> bytes:
        """Up to `size` bytes; fewer when the area ends before."""

    def write(self, area: str, offset: int, data: bytes) -> None: ...

    def erase(self, area: str) -> None: ...

    def flush(self, area: str) -> None: ...


@cache
def _lib() -> ct.CDLL:
    lib = library()
    pointer, size, u32, u64 = ct.c_void_p, ct.c_size_t, ct.c_uint32, ct.c_uint64
    signatures: dict[str, tuple[object, list[object]]] = {
        "eq_tune_status_text": (ct.c_char_p, [ct.c_int]),
        "eq_tune_defaults": (None, [pointer, ct.c_int]),
        "eq_tune_bytes": (size, [pointer]),
        "eq_tune_check": (ct.c_int, [pointer]),
        "eq_tune_open": (ct.c_int, [pointer, pointer, pointer, size]),
        "eq_tune_next": (ct.c_int, [pointer, pointer]),
        "eq_tune_reply": (ct.c_int, [pointer, pointer]),
        "eq_tune_reply_store": (ct.c_int, [pointer, ct.c_int]),
        "eq_tune_stop": (None, [pointer]),
        "eq_tune_report": (None, [pointer, pointer]),
        "eq_tune_state_hash": (None, [pointer, pointer]),
        "eq_tune_delta_read": (ct.c_int, [pointer, pointer, pointer, size]),
        "eq_tune_head": (None, [pointer, u32, u32, pointer, pointer, pointer]),
        "eq_tune_decide": (u32, [pointer, u32, pointer]),
        "eq_tune_word": (u64, [u64, u32, u64, u64]),
        "eq_tune_gauss": (ct.c_float, [u64]),
        "eq_tune_pick": (u32, [u64, u32]),
        "eq_tune_function": (ct.c_float, [ct.c_int, ct.c_float]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    return lib


def status_text(code: int) -> str:
    return str(_lib().eq_tune_status_text(code).decode())


def _demand(code: int) -> None:
    if code:
        raise UsageError(f"fine-tuning: {status_text(code)}")


@dataclass(frozen=True)
class TuneSettings:
    """Made by `settings`; `cost` is (classes, classes) float32 or None."""

    values: CSettings
    cost: F32 | None


def settings(
    method: Method, *, flags: Sequence[str] = (), cost: F32 | None = None, **changes: float | str
) -> TuneSettings:
    """The specification's settings of `method`, with `changes` by the names of `eq_tune_settings` in tune.h.

    flags   of `FLAGS`
    raises  UsageError for an unknown method, flag or name
    """
    if method not in METHODS:
        raise UsageError(f"unknown method {method!r}; known: {', '.join(METHODS)}")
    values = CSettings()
    _lib().eq_tune_defaults(ct.byref(values), METHODS.index(method))
    for flag in flags:
        if flag not in FLAGS:
            raise UsageError(f"unknown flag {flag!r}; known: {', '.join(FLAGS)}")
        values.flags |= 1 << FLAGS.index(flag)
    known = {entry[0] for entry in CSettings._fields_} - {"method", "flags", "cost"}
    words: dict[str, tuple[str, ...]] = {"loss": LOSSES, "optimiser": OPTIMISERS}
    for name, value in changes.items():
        if name not in known:
            raise UsageError(f"unknown setting {name!r}; known: {', '.join(sorted(known))}")
        if name in words:
            if value not in words[name]:
                raise UsageError(f"{name}: expected one of {', '.join(words[name])}, got {value!r}")
            value = words[name].index(str(value))
        elif isinstance(value, str):
            raise UsageError(f"{name}: expected a number, got {value!r}")
        setattr(values, name, value)
    if cost is not None:
        check("cost", cost, np.float32, (cost.shape[0], cost.shape[0]))
        values.cost = address(cost)
    return TuneSettings(values, cost)


class _Plan:
    """The C structures of a plan, and what they point to."""

    def __init__(self, model: TuneModel, data: TuneData, chosen: TuneSettings) -> None:
        self.keep = (model, data, chosen)
        self.model: CModel = c_model(model)
        self.data: CData = c_data(data, model.head_weight.shape[0])
        self.c = CPlan(ct.pointer(self.model), ct.pointer(self.data), chosen.values)
        if chosen.cost is not None:
            check("cost", chosen.cost, np.float32, (model.head_weight.shape[0],) * 2)


def tune_bytes(model: TuneModel, data: TuneData, chosen: TuneSettings) -> int:
    """Exact memory of the module beyond inference, in bytes. UsageError when the plan is not possible."""
    plan = _Plan(model, data, chosen)
    _demand(_lib().eq_tune_check(ct.byref(plan.c)))
    return int(_lib().eq_tune_bytes(ct.byref(plan.c)))


class Tuner:
    """One run of the module. `next` until it is `Done`; every `Forward` and `StoreRequest` is answered once."""

    def __init__(self, model: TuneModel, data: TuneData, chosen: TuneSettings) -> None:
        """UsageError, in the module's words, when the plan is not possible."""
        self._plan = _Plan(model, data, chosen)
        self._model = model
        _demand(_lib().eq_tune_check(ct.byref(self._plan.c)))
        self.bytes = int(_lib().eq_tune_bytes(ct.byref(self._plan.c)))
        self._memory: U8 = np.zeros(self.bytes + 8, np.uint8)
        start = self._memory.ctypes.data + -self._memory.ctypes.data % 8
        self._handle = ct.c_void_p()
        _demand(_lib().eq_tune_open(ct.byref(self._handle), ct.byref(self._plan.c), start, self.bytes))
        self._request = CRequest()
        self._views: dict[tuple[int, tuple[int, ...]], F32] = {}

    def next(self) -> Forward | StoreRequest | Progress | Done:
        request = self._request
        _demand(_lib().eq_tune_next(self._handle, ct.byref(request)))
        kind = KINDS[request.kind]
        if kind == "forward":
            return self._forward(request)
        if kind == "progress":
            return Progress()
        if kind == "done":
            return Done(OUTCOMES[request.outcome], status_text(request.status), request.status)
        data = ct.string_at(request.from_, request.bytes) if kind == "write" else b""
        return StoreRequest(kind, AREAS[request.area], request.offset, request.bytes, data)

    def reply(self, outputs: Outputs) -> None:
        """Answer to `Forward`. UsageError when an output is missing or has another shape."""
        count, model = self._request.count, self._model
        classes, hidden = model.head_weight.shape
        shapes = {
            "logits": (count, classes),
            "hidden": (count, hidden),
            "taps": (count, model.tap_width),
            "moments": (count, 2, model.channels),
            "scores": (count,),
        }
        c = COutputs(count=count)
        for name, shape in shapes.items():
            setattr(c, name, floats(name, getattr(outputs, name), shape))
        if len(outputs.inputs):
            for latent, x in zip(model.latents, outputs.inputs, strict=True):
                check("inputs", x, np.float32, (count, latent.codes.shape[1]))
            c.inputs = (ct.c_void_p * len(outputs.inputs))(*(address(x) for x in outputs.inputs))
        _demand(_lib().eq_tune_reply(self._handle, ct.byref(c)))

    def reply_store(self, data: bytes | None = b"", *, failed: bool = False) -> None:
        """Answer to a `StoreRequest`; data is what was read, None or too short: there is nothing."""
        request = self._request
        status = STORE_FAILED if failed else 0
        if KINDS[request.kind] == "read" and not failed:
            if data is None or len(data) < request.bytes:
                status = STORE_FAILED
            else:
                ct.memmove(request.into, data, request.bytes)
        _demand(_lib().eq_tune_reply_store(self._handle, status))

    def stop(self) -> None:
        """End before the next forward pass; the same plan over the same store goes on from there."""
        _lib().eq_tune_stop(self._handle)

    def report(self) -> TuneReport:
        c = CReport()
        _lib().eq_tune_report(self._handle, ct.byref(c))
        return TuneReport(
            stage=STAGES[c.stage],
            outcome=OUTCOMES[c.outcome],
            status=status_text(c.status),
            step=c.step,
            steps=c.steps,
            forwards=c.forwards,
            base=_score(c.base),
            stats=_score(c.stats),
            now=_score(c.now),
            best=_score(c.best),
            leave_one_out=c.leave_one_out,
            base_weight=c.base_weight,
            ridge=c.ridge,
            temperature=c.temperature,
            restores=c.restores,
            dropped_steps=c.dropped_steps,
            rate_halvings=c.rate_halvings,
            step_samples=c.step_samples,
        )

    def state_hash(self) -> bytes:
        """sha256 over the state: equal on every platform after the same replies."""
        digest = (ct.c_uint8 * 32)()
        _lib().eq_tune_state_hash(self._handle, digest)
        return bytes(digest)

    def _forward(self, request: CRequest) -> Forward:
        model = self._model
        classes, hidden = model.head_weight.shape
        latents = None
        if request.latent:
            latents = tuple(
                self._floats(request.latent[i], latent.codes.shape) for i, latent in enumerate(model.latents)
            )
        return Forward(
            samples=np.ctypeslib.as_array(request.samples, (request.count,)).copy(),
            outputs=frozenset(name for i, name in enumerate(OUTPUTS) if request.outputs >> i & 1),
            ac=self._floats(request.ac, (request.ac_rows, 2 * model.channels)),
            head_weight=self._floats(request.head_weight, (classes, hidden)),
            head_bias=self._floats(request.head_bias, (classes,)),
            latents=latents,
        )

    def _floats(self, pointer: ct._Pointer[ct.c_float], shape: tuple[int, ...]) -> F32:
        """What the module or the model holds there, to be read. The places of a run are few, and used again."""
        if not all(shape):
            return np.zeros(shape, np.float32)
        key = ct.addressof(pointer.contents), shape
        view = self._views.get(key)
        if view is None:
            view = np.ctypeslib.as_array(pointer, shape)
            self._views[key] = view
        return view


STORE_FAILED = 12


STORE_FAILED = 12


def _score(c: CScore) -> Score:
    return Score(c.loss, c.metric, c.samples)


def converse(
    tuner: Tuner,
    forward: Callable[[Forward], Outputs],
    store: TuneStore,
    progress: Callable[[TuneReport], None] | None = None,
) -> TuneReport:
    """Answer until the module is done; what it says last. Exceptions of `forward` pass through: the run can resume."""
    while True:
        request = tuner.next()
        if isinstance(request, Done):
            return tuner.report()
        if isinstance(request, Forward):
            tuner.reply(forward(request))
        elif isinstance(request, Progress):
            if progress is not None:
                progress(tuner.report())
        else:
            _serve(tuner, request, store)


def _serve(tuner: Tuner, request: StoreRequest, store: TuneStore) -> None:
    data = b""
    try:
        if request.kind == "read":
            data = store.read(request.area, request.offset, request.size)
        elif request.kind == "write":
            store.write(request.area, request.offset, request.data)
        elif request.kind == "erase":
            store.erase(request.area)
        else:
            store.flush(request.area)
    except OSError:
        tuner.reply_store(failed=True)
    else:
        tuner.reply_store(data)


def read_delta(model: TuneModel, blob: bytes) -> Delta:
    """A delta that the module wrote. FormatError or IntegrityError when it is not one, or not of this model."""
    c, c_of_model = CDelta(), c_model(model)
    code = _lib().eq_tune_delta_read(ct.byref(c), ct.byref(c_of_model), blob, len(blob))
    if code:
        raise (IntegrityError if 15 <= code <= 16 else FormatError)(f"delta: {status_text(code)}")
    width = c.head_width or c.tap_width
    head = np.frombuffer(ct.string_at(c.head, 4 * c.classes * (width + 1)), np.float32) if width else None
    codes, at = [], 0
    if c.code_count:
        raw = np.frombuffer(ct.string_at(c.codes, c.code_count), np.int8)
        for latent in model.latents:
            codes.append(raw[at : at + latent.codes.size].reshape(latent.codes.shape))
            at += latent.codes.size
    return Delta(
        method=METHODS[c.method],
        **{name: getattr(c, name) for name in ("step", "seed", "trained", "held_out")},
        **{name: getattr(c, name) for name in ("base_weight", "ridge", "temperature")},
        base=_score(c.base),
        tuned=_score(c.tuned),
        ac=np.frombuffer(ct.string_at(c.ac, 4 * c.ac_count), np.float32),
        over=None if head is None else "hidden" if c.head_width else "taps",
        weight=None if head is None else head[: c.classes * width].reshape(c.classes, width),
        bias=None if head is None else head[c.classes * width :],
        codes=tuple(codes),
    )


def head_logits(x: F32, weight: F32, bias: F32) -> F32:
    """x (n, width), weight (classes, width), bias (classes,): the logits of a float head, (n, classes)."""
    classes, width = weight.shape
    check("x", x, np.float32, (x.shape[0], width))
    check("weight", weight, np.float32)
    check("bias", bias, np.float32, (classes,))
    logits = np.empty((x.shape[0], classes), np.float32)
    for row, out in zip(x, logits, strict=True):
        _lib().eq_tune_head(address(row), width, classes, address(weight), address(bias), address(out))
    return logits


def decide(logits: F32, cost: F32 | None = None) -> I32:
    """The class to say for each row of (n, classes): the largest logit, or the least expected cost."""
    n, classes = logits.shape
    check("logits", logits, np.float32)
    if cost is not None:
        check("cost", cost, np.float32, (classes, classes))
    said = [_lib().eq_tune_decide(address(row), classes, address(cost)) for row in logits]
    return np.array(said, np.int32).reshape(n)


def word(run: int, stream: int, step: int, k: int) -> int:
    """The counter-based random word of the module."""
    return int(_lib().eq_tune_word(run, stream, step, k))


def gauss(value: int) -> float:
    return float(_lib().eq_tune_gauss(value))


def pick(value: int, below: int) -> int:
    return int(_lib().eq_tune_pick(value, below))


def function(kind: str, x: float) -> float:
    """The module's own exp, log, sqrt, rounding to half precision, or exp near 0."""
    return float(_lib().eq_tune_function(("exp", "log", "sqrt", "half", "exp_near").index(kind), x))
