"""One measurement from name to row: pull, compile, connect, deploy, measure, store.

`run` is what the verbs call; `measure` is the part after the connection, for a caller that has one already.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from edgeq import _paths, data, hub
from edgeq._errors import EnergyError, NotFoundError, UnsupportedError, UsageError
from edgeq.bench import energy, host, latency, tasks
from edgeq.bench.energy import estimate
from edgeq.bench.record import Subject, is_local, store_report
from edgeq.bench.report import Energy, Memory, Report

if TYPE_CHECKING:
    from edgeq.compile import Artefact
    from edgeq.device import Device, Info, Net
    from edgeq.hub import PulledPackage

Array = np.ndarray[Any, Any]
AUTO, NONE = "auto", "none"
COUNTED_RUNS = 2  # a simulator counts the same every time, but for one tick of its clock
IDLE_S = 0.5


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
    """

    verb: Literal["deploy", "bench", "eval"]
    target: str = AUTO
    warmup: int = latency.WARMUP
    runs: int = latency.RUNS
    energy: str = AUTO
    full: bool = False
    data: Path | None = None
    limit: int | None = None

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
) -> Report:
    """Carry out a verb on a device and keep what it found.

    model   zoo name, hub id or package folder
    url     of the device, as `edgeq.device.connect` takes it
    store   the results store; None is the usual place
    raises  whatever the step that failed raises; nothing is stored then
    """
    _paths.writable_home()
    named_provider(plan, url)

    from edgeq.compile import build
    from edgeq.device import connect

    package = hub.pull(model, allow_unsigned=allow_unsigned, progress=progress)
    samples = choose_data(package, plan)
    with connect(url) as device:
        artefact = build(package, target_for(device.info, url, plan.target), progress=progress)
        return measure(device, url, artefact, package, plan, samples, store=store, progress=progress)


def measure(
    device: Device,
    url: str,
    artefact: Artefact,
    package: PulledPackage,
    plan: Plan,
    samples: tasks.Samples | None,
    *,
    store: Path | None = None,
    progress: Progress = lambda stage, done=0, total=0, /: None,
) -> Report:
    """Deploy an artefact to a connected device, measure what the plan asks for, store and return it."""
    provider = named_provider(plan, url)
    config = package.config()
    task = tasks.of(config)
    task.open(package)
    subject = Subject.begin(device.info, url, artefact, package, verb=plan.verb)
    warnings = [package.note] if package.note else []
    if subject.on_this_host and plan.times and (busy := host.load_warning()):
        warnings.append(busy)
    progress(f"deploying {artefact.path.name} to {url}")
    net = task.deploy(device, artefact.path, config, progress)
    report = subject.report()
    ticks: Sequence[int] = ()
    if plan.times:
        first = task.first(net, samples, config)
        if device.info.tick != "ns":
            plan = replace(plan, warmup=0, runs=min(plan.runs, COUNTED_RUNS))
        progress(f"timing {plan.runs} runs" if device.info.tick == "ns" else "counting instructions")
        timing = net.bench(first, warmup=plan.warmup, runs=plan.runs)
        ticks = timing.ticks
        report = _timed(report, device.info.tick, ticks, plan)
        report = replace(report, memory=Memory(timing.peak_bytes, net.loaded.before_bytes, net.loaded.planned_bytes))
        if report.latency and (short := latency.protocol_warning(warmup=plan.warmup, runs=plan.runs)):
            warnings.append(short)
        progress("measuring energy")
        report = replace(report, energy=_energy(net, first, subject, report, plan, provider))
    if plan.evaluates and samples is not None:
        stage = f"evaluating {len(samples)} {task.items} of {samples.dataset}"
        outcome = task.evaluate(net, samples, config, lambda done, total: progress(stage, done, total))
        warnings += outcome.warnings
        report = replace(report, evaluation=outcome.evaluation)
        if not plan.times:
            ticks = outcome.ticks
            report = _timed(report, device.info.tick, ticks, replace(plan, warmup=0, runs=len(ticks)))
    report = replace(report, warnings=tuple(warnings))
    return store_report(report, subject, ticks, store)


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


def named_provider(plan: Plan, url: str) -> energy.EnergyProvider | None:
    """The energy provider that a plan asks for by name; None for "auto", "none" and verbs that do not time.

    raises  UsageError for an unknown name, EnergyError for a sensor that is silent or watches another machine
    """
    if not plan.times or plan.energy in (AUTO, NONE):
        return None
    provider = energy.get(plan.energy)
    if provider.kind == "measured" and not is_local(url):
        raise EnergyError(f"{plan.energy}: watches this host, and the model runs on {url}")
    return provider


def _timed(report: Report, tick: str, samples: Sequence[int], plan: Plan) -> Report:
    """Clock ticks become latency; a simulator's instruction counts stay what they are."""
    if tick != "ns":
        return replace(report, instructions=float(np.median(samples)))
    where = "while evaluating" if plan.verb == "eval" else "of one input again and again"
    return replace(
        report,
        latency=latency.summarise(samples, warmup=plan.warmup),
        latency_method=f"monotonic clock of the device, {len(samples)} runs {where}",
    )


def _energy(
    net: Net,
    first: tuple[Array, ...],
    subject: Subject,
    report: Report,
    plan: Plan,
    provider: energy.EnergyProvider | None,
) -> Energy | None:
    """Energy of one inference: sensors watch a pass of their own, the model needs only the median time.

    provider  the one that was asked for by name
    return    None when the plan wants none, or "auto" finds no provider for this device
    """
    if plan.energy == NONE:
        return None
    if report.instructions is not None:
        return Energy(estimate.of_instructions(report.instructions), "estimated", "model", "estimate", 1)
    if report.latency is None:
        return None
    if provider is None:
        try:
            provider = energy.best_available(
                on_this_host=subject.on_this_host, isa=subject.arch, threads=report.threads
            )
        except EnergyError:
            return None
    if provider.kind == "estimated":
        sample = estimate.for_cpu(subject.arch, report.threads).of(report.latency.p50_ms / 1e3)
        return Energy(sample, provider.kind, provider.scope, provider.name, 1)
    idle = provider.start()
    time.sleep(IDLE_S)
    idle_w = provider.stop(idle).avg_w
    token = provider.start()
    net.bench(first, warmup=0, runs=plan.runs)
    sample = replace(provider.stop(token), idle_w=idle_w)
    return Energy(sample, provider.kind, provider.scope, provider.name, plan.runs)
