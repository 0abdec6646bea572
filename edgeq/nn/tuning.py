"""One pass of a tunable network: per-channel corrections go in, taps and moments come out.

A tunable layer with accumulators acc, channel scale s and bias b computes, for channel j of sample i,

  y = s * exp(a[i, j]) * acc + b + sigma * c[i, j]

so a and c have no unit and start at 0; sigma is the deviation of the layer's output, one number measured once. Only
the epilogue's parameters change, never a product. Why these: Li et al., AdaBN, arXiv 1603.04779; QZO, arXiv 2505.13430.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from edgeq import ops
from edgeq.ops import Want


@dataclass(frozen=True)
class Correction:
    """Of one layer: its columns of ac begin at `start`; `moments` takes what the layer gives back, None: nothing.

    parts    the layer's input, up to here the same for both, goes in twice: once for each row of ac
    latents  (channels, K) float32: what the layer's codes are to be made of, None: they are as packed
    reads    takes (N, K) float32, the codes that the layer read, None: nothing
    """

    ac: Tensor
    start: int
    sigma: float
    moments: list[Tensor] | None
    parts: bool = False
    latents: Tensor | None = None
    reads: list[Tensor] | None = None


class TuningPass:
    """The corrections of one pass, handed to the layers in the order in which they run; collects what they give back.

    ac     (1, n) for all samples or (N, n), for each layer a (channels) then c (channels); None: no corrections
    sigma  of the layers in the same order; None: all 1
    lean   collect neither moments nor taps
    pair   one sample with two rows of ac: the ways part at the first tunable layer, of which there is one
    latents  by the index of a layer among the tunable ones
    """

    def __init__(
        self,
        ac: Tensor | None = None,
        sigma: tuple[float, ...] | None = None,
        *,
        lean: bool = False,
        pair: bool = False,
        latents: Mapping[int, Tensor] | None = None,
    ) -> None:
        self._ac, self._sigma, self.lean, self._start, self._depth = ac, sigma, lean, 0, 0
        self._pair, self._latents = pair, latents or {}
        self.sites: list[tuple[object, Tensor, int]] = []  # layer, its parameters, how many layers come before it
        self.moments: list[Tensor] = []  # (N, 2, channels)
        self.reads: list[Tensor] = []  # (N, K) of the layers with latents
        self.taps: list[tuple[object, Tensor]] = []  # layer, (N, width)

    def site(self, layer: object, params: Tensor, *, beside: bool = False) -> Correction | None:
        """What to do with `params` (R, O), rows scale and bias first; None: as it is.

        beside  the layer reads the same input as the one before
        """
        index, start = len(self.sites), self._start
        self._depth += 0 if beside or not self.sites else 1
        self.sites.append((layer, params, self._depth))
        self._start += 2 * params.shape[1]
        if self._ac is None:
            return None
        sigma = 1.0 if self._sigma is None else self._sigma[index]
        latents = self._latents.get(index)
        return Correction(
            self._ac,
            start,
            sigma,
            None if self.lean else self.moments,
            self._pair and not index,
            latents,
            None if self.lean or latents is None else self.reads,
        )

    def tap(self, layer: object, h: Tensor, grid: Tensor | None = None) -> None:
        """Deliver h: (N, O) as it is, a map (N, H, W, O), codes of `grid` or not, averaged over its quarters."""
        if not self.lean:
            self.taps.append((layer, h if h.dim() == 2 else ops.mean_quarters(h, grid)))


def fused(name: str, *arguments: object, want: Want, correction: Correction | None) -> tuple[Tensor, ...]:
    """Results of the fused operator `name`, with a correction those of its tuned twin, which gives moments too."""
    if correction is None:
        plain: tuple[Tensor, ...] = getattr(ops, name)(*arguments, want)
        return plain
    if correction.parts:
        x = cast(Tensor, arguments[0])
        arguments = (torch.cat((x, x)), *arguments[1:])
    twin = getattr(ops, f"{name.removesuffix('_fused')}_tuned")
    wanted = want if correction.moments is None else want | Want.MOMENTS
    *results, moments = twin(correction.ac, correction.start, correction.sigma, *arguments, wanted)
    if correction.moments is not None:
        correction.moments.append(moments)
    return tuple(results)


def layer_norm(
    x: Tensor,
    residual: Tensor | None,
    gamma: Tensor,
    beta: Tensor,
    eps: float,
    *,
    want: Want,
    correction: Correction | None,
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Map and signs of the operator, with a correction those of its tuned twin: x (N, tokens, k) then.

    mask  (N, tokens) uint8: tokens with 0 do not count in the moments
    """
    if correction is None:
        plain: tuple[Tensor, Tensor] = ops.layer_norm(x, residual, gamma, beta, eps, None, want)
        return plain
    wanted = want if correction.moments is None else want | Want.MAP | Want.MOMENTS
    site = correction.ac, correction.start, correction.sigma
    out, bits, moments = ops.layer_norm_tuned(*site, x, mask, residual, gamma, beta, eps, None, wanted)
    if correction.moments is not None:
        correction.moments.append(moments)
    return out, bits


class FloatHead:
    """A float linear layer as the last layer of a tunable network."""

    def __init__(self, linear: nn.Linear) -> None:
        self._linear = linear

    def real(self) -> tuple[Tensor, Tensor]:
        """(classes, H) weights and (classes,) biases in real units."""
        return self._linear.weight.detach(), self._linear.bias.detach()

    def seen(self, x: Tensor) -> Tensor:
        """The values that the product sees of x (N, H): all of them."""
        return x
