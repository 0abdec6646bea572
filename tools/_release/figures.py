"""What the manifest and the card tell, each number with its label."""

import importlib

import torch

from edgeq import release
from edgeq.package import Metric
from edgeq.train import Trained

from .local import Measured


def percent(share: float) -> float:
    return round(100 * float(share), 2)


def figures(trained: Trained, twin: Trained, measured: Measured) -> list[Metric]:
    """Accuracy beside the float twin's, sizes, and the arithmetic that one item takes."""
    test = {"dataset": trained.recipe.data.name, "split": measured.samples.split, "n": len(measured.samples)}
    sizes = weight_bytes(trained)
    hits = measured.predictions == measured.samples.y
    size, unit = {"unit": "B", "source": "measured"}, {"unit": "%", "source": "measured"}
    found: list[Metric] = [
        {
            "name": "accuracy",
            "value": percent(hits.mean()),
            **unit,
            **test,
            "device": "local, .pte through ExecuTorch",
            "training_seed": trained.recipe.training.seed,
        },
        {
            "name": "accuracy_float_twin",
            "value": percent(twin.result["test_accuracy"]),
            **unit,
            **test,
            "device": "training host, eager",
            "epochs": twin.result["epochs"],
        },
        {"name": "size_packed_weights", "value": sizes["packed"], **size, "note": "low-bit weights as stored"},
        {"name": "size_float_parts", "value": sizes["float"], **size, "note": "folded norms, scales, biases, float32"},
        {"name": "size_artefact", "value": measured.artefact.size_bytes, **size, "note": ".pte"},
    ]
    family = importlib.import_module(f"edgeq.models.{trained.recipe.family}")
    ace = family.ace(trained.recipe.model, *measured.samples.x.shape[1:3]).ace
    found.append(
        {"name": "ACE", "value": ace, "unit": "ACE", "source": "estimated", "method": "counted from the architecture"}
    )
    return found


def weight_bytes(trained: Trained) -> dict[str, int]:
    """Bytes of the package's tensors: low-bit weights as stored, and everything kept as float."""
    sizes = {"packed": 0, "float": 0}
    for tensor in release.pack(trained)[0].state_dict().values():
        sizes["float" if tensor.dtype == torch.float32 else "packed"] += tensor.numel() * tensor.element_size()
    return sizes
