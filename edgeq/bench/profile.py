"""Where the time of a model goes, operator by operator, from an ExecuTorch trace (ETDump)."""

from __future__ import annotations

import re
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgeq import hub
from edgeq._errors import DeviceError, UnsupportedError
from edgeq.bench.record import Subject, store_report
from edgeq.bench.report import Report
from edgeq.bench.session import Plan, Progress, choose_data, first_input
from edgeq.results import Layer

if TYPE_CHECKING:
    from executorch.devtools.inspector import Event

RUNS = 20
TOTAL = "Method::execute"
_WRAPPERS = ("OPERATOR_CALL", "DELEGATE_CALL", "Method::", "Program::")
_NATIVE = "native_call_"
_NUMBERED = re.compile(r" #\d+$")  # XNNPACK numbers its operators of one kind


@dataclass(frozen=True)
class Kind:
    """All operators of one kind: how many, their time, and its share of the whole run (0..1)."""

    op: str
    count: int
    ns: int
    share: float


@dataclass(frozen=True)
class Profile:
    """total_ns is the median of the whole run under the tracer; what the layers leave of it is overhead."""

    report: Report
    layers: Sequence[Layer]
    total_ns: int

    @property
    def kinds(self) -> list[Kind]:
        """Most expensive first; the last one is what no operator accounts for."""
        return by_kind(self.layers, self.total_ns)


def run(
    model: str,
    url: str,
    *,
    target: str = "executorch",
    runs: int = RUNS,
    allow_unsigned: bool = False,
    store: Path | None = None,
    progress: Progress = lambda stage, done=0, total=0, /: None,
) -> Profile:
    """Trace a model on a device, parse the trace here, store one row per operator.

    raises  what `session.run` raises; UnsupportedError for a device without a tracer
    """
    from edgeq.compile import build
    from edgeq.device import connect

    package = hub.pull(model, allow_unsigned=allow_unsigned, progress=progress)
    pictures = choose_data(package, Plan("bench", limit=1))
    artefact = build(package.path, target, allow_unsigned=allow_unsigned, progress=progress)
    with connect(url) as device:
        subject = Subject.begin(device.info, url, artefact, package, verb="profile")
        if device.info.tick != "ns":
            raise UnsupportedError(f"{url}: counts {device.info.tick}, it has no clock to profile with")
        progress(f"deploying {artefact.path.name} to {url}")
        net = device.deploy(artefact.path, progress=progress)
        progress(f"tracing {runs} runs")
        trace = net.profile(first_input(net, package.config(), pictures), runs=runs)
    progress("reading the trace")
    layers, total_ns = read_trace(trace)
    report = replace(subject.report(), warnings=(package.note,) if package.note else ())
    return Profile(store_report(report, subject, layers=layers), layers, total_ns)


def read_trace(trace: bytes) -> tuple[list[Layer], int]:
    """Operators in order of execution with their median times, and the median of the whole run, nanoseconds.

    raises  DeviceError when the bytes are no trace of a run
    """
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from executorch.devtools import Inspector

        path = Path(folder) / "trace.etdump"
        path.write_bytes(trace)
        try:
            blocks = Inspector(etdump_path=str(path)).event_blocks
        except Exception as error:  # the parser raises every kind there is on damaged bytes
            raise DeviceError(f"the trace of {len(trace)} bytes cannot be read: {type(error).__name__}") from error
    events = [event for block in blocks if block.name == "Execute" for event in block.events]
    total = [_ns(event) for event in events if event.name == TOTAL]
    if not total:
        raise DeviceError(f"the trace of {len(trace)} bytes holds no run of a method")
    layers = [_layer(event) for event in events if event.perf_data and not event.name.startswith(_WRAPPERS)]
    return layers, total[0]


def by_kind(layers: Sequence[Layer], total_ns: int) -> list[Kind]:
    """Sum up the layers of a run that took `total_ns`."""
    sums: dict[str, tuple[int, int]] = {}
    for layer in layers:
        count, ns = sums.get(layer.op, (0, 0))
        sums[layer.op] = (count + 1, ns + (layer.ns or 0))
    kinds = [Kind(op, count, ns, ns / total_ns) for op, (count, ns) in sums.items()]
    kinds.sort(key=lambda kind: -kind.ns)
    rest = max(0, total_ns - sum(kind.ns for kind in kinds))
    return [*kinds, Kind("(not in an operator)", 0, rest, rest / total_ns)]


def _layer(event: Event) -> Layer:
    name = event.name.removeprefix(_NATIVE)
    return Layer(name, _NUMBERED.sub("", name), _ns(event))


def _ns(event: Event) -> int:
    """The inspector speaks of milliseconds."""
    return int(event.perf_data.p50 * 1e6 + 0.5)
