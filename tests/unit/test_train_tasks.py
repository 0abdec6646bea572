"""What recipes may ask for beyond a plain run: teachers, the best epoch, rates by name, small squares, digits."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from edgeq._errors import FormatError, UsageError
from edgeq.data import Split
from edgeq.datasets import fsdd
from edgeq.train import load_trained, read_recipe, run
from edgeq.train.augment import Augmenter
from edgeq.train.optimiser import learning_rate, optimiser
from edgeq.train.recipe import TrainingRecipe
from edgeq.train.tasks import cifar10, fashion_mnist
from edgeq.train.tasks.fsdd import SpokenDigits

ROOT = Path(__file__).parents[2]
SHIFT = 'family = "denseshift"\nclasses = 3\nin_channels = 1\nwidths = [4]\nblocks = [1]'
VIT = """family = "bivit"
image = [12, 12]\nclasses = 3\nin_channels = 1\npatch = 4\ndim = 8\ndepth = 1\nheads = 2\nhidden = 8
attention_dropout = 0.2"""
PICTURES = 'name = "fashion-mnist"\nvalidation_items = 12\nmean = 0.3\ndeviation = 0.4\nshift_pixels = 1\nflip = true'
TRAINING = "seed = 7\nepochs = 3\nbatch = 8\nlearning_rate = 1e-2\nwarmup_epochs = 0.5\ndecay_epochs = 2"
TAUGHT = "[distillation]\nweight = 0.5\ntemperature = 2"


def pictures(split: str) -> Split:
    """Three classes told apart by which third of the 12 x 12 picture is bright."""
    rng = np.random.default_rng(len(split))
    y = np.arange(44, dtype=np.int64) % 3
    x = rng.integers(0, 60, (44, 12, 12)).astype(np.uint8)
    for i, label in enumerate(y):
        x[i, 4 * label : 4 * label + 4] += 150
    return Split(x, y, "thirds", split)


def thirds(recipe):
    return fashion_mnist.make(recipe, pictures)


@pytest.fixture
def write(tmp_path):
    def write(model: str = SHIFT, more: str = "", data: str = PICTURES, training: str = TRAINING) -> Path:
        path = tmp_path / "recipe.toml"
        path.write_text(f'name = "tiny"\n[model]\n{model}\n[data]\n{data}\n[training]\n{training}\n{more}\n')
        return path

    return write


def tensors(path: Path) -> dict[str, torch.Tensor]:
    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.offset_keys()}


def assert_same(one: Path, two: Path) -> None:
    a, b = tensors(one), tensors(two)
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


class Stop(Exception):
    """Stands for a crash between two epochs."""


def crash_after(epoch: int):
    def progress(report):
        if report.epoch == epoch and not report.of_teacher:
            raise Stop

    return progress


@pytest.mark.parametrize("model", [SHIFT, VIT], ids=["denseshift", "bivit"])
def test_a_taught_run_trains_its_teacher_first_and_resumes_bit_identical(write, tmp_path, model):
    recipe = write(model, TAUGHT)
    told = []
    whole = run(recipe, tmp_path / "whole", progress=told.append, make_task=thirds)
    assert [report.of_teacher for report in told] == [True] * 3 + [False] * 3
    with pytest.raises(Stop):
        run(recipe, tmp_path / "parts", progress=crash_after(2), make_task=thirds)
    resumed = run(recipe, tmp_path / "parts", make_task=thirds)
    assert_same(whole.weights, resumed.weights)
    teacher = tmp_path / "whole" / "teacher"
    assert_same(teacher / "model.safetensors", run(recipe, tmp_path / "twin", twin=True, make_task=thirds).weights)
    given = run(recipe, tmp_path / "given", teacher=teacher, make_task=thirds)
    assert_same(whole.weights, given.weights)
    assert not (tmp_path / "given" / "teacher").exists()
    trained = load_trained(whole.weights)
    assert trained.recipe == read_recipe(recipe) and trained.recipe.distillation is not None
    assert not load_trained(teacher / "model.safetensors").result["quantised"]


def test_the_teacher_changes_what_is_learnt_and_belongs_to_the_run(write, tmp_path):
    plain = run(write(), tmp_path / "plain", make_task=thirds)
    recipe = write(more=TAUGHT)
    with pytest.raises(Stop):
        run(recipe, tmp_path / "taught", progress=crash_after(1), make_task=thirds)
    taught = run(recipe, tmp_path / "taught", make_task=thirds)
    assert not torch.equal(tensors(plain.weights)["head.weight"], tensors(taught.weights)["head.weight"])
    other = tmp_path / "other"
    run(write(training=TRAINING.replace("seed = 7", "seed = 8")), other, twin=True, make_task=thirds)
    with pytest.raises(UsageError, match="belongs to another run"):
        run(write(more=TAUGHT), tmp_path / "taught", teacher=other, make_task=thirds)


def test_a_student_may_start_from_its_teacher(write, tmp_path):
    still = TRAINING.replace("learning_rate = 1e-2", "learning_rate = 0")
    recipe = write(VIT, "[distillation]\nstart = true", training=still)
    result = run(recipe, tmp_path / "out", make_task=thirds)
    teacher, student = (tensors(p / "model.safetensors") for p in (tmp_path / "out" / "teacher", tmp_path / "out"))
    assert all(torch.equal(tensor, student[name]) for name, tensor in teacher.items())
    assert {name for name in student if name not in teacher} == {name for name in student if name.endswith("alpha")}
    assert result.quantised


def test_the_best_epoch_is_kept(write, tmp_path):
    told = []
    recipe = write(training=TRAINING + '\nkeep = "best"\noptimiser = "adamw"\nweight_decay = 0.1')
    result = run(recipe, tmp_path, progress=told.append, make_task=thirds)
    assert result.validation["accuracy"] == max(report.validation["accuracy"] for report in told)


def test_rates_go_by_name_and_the_decay_may_be_a_cosine():
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 2))
    recipe = TrainingRecipe(1, 10, 8, 0.1, rates={"1.*": 0.5, "*.bias": 3.0})
    groups = optimiser(model, recipe).param_groups
    assert {group["factor"]: len(group["params"]) for group in groups} == {1.0: 1, 0.5: 2, 3.0: 1}
    cosine = TrainingRecipe(1, 10, 8, 0.1, warmup_epochs=1, decay_epochs=4, decay="cosine")
    rates = [learning_rate(cosine, step, 10) for step in range(100)]
    assert rates[0] == pytest.approx(0.01) and rates[10:60] == [0.1] * 50
    assert rates[80] == pytest.approx(0.05) and 0 < rates[99] < 2e-4 and rates[60:] == sorted(rates[60:], reverse=True)


def test_a_restart_lengthens_a_finished_run(write, tmp_path):
    recipe = TrainingRecipe(1, 10, 8, 0.1, warmup_epochs=1, decay_epochs=4, restart_epochs=5, restart=0.5)
    rates = [learning_rate(recipe, step, 10) for step in range(150)]
    assert rates[99] == pytest.approx(0.0025) and rates[100] == 0.05 and rates[125] == 0.025 and 0 < rates[149] < 2e-3
    run(write(), tmp_path / "parts", make_task=thirds)
    more = TRAINING + "\nrestart_epochs = 2"
    whole = run(write(training=more), tmp_path / "whole", make_task=thirds)
    longer = run(write(training=more), tmp_path / "parts", make_task=thirds)
    assert whole.epochs == longer.epochs == 5
    assert_same(whole.weights, longer.weights)
    with pytest.raises(UsageError, match="belongs to another run"):
        run(write(training=more + "\nrestart = 0.4"), tmp_path / "parts", make_task=thirds)


def test_gradients_may_be_limited(write, tmp_path):
    free = run(write(), tmp_path / "free", make_task=thirds)
    limited = run(write(training=TRAINING + "\nlargest_gradient = 1e-3"), tmp_path / "limited", make_task=thirds)
    assert not torch.equal(tensors(free.weights)["head.weight"], tensors(limited.weights)["head.weight"])


def colours(split: str) -> Split:
    rng = np.random.default_rng(1)
    return Split(rng.integers(0, 256, (30, 32, 32, 3)).astype(np.uint8), np.arange(30) % 10, "colours", split)


def test_small_squares_until_the_rate_falls(write):
    data = """name = "cifar10"
