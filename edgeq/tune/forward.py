"""Answers to the module's `Forward`: a loaded `forward_tune` or `forward_step`, on whatever device it runs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeq._errors import DeviceError, UnsupportedError
from edgeq._native.tune import Forward, Outputs
from edgeq._native.tune_types import Method
from edgeq.compile.layout import METHOD, PAIR, STEP, Layout

if TYPE_CHECKING:
    from edgeq.device import Net

    from .samples import Samples

Array = np.ndarray[Any, Any]
_STEP_NAMES = ("logits", "hidden")


# ask for logits and hidden, and never for more
_GRADIENT_ONLY: tuple[Method, ...] = ("head", "t0", "t1", "mezo", "zeroqat")
_CODES: tuple[Method, ...] = ("t2", "t3", "zeroqat")  # learn codes


def parts_for(method: Method, parts: str) -> str:
    """Parts of the program that a run needs, where nobody says which."""
    return parts or ("latents:all" if method in _CODES else "")


_TWO_SIGNS: tuple[Method, ...] = ("t0", "t1")  # ask for both signs together, unless micro is 1


def program_method(method: Method, there: Collection[str] = (), *, micro: int = 0) -> str:
    """Which method of a tunable program serves a run; `there`: those that it has beside the common ones."""
    if method in _TWO_SIGNS and PAIR in there and micro != 1:
        return PAIR
    return STEP if method in _GRADIENT_ONLY else METHOD


class DeviceForward:
    """Runs `forward_tune` or `forward_step` of a net, one sample a time, or `forward_pair`, both signs of it together.

    codes   of the base, for each layer with latents
    passes  samples sent so far
    ticks   of the device, summed
    """

    def __init__(self, net: Net, samples: Samples, layout: Layout, codes: Sequence[Array] = ()) -> None:
        self._net, self._samples = net, samples
        names = output_names(layout)
        self._names = names[: len(net.outputs)] if len(net.outputs) == len(_STEP_NAMES) else names
        self._has_ac = "scales" in layout.parts
        self._pairs = self._has_ac and net.inputs[len(samples.inputs)].shape[0] == 2
        self._codes = () if self._pairs else tuple(array.astype(np.float32) for array in codes)
        self.passes, self.ticks = 0, 0
        if len(net.outputs) != len(self._names):
            raise DeviceError(f"forward_tune has {len(net.outputs)} outputs, its layout says {len(names)}")

    def __call__(self, request: Forward) -> Outputs:
        if request.latents is not None and not self._codes:
            raise UnsupportedError("this program was compiled without latents: --method t2, t3 and zeroqat need them")
        given = {"inputs" if name.startswith("in_") else name for name in self._names}
        if missing := sorted(request.outputs - given):
            raise DeviceError(f"forward_step does not give {', '.join(missing)}; load forward_tune for it")
        samples, ac = paired(request) if self._pairs else (request.samples, request.ac_rows)
        found = self._run(request, samples, ac)
        self.passes += len(request.samples)
        if self._pairs:
            found = [unpaired(array, len(request.samples)) for array in found]
        return wanted(request, dict(zip(self._names, found, strict=True)))

    def _run(self, request: Forward, samples: Array, ac: Array) -> Sequence[Array]:
        """All outputs for the samples; ac (1, samples or, of pairs, 2 * samples; n)."""
        count = len(samples)
        inputs = [array[samples] for array in self._samples.inputs]
        if self._has_ac:
            inputs.append(np.broadcast_to(ac, (2 * count if self._pairs else count, ac.shape[1])))
        for array in (request.head_weight, request.head_bias, *(request.latents or self._codes)):
            inputs.append(np.broadcast_to(array, (count, *array.shape)).reshape(-1, *array.shape[1:]))
        outcome = self._net.evaluate([np.ascontiguousarray(array) for array in inputs])
        self.ticks += sum(outcome.ticks)
        return outcome.outputs


def paired(request: Forward) -> tuple[Array, Array]:
    """Samples without their repetition, and two rows of ac for each: its signs, or the same row twice."""
    ac, width = request.ac, request.ac.shape[1]
    if len(ac) == 1:
        return request.samples, ac
    half = len(request.samples) // 2
    rows = np.broadcast_to(ac.reshape(2, -1, width), (2, half, width))
    return request.samples[:half], rows.swapaxes(0, 1).reshape(-1, width)


def unpaired(found: Array, count: int) -> Array:
    """(2 k, ...) by sample and sign -> as many rows as were asked for: one a sample, or all + and then all -."""
    by_sign = found.reshape(-1, 2, *found.shape[1:]).swapaxes(0, 1)
    return by_sign.reshape(-1, *found.shape[1:])[:count]


def wanted(request: Forward, found: Mapping[str, Array]) -> Outputs:
    """Of all outputs those that a request asks for."""

    def one(name: str) -> np.ndarray[Any, np.dtype[np.float32]] | None:
        return np.ascontiguousarray(found[name], np.float32) if name in request.outputs and name in found else None

    reads = [array for name, array in found.items() if name.startswith("in_") and "inputs" in request.outputs]
    return Outputs(
        logits=one("logits"), hidden=one("hidden"), taps=one("taps"), moments=one("moments"), inputs=tuple(reads)
    )


def output_names(layout: Layout) -> list[str]:
    taps, moments = "taps" in layout.parts, "scales" in layout.parts
    reads = [f"in_{latent.layer}" for latent in layout.latents]
    return [*_STEP_NAMES, *(["taps"] if taps else []), *(["moments"] if moments else []), *reads]
