"""One measurement from name to row: pull, compile, connect, deploy, measure, store.

`run` is what the verbs call; `measure` is the part after the connection, for a caller that has one already.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from edgeq import _paths, data, deltas, hub
from edgeq._errors import NotFoundError, UnsupportedError, UsageError
from edgeq.bench import host, joules, latency, protocol, tasks, tuned
from edgeq.bench.record import Subject, store_report
from edgeq.bench.report import Memory, Report

if TYPE_CHECKING:
    from edgeq.bench.energy import EnergyProvider
    from edgeq.compile import Artefact
    from edgeq.device import Device, Info
    from edgeq.hub import PulledPackage

AUTO = "auto"
Watch = Callable[[Sequence[int]], None]


def unwatched(ticks: Sequence[int]) -> None:
    """Nobody looks at the samples while they arrive."""


class Progress(Protocol):
    """Told what is being done and, where known, how far."""

    def __call__(self, stage: str, done: int = 0, total: int = 0, /) -> None: ...


@dataclass(frozen=True)
class Plan:
    """What a verb measures.

    target  what to compile to, "auto": what the device takes
    energy  name of a provider, "auto" (`energy.best_available`) or "none"
    full    evaluate on the whole test set of the package's data set
    data    evaluate on the user's data; neither: on the package's own small split
    max_temp_c  wait before timing until the machine is cooler than this, degrees Celsius
    delta   what was learned, as `deltas.chosen` takes it; None: what is in use, if anything
    """

    verb: Literal["deploy", "bench", "eval"]
    target: str = AUTO
    warmup: int = latency.WARMUP
    runs: int = latency.RUNS
    energy: str = AUTO
    full: bool = False
    data: Path | None = None
    limit: int | None = None
    max_temp_c: float | None = None
    delta: str | None = None

    @property
    def times(self) -> bool:
        return self.verb in ("deploy", "bench")

    @property
    def evaluates(self) -> bool:
        return self.verb in ("deploy", "eval")


def run(
    model: str,
    url: str,
    plan: Plan,
    *,
    allow_unsigned: bool = False,
    store: Path | None = None,
    progress: Progress = lambda stage, done=0, total=0, /: None,
    watch: Watch = unwatched,
) -> Report:
    """Carry out a verb on a device and keep what it found.

    model   zoo name, hub id or package folder
    url     of the device, as `edgeq.device.connect` takes it
    store   the results store; None is the usual place
    watch   is given the timings as they arrive
    raises  whatever the step that failed raises; nothing is stored then
    """
    _paths.writable_home()
    _provider(plan, url)

    from edgeq.compile import build
    from edgeq.device import connect
    from edgeq.device.sim import with_feature

    package = hub.pull(model, allow_unsigned=allow_unsigned, progress=progress)
    samples = choose_data(package, plan)
    delta = deltas.chosen(package.manifest.name, plan.delta)
    place = url if delta is None else with_feature(url, "tune")  # only then do simulators have its operators
    with connect(place, target=plan.target, progress=progress) as device:
        target, learned = target_for(device.info, url, plan.target), None
        if delta is None:
            artefact = build(package, target, progress=progress)
        else:
            artefact, learned = tuned.build(package, target, delta, progress)
        return measure(
            device, url, artefact, package, plan, samples, learned, store=store, progress=progress, watch=watch
        )


def measure(
    device: Device,
    url: str,
    artefact: Artefact,
    package: PulledPackage,
    plan: Plan,
    samples: tasks.Samples | None,
    learned: tuned.Learned | None = None,
    *,
    store: Path | None = None,
    progress: Progress = lambda stage, done=0, total=0, /: None,
    watch: Watch = unwatched,
) -> Report:
    """Deploy an artefact to a connected device, measure what the plan asks for, store and return it.

    learned  what was learned on it; the artefact is then a tunable one
    """
    provider = _provider(plan, url)
    config = package.config()
    task = tasks.of(config)
    task.open(package)
    subject = Subject.begin(device.info, url, artefact, package, verb=plan.verb)
    warnings = [package.note] if package.note else []
    if subject.on_this_host and plan.times and (busy := host.load_warning()):
        warnings.append(busy)
    progress(f"deploying {artefact.path.name} to {url}")
    if learned is None:
        net = task.deploy(device, artefact.path, config, progress)
    else:
        net = tuned.load(device, artefact.path, learned, progress=progress)
        warnings.append(learned.note)
    report = subject.report()
    ticks: Sequence[int] = ()
    timed: protocol.Timed | None = None
    if plan.times:
        first = task.first(net, samples, config)
        if device.info.tick == "ns":
            progress(f"timing {plan.runs} runs")
            state = protocol.host_state if subject.on_this_host else _condition(device)
            timed = protocol.time_runs(
                net,
                first,
                warmup=plan.warmup,
                runs=plan.runs,
                state=state,
                max_temp_c=_gate(device.info, plan),
                watch=watch,
            )
        else:
            progress("counting instructions")
            timed = protocol.count_runs(net, first, plan.runs, watch)
        ticks = timed.ticks
        report = _timed(report, device.info.tick, ticks, warmup=timed.warmup, where="of one input again and again")
        report = replace(report, memory=Memory(timed.peak_bytes, net.loaded.before_bytes, net.loaded.planned_bytes))
        warnings += timed.warnings
        if t := report.latency:
            said = (latency.protocol_warning(warmup=plan.warmup, runs=plan.runs), latency.outlier_warning(t))
            warnings += [text for text in said if text]
        progress("measuring energy")
        found = joules.per_inference(net, first, subject, report, wanted=plan.energy, provider=provider, runs=plan.runs)
        report = replace(report, energy=found)
    if plan.evaluates and samples is not None:
        stage = f"evaluating {len(samples)} {task.items} of {samples.dataset}"
        outcome = task.evaluate(net, samples, config, lambda done, total: progress(stage, done, total))
        warnings += outcome.warnings
        report = replace(report, evaluation=outcome.evaluation)
        if not plan.times:
            ticks = outcome.ticks
            report = _timed(report, device.info.tick, ticks, warmup=0, where="while evaluating")
    report = replace(report, warnings=tuple(warnings))
    return store_report(report, subject, ticks, store, series=timed.series if timed else ())


def target_for(info: Info, url: str, wanted: str = AUTO) -> str:
    """What to compile to for a device: what was asked for, if the device takes it, or what it names first.

    raises  UnsupportedError when it takes something else
    """
    if wanted == AUTO:
        return info.targets[0]
    if wanted.partition(":")[0] not in {target.partition(":")[0] for target in info.targets}:
        raise UnsupportedError(f"{url}: takes {', '.join(info.targets)}, not {wanted}; leave --target out")
    return wanted


def choose_data(package: PulledPackage, plan: Plan) -> tasks.Samples | None:
    """The items that a plan runs on; None where a verb can do without.

    raises  UsageError for two sources at once, NotFoundError when `eval` has none
    """
    if plan.full and plan.data is not None:
        raise UsageError("--full and --data both say what to evaluate on; give one")
    config = package.config()
    task, label = tasks.of(config), config.get("dataset")
    task.open(package)
    known = label if isinstance(label, str) else package.manifest.name
    if plan.data is not None:
        found = task.own(plan.data, config)
    elif plan.full:
        found = task.full(known, config)
    elif data.SPLIT_FILE in package.manifest.files:
        found = task.bundled(package, known)
    elif plan.verb == "eval":
        raise NotFoundError(f"{package.manifest.name}: carries no {data.SPLIT_FILE}; use --full or --data PATH")
    else:
        return None
    chosen: tasks.Samples = found.head(plan.limit)
    return chosen


def _provider(plan: Plan, url: str) -> EnergyProvider | None:
    """The energy provider that a plan names; None for "auto", "none" and verbs that do not time."""
    return joules.named(plan.energy, url) if plan.times else None


def _condition(device: Device) -> Callable[[], protocol.State]:
    """Temperature and clock of a device that can be asked; most cannot."""

    def state() -> protocol.State:
        now = device.condition()
        return protocol.State(None, None) if now is None else protocol.State(now.temperature_c, now.frequency_hz)

    return state


def _gate(info: Info, plan: Plan) -> float | None:
    """What was asked for; phones are not timed warm even if nothing was."""
    return protocol.MAX_TEMP_C if plan.max_temp_c is None and info.kind == "phone" else plan.max_temp_c


def _timed(report: Report, tick: str, samples: Sequence[int], *, warmup: int, where: str) -> Report:
    """Clock ticks become latency; a simulator's instruction counts stay what they are."""
    if tick != "ns":
        return replace(report, instructions=float(np.median(samples)))
    return replace(
        report,
        latency=latency.summarise(samples, warmup=warmup),
        latency_method=f"monotonic clock of the device, {len(samples)} runs {where}",
    )
