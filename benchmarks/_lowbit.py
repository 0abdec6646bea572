"""Other engines' products of float activations with weights of 2, 4 and 8 bits, over the weights that EdgeQ gets.

Each makes codes of its own kind from the activations inside the call, as EdgeQ does, and is compared with the float
product before it is timed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from edgeq import _paths, litert
from edgeq._quiet import quiet
from edgeq.compile.tflite_file import TfliteFile, schema

from . import _encoder, _executorch, _ggml
from ._peers import one_node
from .harness import Engine, WrongResultError

F32 = npt.NDArray[np.float32]
I8 = npt.NDArray[np.int8]
GROUP = 32  # inputs that share a scale of 4-bit weights
_ORT_GROUP_2BIT = 64
_LARGEST_ERROR = 0.12  # of the norm: 8da4w chooses codes of its own for weights that have codes already
Op, T = schema.BuiltinOperator, schema.TensorType


@dataclass(frozen=True)
class Weights:
    """codes (o, k) of `bits` bits (ternary -1 to 1, 4 bits -8 to 7, 8 bits), scale (o, groups of inputs)."""

    bits: int
    codes: I8
    scale: F32

    @cached_property
    def floats(self) -> F32:
        k, groups = self.codes.shape[1], self.scale.shape[1]
        return (self.codes * np.repeat(self.scale, k // groups, axis=1)).astype(np.float32)


def drawn(bits: int, k: int, o: int, *, groups: int = 1, seed: int = 0) -> Weights:
    """Random weights."""
    rng = np.random.default_rng(seed)
    low, high = {2: (-1, 2), 4: (-8, 8), 8: (-127, 128)}[bits]
    scale = (0.5 + rng.random((o, groups))).astype(np.float16).astype(np.float32) / np.float32(2**bits)
    return Weights(bits, rng.integers(low, high, (o, k)).astype(np.int8), scale)


def checked(engine: str, got: F32, x: F32, weights: Weights) -> None:
    """Raise WrongResultError where a result is not about x times the weights."""
    wanted = x @ weights.floats.T
    error = float(np.linalg.norm(np.asarray(got).reshape(wanted.shape) - wanted) / np.linalg.norm(wanted))
    if not error < _LARGEST_ERROR:
        raise WrongResultError(f"{engine}: off from the float product by {error:.3g} of its norm; nothing was timed")


def ort(x: F32, weights: Weights, threads: int) -> Iterator[Engine]:
    """MatMulNBits: int8 activations by blocks (accuracy level 4)."""
    from onnx import helper

    group = _ORT_GROUP_2BIT if weights.bits == 2 else GROUP
    o, k = weights.codes.shape
    if k % group:
        return
    middle = 1 << (weights.bits - 1)
    scale = np.repeat(weights.scale, k // group // weights.scale.shape[1], axis=1)
    constants = {"w": packed(weights.codes + middle, weights.bits).reshape(o, k // group, -1), "s": scale.reshape(-1)}
    attributes = {"K": k, "N": o, "bits": weights.bits, "block_size": group, "accuracy_level": 4}
    node = helper.make_node("MatMulNBits", ["x", "w", "s"], ["y"], domain="com.microsoft", **attributes)
    name, call = f"ort {weights.bits}-bit", one_node(node, x, constants, threads)
    checked(name, call().numpy(), x, weights)
    yield Engine(name, call)


def xnnpack(x: F32, weights: Weights) -> Iterator[Engine]:
    """8da4w: 4-bit weights in groups of 32, int8 activations by row."""
    o, k = weights.codes.shape
    key = hashlib.sha256(Path(__file__).read_bytes() + weights.floats.tobytes()).hexdigest()[:16]
    file = _paths.cache() / "benchmarks" / f"8da4w-{len(x)}x{k}x{o}-{key}.pte"
    given = torch.from_numpy(x)
    if not file.is_file():
        layer = torch.nn.Linear(k, o, bias=False)
        layer.weight.data = torch.from_numpy(weights.floats)
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".part")
        part.write_bytes(_encoder.program(_encoder.eight_da4w(torch.nn.Sequential(layer).eval()), given))
        part.replace(file)
    program = file.read_bytes()
    method = _executorch.method(program)

    def call(_kept: bytes = program) -> Any:
        return method.execute((given,))[0]

    checked("xnnpack 8da4w", call().numpy(), x, weights)
    yield Engine("xnnpack 8da4w", call)


def stock_litert(x: F32, weights: Weights, threads: int) -> Iterator[Engine]:
    """FULLY_CONNECTED of LiteRT, which XNNPACK runs: one scale a row, int8 activations by row."""
    file, (m, (o, k)) = TfliteFile("stock"), (len(x), weights.codes.shape)
    graph = file.subgraph("main")
    given, result = graph.tensor("x", (m, k), "float32"), graph.tensor("y", (m, o), "float32")
    kind = {2: T.INT2, 4: T.INT4, 8: T.INT8}[weights.bits]
    data = packed(weights.codes.view(np.uint8) & ((1 << weights.bits) - 1), weights.bits)
    w = graph.raw_constant("w", (o, k), kind, data.tobytes(), weights.scale[:, 0].astype(np.float64))
    inputs = [given, w, graph.constant("b", np.zeros(o, np.float32))]
    version = {2: 14, 4: 12, 8: 9}[weights.bits]
    graph.operator(Op.FULLY_CONNECTED, inputs, [result], schema.FullyConnectedOptionsT(), version=version)
    graph.boundary([given], [result])
    with quiet():
        module = litert.runtime("ai_edge_litert")
        interpreter = module.Interpreter(model_content=file.finish(), num_threads=threads)
        interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    name = f"litert int{weights.bits}"
    interpreter.invoke()
    checked(name, interpreter.get_tensor(interpreter.get_output_details()[0]["index"]), x, weights)
    yield Engine(name, _invoking(interpreter))


def ggml(x: F32, weights: Weights, kinds: tuple[str, ...], threads: int) -> Iterator[Engine]:
    """Where the ggml package is installed. Its own quantiser chooses codes for the weights."""
    for kind in kinds:
        made = _ggml.product(kind, x, weights.floats, threads)
        if made is None:
            continue
        call, result = made
        call()
        checked(f"ggml {kind}", result(), x, weights)
        yield Engine(f"ggml {kind}", call)


def two_bit(x: F32, weights: Weights, threads: int) -> Iterator[Engine]:
    """Every engine that has ternary or 2-bit weights."""
    yield from ort(x, weights, threads)
    yield from stock_litert(x, weights, threads)
    yield from ggml(x, weights, ("TQ1_0", "TQ2_0"), threads)


def packed(codes: npt.NDArray[np.generic], bits: int) -> npt.NDArray[np.uint8]:
    """(o, k) of unsigned codes -> (o, k * bits / 8), the first code in the lowest bits."""
    codes = np.ascontiguousarray(codes).astype(np.uint8)
    each = 8 // bits
    fields = codes.reshape(len(codes), -1, each) << np.arange(0, 8, bits, dtype=np.uint8)
    return np.bitwise_or.reduce(fields, axis=2)


def _invoking(interpreter: Any) -> Callable[[], object]:
    return lambda: interpreter.invoke()
