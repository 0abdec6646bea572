"""One fine-tuning from name to delta: pull, compile as tunable, connect, learn, keep, store."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from edgeq import _paths, deltas, hub
from edgeq._errors import FormatError, IntegrityError, NoRoomError, UnsupportedError, UsageError
from edgeq._native.tune import Forward, Outputs, Tuner, TuneSettings, converse, read_delta, settings
from edgeq._native.tune_types import METHODS, Method, TuneData, TuneModel, TuneReport
from edgeq.bench import host, tuned
from edgeq.bench.record import BACKEND, Subject
from edgeq.bench.session import target_for
from edgeq.compile.layout import Tuning
from edgeq.compile.tunable_artefact import build_tunable
from edgeq.results import RunRecord, Series, Store, Value

from .care import Care, Limits
from .forward import DeviceForward, parts_for, program_method
from .journal import Journal
from .objective import F32, WITH_SCORES, Score, scored
from .on_device import OnDevice
from .samples import Samples, read_samples

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from edgeq.compile import Artefact
    from edgeq.deltas import DeltaFile
    from edgeq.device import Device
    from edgeq.hub import PulledPackage

VERDICTS = {
    "committed": "kept",
    "rejected": "refused",
    "stopped": "stopped",
    "diverged": "refused",
    "failed": "failed",
}


class Progress(Protocol):
    """Told what is being done and, where known, how far; some also take points of a curve (`cli._output.Follow`)."""

    def __call__(self, stage: str, done: int = 0, total: int = 0, /) -> None: ...


@dataclass(frozen=True)
class Wishes:
    """How to learn. changes: by the names of `eq_tune_settings`; flags: see `_native.tune.settings`.

    classes   of the head, where some are new to the base
    seconds   stop after so many; the run can go on later
    limits    of battery and heat, where it stops likewise
    cost      (classes, classes) float32 of saying column for row, where errors are not equal; None: they are
    score     lowered instead of cross-entropy, differentiable or not: t0, zeroqat and mezo
    apply     let deploy, bench and eval use what was learned
    on_device the module runs on the device too, and the host only streams samples and keeps the journal; a
              microcontroller does so anyway
    """

    method: Method = "auto"
    seed: int = 1
    parts: str = ""
    flags: tuple[str, ...] = ()
    changes: Mapping[str, float | str] = field(default_factory=dict)
    classes: int | None = None
    seconds: float | None = None
    limits: Limits = field(default_factory=Limits)
    cost: F32 | None = None
    score: Score | None = None
    apply: bool = True
    on_device: bool = False

    @property
    def measure(self) -> str:
        """What decides whether a run helped: "right", "cost" or "score"."""
        return "score" if self.score is not None else "right" if self.cost is None else "cost"

    def settings(self) -> TuneSettings:
        if self.method not in METHODS:
            raise UsageError(f'method "{self.method}" is not known; there are: {", ".join(METHODS)}')
        numbers: dict[str, float | str] = {"seed": self.seed, **self.changes}
        if self.score is not None:
            if self.method not in WITH_SCORES:
                raise UsageError(f"a score of your own is for {', '.join(WITH_SCORES)}, not for {self.method}")
            if self.cost is not None:
                raise UsageError("costs or a score of your own, not both")
            numbers["loss"] = "score"
        return settings(self.method, flags=self.flags, cost=self.cost, **numbers)


@dataclass(frozen=True)
class Point:
    """What was known after so many samples had gone through the network."""

    passes: int
    step: int
    stage: str
    loss: float
    metric: float


@dataclass(frozen=True)
class Learned:
    """What a run came to. Metrics are shares of right answers on the data that decided (`judged_by`), or minus the mean
    cost or score, as `measure` says.

    test_before, test_after  top-1 in percent on data that nothing was learned or decided on, where it was given
    arena_bytes              memory that the program in use (`forward_tune`, `_step` or `_pair`) plans on the device
    module_bytes             memory of the tuning module, exact
    """

    verdict: str
    report: TuneReport
    delta: DeltaFile | None
    passes: int
    seconds: float
    arena_bytes: int
    module_bytes: int
    points: tuple[Point, ...]
    judged_by: str
    measure: str = "right"
    test_before: float | None = None
    test_after: float | None = None
    run_id: int | None = None
    model: str = ""
    device: str = ""
    warnings: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        report = {name: value for name, value in asdict(self.report).items() if name not in ("stage", "outcome")}
        return {
            "verb": "finetune",
            "model": self.model,
            "device": self.device,
            "verdict": self.verdict,
            "outcome": self.report.outcome,
            "delta": None if self.delta is None else {"id": self.delta.id, "path": str(self.delta.path)},
            "delta_bytes": None if self.delta is None else self.delta.size_bytes,
            "passes": self.passes,
            "seconds": self.seconds,
            "arena_bytes": self.arena_bytes,
            "module_bytes": self.module_bytes,
            "judged_by": self.judged_by,
            "measure": self.measure,
            "test_before": self.test_before,
            "test_after": self.test_after,
            "run_id": self.run_id,
            "warnings": list(self.warnings),
            "report": report,
        }


class Learner:
    """A run of the tuning module over anything that answers `Forward`.

    forward   `DeviceForward`, or another
    raises    UsageError, in the module's words, when the plan is not possible
    """

    def __init__(
        self,
        tuning: Tuning,
        samples: Samples,
        wishes: Wishes,
        forward: Callable[[Forward], Outputs],
        *,
        classes: int | None = None,
    ) -> None:
        self.model, data, chosen = plan_of(tuning, samples, wishes, classes)
        self.tuner = Tuner(self.model, data, chosen)
        self.points: list[Point] = []
        self._forward, self._seconds = forward, wishes.seconds

    def run(self, journal: Journal, progress: Callable[[TuneReport], None] = lambda report: None) -> TuneReport:
        """To the end, or until `stop` or the time is up; what was learned then lies in the journal's area `delta`."""
        began = time.monotonic()

        def forward(request: Forward) -> Outputs:
            if self._seconds is not None and time.monotonic() - began > self._seconds:
                self.stop()
            return self._forward(request)

        return converse(self.tuner, forward, journal, self._watched(progress))

    def _watched(self, progress: Callable[[TuneReport], None]) -> Callable[[TuneReport], None]:
        """Keeps the points of the curves too."""

        def watch(report: TuneReport) -> None:
            now = report.now
            if now.samples:
                self.points.append(Point(report.forwards, report.step, report.stage, now.loss, now.metric))
            progress(report)

        return watch

    def stop(self) -> None:
        """End within one pass; the same call goes on from there."""
        self.tuner.stop()


