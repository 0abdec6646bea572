"""A BERT encoder as the float and int8 engines run it: what EdgeQ's BERTs and MiniLM are measured beside.

From embedded tokens (1, T, H) to token states, post-LayerNorm, GELU. The peers leave out the word embedding and the
head, which EdgeQ's networks have. Weights are random from a fixed seed: time does not depend on them. The files are
made once and cached.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from edgeq import _paths
from edgeq._quiet import quiet

from . import _executorch
from ._peers import IR_VERSION, OPSET, onnx_call
from .harness import Engine, WrongResultError

Array = npt.NDArray[np.float32]
Say = Callable[[str], None]
LARGEST_ERROR = 1e-3  # between the float engines
_INT4_GROUP = 32


@dataclass(frozen=True)
class Shape:
    """Of the whole stack."""

    layers: int
    hidden: int
    heads: int
    intermediate: int
    tokens: int

    def __str__(self) -> str:
        return f"{self.layers}x{self.hidden}x{self.heads}x{self.intermediate} T={self.tokens}"


class Layer(nn.Module):
    """(1, T, H) -> (1, T, H)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.qkv = nn.Linear(shape.hidden, 3 * shape.hidden)
        self.out = nn.Linear(shape.hidden, shape.hidden)
        self.first = nn.LayerNorm(shape.hidden, 1e-5)
        self.up = nn.Linear(shape.hidden, shape.intermediate)
        self.down = nn.Linear(shape.intermediate, shape.hidden)
        self.second = nn.LayerNorm(shape.hidden, 1e-5)

    def forward(self, x: Tensor) -> Tensor:
        n, t, h = x.shape
        query, key, value = (
            part.view(n, t, self.heads, h // self.heads).transpose(1, 2) for part in self.qkv(x).chunk(3, -1)
        )
        context = functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).reshape(n, t, h)
        x = self.first(self.out(context) + x)
        y: Tensor = self.second(self.down(functional.gelu(self.up(x))) + x)
        return y


def network(shape: Shape) -> nn.Sequential:
    """In eval mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return nn.Sequential(*(Layer(shape) for _ in range(shape.layers))).eval()


def engines(shape: Shape, *, threads: int, say: Say, with_8da4w: bool = False) -> list[Engine]:
    """torch fp32; ONNX Runtime fp32 and int8 (dynamic, per channel); XNNPACK fp32 and, if asked for, 8da4w.

    raises  WrongResultError when the float engines disagree
    """
    torch.set_num_threads(threads)
    _executorch.set_threads(threads)
    model = network(shape)
    x = torch.randn(1, shape.tokens, shape.hidden, generator=torch.Generator().manual_seed(6))
    with torch.no_grad():
        expected = model(x).numpy()
    onnx_float = _cached(shape, "fp32.onnx", lambda: _onnx(model, shape), say)
    onnx_int8 = _cached(shape, "int8.onnx", lambda: _onnx_int8(onnx_float), say)
    programs = {"xnnpack fp32": _cached(shape, "fp32.pte", lambda: program(model, x), say)}
    if with_8da4w:
        programs["xnnpack int8 8da4w"] = _cached(shape, "8da4w.pte", lambda: program(eight_da4w(model), x), say)
    calls: dict[str, Callable[[], Array]] = {
        "ort fp32": onnx_call(str(onnx_float), x.numpy(), threads),
        "ort int8": onnx_call(str(onnx_int8), x.numpy(), threads),
        **{name: _executed(file, x) for name, file in programs.items()},
    }
    for name in ("ort fp32", "xnnpack fp32"):
        error = float(np.abs(calls[name]() - expected).max())
        if not error < LARGEST_ERROR:
            raise WrongResultError(f"{name}: token states differ from torch's by up to {error:.3g}; nothing was timed")

    def in_torch() -> object:
        with torch.no_grad():
            return model(x)

    return [Engine("torch fp32", in_torch), *(Engine(name, call) for name, call in calls.items())]


def _executed(file: Path, x: Tensor) -> Callable[[], Array]:
    program = file.read_bytes()
    method = _executorch.method(program)

    def call(_kept: bytes = program) -> Array:
        found: Array = method.execute((x,))[0].numpy()
        return found

    return call


def _cached(shape: Shape, name: str, make: Callable[[], bytes], say: Say) -> Path:
    key = hashlib.sha256(Path(__file__).read_bytes() + str(shape).encode()).hexdigest()[:16]
    file = _paths.cache() / "benchmarks" / f"encoder-{key}-{name}"
    if not file.is_file():
        say(f"making the encoder's {name} (once)")
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".part")
        part.write_bytes(make())
        part.replace(file)
    return file


def program(model: nn.Module, x: Tensor) -> bytes:
    with quiet():
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower

        exported = torch.export.export(model, (x,), strict=False)
        lowered = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()]).to_executorch()
    return bytes(lowered.buffer)


def eight_da4w(model: nn.Module) -> nn.Module:
    import copy

    with quiet():
        from torchao.quantization import Int8DynamicActivationIntxWeightConfig, PerGroup, quantize_

        model = copy.deepcopy(model)
        config = Int8DynamicActivationIntxWeightConfig(
            weight_dtype=torch.int4, weight_granularity=PerGroup(_INT4_GROUP)
        )
        quantize_(model, config)
    return model


def _onnx_int8(file: Path) -> bytes:
    with quiet():
        from onnxruntime.quantization import QuantType, quantize_dynamic

        output = file.with_suffix(".int8")
        quantize_dynamic(file, output, per_channel=True, weight_type=QuantType.QInt8)
    data = output.read_bytes()
    output.unlink()
    return data


class _Graph:
    """An ONNX graph in the making; `add` gives the name of the new node's output."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: dict[str, Array | npt.NDArray[np.int64]] = {}

    def add(self, kind: str, *inputs: str, **attributes: object) -> str:
        from onnx import helper

        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def constant(self, value: npt.NDArray[Any]) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = value
        return name

    def linear(self, x: str, layer: nn.Linear) -> str:
        product = self.add("MatMul", x, self.constant(np.ascontiguousarray(layer.weight.detach().numpy().T)))
        return self.add("Add", product, self.constant(layer.bias.detach().numpy()))

    def norm(self, x: str, layer: nn.LayerNorm) -> str:
        scale, bias = (self.constant(part.detach().numpy()) for part in (layer.weight, layer.bias))
        return self.add("LayerNormalization", x, scale, bias, axis=-1, epsilon=layer.eps)


