"""Learning on the device beside its controls: accuracy on data that nothing was learned or chosen on.

  python tools/leave_one_speaker_out.py zoo/denseshift-kws/recipe.toml -o OUT --epochs 12
  EDGEQ_LOSO=OUT python -m benchmarks finetune
  python -m benchmarks finetune --only fashion:dim --quick

Settings are the module's defaults, the same for every task; nothing is tuned on a test set. Methods: base; `stats`
(no labels, unguarded); `solve`; `auto`; `head` (exact gradient of the last layer in float, unguarded: the control);
`t1` and `mezo` with the passes that the column says; backpropagation through all latents (straight-through, learning
rate fixed at 1e-3, not tuned: a soft ceiling). The networks run in eager on the product's kernels; that the compiled
program gives the same is tested (`tests/unit/test_tunable.py`).

  speech    each speaker left out of the base's training; 25 of his recordings (two or three of each digit) to learn
            from, the other 475 to test, 3 draws; plain, and as if by another microphone (pre-emphasis .9, white noise
            at 15 dB) on all his sound
  class     EDGEQ_NINE: a run of the same recipe with classes = 9 and digits = 9; 10 words "nine" of the training takes
            are all that is given; the official test split, old digits and the new one apart
  cost      one step of t0 and t1 (both signs, update included) against one inference of the same batch, and arenas
  fashion   pokebnn-fashion; 350 shifted pictures of the training part to learn from, 1000 of the test set
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.table import Table

from edgeq import data, hub, models, release
from edgeq._errors import NotFoundError
from edgeq.compile.layout import METHOD, STEP
from edgeq.datasets import features, fsdd, places, shifts
from edgeq.train import load_trained
from edgeq.tune import Samples, Wishes

from . import _step_cost
from ._adaptation import Subject, accuracy, backpropagate, eager_scores, learn, scores
from ._table import console
from .harness import Options, Row

Array = np.ndarray[Any, Any]
WORDS, DRAWS, PICTURES, TESTED, BASE_PICTURES = 25, 3, 350, 1000, 2000
STEPS = 200
NEW, NEW_WORDS = 9, 10
METHODS: Mapping[str, Wishes] = {
    "stats": Wishes("stats", flags=("unguarded",)),
    "solve": Wishes("solve"),
    "auto": Wishes("auto"),
    "head": Wishes("head", flags=("unguarded",)),
    "t1": Wishes("t1", flags=("unguarded", "few_samples"), changes={"steps": 50}),
    "mezo": Wishes("mezo", flags=("unguarded", "few_samples"), changes={"steps": 50}),
}
SLOW = ("t1", "mezo")  # with backpropagation on the first draw only; --rounds N: on N draws


@dataclass(frozen=True)
class Case:
    """group: what standard errors are taken over; ceiling: the test set's logits after backpropagation."""

    task: str
    group: str
    subject: Subject
    learn_from: Samples
    test: Array
    labels: Array
    ceiling: Callable[[], Array] | None = None
    draw: int = 0


@dataclass
class Column:
    """Accuracies of one method on one task, by group."""

    found: dict[str, list[float]] = field(default_factory=dict)
    gains: list[float] = field(default_factory=list)
    passes: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)

    @property
    def mean(self) -> float:
        return float(np.mean([np.mean(values) for values in self.found.values()]))

    @property
    def standard_error(self) -> float:
        means = [np.mean(values) for values in self.found.values()]
        return float(np.std(means, ddof=1) / np.sqrt(len(means))) if len(means) > 1 else float("nan")


def run(options: Options) -> list[Row]:
    """Print one table a task; this benchmark has accuracies, not times, so it gives back no rows."""
    torch.set_num_threads(options.threads)
    if "cost".startswith(options.only.split(":")[0]):
        console.print(_cost_table(list(_step_cost.measure(options))))
    columns: dict[str, dict[str, Column]] = {}
    for name, cases in (("speech", speech), ("class", new_class), ("fashion", fashion)):
        if options.only and not name.startswith(options.only.split(":")[0]):
            continue
        for case in cases(options):
            kept = columns.setdefault(case.task, {})
            _one(case, kept, slow=case.draw < options.count(0, 1))
            options.say(f"{case.task}, {case.group}: " + ", ".join(f"{m} {c.mean:.3f}" for m, c in kept.items()))
    for task, kept in columns.items():
        console.print(_table(task, kept))
    return []


