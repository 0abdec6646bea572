"""What the manifest and the card tell, each number with its label."""

import importlib
from collections.abc import Mapping

import torch

from edgeq import release
from edgeq.bench.report import Evaluation
from edgeq.package import Metric
from edgeq.train import Trained

from .local import Measured

DEVICE = "local, .pte through ExecuTorch"
HOST = "training host, eager"


def percent(share: float) -> float:
    return round(100 * float(share), 2)


def quality(evaluation: Evaluation) -> dict[str, float]:
    """The figures of an evaluation by name, in percent; "accuracy" is the share of items in which nothing is wrong."""
    found = {figure.name: round(figure.value, 2) for figure in evaluation.figures}
    top1 = evaluation.accuracy.top1 if evaluation.accuracy else 100 - found["word_error_rate"]
    return {"accuracy": round(top1, 2), **found}


def twin_quality(twin: Trained) -> dict[str, float]:
    """The test figures of a training run by the same names."""
    found = {name.removeprefix("test_"): percent(v) for name, v in twin.result.items() if name.startswith("test_")}
    return found if "accuracy" in found else {"accuracy": round(100 - found["word_error_rate"], 2), **found}


def figures(trained: Trained, twin: Trained, measured: Measured) -> list[Metric]:
    """The quality beside the float twin's, sizes, and the arithmetic that one item takes."""
    found = [*_quality(trained, twin, measured)]
    sizes, size = weight_bytes(trained), {"unit": "B", "source": "measured"}
    found += [
        {"name": "size_packed_weights", "value": sizes["packed"], **size, "note": "low-bit weights as stored"},
        {"name": "size_float_parts", "value": sizes["float"], **size, "note": "folded norms, scales, biases, float32"},
        {"name": "size_artefact", "value": measured.artefact.size_bytes, **size, "note": ".pte"},
    ]
    family = importlib.import_module(f"edgeq.models.{trained.recipe.family}")
    if hasattr(family, "ace") and hasattr(measured.samples, "x"):
        ace = family.ace(trained.recipe.model, *measured.samples.x.shape[1:3]).ace
        counted = {"source": "estimated", "method": "counted from the architecture"}
        found.append({"name": "ACE", "value": ace, "unit": "ACE", **counted})
    return found


def _quality(trained: Trained, twin: Trained, measured: Measured) -> list[Metric]:
    test = {"dataset": trained.recipe.data.name, "split": measured.samples.split, "n": len(measured.samples)}
    label: Mapping[str, str | int] = {"unit": "%", "source": "measured", **test}
    own, other = quality(measured.evaluation), twin_quality(twin)
    seed, epochs = trained.recipe.training.seed, twin.result["epochs"]
    found: list[Metric] = []
    for name, value in own.items():
        found.append({"name": name, "value": value, **label, "device": DEVICE, "training_seed": seed})
        if name in other:
            found.append(
                {"name": f"{name}_float_twin", "value": other[name], **label, "device": HOST, "epochs": epochs}
            )
    return found


def weight_bytes(trained: Trained) -> dict[str, int]:
    """Bytes of the package's tensors: low-bit weights as stored, and everything kept as float."""
    sizes = {"packed": 0, "float": 0}
    for tensor in release.pack(trained)[0].state_dict().values():
        sizes["float" if tensor.dtype == torch.float32 else "packed"] += tensor.numel() * tensor.element_size()
    return sizes
