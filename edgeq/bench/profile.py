"""Where the time of a model goes, operator by operator, from an ExecuTorch trace (ETDump)."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgeq import _paths, hub
from edgeq._errors import DeviceError, UnsupportedError
from edgeq._quiet import quiet
from edgeq.bench import tasks
from edgeq.bench.record import Subject, store_report
from edgeq.bench.report import Report
from edgeq.bench.session import AUTO, Plan, Progress, choose_data, target_for
from edgeq.results import Layer

if TYPE_CHECKING:
    from executorch.devtools.inspector import Event

RUNS = 20
LITERT = "litert"
TOTAL = "Method::execute"
_OPERATOR, _DELEGATE = "OPERATOR_CALL", "DELEGATE_CALL"
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
    target: str = AUTO,
    runs: int = RUNS,
    allow_unsigned: bool = False,
    store: Path | None = None,
    progress: Progress = lambda stage, done=0, total=0, /: None,
) -> Profile:
    """Trace a model on a device, parse the trace here, store one row per operator.

    raises  what `session.run` raises; UnsupportedError for a device or target without a tracer
    """
    if target == LITERT:
        raise UnsupportedError(
            f"target litert has no tracer: profile {model} without --target litert, which runs the same operators; "
            "what LiteRT adds to them says `edgeq compare NET.pte NET.tflite`"
        )
    _paths.writable_home()

    from edgeq.compile import build
    from edgeq.device import connect

    package = hub.pull(model, allow_unsigned=allow_unsigned, progress=progress)
    samples = choose_data(package, Plan("bench", limit=1))
    with connect(url) as device:
        if device.info.tick != "ns":
            raise UnsupportedError(f"{url}: counts {device.info.tick}, it has no clock to profile with")
        artefact = build(package, target_for(device.info, url, target), progress=progress)
        subject = Subject.begin(device.info, url, artefact, package, verb="profile")
        progress(f"deploying {artefact.path.name} to {url}")
        config = package.config()
        task = tasks.of(config)
        task.open(package)
        net = task.deploy(device, artefact.path, config, progress)
        progress(f"tracing {runs} runs")
        trace = net.profile(task.first(net, samples, config), runs=runs)
    progress("reading the trace")
    layers, total_ns = read_trace(trace, artefact.path.read_bytes())
    report = replace(subject.report(), warnings=(package.note,) if package.note else ())
    return Profile(store_report(report, subject, layers=layers), layers, total_ns)


def read_trace(trace: bytes, program: bytes) -> tuple[list[Layer], int]:
    """Operators in order of execution with their median times, and the median of the whole run, nanoseconds.

    trace    ETDump of one method; a delegate's own operators stand in it by name
    program  the `.pte` that ran: it names the other operators
    raises   DeviceError when the bytes are no trace of a run of this program
    """
    calls = _calls(program)
    with tempfile.TemporaryDirectory() as folder, quiet():
        from executorch.devtools import Inspector

        path = Path(folder) / "trace.etdump"
        path.write_bytes(trace)
        try:
            blocks = Inspector(etdump_path=str(path)).event_blocks
        except Exception as error:  # the parser raises every kind there is on damaged bytes
            raise DeviceError(f"the trace of {len(trace)} bytes cannot be read: {type(error).__name__}") from error
    events = [event for block in blocks if block.name == "Execute" for event in block.events if event.perf_data]
    total = [_ns(event) for event in events if event.name == TOTAL]
    if len(total) != 1 or sum(event.name in (_OPERATOR, _DELEGATE) for event in events) != len(calls):
        raise DeviceError(f"the trace of {len(trace)} bytes is not that of a run of this program")
    return _layers(events, calls), total[0]


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


def _layers(events: Sequence[Event], calls: Sequence[str]) -> list[Layer]:
    """One layer per operator; of a delegate the operators inside, then what is left of its time."""
    layers: list[Layer] = []
    seen: dict[str, int] = {}
    inside: list[Layer] = []
    names = iter(calls)
    for event in events:
        if event.is_delegated_op:
            inside.append(Layer(event.name, _NUMBERED.sub("", event.name), _ns(event)))
        elif event.name in (_OPERATOR, _DELEGATE):
            op = next(names)
            seen[op] = seen.get(op, 0) + 1
            rest = max(0, _ns(event) - sum(layer.ns or 0 for layer in inside))
            layers += [*inside, Layer(f"{op} #{seen[op]}", op, rest)]
            inside = []
    return layers


def _calls(program: bytes) -> list[str]:
    """The operator or delegate that each instruction of the first method calls, in order."""
    with quiet():
        from executorch.exir import schema
        from executorch.exir._serialize._program import deserialize_pte_binary

        from edgeq.compile.tiles import called

        file = deserialize_pte_binary(program).program
        plan = file.execution_plan[0]
    names = []
    for instruction in (i for chain in plan.chains for i in chain.instructions):
        call = instruction.instr_args
        if isinstance(call, schema.KernelCall):
            names.append(plan.operators[call.op_index].name)
        elif isinstance(call, schema.DelegateCall):
            names.append(called(file, plan, call))
    return names


def _ns(event: Event) -> int:
    """The inspector speaks of milliseconds."""
    return int(event.perf_data.p50 * 1e6 + 0.5)
