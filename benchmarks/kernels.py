"""Products of int8 activations beside other engines: ternary, 4-bit and int8 weights, float in and out.

Making codes of the activations is part of every time. EdgeQ's weights are tiled ahead, as a compiled program does it.
linear_t2i8        ternary, one scale an output; activations in codes by row
linear_i4i8 row    4 bits in groups of 32, activations by row: the recipe of XNNPACK's 8da4w
linear_i4i8 channel  4 bits with one scale an output, activations by row: the recipe of LiteRT's INT4
linear_i4i8 block  the same weights in groups, activations in blocks of 32: the recipe of ONNX Runtime and ggml
linear_i8i8        8 bits, activations by row
linear_s2i8, s3i8, s4i8  powers of two, one scale an output, beside EdgeQ's own 4 bits by row: no other engine has them
... 2 threads      EdgeQ with two threads beside itself with one (wall clock): scaling
litert-larq        binary convolutions beside Larq Compute Engine's interpreter, in a process of their own
All engines of a shape run in one session. Speed says nothing about accuracy.
"""

from __future__ import annotations

import math
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from edgeq import _native
from edgeq._errors import EdgeQError
from edgeq._native._structures import CThreads, CWeightsI4

from . import _conditions, _core, _executorch, _instructions, _lowbit, _peers, _probe, _team, _wheels
from .harness import Engine, Options, Row, Session, WrongResultError, measure, row

F32 = npt.NDArray[np.float32]
SHAPES = tuple(
    (m, k, o)
    for k, o in ((384, 1536), (768, 768), (768, 3072), (2560, 6912))
    for m in (1, 16, 128)
    if m == 1 or o < 6912
)  # rows, inputs, outputs
QUICK = ((1, 768, 768), (16, 768, 768))
_LARGEST_ERROR = 1e-4  # of the largest result, against numpy in double precision
_EVERYWHERE = ("torch fp32", "torch int8", "ort fp32", "ort int8", "openvino int8", "ncnn int8")
_BITS = {"2": 2, "4": 4, "4 channel": 4, "8": 8}  # of weights, by name; those of "4" have a scale for each 32
_SHIFTS = {"s2": 1, "s3": 3, "s4": 7}  # largest S; four bits of memory each
SCALING = ((16, 768, 3072), (128, 768, 768), (128, 768, 3072))  # bound by computing


@dataclass(frozen=True)
class Kind:
    """A kind of product. peers: names of the low-bit engines that it stands beside, besides torch's and ORT's own.

    weights  of `_drawn`; blocks: activations in blocks of 32
    peers    "edgeq KIND": our own on the same instruction set
    """

    name: str
    weights: str
    blocks: bool
    peers: tuple[str, ...]


KINDS = (
    Kind("linear_t2i8", "2", False, ("ort 2-bit", "litert int2", "ggml TQ1_0", "ggml TQ2_0", "i2s avx2")),
    Kind("linear_i4i8 row", "4", False, ("xnnpack 8da4w",)),
    Kind("linear_i4i8 channel", "4 channel", False, ("litert int4",)),
    Kind("linear_i4i8 block", "4", True, ("ort 4-bit", "ggml Q4_0", "ggml Q4_K", "openvino int4")),
    Kind("linear_i8i8", "8", False, ("litert int8", "torch int8", "ort int8", "openvino int8", "ncnn int8")),
    *(Kind(f"linear_{name}i8", name, False, ("edgeq linear_i4i8 row",)) for name in _SHIFTS),
)


def run(options: Options) -> list[Row]:
    _executorch.set_threads(options.threads)
    isas = _core.isas(options.isas)
    if options.peers and (absent := _wheels.missing()):
        options.say(f"not installed, left out: {', '.join(absent)} (pip install 'edgeq[peers]')")
    rows: list[Row] = []
    for m, k, o in SHAPES:
        if _wanted(f"{m}x{k}x{o}", (m, k, o) in QUICK, options):
            options.say(f"kernels {m}x{k}x{o}")
            rows += _shape(m, k, o, isas, options)
    rows.sort(key=lambda found: [kind.name for kind in KINDS].index(found.work))
    for m, k, o in SCALING if options.threads == 1 and not options.cold and (os.cpu_count() or 1) > 1 else ():
        if _wanted(f"{m}x{k}x{o} 2 threads", m == 16, options):
            options.say(f"kernels {m}x{k}x{o} 2 threads")
            rows += _scaling(m, k, o, isas[0], options)
    if options.peers and _wanted("larq", False, options):
        rows += _larq(options)
    return rows


def _wanted(name: str, quick: bool, options: Options) -> bool:
    return options.only in name and (quick or not options.quick or bool(options.only))