def plan_of(
    tuning: Tuning, samples: Samples, wishes: Wishes, classes: int | None
) -> tuple[TuneModel, TuneData, TuneSettings]:
    """What the module is told of the network, the samples and the wishes."""
    changes, flags = dict(wishes.changes), set(wishes.flags)
    if classes is not None and classes > (known := tuning.layout.classes):
        changes["base_classes"] = known
        if samples.labels is not None and not set(range(known)) <= set(samples.labels.tolist()):
            flags.add("no_stats")  # the statistics of new classes alone are not those of the device's world
    chosen = replace(wishes, changes=changes, flags=tuple(sorted(flags))).settings()
    return tuned.tune_model(tuning, classes), TuneData(samples.id, len(samples), samples.labels), chosen


class RemoteLearner(Learner):
    """The same with the module on the device, over a program that lies there."""

    def __init__(
        self, device: Device, program: str, method: str, tuning: Tuning, samples: Samples, wishes: Wishes
    ) -> None:
        self.model, data, chosen = plan_of(tuning, samples, wishes, wishes.classes)
        self.remote = OnDevice(device, program, method, self.model, data, chosen, samples)
        self.wishes = wishes
        self.points = []
        self._seconds = wishes.seconds

    def run(self, journal: Journal, progress: Callable[[TuneReport], None] = lambda report: None) -> TuneReport:
        return self.remote.converse(journal, self._watched(progress), seconds=self._seconds)

    def stop(self) -> None:
        self.remote.stop_soon()


