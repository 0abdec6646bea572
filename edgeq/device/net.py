"""A net loaded on a device."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from edgeq._errors import DeviceError, UsageError

from .agent import Agent, Refusal
from .frames import Fields, Value
from .records import Array, Info, Loaded, Outcome, Predictions, Run, TensorSpec, Timing

_PATIENCE_S = 600.0
_FIRST_RUNS = 10
_BATCH_NS = 2e9  # how long one request should keep the device busy
Progress = Callable[[int, int], None]


class Net:
    """One loaded method. Arrays must have exactly the dtype and shape of `inputs`; nothing is converted."""

    def __init__(self, agent: Agent, loaded: Loaded) -> None:
        self._agent = agent
        self.loaded = loaded
        self._only_runs = False  # the agent does not know BENCH and EVAL (frames.def, EQ_FRAME_MORE)

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        return self.loaded.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return self.loaded.outputs

    def run(self, *inputs: Array) -> Run:
        """Execute once."""
        data = b"".join(_bytes_of(self.inputs, inputs))
        if len(data) > self._agent.room("RUN", net=self.loaded.net):
            self._send(inputs)
            data = b""
        answer = self._ask("RUN", data=data)
        output: bytes = answer["data"] or b"".join(self._read(i) for i in range(len(self.outputs)))
        return Run(tuple(a[0] for a in _split(self.outputs, output, 1)), answer["ticks"])

    def bench(self, inputs: Sequence[Array], *, warmup: int = 10, runs: int = 100) -> Timing:
        """Time `runs` executions over one input after `warmup` untimed ones; every sample as the device took it."""
        if self._only_runs:
            return self._bench_by_runs(inputs, warmup, runs)
        self._send(inputs)
        ticks: list[int] = []
        peak_bytes = 0
        limit = self._agent.info.max_payload // 8 - 1
        while len(ticks) < runs or warmup > 0:
            count = min(runs - len(ticks), limit, self._per_request(ticks) if ticks else _FIRST_RUNS)
            try:
                answer = self._ask("BENCH", warmup=warmup, runs=count)
            except Refusal as refusal:
                self._fall_back(refusal)
                return self._bench_by_runs(inputs, warmup, runs)
            if len(answer["ticks"]) != count:
                raise DeviceError(f"{self._agent.name}: asked for {count} samples, got {len(answer['ticks'])}")
            ticks += answer["ticks"]
            peak_bytes = answer["peak_bytes"]
            warmup = 0
        return Timing(ticks, peak_bytes)

    def _bench_by_runs(self, inputs: Sequence[Array], warmup: int, runs: int) -> Timing:
        ticks = [self.run(*inputs).ticks for _ in range(warmup + runs)]
        hello = self._agent.request("HELLO", timeout_s=_PATIENCE_S, protocol=self._agent.info.protocol)
        return Timing(ticks[warmup:], Info.of(hello).peak_bytes)

    def _fall_back(self, refusal: Refusal) -> None:
        """From now on one RUN after the other; raises the refusal when it has another reason."""
        if refusal.code != "UNKNOWN_TYPE":
            raise refusal
        self._only_runs = True

    def evaluate(self, inputs: Sequence[Array], *, progress: Progress = lambda done, total: None) -> Outcome:
        """Execute over many samples, which lie along the first axis of every input.

        inputs  like the net's, but with n times the extent of the first axis
        return  outputs with n times the extent of their first axis, and n ticks
        """
        total = self._samples(inputs)
        ticks: list[int] = []
        parts: list[tuple[Array, ...]] = []
        one = sum(spec.size_bytes for spec in self.outputs)
        for count, raw in self._eval("EVAL_OUTPUTS", inputs, total, one, ticks, progress):
            parts.append(_split(self.outputs, raw, count))
        outputs = tuple(np.concatenate([part[i] for part in parts]) for i in range(len(self.outputs)))
        return Outcome(tuple(_along_first(s, a) for s, a in zip(self.outputs, outputs, strict=True)), ticks)

    def predict(self, inputs: Sequence[Array], *, progress: Progress = lambda done, total: None) -> Predictions:
        """The same, but only the index of the greatest element of the first output comes back."""
        ticks: list[int] = []
        parts = [
            np.frombuffer(raw, "<u4")
            for _, raw in self._eval("EVAL_ARGMAX", inputs, self._samples(inputs), 4, ticks, progress)
        ]
        return Predictions(np.concatenate(parts).astype(np.int64), ticks)

    def profile(self, inputs: Sequence[Array], *, runs: int = 20) -> bytes:
        """Execute under the tracer; the trace as the runtime writes it (ETDump)."""
        self._send(inputs)
        self._ask("PROFILE", runs=runs)
        return read_all(self._agent, self._agent.constant("GET_PROFILE"), "")

    def unload(self) -> None:
        """Free it on the device."""
        self._ask("UNLOAD")

    def _ask(self, request: str, **fields: Value) -> Fields:
        return self._agent.request(request, timeout_s=_PATIENCE_S, net=self.loaded.net, **fields)

    def _send(self, inputs: Sequence[Array]) -> None:
        for index, data in enumerate(_bytes_of(self.inputs, inputs)):
            chunk = self._agent.room("INPUT", net=0, index=0, offset=0)
            for at in range(0, len(data), chunk):
                self._ask("INPUT", index=index, offset=at, data=data[at : at + chunk])

    def _read(self, index: int) -> bytes:
        size, chunk = self.outputs[index].size_bytes, self._agent.info.max_payload
        pieces: list[bytes] = [
            self._ask("OUTPUT", index=index, offset=at, length=min(chunk, size - at))["data"]
            for at in range(0, size, chunk)
        ]
        return b"".join(pieces)

    def _per_request(self, ticks: Sequence[int]) -> int:
        """How many executions keep the device busy for about _BATCH_NS."""
        recent = ticks[-_FIRST_RUNS:]
        return max(1, int(_BATCH_NS * len(recent) / max(1, sum(recent))))

    def _samples(self, inputs: Sequence[Array]) -> int:
        """Into how many executions the inputs are cut."""
        if len(inputs) != len(self.inputs):
            raise UsageError(f"the net takes {len(self.inputs)} inputs, got {len(inputs)}")
        counts = set()
        for i, (spec, array) in enumerate(zip(self.inputs, inputs, strict=True)):
            fits = spec.shape and array.shape[1:] == spec.shape[1:] and array.dtype == spec.dtype
            if not fits or len(array) == 0 or len(array) % spec.shape[0]:
                raise UsageError(
                    f"input {i}: got {len(array) if array.ndim else 0} samples of {_shape(array)}, the network takes "
                    f"{_shape(spec)}" + (f", in multiples of {spec.shape[0]}" if spec.shape[:1] > (1,) else "")
                )
            counts.add(len(array) // spec.shape[0])
        if len(counts) != 1:
            raise UsageError(f"inputs hold different numbers of samples: {sorted(counts)}")
        return int(counts.pop())

    def _eval(
        self, mode: str, inputs: Sequence[Array], total: int, one: int, ticks: list[int], progress: Progress
    ) -> Iterator[tuple[int, bytes]]:
        """Batches of (number of samples, their outputs without ticks); appends to ticks."""
        parts = [np.ascontiguousarray(array).reshape(total, -1) for array in inputs]
        sample = sum(spec.size_bytes for spec in self.inputs)
        room = self._agent.room("EVAL", net=0, mode=0, count=0)
        limit = min(room // sample, self._agent.info.max_payload // (8 + one), 0xFFFF)
        done = 0
        while done < total:
            progress(done, total)
            if limit == 0 or self._only_runs:
                yield 1, self._eval_large(mode, inputs, done, total, ticks)
                done += 1
                continue
            count = min(limit, total - done, self._per_request(ticks) if ticks else _FIRST_RUNS)
            data = b"".join(part[i].tobytes() for i in range(done, done + count) for part in parts)
            try:
                raw = self._ask("EVAL", mode=self._agent.constant(mode), count=count, data=data)["data"]
            except Refusal as refusal:
                self._fall_back(refusal)
                continue
            if len(raw) != count * (8 + one):
                raise DeviceError(f"{self._agent.name}: {count} samples give {count * (8 + one)} bytes, got {len(raw)}")
            table = np.frombuffer(raw, np.uint8).reshape(count, 8 + one)
            ticks += table[:, :8].copy().view("<u8").ravel().tolist()
            yield count, table[:, 8:].tobytes()
            done += count
        progress(total, total)

    def _eval_large(self, mode: str, inputs: Sequence[Array], index: int, total: int, ticks: list[int]) -> bytes:
        """One sample by itself."""
        one = [len(array) // total for array in inputs]
        run = self.run(*(array[index * n : (index + 1) * n] for array, n in zip(inputs, one, strict=True)))
        ticks.append(run.ticks)
        if mode == "EVAL_ARGMAX":
            return np.uint32(np.argmax(run.outputs[0])).tobytes()
        return b"".join(output.tobytes() for output in run.outputs)


def read_all(agent: Agent, source: int, name: str) -> bytes:
    """An object or a trace, in as many pieces as it takes."""
    data = bytearray()
    while True:
        length = agent.info.max_payload
        answer = agent.request("GET", timeout_s=_PATIENCE_S, source=source, name=name, offset=len(data), length=length)
        data += answer["data"]
        if len(data) >= answer["total"] or not answer["data"]:
            return bytes(data)


def _bytes_of(specs: Sequence[TensorSpec], arrays: Sequence[Array]) -> list[bytes]:
    if len(arrays) != len(specs):
        raise UsageError(f"the net takes {len(specs)} inputs, got {len(arrays)}")
    for i, (spec, array) in enumerate(zip(specs, arrays, strict=True)):
        if array.dtype != spec.dtype or array.shape != spec.shape:
            raise UsageError(f"input {i} is {spec.dtype} {spec.shape}, got {array.dtype} {array.shape}")
    return [array.tobytes() for array in arrays]


def _split(specs: Sequence[TensorSpec], data: bytes, count: int) -> tuple[Array, ...]:
    """Outputs of `count` executions, interleaved in data, as arrays (count, *shape)."""
    sizes = [spec.size_bytes for spec in specs]
    if len(data) != count * sum(sizes):
        raise DeviceError(f"outputs have {count * sum(sizes)} bytes, the device sent {len(data)}")
    table = np.frombuffer(data, np.uint8).reshape(count, sum(sizes))
    arrays, at = [], 0
    for spec, size in zip(specs, sizes, strict=True):
        arrays.append(table[:, at : at + size].copy().view(spec.dtype).reshape(count, *spec.shape))
        at += size
    return tuple(arrays)


def _along_first(spec: TensorSpec, array: Array) -> Array:
    """(count, b, ...) -> (count * b, ...); a scalar per execution stays (count,)."""
    return array.reshape(-1, *spec.shape[1:]) if spec.shape else array


def _shape(of: TensorSpec | Array) -> str:
    """One sample in words."""
    return f"{'x'.join(map(str, of.shape[1:])) or 'one'} {of.dtype}"