validation_items = 10\nmean = [0.1, 0.2, 0.3]\ndeviation = [1, 2, 4]\nshift_pixels = 2\nflip = true\nsmall_side = 24"""
    task = cifar10.make(read_recipe(write(data=data)), colours)
    sides = [[inputs.shape[1:] for inputs, _ in task.epoch(number, torch.Generator())] for number in range(3)]
    assert sides == [[(24, 24, 3)] * 2, [(32, 32, 3)] * 2, [(32, 32, 3)] * 2]
    inputs, _ = task.validation
    want = (inputs / 255 - torch.tensor([0.1, 0.2, 0.3])) / torch.tensor([1, 2, 4])
    torch.testing.assert_close(task.plain(inputs), want)


def test_squares_come_from_everywhere_in_the_picture():
    image = torch.arange(1, 37, dtype=torch.uint8).view(1, 6, 6)
    augmenter = Augmenter(0.0, 1 / 255, shift_pixels=0, flip=False)
    views = augmenter.varied(image.expand(300, 6, 6), torch.Generator().manual_seed(1), side=4)
    corners = {int(view[0, 0, 0].round()) for view in views}
    assert views.shape == (300, 4, 4, 1) and corners == {
        1 + 6 * row + column for row in range(3) for column in range(3)
    }


def test_a_recipe_may_leave_classes_out(write):
    """As for a base that is taught them later."""
    task = fashion_mnist.make(read_recipe(write(data=PICTURES + "\nlabels = 2")), pictures)
    parts = {"training": task.labels, "validation": task.validation[1], "test": task.test_part()[1]}
    assert {name: sorted(set(y.tolist())) for name, y in parts.items()} == {name: [0, 1] for name in parts}
    whole = pictures("train")
    known = whole.x[whole.y < 2]
    assert len(task.labels) == len(known) - 12 and len(parts["test"]) == len(known)
    kept = torch.cat([task.inputs, task.validation[0]]).squeeze(-1)
    torch.testing.assert_close(kept, torch.from_numpy(known))
    for count in (1, 11):
        with pytest.raises(FormatError, match=r"data.labels"):
            read_recipe(write(data=f"{PICTURES}\nlabels = {count}"))


def recordings() -> fsdd.Recordings:
    """Every digit by every speaker in some takes, each digit a tone of its own, of 700 samples."""
    order = [(t, s, d) for t in (0, 4, 5, 20, 47, 48, 49) for s in range(6) for d in range(10)]
    take, speaker, digit = np.array(order).T
    tones = [(3000 * np.sin(np.arange(700) * (0.2 + 0.25 * d))).astype(np.int16) for d in range(10)]
    return fsdd.Recordings([tones[d] for d in digit], digit, speaker, take)


SPEECH = 'name = "fsdd"\nvalidation_takes = 2\n'
STILL = "speeds = [1]\nshift_frames = 0\nmask_bands = 0\nmask_frames = 0\ntilt = 0"


def test_spoken_digits_are_split_by_take_or_by_speaker(write):
    task = SpokenDigits(read_recipe(write(data=SPEECH + STILL)), recordings())
    assert (len(task.labels), len(task.validation[1]), len(task.test_part()[1])) == (180, 120, 120)
    task = SpokenDigits(read_recipe(write(data=SPEECH + STILL + '\nheld_out = "theo"')), recordings())
    assert (len(task.labels), len(task.validation[1]), len(task.test_part()[1])) == (250, 100, 70)
    for change, text in [
        ("validation_takes = 0", "data.validation_takes"),
        ('held_out = "tom"', "held_out must be one"),
    ]:
        key = re.match(r"\w+", change).group()
        table = re.sub(rf"{key} = .*\n", "", SPEECH) + change
        with pytest.raises(FormatError, match=text):
            read_recipe(write(data=table))


def test_spoken_digits_are_varied_and_only_in_training(write):
    still = SpokenDigits(read_recipe(write(data=SPEECH + STILL)), recordings())
    items = torch.arange(0, 180, 7)
    same = still.varied(items, 0, torch.Generator().manual_seed(1))
    assert torch.equal(same, still.plain(still.inputs[items, 0])) and same.shape[1:] == (49, 40, 1)
    task = SpokenDigits(read_recipe(write(data=SPEECH)), recordings())
    assert task.inputs.shape[1] == 5
    one, two, three = (task.varied(items, 0, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, two) and not torch.equal(one, three)
    masked = (one == 0).float()
    assert 0 < masked.mean() < 0.4
    assert torch.equal(task.validation[0], still.validation[0])


def test_folds_leave_one_speaker_out(monkeypatch, write):
    monkeypatch.syspath_prepend(ROOT / "tools")
    import leave_one_speaker_out as tool

    text = (ROOT / "zoo/denseshift-kws/recipe.toml").read_text()
    path = write()
    for speaker in fsdd.SPEAKERS:
        path.write_text(tool.fold(text, speaker, 12))
        recipe = read_recipe(path)
        assert recipe.data.held_out == speaker and recipe.training.epochs == 12
        assert recipe.training.decay_epochs == 12 - recipe.training.warmup_epochs
    path.write_text(tool.fold(text, "theo", None))
    assert read_recipe(path).training.epochs == read_recipe(ROOT / "zoo/denseshift-kws/recipe.toml").training.epochs
    sys.modules.pop("leave_one_speaker_out")
