"""A network that writes tokens one by one: `encode` and `decode` of one program, which have their memory in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from edgeq._errors import UsageError

from .net import Net
from .records import Array, Outcome, Run, TensorSpec

Progress = Callable[[int, int], None]


class SequenceNet(Net):
    """A net whose one execution is a whole sequence, so that its time is that of `encode` and of every `decode`.

    encode   ids and mask (1, S) -> what is not looked at
    decode   token (1, 1) and position (1,) -> logits (1, 1, V) of the next token; the most likely one is taken
    start    the first token given to `decode`
    end      the token after which nothing follows; it fills what is left of the output
    longest  tokens of the output, the end included
    """

    def __init__(self, encode: Net, decode: Net, *, start: int, end: int, longest: int) -> None:
        super().__init__(encode._agent, encode.loaded)
        self._only_runs = True  # the loop over tokens is here, not on the device
        self._encode, self._decode = encode, decode
        self._start, self._end, self._longest = start, end, longest
        self.vocabulary = decode.outputs[0].shape[-1]

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """Tokens (1, longest) int64."""
        return (TensorSpec("i64", (1, self._longest)),)

    def run(self, *inputs: Array) -> Run:
        """Write one sequence for ids and mask (1, S)."""
        self._check(inputs)
        ticks = self._encode.run(*inputs).ticks
        tokens = np.full((1, self._longest), self._end, np.int64)
        token = self._start
        for position in range(self._longest):
            step = self._decode.run(np.array([[token]], np.int64), np.array([position], np.int64))
            ticks += step.ticks
            token = int(step.outputs[0].argmax())
            tokens[0, position] = token
            if token == self._end:
                break
        return Run((tokens,), ticks)

    def evaluate(self, inputs: Sequence[Array], *, progress: Progress = lambda done, total: None) -> Outcome:
        """Tokens (n, longest) for ids and mask (n, S)."""
        self._check(inputs)
        return super().evaluate(inputs, progress=progress)

    def profile(self, inputs: Sequence[Array], *, runs: int = 20) -> bytes:
        """Trace `decode` at the first position."""
        self._check(inputs)
        self._encode.run(*inputs)
        return self._decode.profile((np.array([[self._start]], np.int64), np.array([0], np.int64)), runs=runs)

    def unload(self) -> None:
        self._encode.unload()
        self._decode.unload()

    def _check(self, inputs: Sequence[Array]) -> None:
        """Raises UsageError before anything is sent: an id outside the vocabulary would read foreign memory."""
        if not inputs:
            raise UsageError(f"the net takes {len(self.inputs)} inputs, got 0")
        outside = inputs[0][(inputs[0] < 0) | (inputs[0] >= self.vocabulary)]
        if outside.size:
            raise UsageError(f"id {int(outside.flat[0])} is not in a vocabulary of {self.vocabulary}")
