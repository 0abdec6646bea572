"""The training loop: deterministic from the recipe's seed, one atomic checkpoint per epoch, resumable bit for bit."""

import importlib
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn

from edgeq._errors import FormatError, UsageError
from edgeq.train import tasks
from edgeq.train._memory import keep_freed_memory
from edgeq.train.optimiser import learning_rate, optimiser, set_rate
from edgeq.train.recipe import Recipe, read_recipe, recipe_from
from edgeq.train.task import Part, Scores, Task
from edgeq.train.weights import digest, load_trained, save_trained

CHECKPOINT = "checkpoint.pt"
WEIGHTS = "model.safetensors"
TEACHER = "teacher"  # folder of its run


@dataclass(frozen=True)
class Progress:
    """One epoch, as told to the progress callback. Accuracies are fractions of 1; losses include smoothing."""

    epoch: int
    epochs: int
    loss: float
    training_accuracy: float  # on varied items, while the weights were moving
    validation: Mapping[str, float]
    learning_rate: float
    wall_s: float  # of this epoch
    cpu_s: float
    of_teacher: bool = False


@dataclass(frozen=True)
class TrainResult:
    """What a finished run gives. Figures are fractions of 1."""

    weights: Path  # model.safetensors: latents, statistics and bounds; the recipe is in its metadata
    quantised: bool
    epochs: int
    validation: Mapping[str, float]
    test: Mapping[str, float] | None  # None: the test split was left alone
    wall_s: float  # over all epochs, interruptions and the teacher's training left out
    cpu_s: float

    def facts(self) -> dict[str, float]:
        """Everything but the path, flat: `validation_accuracy`, `test_accuracy` or the like."""
        scores = {"validation": self.validation, "test": self.test or {}}
        figures = {f"{part}_{name}": value for part, found in scores.items() for name, value in found.items()}
        times = {"wall_s": self.wall_s, "cpu_s": self.cpu_s}
        return {"quantised": self.quantised, "epochs": self.epochs, **figures, **times}


@runtime_checkable
class Phased(Protocol):
    """A network whose bounds and weights are quantised some time after the start."""

    def set_weight_quantisation(self, on: bool) -> None: ...
    def start_calibration(self) -> None: ...
    def freeze_bounds(self) -> None: ...


def run(
    recipe_path: Path,
    out_dir: Path,
    *,
    resume: bool = True,
    progress: Callable[[Progress], None] | None = None,
    twin: bool = False,
    test: bool = True,
    teacher: Path | None = None,
    make_task: Callable[[Recipe], Task] | None = None,
) -> TrainResult:
    """Train the recipe's network and write `out_dir/model.safetensors`.

    resume     go on from `out_dir/checkpoint.pt` if there is one; otherwise start anew and overwrite it
    twin       the float twin: same network, data and steps, quantisers and teacher left out
    test       read the test split once, after the last epoch
    teacher    folder of the teacher's finished run; None trains it first, in `out_dir/teacher`, if the recipe has one
    make_task  gives other data than the recipe's own
    raises     FormatError for a bad recipe or checkpoint, NotFoundError or IntegrityError for the data
    """
    recipe = read_recipe(recipe_path)
    if twin:
        recipe = replace(recipe, distillation=None)
    teacher_model = None
    if recipe.distillation is not None:
        if teacher is None:
            teacher = out_dir / TEACHER
            own = recipe.distillation.teacher == "twin"
            path = recipe_path if own else recipe_path.parent / recipe.distillation.teacher
            tell = None if progress is None else lambda report: progress(replace(report, of_teacher=True))
            run(path, teacher, resume=resume, progress=tell, twin=own, test=False, make_task=make_task)
        teacher_model = load_trained(teacher / WEIGHTS).model
    out_dir.mkdir(parents=True, exist_ok=True)
    keep_freed_memory()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the order of sums, and so the result, must not depend on the number of cores
    try:
        task = (make_task or tasks.module(recipe.data.name).make)(recipe)
        trainer = Trainer(recipe, task, quantised=recipe.quantised and not twin, teacher=teacher_model)
        return _finish(trainer, out_dir, resume, progress, test)
    finally:
        torch.set_num_threads(threads)


def _finish(
    trainer: "Trainer", out_dir: Path, resume: bool, progress: Callable[[Progress], None] | None, test: bool
) -> TrainResult:
    checkpoint = out_dir / CHECKPOINT
    if resume and checkpoint.exists():
        trainer.load(checkpoint)
    while trainer.epoch < trainer.recipe.training.all_epochs:
        report = trainer.run_epoch()
        trainer.save(checkpoint)
        if progress is not None:
            progress(report)
    trainer.choose_weights()
    result = TrainResult(
        out_dir / WEIGHTS,
        trainer.quantised,
        trainer.epoch,
        trainer.evaluate("validation").figures,
        trainer.evaluate("test").figures if test else None,
        trainer.wall_s,
        trainer.cpu_s,
    )
    for name, content in trainer.task.files().items():
        (out_dir / name).write_bytes(content)
    save_trained(result.weights, trainer.model, trainer.recipe, result.facts())
    return result


