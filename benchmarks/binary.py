"""Binary operators beside float and int8 engines: matrix products of transformers, convolutions of picture networks.

linear      float activations in, float out, weights tiled ahead as a compiled program does it: packing is part of the
            time, as quantising is in the int8 engines; one row also stands beside engines with weights of 2 bits
conv2d      bits in (the producer's epilogue packs), affine epilogue; out as bits, and as float
Speed says nothing about accuracy: a binary layer does not replace an int8 layer one to one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeq import _native

from . import _conditions, _core, _instructions, _lowbit, _peers, _probe, _team
from .harness import Engine, Options, Row, Session, WrongResultError, measure, row

F32 = npt.NDArray[np.float32]
U8 = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class LinearShape:
    m: int
    k: int
    o: int

    @property
    def ops(self) -> int:
        return 2 * self.m * self.k * self.o

    def instructions(self, *, floats: bool) -> float:
        return _instructions.bits(self.m, self.k, self.o, floats=floats)

    def __str__(self) -> str:
        return f"{self.m}x{self.k}x{self.o}"


@dataclass(frozen=True)
class ConvShape:
    size: int
    c: int
    o: int
    kernel: int

    @property
    def ops(self) -> int:
        """Inside the image: taps in the padding are not computed."""
        inside = sum(min(self.size, y + self.kernel // 2 + 1) - max(0, y - self.kernel // 2) for y in range(self.size))
        return 2 * inside * inside * self.c * self.o

    def instructions(self, *, floats: bool) -> float:
        """Taps in the padding are computed."""
        return _instructions.bits(self.size**2, self.kernel**2 * self.c, self.o, floats=floats)

    def __str__(self) -> str:
        return f"{self.size}x{self.size}x{self.c}->{self.o} k{self.kernel}"


LINEAR = tuple(
    LinearShape(m, k, o)
    for k, o in ((384, 1536), (768, 768), (768, 3072), (2560, 6912))
    for m in (1, 16, 128)
    if m == 1 or o < 6912
)
CONV = (
    ConvShape(56, 64, 64, 3),
    ConvShape(28, 128, 128, 3),
    ConvShape(14, 256, 256, 3),
    ConvShape(7, 512, 512, 3),
    ConvShape(56, 64, 256, 1),
    ConvShape(14, 1024, 256, 1),
)
QUICK = ("1x384x1536", "16x768x768", "14x14x256->256 k3", "14x14x1024->256 k1")


def run(options: Options) -> list[Row]:
    isas = _core.isas(options.isas)
    rows: list[Row] = []
    for shape in (*LINEAR, *CONV):
        if options.only not in str(shape) or (options.quick and not options.only and str(shape) not in QUICK):
            continue
        options.say(f"binary {shape}")
        rows += _linear(shape, isas, options) if isinstance(shape, LinearShape) else _conv(shape, isas, options)
    return rows


def _linear(shape: LinearShape, isas: tuple[str, ...], options: Options) -> Iterator[Row]:
    work = LinearWork(shape)
    ours = [work.engine(isa, options.threads) for isa in isas]
    peers = _peers.linear(shape.m, shape.k, shape.o, threads=options.threads) if options.peers else []
    if options.peers:
        peers += _lowbit.stock_litert(work.x, _lowbit.drawn(8, shape.k, shape.o), options.threads)
    if options.peers and shape.m == 1:
        peers += _lowbit.two_bit(work.x, _lowbit.drawn(2, shape.k, shape.o), options.threads)
    if options.peers and options.threads == 1 and (scalar := work.scalar()):
        peers.append(scalar)
    session = _measured(ours, peers, work.w, isas, options)
    for isa, engine in zip(isas, ours, strict=True):
        yield _row(session, "linear_b1b1 f32->f32", shape, isa, engine, peers)


def _conv(shape: ConvShape, isas: tuple[str, ...], options: Options) -> Iterator[Row]:
    work = ConvWork(shape)
    ours = {(isa, out): work.engine(isa, out, options.threads) for out in ("bits", "f32") for isa in isas}
    peers = _peers.conv2d(shape.size, shape.c, shape.o, shape.kernel, threads=options.threads) if options.peers else []
    session = _measured(list(ours.values()), peers, work.w, isas, options)
    for (isa, out), engine in ours.items():
        yield _row(session, f"conv2d_b1b1 bits->{out}", shape, isa, engine, peers)


def _measured(ours: list[Engine], peers: list[Engine], weights: U8, isas: tuple[str, ...], options: Options) -> Session:
    probes = [*_probe.engines(isas, weights), _probe.empty_call()] if options.threads == 1 else []
    return measure([*ours, *peers, *probes], rounds=options.count(5, 21), threads=options.threads, cold=options.cold)


def _row(
    session: Session, work: str, shape: LinearShape | ConvShape, isa: str, engine: Engine, peers: list[Engine]
) -> Row:
    return row(
        session,
        work=work,
        shape=str(shape),
        isa=isa,
        ours=engine.name,
        peers=[peer.name for peer in peers],
        floor_us=_probe.floor_us(session, isa, shape.ops),
        extra={
            "operations": shape.ops,
            "gops": shape.ops / session.timings[engine.name].min_us / 1e3,
            "ceiling_gops": _probe.ceiling_gops(session, isa),
            "kernel_floor_us": _probe.kernel_floor_us(
                session, isa, shape.instructions(floats="f32" in work.split("->")[-1])
            ),
            "empty_call_us": session.timings[_probe.EMPTY].min_us if _probe.EMPTY in session.timings else None,
        },
        conditions=_conditions.conditions(),
    )


class LinearWork:
    """y = alpha * (sign(x) . sign(w)), random data, checked against numpy."""

    def __init__(self, shape: LinearShape, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.shape = shape
        self.x: F32 = _core.aligned((shape.m, shape.k), np.float32)
        self.x[:] = rng.standard_normal((shape.m, shape.k), np.float32)
        self.x[0, :2] = 0.0, -0.0  # both are +1
        signs = rng.random((shape.o, shape.k), np.float32) < 0.5
        self.w = pack(signs)
        self.alpha: F32 = rng.random(shape.o, np.float32)
        accumulators = np.where(self.x >= 0, 1.0, -1.0).astype(np.float32) @ np.where(signs, 1.0, -1.0).T
        self.expected: F32 = accumulators.astype(np.float32) * self.alpha

    def engine(self, isa: str, threads: int) -> Engine:
        _native.select_isa(isa)
        shape, out = self.shape, _core.aligned(self.expected.shape, np.float32)
        bits = _core.aligned((shape.m, _native.row_bytes(shape.k)), np.uint8)
        pack_x = _core.pack_b1(self.x, bits)
        product = _core.tiled_linear(
            "b1b1",
            _core.linear(shape.m, shape.k, shape.o),
            (bits,),
            _core.tiles("b1b1", shape.o, shape.k, self.w),
            _core.epilogue({"scale": self.alpha, "out": out}),
            threads=_team.pool(threads),
        )

        call = _probe.sequence(pack_x, product)
        call()
        _same(f"linear_b1b1 {shape} {isa}", out, self.expected)
        return Engine(f"edgeq {isa}", call, lambda: _native.select_isa(isa))

    def scalar(self) -> Engine | None:
        """The portable loop behind EdgeQ's packing."""
        bits = _core.aligned((self.shape.m, _native.row_bytes(self.shape.k)), np.uint8)
        loop = _probe.scalar_4x2(bits, self.w, self.alpha, self.shape.k)
        if loop is None:
            return None
        step, out = loop
        call = _probe.sequence(_core.pack_b1(self.x, bits), step)
        call()
        _same(f"scalar 4x2 {self.shape}", out, self.expected)
        return Engine("scalar 4x2", call)