def _one(case: Case, kept: dict[str, Column], *, slow: bool) -> None:
    base = accuracy(scores(case.subject, None, case.test), case.labels)
    _add(kept, "base", case, base, base, 0.0, 0.0)
    for name, wishes in METHODS.items():
        if name in SLOW and not slow:
            continue
        began = time.process_time()
        result = learn(case.subject, case.learn_from, wishes)
        spent = time.process_time() - began
        found = accuracy(scores(case.subject, result.delta, case.test), case.labels)
        _add(kept, name, case, base, found, result.passes / len(case.learn_from), spent)
    if case.ceiling is not None and slow:
        began = time.process_time()
        found = accuracy(case.ceiling(), case.labels)
        _add(kept, "backprop", case, base, found, float("nan"), time.process_time() - began)


def _add(
    kept: dict[str, Column], name: str, case: Case, base: float, found: float, passes: float, cpu_s: float
) -> None:
    column = kept.setdefault(name, Column())
    column.found.setdefault(case.group, []).append(found)
    column.gains.append(found - base)
    column.passes.append(passes)
    column.cpu_s.append(cpu_s)


def _table(task: str, kept: Mapping[str, Column]) -> Table:
    table = Table(title=f"{task}: {sum(map(len, kept['base'].found.values()))} runs", title_justify="left")
    for heading in ("method", "accuracy", "s.e.", "error against base", "worst gain", "passes a sample", "CPU s"):
        table.add_column(heading, justify="left" if heading == "method" else "right")
    error = 1 - kept["base"].mean
    for name, column in kept.items():
        table.add_row(
            name,
            f"{column.mean:.4f}",
            f"{column.standard_error:.4f}",
            f"{100 * ((1 - column.mean) / error - 1):+.0f} %",
            f"{min(column.gains):+.4f}",
            f"{np.mean(column.passes):.1f}",
            f"{np.mean(column.cpu_s):.1f}",
        )
    return table


def _cost_table(costs: list[_step_cost.Cost]) -> Table:
    table = Table(title="cost of a step, both signs and the update", title_justify="left")
    for heading in ("", *(cost.model for cost in costs)):
        table.add_column(heading, justify="right" if heading else "left")

    def row(name: str, text: Callable[[_step_cost.Cost], str]) -> None:
        table.add_row(name, *map(text, costs))

    for method in ("forward", STEP, METHOD):
        row(f"arena of {method}, B", lambda cost, method=method: str(cost.arena[method]))
    row("inference, us", lambda cost: f"{cost.pass_us['forward']:.1f}")
    for method in (STEP, METHOD):
        row(f"a pass of {method}, inferences", lambda cost, method=method: f"{cost.ratio[method]:.3f}")
    for tier in _step_cost.TIERS:
        row(f"{tier}: module, us a step of {_step_cost.BATCH}", lambda cost, tier=tier: f"{cost.module_us[tier]:.0f}")
        row(f"{tier}: step, inferences of its batch", lambda cost, tier=tier: f"{cost.step(tier):.3f}")
    return table


def speech(options: Options) -> Iterator[Case]:
    """Every speaker, plain and with another microphone."""
    where = os.environ.get("EDGEQ_LOSO")
    if not where or not Path(where).is_dir():
        raise NotFoundError("speech: set EDGEQ_LOSO to the output folder of tools/leave_one_speaker_out.py")
    recordings = fsdd.load()
    windows = np.stack([features.window(wave) for wave in recordings.waves])
    plain = features.log_mel(windows)[..., None]
    speakers = fsdd.SPEAKERS[:2] if options.quick else fsdd.SPEAKERS
    for speaker in speakers:
        own = recordings.speaker == fsdd.SPEAKERS.index(speaker)
        others = np.flatnonzero(~own & (recordings.take < fsdd.TAKES - 5))
        mine = np.flatnonzero(own)
        file = Path(where) / speaker / "model.safetensors"
        network, _ = release.pack(load_trained(file))
        subject = Subject.of(network, plain[others], recordings.digit[others])
        heard = {
            "plain": plain[mine],
            "microphone": features.log_mel(shifts.other_microphone(windows[mine]))[..., None],
        }
        for task, x in heard.items():
            if options.only.partition(":")[2] not in ("", task):
                continue
            y = recordings.digit[mine]
            for draw in range(1 if options.quick else DRAWS):
                first, rest = enrolment(y, draw)
                samples = Samples((x[first],), y[first].astype(np.int32), task)

                def ceiling(
                    file: Path = file, x: Array = x, y: Array = y, first: Array = first, rest: Array = rest
                ) -> Array:
                    model = load_trained(file).model
                    model = backpropagate(model, x[first], y[first], steps=STEPS, rate=1e-3, seed=1)
                    return eager_scores(model, x[rest])

                yield Case(f"speech, {task}", speaker, subject, samples, x[rest], y[rest], ceiling, draw)


