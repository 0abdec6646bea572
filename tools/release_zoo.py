"""Make a zoo entry from a finished training run and its float twin: package, card, expectations.

    python tools/release_zoo.py zoo/pokebnn-fashion --run OUT --twin OUT --key KEY --version N

The network is packed, compiled and put on the local device; the whole test set is read there once. What came out goes
into the manifest and the card, and as expectations into `expected.json`, which the tests compare with.
"""

import argparse
import hashlib
import io
import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgeq import compile as compiler
from edgeq import data, keys, models, release
from edgeq.card import Card
from edgeq.device import connect
from edgeq.models import pokebnn
from edgeq.package import Metric, verify_package
from edgeq.train import Trained, load_trained

BUNDLED_ITEMS = 1000  # the first ones of the test split: what fits into a wheel
NOTICE = """Fashion-MNIST (the pictures in eval.npz): Copyright 2017 Zalando SE, https://tech.zalando.com

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("entry", type=Path)
    parser.add_argument("--run", type=Path, required=True, help="folder that `edgeq train` wrote")
    parser.add_argument("--twin", type=Path, required=True, help="the same for the float twin")
    parser.add_argument("--key", type=Path, required=True)
    parser.add_argument("--version", type=int, required=True)
    options = parser.parse_args()
    trained = load_trained(options.run / "model.safetensors")
    twin = load_trained(options.twin / "model.safetensors")
    test = data.full_test_set(trained.recipe.data.name)
    extra = {"eval.npz": npz(test.head(BUNDLED_ITEMS)), "LICENSE.fashion-mnist": NOTICE.encode()}
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / "draft"
        release.release(trained, draft, version=options.version, key=None, extra=extra)
        artefact, predictions = predict(draft, test)
    correct = predictions == test.y
    accuracy = percent(correct.mean())
    metrics = figures(trained, twin, accuracy, len(test), artefact)
    key = keys.load_private(options.key)
    package = options.entry / "package"
    about = card(trained, twin)
    manifest = release.release(
        trained, package, version=options.version, key=key, metrics=metrics, card=about, extra=extra
    )
    expected = {
        "accuracy": {"full": accuracy, "bundled": percent(correct[:BUNDLED_ITEMS].mean())},
        "items": {"full": len(test), "bundled": BUNDLED_ITEMS},
        "predictions_sha256": hashlib.sha256(predictions[:BUNDLED_ITEMS].tobytes()).hexdigest(),
        "artefact_bytes": artefact.size_bytes,
        "twin_accuracy": percent(twin.result["test_accuracy"]),
    }
    (options.entry / "expected.json").write_text(json.dumps(expected, indent=2) + "\n")
    print(f"{manifest.name} {manifest.version}: {accuracy:.2f} %, twin {expected['twin_accuracy']:.2f} %, {package}")
    return 0


def percent(share: float) -> float:
    return round(100 * float(share), 2)


def npz(split: data.Split) -> bytes:
    """The bundled split; its bytes do not depend on the clock."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, x=split.x, y=split.y.astype(np.uint8))
    return buffer.getvalue()


def predict(package: Path, test: data.Split) -> tuple[compiler.Artefact, np.ndarray]:
    """The compiled program, and its classes (n,) uint8 for every picture, from the local device."""
    verified = verify_package(package, allow_unsigned=True)
    artefact = compiler.build(verified)
    x = data.preprocess(test.x, verified.config())
    with connect("local") as device:
        logits = device.deploy(artefact.path).evaluate((x,)).outputs[0].reshape(len(x), -1)
    return artefact, logits.argmax(1).astype(np.uint8)


def figures(trained: Trained, twin: Trained, accuracy: float, n: int, artefact: compiler.Artefact) -> list[Metric]:
    """What the manifest and the card tell, each number with its label."""
    config = trained.recipe.model
    cost = pokebnn.ace(config, *release.PICTURES[trained.recipe.data.name])
    storage = weight_bytes(trained)
    test = {"dataset": trained.recipe.data.name, "split": "test", "n": n}
    counted = {"method": "counted from the architecture"}
    return [
        {
            "name": "accuracy",
            "value": accuracy,
            "unit": "%",
            "source": "measured",
            **test,
            "device": "local, .pte through ExecuTorch",
            "training_seed": trained.recipe.training.seed,
        },
        {
            "name": "accuracy_float_twin",
            "value": percent(twin.result["test_accuracy"]),
            "unit": "%",
            "source": "measured",
            **test,
            "device": "training host, eager",
            "epochs": twin.result["epochs"],
        },
        {
            "name": "size_packed_weights",
            "value": storage["packed"],
            "unit": "B",
            "source": "measured",
            "note": "1-bit, 4-bit and 8-bit weights",
        },
        {
            "name": "size_float_parts",
            "value": storage["float"],
            "unit": "B",
            "source": "measured",
            "note": "folded norms, DPReLU, biases, quantiser steps, float32",
        },
        {"name": "size_artefact", "value": artefact.size_bytes, "unit": "B", "source": "measured", "note": ".pte"},
        {"name": "ACE", "value": cost.ace, "unit": "ACE", "source": "estimated", **counted},
    ]


def weight_bytes(trained: Trained) -> Mapping[str, int]:
    """Bytes of the package's tensors: low-bit weights as stored, and everything kept as float."""
    network = models.pack(release.FAMILY, trained.model)
    sizes = {"packed": 0, "float": 0}
    for tensor in network.state_dict().values():
        sizes["float" if tensor.dtype == torch.float32 else "packed"] += tensor.numel() * tensor.element_size()
    return sizes


def card(trained: Trained, twin: Trained) -> Card:
    run: Mapping[str, Any] = trained.result
    training = trained.recipe.training
    return Card(
        trained.recipe.name,
        release.LICENCE,
        "PokeBNN (arXiv 2112.00133) in a shallow variant of EdgeQ's own: width "
        f"{trained.recipe.model.width}, one bottleneck per stage. Binary weights and activations in all "
        "convolutions but the stem; 28x28 grey pictures of clothing, ten classes.",
        {
            "Training": f"{run['epochs']} epochs, batch {training.batch}, seed {training.seed}; "
            f"{run['cpu_s'] / 60:.0f} minutes of CPU time on one thread. "
            f"`edgeq train zoo/{trained.recipe.name}/recipe.toml -o OUT` does it again. "
            "Choices were made on the last 5,000 training pictures; the test set was read after the last epoch. "
            f"The float twin is the same network and recipe without quantisers ({twin.result['epochs']} epochs).",
            "Data": "Fashion-MNIST, Zalando SE, MIT licence (LICENSE.fashion-mnist). `eval.npz` holds the first "
            f"{BUNDLED_ITEMS} pictures of the test split.",
            "Limits": "One training seed. Not evaluated on anything but Fashion-MNIST.",
        },
    )


if __name__ == "__main__":
    sys.exit(main())
