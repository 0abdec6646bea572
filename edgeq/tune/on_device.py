"""A run of the tuning module on the device itself; the host streams samples and keeps the storage (`frames.def`)."""

from __future__ import annotations

import hashlib
import struct
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeq._errors import DeviceError, NoRoomError, UnsupportedError
from edgeq._native.tune import TuneSettings, TuneStore, status_text
from edgeq._native.tune_types import AREAS, FLAGS, METHODS, OUTCOMES, STAGES, Score, TuneData, TuneModel, TuneReport
from edgeq.device.agent import Refusal

from .plan_file import plan_bytes

if TYPE_CHECKING:
    from edgeq.device import Device, Net

    from .samples import Samples

_PATIENCE_S = 600.0
_STATUSES = 60  # frames.def, TUNE_CODES


class OnDevice:
    """A run over a loaded `forward_tune` or `forward_step`, with the module beside it on the device.

    bytes         of the module; other_bytes: of its tables and of replies that wait for each other
    passes        samples sent so far
    net_ticks     of the device in passes, and module_ticks outside of them, up to now

    raises  UnsupportedError for a device whose agent does not learn, NoRoomError where the plan or the module finds no
            room; UsageError, DeviceError in the device's words
    """

    def __init__(
        self,
        device: Device,
        program: str,
        method: str,
        model: TuneModel,
        data: TuneData,
        chosen: TuneSettings,
        samples: Samples,
    ) -> None:
        if not reads_base(chosen):
            model = replace(model, base_triangle=None)  # often more than all the rest
        blob = plan_bytes(model, data, chosen)
        name = f"plan-{hashlib.sha256(blob).hexdigest()[:16]}"
        self._samples = samples
        self._agent = device._agent
        self._ask("TUNE_CLOSE")
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / name).write_bytes(blob)
            try:
                device.put(Path(folder) / name)
            except Refusal as refusal:
                if refusal.code != "TOO_LARGE":
                    raise
                raise self._no_room(f"no room for {len(blob)} bytes of plan beside the program") from refusal
        self.net: Net = device.load(program, method)
        try:
            opened = self._ask("TUNE_OPEN", net=self.net.loaded.net, plan=name)
        except Refusal as refusal:
            if refusal.code != "NO_MEMORY":
                raise
            raise self._no_room("too little memory beside the program for the module") from refusal
        self.bytes, self.other_bytes, self.plan_bytes = opened["module_bytes"], opened["other_bytes"], len(blob)
        self.passes, self.net_ticks, self.module_ticks = 0, 0, 0
        self._stopping = False
        self._room = self._agent.room("TUNE_NEXT", status=0)

    def _no_room(self, what: str) -> NoRoomError:
        return NoRoomError(f"{self._agent.name}: {what}; fewer samples, --method head, t0 or t1 need less")

    def converse(
        self,
        store: TuneStore,
        progress: Callable[[TuneReport], None] | None = None,
        *,
        seconds: float | None = None,
    ) -> TuneReport:
        """Answer until the module is done, or the time is up; what it says last."""
        status, data = 0, b""
        began = time.monotonic()
        kinds = self._agent.constant
        while True:
            if self._stopping or (seconds is not None and time.monotonic() - began > seconds):
                self._ask("TUNE_STOP")
            wish = self._ask("TUNE_NEXT", status=status, data=data)
            self.net_ticks += wish["net_ticks"]
            self.module_ticks += wish["module_ticks"]
            status, data, kind = 0, b"", wish["kind"]
            if kind == kinds("TUNE_END"):
                return self.report()
            if kind == kinds("TUNE_SAMPLE"):
                data = self._sample(np.frombuffer(wish["data"], "<u4"))
            elif kind == kinds("TUNE_SHOW"):
                if progress is not None:
                    progress(self.report())
            else:
                status, data = self._store(kind, wish, store)

    def _sample(self, indices: np.ndarray[Any, Any]) -> bytes:
        if len(indices) == 0 or indices.max() >= len(self._samples):
            raise DeviceError(f"{self._agent.name}: asks for samples that there are not")
        self.passes += len(indices)
        arrays = [array[indices] for array in self._samples.inputs]
        data = b"".join(array[i].tobytes() for i in range(len(indices)) for array in arrays)
        if len(data) <= self._room:
            return data
        for index, array in enumerate(arrays):
            self._write(index, array[0].tobytes())
        return b""

    def _write(self, index: int, data: bytes) -> None:
        """An input in pieces, where a sample is longer than a frame."""
        room = self._agent.room("INPUT", net=0, index=0, offset=0)
        for at in range(0, len(data), room):
            self._ask("INPUT", net=self.net.loaded.net, index=index, offset=at, data=data[at : at + room])

    def _store(self, kind: int, wish: dict[str, Any], store: TuneStore) -> tuple[int, bytes]:
        kinds = self._agent.constant
        if wish["area"] >= len(AREAS):
            raise DeviceError(f"{self._agent.name}: asks for area {wish['area']}, there are {len(AREAS)}")
        area = AREAS[wish["area"]]
        try:
            if kind == kinds("TUNE_READ_BYTES"):
                found = store.read(area, wish["offset"], wish["count"])
                return (0, found) if len(found) == wish["count"] else (1, b"")
            if kind == kinds("TUNE_WRITE_BYTES"):
                store.write(area, wish["offset"], wish["data"])
            elif kind == kinds("TUNE_ERASE_AREA"):
                store.erase(area)
            elif kind == kinds("TUNE_FLUSH_AREA"):
                store.flush(area)
            else:
                raise DeviceError(f"{self._agent.name}: wishes for {kind}, which this EdgeQ does not know")
        except OSError:
            return 1, b""
        return 0, b""

    def report(self) -> TuneReport:
        found = self._ask("TUNE_REPORT")
        raw = struct.pack(f"<{len(found['numbers'])}I", *found["numbers"])
        if len(raw) != 60:
            raise DeviceError(f"{self._agent.name}: a report of {len(raw)} bytes of numbers, expected 60")
        numbers = struct.unpack("<ffIffIffIffI3f", raw)
        base, stats, now, best = (Score(*numbers[i : i + 3]) for i in range(0, 12, 3))
        rest = {
            name: found[name]
            for name in ("step", "steps", "restores", "dropped_steps", "rate_halvings", "step_samples", "forwards")
        }
        return TuneReport(
            stage=STAGES[found["stage"]],
            outcome=OUTCOMES[found["outcome"]],
            status=status_text(found["status"]),
            base=base,
            stats=stats,
            now=now,
            best=best,
            leave_one_out=bool(found["leave_one_out"]),
            base_weight=numbers[12],
            ridge=numbers[13],
            temperature=numbers[14],
            **rest,
        )

    def state_hash(self) -> bytes:
        """sha256 over the state, as `Tuner.state_hash`."""
        return bytes(self._ask("TUNE_STATE")["sha256"])

    def peak_bytes(self) -> int:
        """The most memory in use on the device since the program was loaded, everything counted; 0: not known."""
        return int(
            self._agent.request("HELLO", timeout_s=_PATIENCE_S, protocol=self._agent.info.protocol)["peak_bytes"]
        )

    def stop_soon(self) -> None:
        """End before the next pass; the same plan over the same storage goes on from there. For signal handlers too."""
        self._stopping = True

    def close(self) -> None:
        self._ask("TUNE_CLOSE")

    def _ask(self, request: str, **fields: Any) -> dict[str, Any]:
        try:
            return self._agent.request(request, timeout_s=_PATIENCE_S, **fields)
        except Refusal as refusal:
            if refusal.code == "UNKNOWN_TYPE":
                raise UnsupportedError(
                    f"{self._agent.name}: its firmware does not learn (edgeq flash --board BOARD --with tune)"
                ) from refusal
            if refusal.code.startswith("code ") and (number := int(refusal.code[5:]) - _STATUSES) > 0:
                raise DeviceError(f"{self._agent.name}: fine-tuning: {status_text(number)}") from refusal
            raise


def reads_base(chosen: TuneSettings) -> bool:
    """Does the run read what the base has learned from? That is often more than all the rest of a plan."""
    method = METHODS[chosen.values.method]
    return method == "solve" or (method == "auto" and not chosen.values.flags >> FLAGS.index("prefer_head") & 1)
