"""The training loop: deterministic from the recipe's seed, one atomic checkpoint per epoch, resumable bit for bit."""

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from edgeq._errors import FormatError, UsageError
from edgeq.data import Split
from edgeq.models import pokebnn
from edgeq.train import fashion_mnist
from edgeq.train._memory import keep_freed_memory
from edgeq.train.augment import Augmenter
from edgeq.train.recipe import Recipe, read_recipe
from edgeq.train.weights import save_trained

CHECKPOINT = "checkpoint.pt"
WEIGHTS = "model.safetensors"
EVALUATION_BATCH = 500


class Loader(Protocol):
    """Gives a split of the data set; the default is `fashion_mnist.load`."""

    def __call__(self, split: Literal["train", "test"], /) -> Split: ...


@dataclass(frozen=True)
class Progress:
    """One epoch, as told to the progress callback. Accuracies are fractions of 1; losses include smoothing."""

    epoch: int
    epochs: int
    loss: float
    training_accuracy: float  # on varied pictures, while the weights were moving
    validation_accuracy: float
    learning_rate: float
    wall_s: float  # of this epoch
    cpu_s: float


@dataclass(frozen=True)
class TrainResult:
    """What a finished run gives. Accuracies are fractions of 1."""

    weights: Path  # model.safetensors: latents, statistics and bounds; the recipe is in its metadata
    quantised: bool
    epochs: int
    validation_accuracy: float
    test_accuracy: float | None  # None: the test split was left alone
    wall_s: float  # over all epochs, interruptions left out
    cpu_s: float


def run(
    recipe_path: Path,
    out_dir: Path,
    *,
    resume: bool = True,
    progress: Callable[[Progress], None] | None = None,
    twin: bool = False,
    test: bool = True,
    loader: Loader = fashion_mnist.load,
) -> TrainResult:
    """Train the recipe's network and write `out_dir/model.safetensors`.

    resume  go on from `out_dir/checkpoint.pt` if there is one; otherwise start anew and overwrite it
    twin    the float twin: same network, data and steps, quantisers left out
    test    read the test split once, after the last epoch
    raises  FormatError for a bad recipe or checkpoint, NotFoundError or IntegrityError for the data
    """
    recipe = read_recipe(recipe_path)
    out_dir.mkdir(parents=True, exist_ok=True)
    keep_freed_memory()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the order of sums, and so the result, must not depend on the number of cores
    try:
        return _train(recipe, out_dir, resume, progress, twin, test, loader)
    finally:
        torch.set_num_threads(threads)


def _train(
    recipe: Recipe,
    out_dir: Path,
    resume: bool,
    progress: Callable[[Progress], None] | None,
    twin: bool,
    test: bool,
    loader: Loader,
) -> TrainResult:
    trainer = Trainer(recipe, loader("train"), quantised=not twin)
    checkpoint = out_dir / CHECKPOINT
    if resume and checkpoint.exists():
        trainer.load(checkpoint)
    while trainer.epoch < recipe.training.epochs:
        report = trainer.run_epoch()
        trainer.save(checkpoint)
        if progress is not None:
            progress(report)
    validation = trainer.validate()
    tested = trainer.evaluate(loader("test")) if test else None
    result = TrainResult(out_dir / WEIGHTS, not twin, trainer.epoch, validation, tested, trainer.wall_s, trainer.cpu_s)
    facts = {key: value for key, value in asdict(result).items() if key != "weights"}
    save_trained(result.weights, trainer.model, recipe, facts)
    return result