class Trainer:
    """A network in training and all that its next step depends on."""

    def __init__(self, recipe: Recipe, task: Task, *, quantised: bool, teacher: nn.Module | None = None) -> None:
        self.recipe, self.task, self.quantised = recipe, task, quantised
        self.teacher = teacher
        self.teacher_digest = None if teacher is None else digest(teacher)
        family = importlib.import_module(f"edgeq.models.{recipe.family}")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.training.seed)
            self.model: nn.Module = family.build(recipe.model, quantised=quantised)
            if teacher is not None and recipe.distillation is not None and recipe.distillation.start:
                family.load_latents(self.model, teacher.state_dict())
        self.optimiser = optimiser(self.model, recipe.training)
        self.epoch = 0
        self.wall_s = 0.0
        self.cpu_s = 0.0
        self.best: dict[str, Any] | None = None  # {"goodness", "model"} of the best epoch, where that is kept

    def run_epoch(self) -> Progress:
        """One pass over the training items in an order that follows from seed and epoch alone."""
        t, steps = self.recipe.training, self.task.steps()
        wall, cpu = time.perf_counter(), time.process_time()
        seed = t.seed * 1_000_003 + self.epoch + 1
        generator = torch.Generator().manual_seed(seed)
        loss_sum = accuracy_sum = rate = 0.0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)  # for dropout
            if self.epoch == 0:
                self.task.prepare(self.model, self.teacher)
            self.model.train()
            for step, batch in enumerate(self.task.epoch(self.epoch, generator), self.epoch * steps):
                self._enter_phase(step)
                rate = learning_rate(t, step, steps)
                set_rate(self.optimiser, rate)
                loss, accuracy = self.task.loss(self.model, batch, self.teacher)
                self.optimiser.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                if t.largest_gradient:
                    nn.utils.clip_grad_norm_(self.model.parameters(), t.largest_gradient)
                self.optimiser.step()
                loss_sum += float(loss.detach())
                accuracy_sum += accuracy
        self.epoch += 1
        scores = self.evaluate("validation")
        self._keep_best(scores)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        self.wall_s += wall
        self.cpu_s += cpu
        return Progress(
            self.epoch, t.all_epochs, loss_sum / steps, accuracy_sum / steps, scores.figures, rate, wall, cpu
        )

    def evaluate(self, part: Part) -> Scores:
        self.model.eval()
        with torch.no_grad():
            return self.task.evaluate(self.model, part)

    def choose_weights(self) -> None:
        """After the last epoch: the best epoch's weights, if the recipe says so."""
        if self.best is not None:
            self.model.load_state_dict(self.best["model"])

    def _keep_best(self, scores: Scores) -> None:
        if self.recipe.training.keep == "best" and (self.best is None or scores.goodness > self.best["goodness"]):
            state = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
            self.best = {"goodness": scores.goodness, "model": state}

    def _enter_phase(self, step: int) -> None:
        """Activations are binary always; bounds and weights follow at their steps."""
        if not isinstance(self.model, Phased):
            return
        t, per_epoch = self.recipe.training, self.task.steps()
        bounds, weights = int(t.bounds_epoch * per_epoch), int(t.weights_epoch * per_epoch)
        if step % per_epoch == 0 or step in (bounds, weights):
            self.model.set_weight_quantisation(step >= weights)
            if step < bounds:
                self.model.start_calibration()
            elif step == bounds:
                self.model.freeze_bounds()

    def save(self, path: Path) -> None:
        """Write the checkpoint beside `path` and move it into place."""
        state = {
            "recipe": json.dumps(self.recipe.as_dict()),
            "quantised": self.quantised,
            "teacher": self.teacher_digest,
            "epoch": self.epoch,
            "wall_s": self.wall_s,
            "cpu_s": self.cpu_s,
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "best": self.best,
        }
        partial = path.with_name(path.name + ".part")
        with open(partial, "wb") as stream:
            torch.save(state, stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(partial, path)

    def load(self, path: Path) -> None:
        """Go on from a checkpoint of the same recipe.

        `epochs` and `decay_epochs` may differ as long as no decay has begun, the restart as long as it has not: what
        follows is then the run that the new recipe describes.
        raises  FormatError if the file is no checkpoint, UsageError if it belongs to another run
        """
        try:
            state: dict[str, Any] = torch.load(path, weights_only=True)
            stored = recipe_from(json.loads(state["recipe"]), str(path)).as_dict()
            epoch, quantised = int(state["epoch"]), bool(state["quantised"])
            if (quantised, state["teacher"]) != (self.quantised, self.teacher_digest) or not _same_until(
                epoch, stored, self.recipe.as_dict()
            ):
                raise UsageError(f"{path}: belongs to another run; delete it or start without resuming")
            self.model.load_state_dict(state["model"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.best = state["best"]
            self.wall_s, self.cpu_s = float(state["wall_s"]), float(state["cpu_s"])
        except UsageError:
            raise
        except Exception as error:  # torch.load raises many kinds for a damaged file
            raise FormatError(f"{path}: not a checkpoint of this network: {error}") from error
        self.epoch = epoch


def _same_until(epoch: int, one: dict[str, Any], two: dict[str, Any]) -> bool:
    """Whether two recipes describe the same first `epoch` epochs. Changes both arguments."""
    begun = False  # a restart that only one of them has, or has otherwise
    for key in ("restart_epochs", "restart"):
        a, b = one["training"].pop(key), two["training"].pop(key)
        begun = begun or (a != b and epoch > min(one["training"]["epochs"], two["training"]["epochs"]))
    if one == two:
        return not begun
    starts = [float(recipe["training"].pop("epochs")) - recipe["training"].pop("decay_epochs") for recipe in (one, two)]
    return one == two and epoch <= min(starts)