def finetune(
    model: str,
    url: str,
    path: Path,
    wishes: Wishes,
    *,
    test: Path | None = None,
    key: Ed25519PrivateKey | None = None,
    allow_unsigned: bool = False,
    store: Path | None = None,
    progress: Progress = lambda stage, done=0, total=0, /: None,
    started: Callable[[Learner], None] = lambda learner: None,
) -> Learned:
    """Personalise a packed model on a device; see `docs/finetune.md`.

    path     samples to learn from; test: others, to measure what came of it on the device
    key      signs the delta; None: the key named "device", if there is one
    started  called with the run before its first pass, so that a signal can stop it
    raises   whatever the step that failed raises; the base is never touched
    """
    _paths.writable_home()
    wishes.settings()
    if "weights" in wishes.flags:
        raise UsageError("mezo by weights: packed programs round the codes that they are given; zeroqat is for those")

    from edgeq.device import connect
    from edgeq.device.sim import with_feature

    package = hub.pull(model, allow_unsigned=allow_unsigned, progress=progress)
    samples = read_samples(path, package)
    tests = None if test is None else read_samples(test, package)
    with connect(with_feature(url, "tune")) as device:
        target = target_for(device.info, url)
        if target.startswith("micro"):
            micro = 2 if wishes.method == "t0" else 1  # with 2 t0 draws its noise once a step
            wishes = replace(wishes, on_device=True, changes={"micro": micro, **wishes.changes})
        elif target != "executorch":
            raise UnsupportedError(f"{url}: takes {target}; fine-tuning runs on devices that take executorch or micro")
        if wishes.score is not None and wishes.on_device:
            raise UnsupportedError("a score of your own runs on the host: not where the device itself learns")
        parts = wishes.parts if wishes.on_device else parts_for(wishes.method, wishes.parts)
        artefact, tuning = build_tunable(package, parts, target=target, classes=wishes.classes, progress=progress)
        known = wishes.classes or tuning.layout.classes
        samples.check(known)
        if tests is not None:
            tests.check(known)
        return _learn(device, url, package, artefact, tuning, samples, tests, wishes, key, store, progress, started)


def _remote(
    device: Device,
    artefact: Artefact,
    tuning: Tuning,
    samples: Samples,
    wishes: Wishes,
    progress: Progress,
    warnings: list[str],
) -> RemoteLearner:
    """The run on the device. Where its memory does not hold `solve`, automatic mode takes `stats` and `head`, then the
    head without its cache; `warnings` tells so."""
    leaner = ((), ("prefer_head",), ("prefer_head", "no_cache")) if wishes.method == "auto" else ((),)
    for further in leaner:
        wish = replace(wishes, flags=tuple(sorted({*wishes.flags, *further})))
        program = device.put(artefact.path, progress=progress).name  # again: a plan may have taken its place
        try:
            learner = RemoteLearner(device, program, program_method(wish.method), tuning, samples, wish)
        except NoRoomError as error:
            short = error
            device.reset()
            continue
        if further:
            how = "one pass a sample and step" if "no_cache" in further else "by its gradient"
            warnings.append(f"{device.info.name or 'the device'}: too little memory for solve; a head instead, {how}")
        return learner
    raise short


