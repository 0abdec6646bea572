"""One pass of a tunable network: per-channel corrections go in, taps and moments come out.

A tunable layer with accumulators acc, channel scale s and bias b computes, for channel j of sample i,

  y = s * exp(a[i, j]) * acc + b + sigma * c[i, j]

so a and c have no unit and start at 0; sigma is the deviation of the layer's output, one number measured once. Only
the epilogue's parameters change, never a product. Why these: Li et al., AdaBN, arXiv 1603.04779; QZO, arXiv 2505.13430.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

HALVES = 2  # a map is averaged over its quarters, a row of tokens over its halves


class TuningPass:
    """The corrections of one pass, handed to the layers in the order in which they run; collects what they give back.

    ac     (1, n) for all samples or (N, n), for each layer a (channels) then c (channels); None: all 0
    sigma  (layers,) in the same order; None: all 1
    """

    def __init__(self, ac: Tensor | None = None, sigma: Tensor | None = None) -> None:
        self._ac, self._sigma, self._start, self._depth = ac, sigma, 0, 0
        self.sites: list[tuple[object, Tensor, int]] = []  # layer, its parameters, how many layers come before it
        self.moments: list[Tensor] = []  # (N, 2, channels)
        self.taps: list[tuple[object, Tensor]] = []  # layer, (N, width)

    def params(self, layer: object, params: Tensor, *, beside: bool = False) -> list[Tensor]:
        """The epilogue's parameters (R, O), rows scale and bias first, corrected: once, or once for every sample.

        beside  the layer reads the same input as the one before
        """
        index, o, start = len(self.sites), params.shape[1], self._start
        self._depth += 0 if beside or not self.sites else 1
        self.sites.append((layer, params, self._depth))
        self._start += 2 * o
        if self._ac is None:
            return [params]
        a, c = self._ac[:, start : start + o], self._ac[:, start + o : start + 2 * o]
        scale = params[0] * a.exp()
        bias = params[1] + (c if self._sigma is None else c * self._sigma[index])
        rows = [torch.stack([scale[i], bias[i]]) for i in range(len(self._ac))]
        return [torch.cat([row, params[2:]]) for row in rows] if len(params) > 2 else rows

    def observe(self, y: Tensor) -> None:
        """Mean and mean squared deviation of each channel of what the correction acts on, (N, ..., O)."""
        y = y.reshape(y.shape[0], -1, y.shape[-1])
        mean = y.mean(1, keepdim=True)
        away = y - mean
        self.moments.append(torch.cat([mean, (away * away).mean(1, keepdim=True)], 1))

    def tap(self, layer: object, h: Tensor) -> None:
        """Deliver h: (N, O) as it is, a map (N, H, W, O) averaged over its quarters, row by row."""
        self.taps.append((layer, h if h.dim() == 2 else quarters(h)))


def each(params: Sequence[Tensor], run: Callable[..., Tensor], *inputs: Tensor | None) -> Tensor:
    """run(params, *inputs), where there are several parameters sample by sample."""
    if len(params) == 1:
        return run(params[0], *inputs)
    parts = [run(p, *(t if t is None else t[i : i + 1] for t in inputs)) for i, p in enumerate(params)]
    return torch.cat(parts)


def quarters(h: Tensor) -> Tensor:
    """(N, H, W, O) -> (N, 4 O); odd extents share their middle row or column. An extent of 1 is not halved."""
    rows, columns = (_halves(extent) for extent in h.shape[1:3])
    return torch.cat([h[:, top:end, left:right].mean((1, 2)) for top, end in rows for left, right in columns], 1)


def _halves(extent: int) -> list[tuple[int, int]]:
    return [(0, -(-extent // HALVES)), (extent // HALVES, extent)] if extent > 1 else [(0, 1)]
