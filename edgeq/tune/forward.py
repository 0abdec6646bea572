"""Answers to the module's `Forward`: a loaded `forward_tune` or `forward_step`, on whatever device it runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeq._errors import DeviceError, UnsupportedError
from edgeq._native.tune import Forward, Outputs
from edgeq._native.tune_types import Method
from edgeq.compile.layout import METHOD, STEP, Layout

if TYPE_CHECKING:
    from edgeq.device import Net

    from .samples import Samples

Array = np.ndarray[Any, Any]
_STEP_NAMES = ("logits", "hidden")


_GRADIENT_ONLY: tuple[Method, ...] = ("head", "t0", "t1", "mezo")  # ask for logits and hidden, and never for more


def program_method(method: Method) -> str:
    """Which method of a tunable program serves a run."""
    return STEP if method in _GRADIENT_ONLY else METHOD


class DeviceForward:
    """Runs `forward_tune` of a net, or `forward_step`, one sample a time.

    passes  samples sent so far
    ticks   of the device, summed
    """

    def __init__(self, net: Net, samples: Samples, layout: Layout) -> None:
        self._net, self._samples = net, samples
        names = output_names(layout)
        self._names = names[: len(net.outputs)] if len(net.outputs) == len(_STEP_NAMES) else names
        self._has_ac = "scales" in layout.parts
        self.passes, self.ticks = 0, 0
        if len(net.outputs) != len(self._names):
            raise DeviceError(f"forward_tune has {len(net.outputs)} outputs, its layout says {len(names)}")

    def __call__(self, request: Forward) -> Outputs:
        if request.latents is not None:
            raise UnsupportedError("this program was compiled without latents: --method t2, t3 and zeroqat need them")
        if missing := [name for name in request.outputs if name not in self._names]:
            raise DeviceError(f"forward_step does not give {', '.join(missing)}; load forward_tune for it")
        count = len(request.samples)
        inputs = [array[request.samples] for array in self._samples.inputs]
        if self._has_ac:
            inputs.append(np.broadcast_to(request.ac_rows, (count, request.ac.shape[1])))
        for array in (request.head_weight, request.head_bias):
            inputs.append(np.broadcast_to(array, (count, *array.shape)).reshape(-1, *array.shape[1:]))
        outcome = self._net.evaluate([np.ascontiguousarray(array) for array in inputs])
        self.passes += count
        self.ticks += sum(outcome.ticks)
        return wanted(request, dict(zip(self._names, outcome.outputs, strict=True)))


def wanted(request: Forward, found: Mapping[str, Array]) -> Outputs:
    """Of all outputs those that a request asks for."""

    def one(name: str) -> np.ndarray[Any, np.dtype[np.float32]] | None:
        return np.ascontiguousarray(found[name], np.float32) if name in request.outputs and name in found else None

    return Outputs(logits=one("logits"), hidden=one("hidden"), taps=one("taps"), moments=one("moments"))


def output_names(layout: Layout) -> list[str]:
    taps, moments = "taps" in layout.parts, "scales" in layout.parts
    return [*_STEP_NAMES, *(["taps"] if taps else []), *(["moments"] if moments else [])]