def _onnx(model: nn.Sequential, shape: Shape) -> bytes:
    from onnx import TensorProto, helper, numpy_helper

    graph, x = _Graph(), "x"
    for layer in model:
        assert isinstance(layer, Layer)
        x = _onnx_layer(graph, x, layer, shape)
    graph.nodes[-1].output[0] = "y"
    size = [1, shape.tokens, shape.hidden]
    made = helper.make_graph(
        graph.nodes,
        "encoder",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, size)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, size)],
        [numpy_helper.from_array(value, name) for name, value in graph.constants.items()],
    )
    opsets = [helper.make_opsetid("", OPSET)]
    return bytes(helper.make_model(made, opset_imports=opsets, ir_version=IR_VERSION).SerializeToString())


def _onnx_layer(graph: _Graph, x: str, layer: Layer, shape: Shape) -> str:
    width = shape.hidden // shape.heads
    split = graph.constant(np.array([1, shape.tokens, shape.heads, width], np.int64))
    merged = graph.constant(np.array([1, shape.tokens, shape.hidden], np.int64))
    parts = []
    for index, axes in enumerate(([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3])):
        rows = slice(index * shape.hidden, (index + 1) * shape.hidden)
        part = nn.Linear(shape.hidden, shape.hidden)
        part.weight.data, part.bias.data = layer.qkv.weight.data[rows], layer.qkv.bias.data[rows]
        parts.append(graph.add("Transpose", graph.add("Reshape", graph.linear(x, part), split), perm=axes))
    query, key, value = parts
    scores = graph.add("Mul", graph.add("MatMul", query, key), graph.constant(np.array([width**-0.5], np.float32)))
    context = graph.add("MatMul", graph.add("Softmax", scores, axis=-1), value)
    context = graph.add("Reshape", graph.add("Transpose", context, perm=[0, 2, 1, 3]), merged)
    x = graph.norm(graph.add("Add", graph.linear(context, layer.out), x), layer.first)
    inner = graph.linear(x, layer.up)
    erf = graph.add("Erf", graph.add("Mul", inner, graph.constant(np.array([0.5**0.5], np.float32))))
    half = graph.add("Mul", inner, graph.constant(np.array([0.5], np.float32)))
    inner = graph.add("Mul", half, graph.add("Add", erf, graph.constant(np.array([1], np.float32))))
    return graph.norm(graph.add("Add", graph.linear(inner, layer.down), x), layer.second)