class ConvWork:
    """y = acc * scale + bias over bits, stride 1, true-zero borders, checked against numpy."""

    def __init__(self, shape: ConvShape, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.shape = shape
        size, c, o, k = shape.size, shape.c, shape.o, shape.kernel
        x = rng.random((size, size, c), np.float32) < 0.5
        w = rng.random((o, k, k, c), np.float32) < 0.5
        self.x, self.w = pack(x)[None], pack(w)
        self.scale: F32 = rng.standard_normal(o, np.float32)
        self.bias: F32 = rng.standard_normal(o, np.float32) * np.float32(np.sqrt(c))
        padded = np.pad(np.where(x, 1.0, -1.0), ((k // 2, k // 2), (k // 2, k // 2), (0, 0))).astype(np.float32)
        taps = np.where(w, 1.0, -1.0).astype(np.float32)
        accumulators = sum(
            padded[i : i + size, j : j + size] @ taps[:, i, j].T for i in range(k) for j in range(k)
        )  # exact: integers far below 2^24
        self.expected: F32 = np.asarray(accumulators, np.float32) * self.scale + self.bias

    def engine(self, isa: str, out: str, threads: int) -> Engine:
        _native.select_isa(isa)
        shape = self.shape
        wide = (1, shape.size, shape.size)
        result = (
            _core.aligned((*wide, _native.row_bytes(shape.o)), np.uint8)
            if out == "bits"
            else _core.aligned((*wide, shape.o), np.float32)
        )
        target = "out_bits" if out == "bits" else "out"
        op = _core.conv2d(1, shape.size, shape.size, shape.c, shape.o, (shape.kernel, shape.kernel), 1)
        call = _core.tiled_conv2d_b1b1(
            op,
            self.x,
            _core.tiles_conv2d_b1b1(op, self.w),
            _core.epilogue({"scale": self.scale, "bias": self.bias, target: result}),
            threads=_team.pool(threads),
        )
        call()
        expected = pack(self.expected >= 0) if out == "bits" else self.expected
        _same(f"conv2d_b1b1 {shape} {isa} {out}", result[0], expected)
        return Engine(f"edgeq {isa} {out}", call, lambda: _native.select_isa(isa))


def pack(signs: npt.NDArray[np.bool_]) -> U8:
    """(..., k) -> (..., row_bytes(k)), lowest bit first, 1 = +1."""
    bits = np.packbits(signs, axis=-1, bitorder="little")
    out: U8 = _core.aligned((*bits.shape[:-1], _native.row_bytes(signs.shape[-1])), np.uint8)
    out[:] = 0
    out[..., : bits.shape[-1]] = bits
    return out


def _same(what: str, got: npt.NDArray[np.generic], expected: npt.NDArray[np.generic]) -> None:
    if not np.array_equal(got, expected):
        wrong = int(np.count_nonzero(got != expected))
        raise WrongResultError(f"{what}: {wrong} of {expected.size} results differ from numpy; nothing was timed")
