"""One measurement from name to row: pull, compile, connect, deploy, measure, store.

`run` is what the verbs call; `measure` is the part after the connection, for a caller that has one already.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from edgeq import _paths, data, hub
from edgeq._errors import EnergyError, NotFoundError, UsageError
from edgeq.bench import accuracy, energy, host, latency
from edgeq.bench.energy import estimate
from edgeq.bench.record import Subject, is_local, store_report
from edgeq.bench.report import Energy, Evaluation, Memory, Report

if TYPE_CHECKING:
    from edgeq.compile import Artefact
    from edgeq.device import Device, Net
    from edgeq.hub import PulledPackage

Array = np.ndarray[Any, Any]
AUTO, NONE = "auto", "none"
IDLE_S = 0.5
LOGITS = 0  # the output that holds the class scores


class Progress(Protocol):
    """Told what is being done and, where known, how far."""

    def __call__(self, stage: str, done: int = 0, total: int = 0, /) -> None: ...


@dataclass(frozen=True)
class Plan:
    """What a verb measures.

    energy  name of a provider, "auto" (`energy.best_available`) or "none"
    full    evaluate on the whole test set of the package's data set
    data    evaluate on the user's data; neither: on the package's own small split
    """

    verb: Literal["deploy", "bench", "eval"]
    target: str = "executorch"
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
    pictures = choose_data(package, plan)
    artefact = build(package, plan.target, progress=progress)
    with connect(url) as device:
        return measure(device, url, artefact, package, plan, pictures, store=store, progress=progress)


def measure(
    device: Device,
    url: str,
    artefact: Artefact,
    package: PulledPackage,
    plan: Plan,
    pictures: data.Split | None,
    *,
    store: Path | None = None,
    progress: Progress = lambda stage, done=0, total=0, /: None,
) -> Report:
    """Deploy an artefact to a connected device, measure what the plan asks for, store and return it."""
    provider = named_provider(plan, url)
    subject = Subject.begin(device.info, url, artefact, package, verb=plan.verb)
    warnings = [package.note] if package.note else []
    if subject.on_this_host and plan.times and (busy := host.load_warning()):
        warnings.append(busy)
    progress(f"deploying {artefact.path.name} to {url}")
    net = device.deploy(artefact.path, progress=progress)
    report = subject.report()
    samples: Sequence[int] = ()
    if plan.times:
        first = first_input(net, package.config(), pictures)
        progress(f"timing {plan.runs} runs")
        timing = net.bench(first, warmup=plan.warmup, runs=plan.runs)
        samples = timing.ticks
        report = _timed(report, device.info.tick, samples, plan)
        report = replace(report, memory=Memory(timing.peak_bytes, net.loaded.before_bytes, net.loaded.planned_bytes))
        if short := latency.protocol_warning(warmup=plan.warmup, runs=plan.runs):
            warnings.append(short)
        progress("measuring energy")
        report = replace(report, energy=_energy(net, first, subject, report, plan, provider))
    if plan.evaluates and pictures is not None:
        stage = f"evaluating {len(pictures)} pictures of {pictures.dataset}"
        x = data.preprocess(pictures.x, package.config())
        outcome = net.evaluate((x,), progress=lambda done, total: progress(stage, done, total))
        score = accuracy.top1(outcome.outputs[LOGITS].reshape(len(x), -1), pictures.y)
        if score.not_finite:
            warnings.append(f"{score.not_finite} pictures gave scores that are not finite; they count as wrong")
        report = replace(report, evaluation=Evaluation(score, pictures.dataset, pictures.split))
        if not plan.times:
            samples = outcome.ticks
            report = _timed(report, device.info.tick, samples, replace(plan, warmup=0, runs=len(x)))
    report = replace(report, warnings=tuple(warnings))
    return store_report(report, subject, samples, store)


def choose_data(package: PulledPackage, plan: Plan) -> data.Split | None:
    """The pictures that a plan runs on; None where a verb can do without.

    raises  UsageError for two sources at once, NotFoundError when `eval` has none
    """
    if plan.full and plan.data is not None:
        raise UsageError("--full and --data both say what to evaluate on; give one")
    label = package.config().get("dataset")
    known = label if isinstance(label, str) else package.manifest.name
    if plan.data is not None:
        return data.from_path(plan.data).head(plan.limit)
    if plan.full:
        return data.full_test_set(known).head(plan.limit)
    if data.SPLIT_FILE in package.manifest.files:
        return data.load_split(package, dataset=known).head(plan.limit)
    if plan.verb == "eval":
        raise NotFoundError(f"{package.manifest.name}: carries no {data.SPLIT_FILE}; use --full or --data PATH")
    return None


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


def first_input(net: Net, config: Mapping[str, object], pictures: data.Split | None) -> tuple[Array, ...]:
    """What is timed: the first picture, or noise from a fixed seed where there is none."""
    if pictures is not None:
        return (data.preprocess(pictures.x[:1], config),)
    rng = np.random.default_rng(0)
    return tuple(rng.standard_normal(spec.shape).astype(spec.dtype) for spec in net.inputs)


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
    if plan.energy == NONE or report.latency is None:
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