def _learn(
    device: Device,
    url: str,
    package: PulledPackage,
    artefact: Artefact,
    tuning: Tuning,
    samples: Samples,
    tests: Samples | None,
    wishes: Wishes,
    key: Ed25519PrivateKey | None,
    store: Path | None,
    progress: Progress,
    started: Callable[[Learner], None],
) -> Learned:
    subject = Subject.begin(device.info, url, artefact, package, verb="finetune")
    warnings = [package.note] if package.note else []
    if tuning.base is None:
        warnings.append("the package holds no base statistics: no statistics tier, and nothing keeps old knowledge")
    ask = host.condition if subject.on_this_host else device.condition
    wishes.limits.check(url, ask())
    progress(f"deploying {artefact.path.name} to {url}")
    there = artefact.manifest["tuning"]["methods"]
    learner: Learner
    passing: DeviceForward | OnDevice
    if wishes.on_device:
        learner = remote = _remote(device, artefact, tuning, samples, wishes, progress, warnings)
        wishes = remote.wishes
        passing, net, module_bytes = remote.remote, remote.remote.net, remote.remote.bytes
    else:
        program = device.put(artefact.path, progress=progress).name
        method = program_method(wishes.method, there, micro=int(wishes.changes.get("micro", 0)))
        net = device.load(program, method)
        passing = on_host = DeviceForward(net, samples, tuning.layout, [codes for codes, _ in tuning.codes])

        def forward(request: Forward) -> Outputs:
            care.look()
            return on_host(request)

        answer: Callable[[Forward], Outputs] = forward
        if wishes.score is not None and samples.labels is not None:
            answer = scored(forward, wishes.score, samples.labels)
        learner = Learner(tuning, samples, wishes, answer, classes=wishes.classes)
        module_bytes = learner.tuner.bytes
    care = Care(wishes.limits, ask, learner.stop)
    started(learner)
    journal = Journal.of(journal_key(tuning, samples, wishes, url))
    memory = module_bytes + net.loaded.planned_bytes
    point = getattr(progress, "point", None)
    if point is not None:
        point("memory", 0, memory, unit="B", x_unit="passes")
    began = time.monotonic()

    def tell(report: TuneReport) -> None:
        care.look()
        score, rate = report.now, passing.passes / max(time.monotonic() - began, 1e-9)
        text = f"learning: {report.stage}"
        if score.samples:
            text += f", loss {score.loss:.3f}, " + told(score.metric, wishes.measure)
        text += f", {rate:.0f} passes/s, {memory / 1e3:.0f} kB"
        progress(text, report.step, report.steps)
        if point is not None and score.samples:
            point("loss", report.forwards, score.loss, unit="1", x_unit="passes")
            if wishes.measure == "right":
                point("held_out_top1", report.forwards, 100 * score.metric, unit="%", x_unit="passes")

    report = learner.run(journal, tell)
    if care.why:
        warnings.append(f"stopped: {care.why}; the same command goes on")
    seconds = time.monotonic() - began
    delta = None
    if report.outcome == "committed":
        facts = _facts(package, tuning, samples, wishes, report)
        delta = deltas.keep(_whole_delta(learner.model, journal), facts, key or deltas.own_key())
        if wishes.apply:
            delta = deltas.activate(delta)
    if report.outcome != "stopped":
        journal.remove()
    learned = Learned(
        verdict=VERDICTS[report.outcome],
        report=report,
        delta=delta,
        passes=passing.passes,
        seconds=seconds,
        arena_bytes=net.loaded.planned_bytes,
        module_bytes=module_bytes,
        points=tuple(learner.points),
        judged_by=_judge(report, len(samples)),
        measure=wishes.measure,
        model=package.manifest.name,
        device=url,
        warnings=tuple(warnings),
    )
    if isinstance(passing, OnDevice):
        passing.close()
    else:
        net.unload()
    if tests is not None and tests.labels is not None:
        progress(f"testing on {len(tests)} samples")
        before = _top1(device.load(artefact.path.name, "forward").evaluate(tests.inputs).outputs[0], tests)
        after = before
        if delta is not None:
            net_after = tuned.load(device, artefact.path, tuned.Learned(tuning, delta))
            after = _top1(net_after.evaluate(tests.inputs).outputs[0], tests)
        learned = replace(learned, test_before=before, test_after=after)
    return _stored(learned, subject, tuning, samples, wishes, store)


def _top1(logits: np.ndarray[Any, Any], tests: Samples) -> float:
    assert tests.labels is not None
    return 100 * float((logits.reshape(len(tests), -1).argmax(1) == tests.labels).mean())


def _whole_delta(model: TuneModel, journal: Journal) -> bytes:
    """What a run that is over wrote. Raises IntegrityError for anything else that lies there."""
    blob = journal.whole("delta")
    try:
        read_delta(model, blob)
    except (FormatError, IntegrityError) as error:
        raise IntegrityError(f"{journal.folder}: {error}; --flag fresh starts over") from None
    return blob


def journal_key(tuning: Tuning, samples: Samples, wishes: Wishes, url: str) -> str:
    """What a run that was cut short is found by: anything else is another run."""
    wish = json.dumps([wishes.method, wishes.seed, wishes.flags, sorted(wishes.changes.items()), wishes.classes, url])
    if wishes.cost is not None or wishes.score is not None:
        wish += repr((None if wishes.cost is None else wishes.cost.tolist(), getattr(wishes.score, "__name__", "")))
    digest = hashlib.sha256(tuning.base_sha256.encode() + tuning.identity + samples.id + wish.encode())
    return digest.hexdigest()[:24]


