"""Recipes, data and the training loop, on pictures small and few enough for seconds."""

import gzip
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from edgeq._errors import EdgeQError, FormatError, IntegrityError, NotFoundError, UsageError
from edgeq.data import Split
from edgeq.train import load_trained, read_recipe, run
from edgeq.train.augment import Augmenter
from edgeq.train.tasks import fashion_mnist

ROOT = Path(__file__).parents[2]
RECIPE = """
name = "tiny"
[model]
family = "pokebnn"
width = 0.125
classes = 3
in_channels = 1
blocks = [1, 1, 1, 1]
[data]
name = "fashion-mnist"
validation_items = 12
mean = 0.3
deviation = 0.4
shift_pixels = 1
flip = true
[training]
seed = 7
epochs = 4
batch = 8
learning_rate = 3e-3
beta1 = 0.9
beta2 = 0.99
warmup_epochs = 0.5
decay_epochs = 2
label_smoothing = 0.1
bounds_epoch = 0.5
weights_epoch = 1
"""


def pictures(split: str) -> Split:
    """Three classes told apart by which third of the 12 x 12 picture is bright."""
    rng = np.random.default_rng(len(split))
    y = np.arange(44, dtype=np.int64) % 3
    x = rng.integers(0, 60, (44, 12, 12)).astype(np.uint8)
    for i, label in enumerate(y):
        x[i, 4 * label : 4 * label + 4] += 150
    return Split(x, y, "thirds", split)


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    return path


class Stop(Exception):
    """Stands for a crash between two epochs."""


def weights(path: Path) -> dict[str, torch.Tensor]:
    with safe_open(path, "pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118


def train(recipe: Path, out: Path, *, stop_after: int | None = None, **options):
    def progress(report):
        if report.epoch == stop_after:
            raise Stop

    return run(recipe, out, progress=progress, make_task=thirds, **options)


def thirds(recipe):
    return fashion_mnist.make(recipe, pictures)


def assert_same(one: Path, two: Path) -> None:
    a, b = weights(one), weights(two)
    assert a.keys() == b.keys()
    assert [key for key in a if not torch.equal(a[key], b[key])] == []


@pytest.mark.parametrize("stop_after", [1, 3])
def test_an_interrupted_run_ends_bit_identical(recipe, tmp_path, stop_after):
    whole = train(recipe, tmp_path / "whole")
    with pytest.raises(Stop):
        train(recipe, tmp_path / "parts", stop_after=stop_after)
    resumed = train(recipe, tmp_path / "parts")
    assert_same(whole.weights, resumed.weights)
    assert (whole.validation, whole.test) == (resumed.validation, resumed.test)


def test_epochs_may_change_before_the_decay_and_not_after(recipe, tmp_path):
    with pytest.raises(Stop):
        train(recipe, tmp_path / "a", stop_after=2)
    with pytest.raises(Stop):
        train(recipe, tmp_path / "b", stop_after=3)
    changed = RECIPE.replace("epochs = 4\nbatch", "epochs = 5\nbatch").replace("decay_epochs = 2", "decay_epochs = 3")
    recipe.write_text(changed)
    longer = train(recipe, tmp_path / "a")
    assert_same(train(recipe, tmp_path / "c").weights, longer.weights)
    with pytest.raises(UsageError, match="belongs to another run"):
        train(recipe, tmp_path / "b")
    assert train(recipe, tmp_path / "b", resume=False).epochs == 5


def test_a_run_learns_and_leaves_weights_with_their_story(recipe, tmp_path):
    reports = []
    result = run(recipe, tmp_path, progress=reports.append, make_task=thirds)
    assert [r.epoch for r in reports] == [1, 2, 3, 4] and reports[-1].loss < reports[0].loss
    assert result.test is not None and result.quantised and result.cpu_s > 0
    with safe_open(result.weights, "pt") as file:
        metadata = file.metadata()
    assert json.loads(metadata["recipe"])["training"]["seed"] == 7
    assert json.loads(metadata["result"])["validation_accuracy"] == result.validation["accuracy"]
    bounds = [t for name, t in weights(result.weights).items() if name.endswith("bounds")]
    assert bounds and all((b != -1).any() for b in bounds)
    assert not list(tmp_path.glob("*.part"))
    trained = load_trained(result.weights)
    model, stored = trained.model, trained.recipe
    assert stored == read_recipe(recipe) and not model.training
    test = pictures("test")
    plain = stored.data.augmenter().plain(torch.from_numpy(test.x))
    assert float((model(plain).argmax(1).numpy() == test.y).mean()) == result.test["accuracy"]


def test_trained_weights_that_were_tampered_with_are_refused(recipe, tmp_path):
    result = run(recipe, tmp_path, make_task=thirds)
    with safe_open(result.weights, "pt") as file:
        metadata = file.metadata()
    tensors = weights(result.weights)

    def refused(text: str) -> None:
        with pytest.raises(FormatError, match=text):
            load_trained(result.weights)

    name = "blocks.0.conv1.bn1.scale"
    save_file({**tensors, name: torch.full((8,), torch.nan)}, result.weights, metadata)
    refused(f"{name} holds numbers that are not finite")
    save_file({**tensors, name: torch.ones(9)}, result.weights, metadata)
    refused("tensors do not fit the recipe")
    save_file({key: t for key, t in tensors.items() if key != name}, result.weights, metadata)
    refused("tensors do not fit the recipe")
    save_file(tensors, result.weights, {**metadata, "recipe": "{}"})
    refused("no metadata of a training run")
    save_file(tensors, result.weights)
    refused("no metadata of a training run")
    result.weights.write_bytes(b"\xff" * 100)
    refused("not a safetensors file")
    result.weights.unlink()
    with pytest.raises(NotFoundError):
        load_trained(result.weights)


def test_the_twin_has_no_quantisers_and_the_test_split_can_be_left_alone(recipe, tmp_path):
    def only_train(split):
        assert split == "train"
        return pictures(split)

    result = run(recipe, tmp_path, twin=True, test=False, make_task=lambda r: fashion_mnist.make(r, only_train))
    assert result.test is None and not result.quantised
    with pytest.raises(UsageError, match="belongs to another run"):
        run(recipe, tmp_path, make_task=thirds)


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 no archive", None])
def test_a_damaged_checkpoint_is_refused(recipe, tmp_path, damage):
    with pytest.raises(Stop):
        train(recipe, tmp_path, stop_after=1)
    checkpoint = tmp_path / "checkpoint.pt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:5000] if damage is None else damage)
    with pytest.raises(FormatError, match="not a checkpoint"):
        train(recipe, tmp_path)


def test_too_few_pictures_are_refused(recipe, tmp_path):
    few = Split(np.zeros((15, 12, 12), np.uint8), np.zeros(15, np.int64), "few", "train")
    with pytest.raises(UsageError, match="do not fill a batch"):
        run(recipe, tmp_path, make_task=lambda r: fashion_mnist.make(r, lambda split: few))


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("seed = 7", "sede = 7", "unknown key training.sede"),
        ("seed = 7\n", "", "training.seed is missing"),
        ("batch = 8", "batch = 8.5", "training.batch: expected int"),
        ("batch = 8", "batch = true", "training.batch: expected int"),
        ("batch = 8", "batch = 1", "training.batch must be between"),
        ("learning_rate = 3e-3", "learning_rate = nan", "training.learning_rate must be"),
        ("decay_epochs = 2", "decay_epochs = 4", "training.decay_epochs must be"),
        ("flip = true", "flip = 1", "data.flip: expected bool"),
        ("[1, 1, 1, 1]", "[1, 1, 1]", "model.blocks: expected 4 integers"),
        ("width = 0.125", "width = 0.01", "width"),
        ('family = "pokebnn"', 'family = "other"', "model.family"),
        ('name = "fashion-mnist"', 'name = "other"', "data.name"),
        ("[training]", "[more]\n[training]", "unknown key more"),
        ("[data]", "[data", "TOML"),
        ('name = "tiny"', "name = 1", "name: expected str"),
        ("seed = 7", f"seed = {'[' * 20000}", "TOML"),
    ],
)
def test_recipes_are_refused_by_key(recipe, old, new, text):
    assert old in RECIPE
    recipe.write_text(RECIPE.replace(old, new, 1))
    with pytest.raises(FormatError, match=text):
        read_recipe(recipe)


