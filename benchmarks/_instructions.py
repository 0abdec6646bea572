"""How many instructions of 512 bits EdgeQ's AVX-512 kernels take: the floor of each kernel as it is designed.

Products, masks, shifts, look-ups and conversions of 512 bits share two ports; loads and stores do not. Counted in
the compiled loops and explained in `docs/kernels.md`; what a kernel does beside them (quantising, epilogue) is not in
it. Limits of rows are what is built in.
"""

from __future__ import annotations

from collections.abc import Callable

_FEW, _AT_ONCE, _TILED = 4, 8, 32  # rows: of a loop of their own; that share a mask; above them int8 tiles
_GROUP = 32
_FOLDED_STEPS, _FOLDED_OUTPUTS = 8, 128  # from which bits are folded
_LANES = 16


def _ternary(m: int) -> float:
    if m > _TILED:
        return 1 / 64 + 11 / (256 * m)  # the tile: 256 weights
    if m > _FEW:
        return 18 / 1024  # two masks for sixteen products
    return (3 + 4 * m) / (256 * m)  # three masks for four products of each row


def _four_bits(m: int) -> float:
    if m > _TILED:
        return 1 / 64 + 5 / (128 * m)
    rows = min(m, _AT_ONCE)
    return (1 + 2 * rows) / (128 * rows)  # one mask for two products of each row


def _four_bits_in_groups(m: int, one_row: int, few: int, many: int) -> float:
    """one_row  of a group of 64 outputs; few: of eight rows and 32 outputs; many: of a row and 16 outputs"""
    if m > _TILED:
        return _four_bits(m) + many / (_LANES * _GROUP)
    if m > 1:
        return _four_bits(m) + few / (_AT_ONCE * 32 * _GROUP)
    return _four_bits(m) + one_row / (64 * _GROUP)


def _powers(m: int) -> float:
    if m > _TILED:
        return 1 / 64 + 4 / (128 * m)
    rows = min(m, _AT_ONCE)
    return (2 + 2 * rows) / (128 * rows)  # two look-ups for two products of each row


def _powers_s4(m: int) -> float:
    rows = min(m, _AT_ONCE)
    shift = 0.0 if m > _TILED else 1 / (128 * rows)
    return _powers(m) + shift + 3 * 2 / (63 * _LANES)  # +128 of random weights: three look-ups, three products


_LINEAR: dict[str, Callable[[int], float]] = {
    "linear_t2i8": _ternary,
    "linear_i8i8": lambda _m: 1 / 64,
    "linear_i4i8 channel": _four_bits,
    "linear_i4i8 row": lambda m: _four_bits_in_groups(m, 22, 46, 2),
    "linear_i4i8 block": lambda m: _four_bits_in_groups(m, 24, 68, 4),
    "linear_s2i8": _powers,
    "linear_s3i8": _powers,
    "linear_s4i8": _powers_s4,
}


def int8(work: str, m: int, k: int, o: int) -> float:
    """Of a product of `benchmarks kernels`, m rows, k inputs, o outputs."""
    return _LINEAR[work](m) * m * k * o


def bits(pixels: int, k: int, o: int, *, floats: bool) -> float:
    """Of `pixels` pixels or rows of signs, k inputs of each output; floats, or bits, are written."""
    folded = -(-k // 32) >= _FOLDED_STEPS and o >= _FOLDED_OUTPUTS
    ending = (3 if folded else 0) + (3 if floats else 2)  # the last parity; then conversion and scale, or a comparison
    return pixels * o * (k * (5 if folded else 6) / 1024 + ending / _LANES)
