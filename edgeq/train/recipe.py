"""recipe.toml: everything a training run depends on. Unknown or missing keys and wrong types are refused."""

import tomllib
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar, get_args

from edgeq._errors import FormatError, NotFoundError, UsageError
from edgeq.models.pokebnn import PokeBNNConfig

LARGEST_RECIPE_BYTES = 64 * 1024


@dataclass(frozen=True)
class DataRecipe:
    """The pictures, how they are normalised (0..1 scale), and how training pictures are varied."""

    name: str
    validation_items: int  # the last ones of the training split; choices are made on them only
    mean: float
    deviation: float
    shift_pixels: int  # random shift of -n..n in both directions, filled with black
    flip: bool  # mirrored left to right with probability 1/2


@dataclass(frozen=True)
class TrainingRecipe:
    """Adam with a warm-up, a constant rate, and a linear decay to 0 over the last `decay_epochs`."""

    seed: int
    epochs: int
    batch: int
    learning_rate: float
    beta1: float
    beta2: float
    warmup_epochs: float
    decay_epochs: float
    label_smoothing: float
    bounds_epoch: float  # input bounds are fixed here, from running statistics
    weights_epoch: float  # weights are quantised from here on; activations are binary from the start


@dataclass(frozen=True)
class Recipe:
    """One training run."""

    name: str
    model: PokeBNNConfig
    data: DataRecipe
    training: TrainingRecipe

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


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
        if key not in ("name", "model", "data", "training"):
            raise FormatError(f"{where}: unknown key {key}; known: name, model, data, training")
    model = document.get("model")
    if not isinstance(model, dict) or model.pop("family", None) != "pokebnn":
        raise FormatError(f'{where}: model.family must be "pokebnn"')
    try:
        recipe = Recipe(
            name=str(_typed(f"{where}: name", document.get("name"), str)),
            model=_record(where, "model", model, PokeBNNConfig),
            data=_record(where, "data", document.get("data"), DataRecipe),
            training=_record(where, "training", document.get("training"), TrainingRecipe),
        )
    except UsageError as error:
        raise FormatError(f"{where}: model: {error}") from error
    _check_ranges(where, recipe)
    return recipe


def _check_ranges(where: str, recipe: Recipe) -> None:
    t, d = recipe.training, recipe.data
    epochs = float(t.epochs)
    ranges = {
        "data.validation_items": (d.validation_items, 1, 1_000_000),
        "data.deviation": (d.deviation, 1e-6, 1e6),
        "data.shift_pixels": (d.shift_pixels, 0, 16),
        "training.seed": (t.seed, 0, 2**31 - 1),
        "training.epochs": (t.epochs, 1, 100_000),
        "training.batch": (t.batch, 2, 65_536),
        "training.learning_rate": (t.learning_rate, 0.0, 10.0),
        "training.beta1": (t.beta1, 0.0, 0.999999),
        "training.beta2": (t.beta2, 0.0, 0.999999),
        "training.warmup_epochs": (t.warmup_epochs, 0.0, epochs),
        "training.decay_epochs": (t.decay_epochs, 0.0, epochs - t.warmup_epochs),
        "training.label_smoothing": (t.label_smoothing, 0.0, 0.999),
        "training.bounds_epoch": (t.bounds_epoch, 0.0, epochs),
        "training.weights_epoch": (t.weights_epoch, 0.0, epochs),
    }
    for key, (value, low, high) in ranges.items():
        if not low <= value <= high:
            raise FormatError(f"{where}: {key} must be between {low} and {high}, got {value}")
    if d.name != "fashion-mnist":
        raise FormatError(f'{where}: data.name must be "fashion-mnist", got {d.name!r}')


Record = TypeVar("Record", PokeBNNConfig, DataRecipe, TrainingRecipe)


def _record(where: str, table: str, values: object, record: type[Record]) -> Record:
    """An instance of the dataclass from a TOML table whose keys are its fields."""
    if not isinstance(values, dict):
        raise FormatError(f"{where}: {table} must be a table")
    members = {member.name: member for member in fields(record)}
    for key in values:
        if key not in members:
            raise FormatError(f"{where}: unknown key {table}.{key}; known: {', '.join(members)}")
    arguments: dict[str, Any] = {}
    for key, member in members.items():
        if key in values:
            arguments[key] = _typed(f"{where}: {table}.{key}", values[key], member.type)
        elif member.default is MISSING:
            raise FormatError(f"{where}: {table}.{key} is missing")
    return record(**arguments)


def _typed(where: str, value: object, kind: object) -> object:
    if kind is float and type(value) is int:
        return float(value)
    if isinstance(kind, type):
        if type(value) is not kind:
            raise FormatError(f"{where}: expected {kind.__name__}, got {value!r}")
        return value
    count = len(get_args(kind))  # the only other kind: tuple[int, ...] of fixed length
    if not isinstance(value, list) or len(value) != count or any(type(item) is not int for item in value):
        raise FormatError(f"{where}: expected {count} integers, got {value!r}")
    return tuple(value)