def test_recipes_that_are_no_files(tmp_path):
    with pytest.raises(NotFoundError):
        read_recipe(tmp_path / "none.toml")
    (tmp_path / "large.toml").write_bytes(b"#" * 70_000)
    with pytest.raises(FormatError, match="larger than"):
        read_recipe(tmp_path / "large.toml")
    with pytest.raises(EdgeQError):
        read_recipe(tmp_path)


@pytest.mark.parametrize("path", sorted((ROOT / "zoo").glob("*/recipe.toml")), ids=lambda p: p.parent.name)
def test_recipes_of_the_zoo_are_valid(path):
    assert read_recipe(path).name == path.parent.name


def test_augmentation_moves_and_mirrors_and_nothing_else():
    augmenter = Augmenter(0.25, 0.5, shift_pixels=2, flip=True)
    image = torch.arange(1, 37, dtype=torch.uint8).view(1, 6, 6)
    padded = torch.nn.functional.pad(image[0], (2, 2, 2, 2))
    allowed = {
        bytes(view.contiguous().numpy())
        for dy in range(5)
        for dx in range(5)
        for view in (padded[dy : dy + 6, dx : dx + 6], padded[dy : dy + 6, dx : dx + 6].flip(1))
    }
    varied = augmenter.varied(image.expand(400, 6, 6), torch.Generator().manual_seed(1))
    back = ((varied * 0.5 + 0.25) * 255).round().to(torch.uint8)[..., 0]
    seen = {bytes(picture.contiguous().numpy()) for picture in back}
    assert seen <= allowed and len(seen) == 50
    again = augmenter.varied(image.expand(400, 6, 6), torch.Generator().manual_seed(1))
    assert torch.equal(varied, again)


def test_fashion_mnist_of_this_machine():
    try:
        split = fashion_mnist.load("train")
    except NotFoundError as error:
        pytest.skip(str(error))
    assert split.x.shape == (60_000, 28, 28) and np.bincount(split.y).tolist() == [6000] * 10


def test_other_pictures_under_the_same_name_are_refused(tmp_path):
    with pytest.raises(NotFoundError):
        fashion_mnist.load("train", tmp_path)
    body = b"\0\0\x08\x03" + np.array([2, 28, 28], ">u4").tobytes() + bytes(2 * 28 * 28)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(body))
    digest = hashlib.sha256(bytes(2 * 28 * 28)).hexdigest()[:12]
    with pytest.raises(IntegrityError, match=digest):
        fashion_mnist.load("train", tmp_path)
