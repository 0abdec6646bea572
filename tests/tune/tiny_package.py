"""An unsigned package of a tiny DenseShift, and samples for it: commands over it take a fraction of a second."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from edgeq import models
from edgeq._weights import write_tensors
from edgeq.compile.layout import BASE_FILE
from edgeq.compile.tuning_base import measure_base
from edgeq.models import denseshift
from edgeq.package import CARD, CONFIG, WEIGHTS, write_package

sys.path.append(str(Path(__file__).parents[2] / "tests/unit"))
from tiny_tunable import CLASSES, SHAPE, shift_network, task

NAME = "tiny"


def write(folder: Path) -> Path:
    """The package, unsigned."""
    network = denseshift.DenseShiftConfig(CLASSES, in_channels=2, widths=(6, 8), blocks=(1, 1), stem_stride=2, act="i8")
    tensors = {name: value.numpy() for name, value in shift_network().state_dict().items()}
    config = {
        "model": "denseshift",
        "scheme": models.scheme("denseshift", network),
        "network": asdict(network),
        "task": "image-classification",
        "input": {"shape": list(SHAPE), "dtype": "float32"},
        "labels": [f"class {c}" for c in range(CLASSES)],
    }
    x, y = task(200, 1)
    layout, base = measure_base(models.from_package(config, tensors), (x,), y.astype(np.int64))
    files: dict[str, bytes | Path] = {
        CONFIG: json.dumps(config).encode(),
        WEIGHTS: write_tensors(tensors),
        CARD: b"# tiny\n",
        BASE_FILE: base.to_bytes(layout),
    }
    made = datetime(2026, 1, 1, tzinfo=UTC)  # always the same bytes
    write_package(folder, files=files, name=NAME, version=1, licence="CC0-1.0", key=None, created=made)
    return folder
