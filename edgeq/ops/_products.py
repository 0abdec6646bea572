"""Convolutions and linear layers with a whole epilogue: one schema for all types of weights and activations.

rows, params, skip, skip_step, grid, want: see `edgeq.ops._wanted`.
"""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor

from edgeq import _native

from ._library import operator
from ._tuned import plain, tuned
from ._views import view
from ._wanted import (
    CONV_KINDS,
    LINEAR_KINDS,
    ConvResults,
    LinearResults,
    empty_results,
    flat,
    spatial,
    wanted_results,
    whole_epilogue,
)

Activations = Literal["i8", "f32"]


def _kernel(weights: str, w: Tensor, c: int, groups: int) -> tuple[int, int]:
    first = 1 if weights in ("i8", "f32") or groups == c > 1 else 2
    return w.shape[first], w.shape[first + 1]


def make_conv2d(weights: Any, activations: Activations, *, tunable: bool = False) -> Any:
    """The operator `conv2d_{weights}{activations}`, or its tuned twin."""
    core = _native.conv2d_i8 if activations == "i8" else _native.conv2d_f32

    def shape(
        x: Tensor,
        w: Tensor,
        stride: int,
        padding: int,
        groups: int,
        rows: Tensor | None,
        act: int,
        params: Tensor,
        skip: Tensor | None,
        skip_step: Tensor | None,
        grid: Tensor | None,
        want: int,
    ) -> ConvResults:
        kernel = _kernel(weights, w, x.shape[3], groups)
        lead = spatial(x, kernel, stride, padding)
        out, bits, mean, codes = empty_results(x, lead, params.shape[1], want, CONV_KINDS)
        return out, bits, mean, codes

    def conv2d(
        x: Tensor,
        w: Tensor,
        stride: int,
        padding: int,
        groups: int,
        rows: Tensor | None,
        act: int,
        params: Tensor,
        skip: Tensor | None,
        skip_step: Tensor | None,
        grid: Tensor | None,
        want: int,
        tuning: _native.Tuning | None = None,
    ) -> tuple[tuple[Tensor, ...], _native.Outputs]:
        kernel = _kernel(weights, w, x.shape[3], groups)
        n, in_h, in_w, c = x.shape
        _, h, width = spatial(x, kernel, stride, padding)
        op = _native.Conv2d(
            n, in_h, in_w, c, params.shape[1], *kernel, stride, stride, padding, padding, h, width, groups
        )
        epilogue = whole_epilogue(rows, act, params, skip, skip_step, grid, want, tuning)
        results = core(weights, view(x), view(w), op, epilogue)
        return wanted_results(results, CONV_KINDS, (n, h, width)), results

    schema = (
        f"conv2d_{weights}{activations}(Tensor x, Tensor w, int stride, int padding, int groups, Tensor? rows, "
        "int act, Tensor params, Tensor? skip, Tensor? skip_step, Tensor? grid, int want) "
        "-> (Tensor out, Tensor bits, Tensor mean, Tensor codes)"
    )
    return tuned(schema, shape, conv2d, params_at=7) if tunable else plain(schema, shape, conv2d)


def make_linear(weights: Any, activations: Activations) -> Any:
    """The operator `linear_{weights}{activations}`."""
    run = _native.linear_i8 if activations == "i8" else _native.linear_f32

    def shape(
        x: Tensor,
        w: Tensor,
        rows: Tensor | None,
        act: int,
        params: Tensor,
        skip: Tensor | None,
        skip_step: Tensor | None,
        grid: Tensor | None,
        want: int,
    ) -> LinearResults:
        out, bits, codes = empty_results(x, tuple(x.shape[:-1]), params.shape[1], want, LINEAR_KINDS)
        return out, bits, codes

    def linear(
        x: Tensor,
        w: Tensor,
        rows: Tensor | None,
        act: int,
        params: Tensor,
        skip: Tensor | None,
        skip_step: Tensor | None,
        grid: Tensor | None,
        want: int,
    ) -> LinearResults:
        epilogue = whole_epilogue(rows, act, params, flat(skip), skip_step, grid, want)
        results = run(weights, view(flat(x)), view(w), epilogue)
        out, bits, codes = wanted_results(results, LINEAR_KINDS, tuple(x.shape[:-1]))
        return out, bits, codes

    schema = (
        f"linear_{weights}{activations}(Tensor x, Tensor w, Tensor? rows, int act, Tensor params, Tensor? skip, "
        "Tensor? skip_step, Tensor? grid, int want) -> (Tensor out, Tensor bits, Tensor codes)"
    )
    return operator(schema, shape)(linear)