def enrolment(y: Array, draw: int) -> tuple[Array, Array]:
    """WORDS recordings, two or three of each digit, and the others."""
    rng = np.random.default_rng(1000 + draw)
    first: list[int] = []
    for digit in range(10):
        count = WORDS // 10 + ((digit + 5 * draw) % 10 < WORDS % 10)
        first += rng.permutation(np.flatnonzero(y == digit))[:count].tolist()
    return rng.permutation(first), np.setdiff1d(np.arange(len(y)), first)


def new_class(options: Options) -> Iterator[Case]:
    """A base that knows nine digits is given ten words of the tenth."""
    where = os.environ.get("EDGEQ_NINE")
    if not where or not Path(where).is_dir():
        raise NotFoundError("class: set EDGEQ_NINE to a run of denseshift-kws with classes = 9 and digits = 9")
    recordings = fsdd.load()
    x = features.log_mel(np.stack([features.window(wave) for wave in recordings.waves]))[..., None]
    network, _ = release.pack(load_trained(Path(where) / "model.safetensors"))
    trained = (recordings.take >= fsdd.TEST_TAKES) & (recordings.take < fsdd.TAKES - 5)
    old = np.flatnonzero(trained & (recordings.digit < NEW))
    subject = Subject.of(network, x[old], recordings.digit[old], classes=NEW + 1)
    tested = recordings.take < fsdd.TEST_TAKES
    for draw in range(1 if options.quick else DRAWS):
        rows = np.random.default_rng(3000 + draw).permutation(np.flatnonzero(trained & (recordings.digit == NEW)))
        samples = Samples((x[rows[:NEW_WORDS]],), np.full(NEW_WORDS, NEW, np.int32), "nine")
        for task, part in (("old digits", recordings.digit < NEW), ("the new one", recordings.digit == NEW)):
            chosen = np.flatnonzero(tested & part)
            yield Case(f"class, {task}", f"draw {draw}", subject, samples, x[chosen], recordings.digit[chosen], draw=9)


def fashion(options: Options) -> Iterator[Case]:
    """pokebnn-fashion under shifts of its pictures, draws of the pictures to learn from as groups."""
    package = hub.pull("pokebnn-fashion")
    config = package.config()
    network = models.from_package(config, package.tensors())
    train, test = (_fashion(part) for part in ("train", "t10k"))
    known = data.preprocess(train[0][:BASE_PICTURES], config)
    subject = Subject.of(network, known, train[1][:BASE_PICTURES])
    asked = np.random.default_rng(5).permutation(len(test[0]))[: 200 if options.quick else TESTED]
    for task, shift in shifts.PICTURES.items():
        if options.only.partition(":")[2] not in ("", task):
            continue
        x, y = data.preprocess(shift(test[0][asked]), config), test[1][asked]
        for draw in range(1 if options.quick else DRAWS):
            rows = BASE_PICTURES + np.random.default_rng(2000 + draw).permutation(len(train[0]) - BASE_PICTURES)
            rows = rows[: 100 if options.quick else PICTURES]
            pictures = data.preprocess(shift(train[0][rows]), config)
            samples = Samples((pictures,), train[1][rows].astype(np.int32), task)
            yield Case(f"fashion, {task}", f"draw {draw}", subject, samples, x, y, draw=draw)


def _fashion(part: str) -> tuple[Array, Array]:
    """Pictures (n, 28, 28) and labels of "train" or "t10k"."""
    for folder in places.folders("fashion-mnist"):
        if (images := folder / f"{part}-images-idx3-ubyte.gz").is_file():
            labels = data.read_idx(folder / f"{part}-labels-idx1-ubyte.gz")
            return data.read_idx(images), labels.astype(np.int64)
    raise NotFoundError("fashion: apt-get install dataset-fashion-mnist, or set EDGEQ_DATA")
