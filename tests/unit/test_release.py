"""From trained latents to a package and back: the packed network is the trained one."""

import pytest
import torch

from edgeq import keys, models, release
from edgeq._errors import FormatError
from edgeq.models import pokebnn
from edgeq.nn.phases import input_quantisers
from edgeq.package import verify_package
from edgeq.train import Trained
from edgeq.train.recipe import Recipe, TrainingRecipe
from edgeq.train.tasks import fashion_mnist

CONFIG = pokebnn.PokeBNNConfig(width=0.125, classes=10, in_channels=1, blocks=(1, 1, 1, 1))
DATA = fashion_mnist.Options("fashion-mnist", 5000, 0.286, 0.353, shift_pixels=1, flip=True)
TRAINING = TrainingRecipe(1, 1, 128, 3e-3, 0.9, 0.99, 0.0, 0.0, 0.1, 0.0, 0.0)


@pytest.fixture
def network() -> pokebnn.PokeBNN:
    torch.manual_seed(3)
    model = pokebnn.build(CONFIG).eval()
    for quantiser in input_quantisers(model):
        quantiser.bounds.fill_(2.5)
    for name, parameter in model.named_parameters():
        if name.endswith(("scale", "bias", "bias_x", "bias_y")):
            parameter.data.add_(torch.randn_like(parameter) * 0.3)
    return model


@pytest.fixture
def trained(network):
    def make(**result) -> Trained:
        about = {"quantised": True, "epochs": 1, "validation_accuracy": 0.5, "test_accuracy": None, **result}
        return Trained(network, Recipe("tiny", "pokebnn", CONFIG, DATA, TRAINING), about)

    return make


def test_package_holds_the_trained_network(network, trained, tmp_path):
    key = keys.load_private(keys.keygen("me").private)
    release.release(trained(), tmp_path / "package", version=1, key=key)
    package = verify_package(tmp_path / "package")
    model = models.from_package(package.config(), package.tensors())
    x = torch.randn(4, 28, 28, 1)
    with torch.no_grad():
        torch.testing.assert_close(model(x), network(x), rtol=1e-4, atol=1e-4)
    assert package.signed_by is not None
    assert package.manifest.metrics[0]["value"] == 50.0


def test_card_says_every_figure_with_its_label(trained, tmp_path):
    release.release(trained(test_accuracy=0.75), tmp_path / "package", version=1, key=None)
    card = (tmp_path / "package" / "README.md").read_text()
    assert "| accuracy | 75 % | measured | dataset fashion-mnist, split test" in card
    assert card.startswith("---\nlibrary_name: edgeq\n")


def test_twin_is_refused(trained, tmp_path):
    with pytest.raises(FormatError, match="float twin has no low-bit weights"):
        release.release(trained(quantised=False), tmp_path / "package", version=1, key=None)


def test_uncalibrated_network_is_refused(network, trained, tmp_path):
    network.head.input_quantiser.bounds.fill_(-1.0)
    with pytest.raises(FormatError, match=r"head.input_quantiser: its bounds were never set"):
        release.release(trained(), tmp_path / "package", version=1, key=None)
