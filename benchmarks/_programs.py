"""The same runs through compiled programs: the module asks a `.pte` on the local agent, as `edgeq finetune` does.

Networks in eager and the programs made of them run the same kernels: a run is repeated here from compilation on, its
delta should be the delta that eager gives, byte for byte, and its accuracy is that of the program with its own delta.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
from rich.table import Table
from torch import Tensor

from edgeq._native.tune import Forward
from edgeq._native.tune_types import Delta
from edgeq.compile import executorch
from edgeq.compile.layout import METHOD, PAIR, STEP
from edgeq.compile.tunable import can_pair, tunable_method
from edgeq.device import Net, connect
from edgeq.tune import Learner, Samples, Wishes
from edgeq.tune.forward import DeviceForward, program_method
from edgeq.tune.journal import Journal

from . import _digit_tables, _picture_cases, _speech_cases, _text_cases
from ._adaptation import (
    BATCH,
    Case,
    Inputs,
    Result,
    Seen,
    Subject,
    asked_for,
    asked_with,
    decided,
    learn,
    result,
    scores,
    taken,
)
from ._cells import Cells, Figures, mean_and_error
from .harness import Options

METHODS: Mapping[str, Wishes] = {
    "stats": Wishes("stats", flags=("unguarded",)),
    "auto": Wishes("auto"),
    "head": Wishes("head", flags=("unguarded",)),
    "t1": Wishes("t1", flags=("unguarded", "few_samples"), changes={"steps": 50}),
}


def tables(options: Options, cells: Cells) -> Iterator[Table]:
    table = Table(title="through compiled programs on the local agent", title_justify="left")
    for heading in ("task", "method", "runs", "accuracy, eager", "accuracy, .pte", "s.e.", "the same delta"):
        table.add_column(heading, justify="left" if heading in ("task", "method") else "right")
    groups: dict[str, list[Case]] = {}
    for case in _cases(options):
        groups.setdefault(case.task, []).append(case)
    for task, cases in groups.items():
        for name in METHODS:
            found: dict[str, list[Figures]] = {}
            for case in cases:
                wishes = _wishes(case, name)
                cell = f"program, {task}/{case.group}/{case.draw}/{name}"
                figures = cells.get(cell, lambda case=case, wishes=wishes: _compared(case, wishes))
                found.setdefault(case.group, []).append(figures)
                options.say(f"{cell}: {figures['program']:.3f}")
            runs = list(chain(*found.values()))
            mean, error = mean_and_error([[f["program"] for f in group] for group in found.values()])
            eager = float(np.mean([f["eager"] for f in runs]))
            same = f"{sum(f['same'] for f in runs):.0f} of {len(runs)}"
            table.add_row(task, name, str(len(runs)), f"{eager:.4f}", f"{mean:.4f}", f"{error:.4f}", same)
    yield table


def _cases(options: Options) -> Iterator[Case]:
    """Those of the bars; nothing that backpropagation is for."""
    if asked_for(options.only, "digits"):
        for seed in _digit_tables.SEEDS[: 1 if options.quick else None]:
            for bits, world in _digit_tables.FOUR:
                yield _digit_tables.digits_case("mlp", bits, seed, world, 350)
            yield _digit_tables.digits_case("cnn", "tern", seed, "rot", 350)
    sources: Mapping[str, Callable[[Options], Iterator[Case]]] = {
        "speech": _speech_cases.speech,
        "fashion": _picture_cases.fashion,
        "tenth": _picture_cases.new_class,
        "text": _text_cases.cases,
    }
    for name, cases in sources.items():
        if asked_for(options.only, name):
            yield from cases(Options(quick=options.quick, only=name))


def _wishes(case: Case, method: str) -> Wishes:
    """As the other tables have them."""
    if case.task.startswith("digits"):
        return replace(_digit_tables.METHODS[method], seed=case.draw + 1)
    return METHODS[method]


def _compared(case: Case, wishes: Wishes) -> Figures:
    subject = case.subject()
    eager = learn(subject, case.learn_from, wishes)
    with _program(subject, case.learn_from.inputs) as program:
        run = _learned(program, subject, case.learn_from, wishes)
        logits = decided(_outputs(program, subject, run.delta, case.test), run.delta)
    return {
        "eager": case.score(scores(subject, eager.delta, case.test))["accuracy"],
        "program": case.score(logits)["accuracy"],
        "same": float(eager.written == run.written),
    }


Program = Callable[[str], Net]  # by the name of a method


@contextmanager
def _program(subject: Subject, inputs: Inputs) -> Iterator[Program]:
    with connect("local") as device, tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "net.pte"
        file.write_bytes(_compiled(subject, taken(inputs, slice(1))))
        name = device.put(file).name
        yield lambda method: device.load(name, method)


_FILES: dict[int, tuple[Subject, bytes]] = {}  # of subjects, which live as long as their file


def _compiled(subject: Subject, example: tuple[Tensor, ...]) -> bytes:
    """As `edgeq compile --tunable` does, for a network that is in no package."""
    if id(subject) not in _FILES:
        model, tuning = subject.model, subject.tuning
        assert tuning.base is not None
        further = {
            name: tunable_method(
                model,
                example,
                tuning.layout,
                tuning.base.sigma,
                classes=subject.classes,
                lean=name != METHOD,
                pair=name == PAIR,
            )
            for name in (METHOD, STEP, *((PAIR,) if can_pair(model) else ()))
        }
        theta = {name: len(inputs) - len(example) for name, (_, inputs) in further.items()}
        methods = {"forward": (model, example), **further}
        _FILES[id(subject)] = subject, executorch.lower_methods(methods, plain=set(further), borrowed=theta)
    return _FILES[id(subject)][1]


def _learned(program: Program, subject: Subject, samples: Samples, wishes: Wishes) -> Result:
    there = (PAIR,) if can_pair(subject.model) else ()
    net = program(program_method(wishes.method, there))
    forward = DeviceForward(net, samples, subject.tuning.layout)
    learner = Learner(subject.tuning, samples, wishes, forward, classes=subject.classes)
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder) / "run")
        report = learner.run(journal)
        blob = journal.whole("delta") if report.outcome == "committed" else b""
    return result(subject, report, blob, forward.passes, learner.tuner)


def _outputs(program: Program, subject: Subject, delta: Delta | None, inputs: Inputs) -> Seen:
    samples = Samples(inputs if isinstance(inputs, tuple) else (inputs,), None, "test")
    forward = DeviceForward(program(METHOD), samples, subject.tuning.layout)
    wanted = frozenset(("logits", "hidden", "taps"))
    found = []
    for start in range(0, len(samples), BATCH):
        rows = np.arange(start, min(start + BATCH, len(samples)), dtype=np.uint32)
        found.append(forward(Forward(rows, wanted, *asked_with(subject, delta), None)))
    return Seen(*(np.concatenate([getattr(batch, name) for batch in found]) for name in ("logits", "hidden", "taps")))
