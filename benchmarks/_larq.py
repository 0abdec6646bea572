"""EdgeQ's binary convolution in tflite-runtime, Larq Compute Engine's in its own interpreter: turns in one process.

`python -m benchmarks._larq FOLDER ROUNDS THREADS` in an environment with both (`litert.py` makes it) times
ours.tflite and larq.tflite on x.npy and prints {"edgeq": [ns, ...], "larq": [ns, ...]}.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
import types
from importlib import util
from pathlib import Path
from typing import Any

import numpy as np

UNTIMED_CALLS, CALLS = 2, 5


def larq_file(size: int, c: int, negative: np.ndarray[Any, Any]) -> bytes:
    """Sign and 3x3 binary convolution, as Larq's converter writes them.

    negative  (c, 3, 3, c) of 0 and 1: which weights are -1
    """
    from flatbuffers import flexbuffers

    from edgeq.compile.tflite_file import TfliteFile

    file = TfliteFile("larq")
    graph = file.subgraph("main")
    packed = np.packbits(negative.astype(np.uint8), axis=-1, bitorder="little").view(np.int32)
    x, q = graph.tensor("x", (1, size, size, c), "float32"), graph.tensor("q", (1, size, size, c // 32), "int32")
    y = graph.tensor("y", (1, size, size, c), "float32")
    graph.custom("LceQuantize", [x], [q], b"")
    options = flexbuffers.Builder()
    with options.Map():
        for key, value in (
            ("channels_in", c), ("dilation_height_factor", 1), ("dilation_width_factor", 1),
            ("fused_activation_function", 0), ("pad_values", 1), ("padding", 0), ("stride_height", 1),
            ("stride_width", 1),
        ):  # fmt: skip
            options.Key(key)
            options.Int(value)
    constants = [
        graph.constant(name, value)
        for name, value in (("w", packed), ("scale", np.ones(c, np.float32)), ("bias", np.zeros(c, np.float32)))
    ]
    graph.custom("LceBconv2d", [q, *constants, -1], [y], bytes(options.Finish()))
    graph.boundary([x], [y])
    return file.finish()


def _interpreter() -> Any:
    """Larq's alone: the package's own import pulls in TensorFlow, which an empty stand-in does not."""
    spec = util.find_spec("larq_compute_engine")
    assert spec is not None and spec.submodule_search_locations is not None
    site = Path(spec.submodule_search_locations[0]).parent
    for name in ("larq_compute_engine", "larq_compute_engine.tflite", "larq_compute_engine.tflite.python"):
        module = types.ModuleType(name)
        module.__path__ = [str(site.joinpath(*name.split(".")))]
        sys.modules[name] = module
    return importlib.import_module("larq_compute_engine.tflite.python.interpreter").Interpreter


def main(folder: Path, rounds: int, threads: int) -> None:
    from edgeq import litert

    x = np.load(folder / "x.npy")
    ours = litert.Program((folder / "ours.tflite").read_bytes(), threads=threads)
    blob = (folder / "larq.tflite").read_bytes()
    larq = _interpreter()(blob, num_threads=threads, use_indirect_bgemm=True)  # its best on x86
    engines = {"edgeq": lambda: ours.run("forward", [x])[0], "larq": lambda: np.asarray(larq.predict(x))}
    a, b = (engine() for engine in engines.values())
    assert (a[:, 1:-1, 1:-1] == b[:, 1:-1, 1:-1]).all()  # paddings differ
    samples: dict[str, list[float]] = {name: [] for name in engines}
    clock = time.thread_time_ns if threads == 1 else time.perf_counter_ns
    for _ in range(rounds):
        for name, engine in engines.items():
            for _ in range(UNTIMED_CALLS):
                engine()
            start = clock()
            for _ in range(CALLS):
                engine()
            samples[name].append((clock() - start) / CALLS)
    print(json.dumps(samples))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