def told(metric: float, measure: str) -> str:
    """A report's metric for people: the share right, or minus the mean cost or score."""
    return f"right {100 * metric:.1f} %" if measure == "right" else f"{measure} {0.0 - metric:.3f}"


def _judge(report: TuneReport, count: int) -> str:
    if report.leave_one_out:
        return "leave-one-out"
    judges = report.best.samples
    return f"{judges} held-out samples" if judges < count else f"the {count} samples themselves, none held out"


def _facts(
    package: PulledPackage, tuning: Tuning, samples: Samples, wishes: Wishes, report: TuneReport
) -> dict[str, Any]:
    """What a delta's package tells of it; nothing of the samples but their number."""
    return {
        "model": package.manifest.name,
        "base_sha256": tuning.base_sha256,
        "layout_sha256": tuning.layout.sha256,
        "identity": tuning.identity.hex(),
        "parts": list(tuning.layout.parts),
        "classes": wishes.classes,
        "method": wishes.method,
        "seed": wishes.seed,
        "samples": len(samples),
        "base": asdict(report.base),
        "tuned": asdict(report.best),
        "leave_one_out": report.leave_one_out,
        "measure": wishes.measure,
    }


def _stored(
    learned: Learned, subject: Subject, tuning: Tuning, samples: Samples, wishes: Wishes, store: Path | None
) -> Learned:
    report = learned.report
    before, after = report.base.metric, report.best.metric
    values = [
        Value("seconds", learned.seconds, "s", "measured", "monotonic clock of the host"),
        Value("passes", learned.passes, "1", "measured", "samples sent through the network"),
        Value("ram_peak", learned.arena_bytes + learned.module_bytes, "B", "estimated", "arena plus tuning module"),
    ]
    if learned.test_before is not None and learned.test_after is not None:
        values.append(Value("top1_before", learned.test_before, "%", "measured", "separate test samples"))
        values.append(Value("top1", learned.test_after, "%", "measured", "separate test samples"))
    elif report.base.samples and wishes.measure != "right":
        values.append(Value(f"{wishes.measure}_before", -before, "1", "measured", learned.judged_by))
        values.append(Value(wishes.measure, -after, "1", "measured", learned.judged_by))
    elif report.base.samples and samples.labels is not None:
        values.append(Value("top1_before", 100 * before, "%", "measured", learned.judged_by))
        values.append(Value("top1", 100 * after, "%", "measured", learned.judged_by))
    if learned.delta is not None:
        values.append(Value("delta_size", learned.delta.size_bytes, "B", "measured", "bytes of the delta"))
    curves = [("loss", "1", [(float(p.passes), p.loss) for p in learned.points])]
    curves.append(("held_out_top1", "%", [(float(p.passes), 100 * p.metric) for p in learned.points]))
    with Store.open(store) as results:
        run_id = results.add_run(
            RunRecord(
                device=subject.device,
                model=subject.model,
                verb="finetune",
                backend=BACKEND,
                target=subject.target,
                isa=subject.isa,
                threads=subject.threads,
                started_utc=subject.started_utc,
                warmup=0,
                n=len(samples),
                provenance=replace(subject.provenance, warnings=learned.warnings),
                values=values,
                dataset=samples.name,
                items=len(samples),
                series=[Series(name, unit, "passes", "measured", points) for name, unit, points in curves if points],
                details={
                    "method": wishes.method,
                    "base_sha256": tuning.base_sha256,
                    "delta_sha256": "" if learned.delta is None else hashlib.sha256(learned.delta.blob).hexdigest(),
                    "delta_path": "" if learned.delta is None else str(learned.delta.path),
                    "verdict": learned.verdict,
                    "samples": len(samples),
                    "seed": wishes.seed,
                },
            )
        )
    return replace(learned, run_id=run_id)


__all__ = ["Learned", "Learner", "Point", "Wishes", "finetune", "journal_key"]
