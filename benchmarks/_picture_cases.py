"""Networks for Fashion-MNIST under shifts of its pictures, with few classes to learn from, and with a new class."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
from torch import nn

from edgeq import data, hub, models, release
from edgeq._errors import NotFoundError
from edgeq.datasets import places, shifts
from edgeq.train import load_trained
from edgeq.tune import Samples

from ._adaptation import Array, Case, Predict, Raw, Setting, Subject, asked_for, backpropagate
from .harness import Options

PICTURES, TESTED, BASE_PICTURES, VALIDATED, DRAWS, STEPS = 350, 1000, 2000, 500, 3, 100
FEW = 50
KNOWN = 5  # classes below it are enrolled where few are
FRESH = 10  # draws from here on are those of `_limits`
NEW, NEW_PICTURES = 9, 10
NINE_PICTURES = 30_000  # of the nine classes, behind the base's statistics: fewer cost the nine when a head is solved


def fashion(options: Options) -> Iterator[Case]:
    """350 pictures of every class."""
    yield from _shifted(options, "pokebnn-fashion", shifts.PICTURES, PICTURES, 10)


def few_pictures(options: Options) -> Iterator[Case]:
    """50 pictures."""
    yield from _shifted(options, "pokebnn-fashion", shifts.PICTURES, FEW, 10)


def few_classes(options: Options) -> Iterator[Case]:
    """Pictures of the classes 0 to 4 alone; all ten are asked."""
    yield from _shifted(options, "pokebnn-fashion", shifts.PICTURES, PICTURES, KNOWN)


def fresh(options: Options, model: str) -> Iterator[Case]:
    """Every shift with all classes and with five, on draws and test pictures that no choice has seen."""
    yield from _shifted(options, model, shifts.PICTURES, PICTURES, 10, FRESH)
    yield from _shifted(options, model, ("dim", "inverted"), PICTURES, KNOWN, FRESH)


def _shifted(
    options: Options, model: str, worlds: Iterable[str], count: int, classes: int, since: int = 0
) -> Iterator[Case]:
    package = hub.pull(model)
    config = package.config()
    train, test = (pictures(part) for part in ("train", "t10k"))

    @cache
    def subject() -> Subject:
        network = models.from_package(config, package.tensors())
        return Subject.of(network, data.preprocess(train[0][:BASE_PICTURES], config), train[1][:BASE_PICTURES])

    first = 3 * TESTED if since else 0  # the pictures before it were tested on when methods were compared
    asked = np.random.default_rng(6).permutation(len(test[0]))[first:][: 200 if options.quick else TESTED]
    checked = np.random.default_rng(7).permutation(BASE_PICTURES)[:VALIDATED]
    for task in worlds:
        if not asked_for(options.only, task, model):
            continue
        shift = shifts.PICTURES[task]
        shown, y = shift(test[0][asked]), test[1][asked]
        x = data.preprocess(shown, config)
        validation = (data.preprocess(shift(train[0][checked]), config), train[1][checked])
        for draw in range(1 if options.quick else DRAWS):
            rows = BASE_PICTURES + np.random.default_rng(8000 + since + draw).permutation(len(train[0]) - BASE_PICTURES)
            rows = rows[:count]
            rows = rows[train[1][rows] < classes]
            raw = Raw(shift(train[0][rows]), shown, lambda pictures: data.preprocess(pictures, config))
            seen, labels = raw.network(raw.learn_from), train[1][rows]

            def ceiling(setting: Setting, seen: Array = seen, labels: Array = labels) -> Predict:
                return backpropagate(latents(model), seen, labels, setting, steps=STEPS, seed=1)

            few = "" if classes == 10 else f", classes 0 to {classes - 1} enrolled"
            yield Case(
                f"fresh, {model}, {task}{few}" if since else f"fashion, {task}, {count} pictures{few}",
                f"draw {draw}",
                subject,
                Samples((seen,), labels.astype(np.int32), task),
                x,
                y,
                draw,
                {} if classes == 10 else {"seen": y < classes, "unseen": y >= classes},
                ceiling if has_run(model) and count == PICTURES else None,
                "pokebnn" in model,
                validation,
                (data.preprocess(test[0][asked], config), y),
                raw,
            )


def new_class(options: Options) -> Iterator[Case]:
    """A base that knows nine classes is given ten pictures of the tenth."""
    train, test = (pictures(part) for part in ("train", "t10k"))
    config = hub.pull("pokebnn-fashion").config()  # for the preprocessing
    known = np.flatnonzero(train[1] < NEW)[:NINE_PICTURES]

    @cache
    def subject() -> Subject:
        network, _ = release.pack(load_trained(_run("EDGEQ_NINE_FASHION")))
        return Subject.of(network, data.preprocess(train[0][known], config), train[1][known], classes=NEW + 1)

    asked = np.random.default_rng(6).permutation(len(test[0]))[: 3 * TESTED]
    x, y = data.preprocess(test[0][asked], config), test[1][asked]
    for draw in range(1 if options.quick else DRAWS):
        rows = np.random.default_rng(9000 + draw).permutation(np.flatnonzero(train[1] == NEW))[:NEW_PICTURES]
        samples = Samples((data.preprocess(train[0][rows], config),), np.full(NEW_PICTURES, NEW, np.int32), "tenth")
        parts = {"old": y < NEW, "new": y == NEW}
        yield Case("a new class of pictures", f"draw {draw}", subject, samples, x, y, draw, parts)


def latents(model: str) -> nn.Module:
    """The trained network before it was packed: EDGEQ_RUNS holds a folder with a training run for each model."""
    network: nn.Module = load_trained(Path(os.environ["EDGEQ_RUNS"]) / model / "model.safetensors").model
    return network


def has_run(model: str) -> bool:
    return (Path(os.environ.get("EDGEQ_RUNS", "")) / model / "model.safetensors").is_file()


def _run(variable: str) -> Path:
    where = os.environ.get(variable)
    if not where or not (Path(where) / "model.safetensors").is_file():
        raise NotFoundError(f"set {variable} to what edgeq train zoo/pokebnn-fashion/recipe.toml -o OUT wrote")
    return Path(where) / "model.safetensors"


def pictures(part: str) -> tuple[Array, Array]:
    """Pictures (n, 28, 28) and labels of "train" or "t10k"."""
    for folder in places.folders("fashion-mnist"):
        if (images := folder / f"{part}-images-idx3-ubyte.gz").is_file():
            labels = data.read_idx(folder / f"{part}-labels-idx1-ubyte.gz")
            return data.read_idx(images), labels.astype(np.int64)
    raise NotFoundError("fashion: apt-get install dataset-fashion-mnist, or set EDGEQ_DATA")