class Trainer:
    """A network in training and all that its next step depends on."""

    def __init__(self, recipe: Recipe, train: Split, *, quantised: bool) -> None:
        t = recipe.training
        held_out = recipe.data.validation_items
        images, labels = _tensors(train)
        if len(images) - held_out < t.batch:
            raise UsageError(f"{len(images)} training items less {held_out} for validation do not fill a batch")
        self.recipe = recipe
        self.quantised = quantised
        self.images, self.labels = images[:-held_out], labels[:-held_out]
        self.validation = images[-held_out:], labels[-held_out:]
        self.augmenter = Augmenter(recipe.data)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(t.seed)
            self.model = pokebnn.build(recipe.model, quantised=quantised)
        self.optimiser = torch.optim.Adam(
            self.model.parameters(), lr=t.learning_rate, betas=(t.beta1, t.beta2), fused=True
        )
        self.epoch = 0
        self.wall_s = 0.0
        self.cpu_s = 0.0

    @property
    def steps_per_epoch(self) -> int:
        return len(self.images) // self.recipe.training.batch  # the odd rest is left out

    def run_epoch(self) -> Progress:
        """One pass over the training items in an order that follows from seed and epoch alone."""
        t = self.recipe.training
        wall, cpu = time.perf_counter(), time.process_time()
        generator = torch.Generator().manual_seed(t.seed * 1_000_003 + self.epoch + 1)
        order = torch.randperm(len(self.images), generator=generator)
        self.model.train()
        loss_sum, correct = 0.0, 0
        for index in range(self.steps_per_epoch):
            step = self.epoch * self.steps_per_epoch + index
            self._enter_phase(step)
            rate = self.learning_rate(step)
            self.optimiser.param_groups[0]["lr"] = rate
            chosen = order[index * t.batch : (index + 1) * t.batch]
            logits = self.model(self.augmenter.varied(self.images[chosen], generator))
            labels = self.labels[chosen]
            loss = nn.functional.cross_entropy(logits, labels, label_smoothing=t.label_smoothing)
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimiser.step()
            loss_sum += float(loss.detach())
            correct += int((logits.detach().argmax(1) == labels).sum())
        self.epoch += 1
        validation = self.validate()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        self.wall_s += wall
        self.cpu_s += cpu
        steps = self.steps_per_epoch
        accuracy = correct / (steps * t.batch)
        return Progress(self.epoch, t.epochs, loss_sum / steps, accuracy, validation, rate, wall, cpu)

    def learning_rate(self, step: int) -> float:
        """Linear warm-up from 0, constant, linear decay to 0 that ends with the last step."""
        t, per_epoch = self.recipe.training, self.steps_per_epoch
        warmup, decay = t.warmup_epochs * per_epoch, t.decay_epochs * per_epoch
        factor = min(1.0, (step + 1) / max(warmup, 1.0), (t.epochs * per_epoch - step) / max(decay, 1.0))
        return t.learning_rate * factor

    def validate(self) -> float:
        images, labels = self.validation
        return self._accuracy(images, labels)

    def evaluate(self, split: Split) -> float:
        """Fraction of pictures whose largest logit is the label's."""
        return self._accuracy(*_tensors(split))

    def _accuracy(self, images: Tensor, labels: Tensor) -> float:
        self.model.eval()
        correct = 0
        with torch.inference_mode():
            for start in range(0, len(images), EVALUATION_BATCH):
                part = slice(start, start + EVALUATION_BATCH)
                logits = self.model(self.augmenter.plain(images[part]))
                correct += int((logits.argmax(1) == labels[part]).sum())
        return correct / len(images)

    def _enter_phase(self, step: int) -> None:
        """Activations are binary always; bounds and weights follow at their steps."""
        t, per_epoch = self.recipe.training, self.steps_per_epoch
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
            "epoch": self.epoch,
            "wall_s": self.wall_s,
            "cpu_s": self.cpu_s,
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }
        partial = path.with_name(path.name + ".part")
        with open(partial, "wb") as stream:
            torch.save(state, stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(partial, path)

    def load(self, path: Path) -> None:
        """Go on from a checkpoint of the same recipe.

        `epochs` and `decay_epochs` may differ as long as no decay has begun: what follows is then the run that the
        new recipe describes.
        raises  FormatError if the file is no checkpoint, UsageError if it belongs to another run
        """
        try:
            state: dict[str, Any] = torch.load(path, weights_only=True)
            stored = json.loads(state["recipe"])
            epoch, quantised = int(state["epoch"]), bool(state["quantised"])
            if quantised != self.quantised or not _same_until(epoch, stored, self._recipe_as_json()):
                raise UsageError(f"{path}: belongs to another run; delete it or start without resuming")
            self.model.load_state_dict(state["model"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.wall_s, self.cpu_s = float(state["wall_s"]), float(state["cpu_s"])
        except UsageError:
            raise
        except Exception as error:  # torch.load raises many kinds for a damaged file
            raise FormatError(f"{path}: not a checkpoint of this network: {error}") from error
        self.epoch = epoch

    def _recipe_as_json(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(json.dumps(self.recipe.as_dict()))
        return document


def _same_until(epoch: int, one: dict[str, Any], two: dict[str, Any]) -> bool:
    """Whether two recipes describe the same first `epoch` epochs. Changes both arguments."""
    if one == two:
        return True
    starts = [float(recipe["training"].pop("epochs")) - recipe["training"].pop("decay_epochs") for recipe in (one, two)]
    return one == two and epoch <= min(starts)


def _tensors(split: Split) -> tuple[Tensor, Tensor]:
    if split.x.ndim != 3:
        raise UsageError(f"{split.dataset}: the trainer takes grey pictures (n, h, w), got shape {split.x.shape}")
    return torch.from_numpy(split.x.copy()), torch.from_numpy(split.y)