def _shape(m: int, k: int, o: int, isas: tuple[str, ...], options: Options) -> Iterator[Row]:
    x, weights = _drawn(m, k, o)
    team = _team.pool(options.threads)
    ours = {(kind, isa): _ours(kind, x, weights[kind.weights], isa, team) for kind in KINDS for isa in isas}
    peers = list(_beside(x, weights, options.threads)) if options.peers else []
    probes = [*_floors(isas, weights), _probe.empty_call()] if options.threads == 1 else []
    session = measure(
        [*ours.values(), *peers, *probes],
        rounds=options.count(5, 21 if m < 128 else 11),
        threads=options.threads,
        cold=options.cold,
    )
    present = [each.name for each in (*peers, *ours.values())]
    for (kind, isa), engine in ours.items():
        own = [f"{name} {isa}" if name.startswith("edgeq ") else name for name in kind.peers]
        beside = [name for name in dict.fromkeys((*_EVERYWHERE, *own)) if name in present]
        yield _row(session, kind, (m, k, o), isa, engine, beside, own)


def _drawn(m: int, k: int, o: int) -> tuple[F32, dict[str, _lowbit.Weights]]:
    x = _core.aligned((m, k), np.float32)
    x[:] = np.random.default_rng(1).standard_normal((m, k), np.float32)
    groups = {"4": k // _lowbit.GROUP}
    weights = {name: _lowbit.drawn(bits, k, o, groups=groups.get(name, 1)) for name, bits in _BITS.items()}
    rng = np.random.default_rng(2)
    for name, most in _SHIFTS.items():
        codes = rng.choice((-1, 1), (o, k)) << rng.integers(0, most, (o, k), endpoint=True)
        weights[name] = _lowbit.Weights(4, codes.astype(np.int16), (0.5 + rng.random((o, 1), np.float32)) / 2**most)
    return x, weights


def _scaling(m: int, k: int, o: int, isa: str, options: Options) -> Iterator[Row]:
    """Two threads beside one, by turns."""
    x, weights = _drawn(m, k, o)
    for kind in KINDS:
        pair = [_ours(kind, x, weights[kind.weights], isa, _team.pool(threads)) for threads in (2, 1)]
        two, one = (replace(engine, name=f"{n} thread{'s'[: n - 1]}") for engine, n in zip(pair, (2, 1), strict=True))
        session = measure([two, one], rounds=options.count(5, 21), threads=2)
        yield row(
            session,
            work=f"{kind.name} 2 threads",
            shape=f"{m}x{k}x{o}",
            isa=isa,
            ours=two.name,
            peers=[one.name],
            conditions=_conditions.conditions(),
        )


def _larq(options: Options) -> list[Row]:
    """What `python -m benchmarks litert` measures beside Larq."""
    from . import litert

    try:
        return litert.run(replace(options, only="larq"))
    except (EdgeQError, subprocess.SubprocessError) as error:
        options.say(f"Larq is left out: {error}")
        return []


def _row(
    session: Session,
    kind: Kind,
    shape: tuple[int, int, int],
    isa: str,
    engine: Engine,
    beside: list[str],
    own: list[str],
) -> Row:
    ops, read = 2 * math.prod(shape), _read(_BITS.get(kind.weights, 4))
    best = min((session.timings[name].median_us for name in beside if name in own), default=None)
    mine = session.timings[engine.name]
    return row(
        session,
        work=kind.name,
        shape="x".join(map(str, shape)),
        isa=isa,
        ours=engine.name,
        peers=beside,
        floor_us=_probe.floor_us(session, isa, ops, "dot", read),
        extra={
            "operations": ops,
            "gops": ops / mine.min_us / 1e3,
            "ceiling_gops": _probe.ceiling_gops(session, isa, "dot"),
            "kernel_floor_us": _probe.kernel_floor_us(session, isa, _instructions.int8(kind.name, *shape), "dot", read),
            "empty_call_us": session.timings[_probe.EMPTY].min_us if _probe.EMPTY in session.timings else None,
            "ratio_to_best_of_same_width": best / mine.median_us if best else None,
        },
        conditions=_conditions.conditions(),
    )


def _beside(x: F32, weights: dict[str, _lowbit.Weights], threads: int) -> Iterator[Engine]:
    m, (o, k) = len(x), weights["2"].codes.shape
    yield from _peers.linear(m, k, o, threads=threads)
    yield from _lowbit.two_bit(x, weights["2"], threads)
    yield from _lowbit.ort(x, weights["4"], threads)
    for name in ("4 channel", "8"):
        yield from _lowbit.stock_litert(x, weights[name], threads)
    yield from _lowbit.xnnpack(x, weights["4"])
    yield from _lowbit.ggml(x, weights["4"], ("Q4_0", "Q4_K"), threads)
    for name in ("4", "8"):
        yield from _wheels.openvino(x, weights[name], threads)
    yield from _wheels.ncnn(x, weights["8"], threads)
    if threads == 1 and (planar := _i2s(x, weights["2"])):
        yield planar


def _i2s(x: F32, weights: _lowbit.Weights) -> Engine | None:
    """The AVX2 loop behind EdgeQ's quantiser."""
    codes, steps = _core.aligned(x.shape, np.int8), np.empty(len(x), np.float32)
    loop = _probe.i2s(codes, steps, weights.codes, weights.scale[:, 0].copy())
    if loop is None:
        return None
    products, out = loop
    call = _probe.sequence(_core.quantise_i8(x, codes, steps), *products)
    call()
    _same("i2s avx2", out, _expected(x, codes, steps, weights))
    return Engine("i2s avx2", call)


def _ours(kind: Kind, x: F32, weights: _lowbit.Weights, isa: str, threads: int | CThreads) -> Engine:
    _native.select_isa(isa)
    (m, k), o = x.shape, len(weights.codes)
    codes, out = _core.aligned((m, k), np.int8), _core.aligned((m, o), np.float32)
    steps = np.empty((m, k // _lowbit.GROUP) if kind.blocks else m, np.float32)
    quantise = _core.quantise_i8(x, codes, steps, blocks=kind.blocks, threads=threads)
    given: dict[str, npt.NDArray[np.generic]] = {"out": out}
    if not kind.blocks:
        given["row_scale"] = steps
    if not kind.name.startswith("linear_i4i8"):
        given["scale"] = weights.scale[:, 0].copy()
    call = _probe.sequence(quantise, _product(kind, weights, codes, steps, _core.epilogue(given), threads))
    call()
    name = f"edgeq {kind.name} {isa}"
    _same(f"{name} {m}x{k}x{o}", out, _expected(x, codes, steps, weights))
    return Engine(name, call, lambda: _native.select_isa(isa))


def _product(
    kind: Kind,
    weights: _lowbit.Weights,
    codes: npt.NDArray[np.int8],
    steps: F32,
    e: object,
    threads: int | CThreads,
) -> _core.Call:
    (m, k), o = codes.shape, len(weights.codes)
    op = _core.linear(m, k, o)
    if not kind.name.startswith("linear_i4i8"):
        name = {"2": "t2", "8": "i8"}.get(kind.weights, kind.weights)
        bits = {"t2": planes, "i8": np.asarray}.get(name, shift_planes)
        canonical = bits(weights.codes)
        return _core.tiled_linear(f"{name}i8", op, (codes,), _core.tiles(name, o, k, canonical), e, threads=threads)
    packed, scale = _lowbit.packed(weights.codes + 8, 4), weights.scale.astype(np.float16)
    group = k // weights.scale.shape[1]
    made = _core.tiles("i4", o, k, CWeightsI4(packed.ctypes.data, scale.ctypes.data, 0, None, group))
    return _core.tiled_linear("i4i8", op, (codes, steps if kind.blocks else None), made, e, threads=threads)


def planes(codes: npt.NDArray[np.int8]) -> npt.NDArray[np.uint8]:
    """(o, k) of -1, 0 and 1 -> (2, o, row_bytes(k)): which are +1, which are not 0."""
    return _packed_planes((codes > 0, codes != 0))


def shift_planes(codes: npt.NDArray[np.int16]) -> npt.NDArray[np.uint8]:
    """(o, k) of +-2^S -> (planes, o, row_bytes(k)): which are positive, then the bits of S."""
    exponents = np.abs(codes).astype(np.float32).view(np.uint32) >> 23
    s = exponents - np.uint32(127)
    return _packed_planes((codes > 0, *(s >> bit & 1 for bit in range(int(s.max()).bit_length()))))


def _packed_planes(planes: tuple[npt.NDArray[np.generic], ...]) -> npt.NDArray[np.uint8]:
    out = np.zeros((len(planes), len(planes[0]), _native.row_bytes(planes[0].shape[1])), np.uint8)
    for plane, bits in zip(out, planes, strict=True):
        found = np.packbits(bits, axis=1, bitorder="little")
        plane[:, : found.shape[1]] = found
    return out


def _expected(x: F32, codes: npt.NDArray[np.int8], steps: F32, weights: _lowbit.Weights) -> npt.NDArray[np.float64]:
    each = np.repeat(steps.reshape(len(x), -1), x.shape[1] // (steps.size // len(x)), axis=1)
    return (codes * each.astype(np.float64)) @ weights.floats.T.astype(np.float64)


def _same(what: str, got: F32, expected: npt.NDArray[np.float64]) -> None:
    error = float(np.abs(got - expected).max() / np.abs(expected).max())
    if not error < _LARGEST_ERROR:
        raise WrongResultError(f"{what}: off from numpy by {error:.3g} of the largest result; nothing was timed")


def _floors(isas: tuple[str, ...], weights: dict[str, _lowbit.Weights]) -> list[Engine]:
    """The ceiling of each instruction set, and reading the weights of each width once."""
    found = _probe.engines(isas, kind="dot")
    for each in {of.bits: of for of in weights.values()}.values():
        bytes_needed = _core.aligned(each.codes.size * each.bits // 8, np.uint8)
        bytes_needed[:] = 1  # memory that nobody has written is one page
        found += _probe.engines((), bytes_needed, "dot", _read(each.bits))
    return found


def _read(bits: int) -> str:
    return f"{_probe.READ} {bits}-bit weights"
