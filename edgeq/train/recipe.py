"""recipe.toml: everything a training run depends on. Unknown or missing keys and wrong types are refused."""

import importlib
import json
import tomllib
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from edgeq._errors import FormatError, NotFoundError
from edgeq.train import tasks
from edgeq.train._record import check_ranges, record, typed

LARGEST_RECIPE_BYTES = 64 * 1024
FAMILIES = ("bibert", "bit", "bivit", "denseshift", "pokebnn", "ternary_bart")  # files of edgeq.models with `build`
TABLES = ("name", "quantised", "model", "data", "training", "distillation")


@dataclass(frozen=True)
class TrainingRecipe:
    """Adam with a warm-up, a constant rate, and a decay to 0 over the last `decay_epochs`."""

    seed: int
    epochs: int
    batch: int
    learning_rate: float
    beta1: float = 0.9
    beta2: float = 0.999
    warmup_epochs: float = 0.0
    decay_epochs: float = 0.0
    label_smoothing: float = 0.0
    bounds_epoch: float = 0.0  # input bounds are fixed here, from running statistics
    weights_epoch: float = 0.0  # weights are quantised from here on; activations are binary from the start
    optimiser: Literal["adam", "adamw"] = "adam"
    weight_decay: float = 0.0
    decay: Literal["linear", "cosine"] = "linear"
    largest_gradient: float = 0.0  # longer gradients are scaled down to this norm; 0: none are
    keep: Literal["last", "best"] = "last"  # which epoch's weights: the last one's, or the best on validation
    restart_epochs: int = 0  # so many more at the end, the rate falling once more from `restart` times itself to 0
    restart: float = 0.5
    rates: dict[str, float] = field(default_factory=dict)  # parameter names, as a pattern with *: factor of the rate

    def __post_init__(self) -> None:
        epochs = float(self.epochs)
        check_ranges(
            {
                "seed": (self.seed, 0, 2**31 - 1),
                "epochs": (self.epochs, 1, 100_000),
                "batch": (self.batch, 2, 65_536),
                "learning_rate": (self.learning_rate, 0.0, 10.0),
                "beta1": (self.beta1, 0.0, 0.999999),
                "beta2": (self.beta2, 0.0, 0.999999),
                "warmup_epochs": (self.warmup_epochs, 0.0, epochs),
                "decay_epochs": (self.decay_epochs, 0.0, epochs - self.warmup_epochs),
                "label_smoothing": (self.label_smoothing, 0.0, 0.999),
                "bounds_epoch": (self.bounds_epoch, 0.0, epochs),
                "weights_epoch": (self.weights_epoch, 0.0, epochs),
                "weight_decay": (self.weight_decay, 0.0, 10.0),
                "restart_epochs": (self.restart_epochs, 0, 100_000),
                "restart": (self.restart, 0.0, 1.0),
                "largest_gradient": (self.largest_gradient, 0.0, 1e6),
                **{f"rates.{pattern}": (factor, 0.0, 1e6) for pattern, factor in self.rates.items()},
            }
        )

    @property
    def all_epochs(self) -> int:
        return self.epochs + self.restart_epochs


@dataclass(frozen=True)
class Distillation:
    """Learning from a teacher's answers beside the labels."""

    teacher: str = "twin"  # or another recipe's path, from this one's folder
    weight: float = 0.9  # of the teacher's answers in the loss; the labels have the rest
    temperature: float = 1.0
    hidden: float = 0.0  # of the distance between hidden states, for tasks that compare them; added to the rest
    start: bool = False  # begin with the teacher's weights instead of random ones

    def __post_init__(self) -> None:
        check_ranges(
            {
                "weight": (self.weight, 0.0, 1.0),
                "temperature": (self.temperature, 0.01, 100.0),
                "hidden": (self.hidden, 0.0, 1e6),
            }
        )


@dataclass(frozen=True)
class Recipe:
    """One training run. `model` is the family's Config, `data` the Options of the task that data.name names."""

    name: str
    family: str
    model: Any
    data: Any
    training: TrainingRecipe
    distillation: Distillation | None = None
    quantised: bool = True  # false: the family's float network, for a teacher with a recipe of its own

    def as_dict(self) -> dict[str, Any]:
        """As `recipe_from` reads it, in plain JSON types."""
        document = asdict(self)
        document["model"] = {"family": document.pop("family"), **document["model"]}
        if self.distillation is None:
            del document["distillation"]
        plain: dict[str, Any] = json.loads(json.dumps(document))
        return plain


def read_recipe(path: Path) -> Recipe:
    """Read and check a recipe.

    raises  NotFoundError, or FormatError naming the key that is unknown, missing or out of range
    """
    try:
        if path.stat().st_size > LARGEST_RECIPE_BYTES:
            raise FormatError(f"{path}: larger than {LARGEST_RECIPE_BYTES} bytes, not a recipe")
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NotFoundError(f"{path}: no such recipe") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError, OSError) as error:
        raise FormatError(f"{path}: not readable as TOML: {error}") from error
    return recipe_from(document, str(path))


def recipe_from(document: dict[str, Any], where: str) -> Recipe:
    """A recipe from its document, as read from TOML or from the metadata of trained weights; errors as above."""
    for key in document:
        if key not in TABLES:
            raise FormatError(f"{where}: unknown key {key}; known: {', '.join(TABLES)}")
    name = str(typed(f"{where}: name", document.get("name"), str))
    family, model = _choice(where, "model.family", document.get("model"), FAMILIES)
    source, data = _choice(where, "data.name", document.get("data"), tasks.MODULES)
    taught = document.get("distillation")
    return Recipe(
        name=name,
        family=family,
        model=record(where, "model", model, importlib.import_module(f"edgeq.models.{family}").Config),
        data=record(where, "data", {"name": source, **data}, tasks.module(source).Options),
        training=record(where, "training", document.get("training"), TrainingRecipe),
        distillation=None if taught is None else record(where, "distillation", taught, Distillation),
        quantised=bool(typed(f"{where}: quantised", document.get("quantised", True), bool)),
    )


def _choice(where: str, key: str, values: object, known: Collection[str]) -> tuple[str, dict[str, Any]]:
    """The table's entry that says which kind it is, and the other entries."""
    table, _, entry = key.partition(".")
    if not isinstance(values, dict):
        raise FormatError(f"{where}: {table} must be a table")
    chosen = values.get(entry)
    if not isinstance(chosen, str) or chosen not in known:
        raise FormatError(f"{where}: {key} must be one of {', '.join(known)}, got {chosen!r}")
    return chosen, {name: value for name, value in values.items() if name != entry}
