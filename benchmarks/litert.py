"""`.tflite` beside `.pte`, and EdgeQ's operators beside LiteRT's own: all in one process.

model     a bundled model as both files: what the delegate and LiteRT's interpreter cost
linear    float in and out through LiteRT's interpreter, 2048 x 2048: ternary beside stock INT2, INT4 beside stock INT4
conv2d    bits in, float out, beside stock int8 with float in and out
Speed says nothing about accuracy: a binary layer does not replace an int8 layer one to one.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgeq import hub, litert, models, ops
from edgeq.compile import executorch
from edgeq.compile import litert as compiler
from edgeq.compile.tflite_file import TfliteFile, schema

from . import _conditions, _core, _executorch
from .harness import Engine, Options, Row, measure, row

MODELS = ("pokebnn-fashion", "denseshift-kws")
BATCHES = (1, 16, 64, 128)
WIDTH = 2048
CONV = ((28, 128), (14, 256))
Op, T = schema.BuiltinOperator, schema.TensorType


class Ternary(nn.Module):
    def __init__(self, k: int, o: int) -> None:
        super().__init__()
        planes = torch.randint(0, 256, (2, o, ops.row_bytes(k)), dtype=torch.uint8)
        planes[0] &= planes[1]
        self.register_buffer("w", planes)
        self.register_buffer("params", torch.rand(2, o))

    def forward(self, x: Tensor) -> Tensor:
        codes, rows = torch.ops.edgeq.quantise_rows_i8(x, 1, 0.0)
        y: Tensor = torch.ops.edgeq.linear_t2i8(codes, self.w, rows, 0, self.params, None, None, None, 1)[0]
        return y


class Int4(nn.Module):
    def __init__(self, k: int, o: int) -> None:
        super().__init__()
        self.register_buffer("w", torch.randint(0, 256, (o, k // 2), dtype=torch.uint8))
        self.register_buffer("scale", torch.rand(o, k // 128).half())
        self.register_buffer("params", torch.rand(2, o))

    def forward(self, x: Tensor) -> Tensor:
        codes, rows = torch.ops.edgeq.quantise_rows_i8(x, 1, 0.0)
        arguments = (codes, self.w, self.scale, None, 128, None, rows, 0, self.params, None, None, None, 1)
        y: Tensor = torch.ops.edgeq.linear_i4i8(*arguments)[0]
        return y


class Binary(nn.Module):
    def __init__(self, c: int) -> None:
        super().__init__()
        self.c = c
        self.register_buffer("w", torch.randint(0, 256, (c, 3, 3, ops.row_bytes(c)), dtype=torch.uint8))
        self.register_buffer("params", torch.rand(2, c))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = torch.ops.edgeq.conv2d_b1b1_fused(x, self.w, self.c, 1, 1, 0, self.params, None, None, None, 1)[0]
        return y


def run(options: Options) -> list[Row]:
    """--quick: the first model, batch and convolution of each kind."""
    rows: list[Row] = []
    _executorch.set_threads(options.threads)
    for name in MODELS[: options.count(1, len(MODELS))]:
        rows += _wanted(options, f"model {name}", partial(_model, name, options))
    for m in BATCHES[: options.count(1, len(BATCHES))]:
        for kind, bits, module in (("ternary", 2, Ternary), ("int4", 4, Int4)):
            rows += _wanted(options, f"linear {kind} {m}x{WIDTH}x{WIDTH}", partial(_linear, m, bits, module, options))
    for size, c in CONV[: options.count(1, len(CONV))]:
        rows += _wanted(options, f"conv2d {size}x{size}x{c} k3", partial(_conv, size, c, options))
    return rows


def _wanted(options: Options, what: str, make: Callable[[], tuple[Engine, list[Engine]]]) -> list[Row]:
    if options.only not in what:
        return []
    options.say(f"litert {what}")
    ours, peers = make()
    session = measure([ours, *peers], rounds=options.count(5, 21), threads=options.threads, cold=options.cold)
    names = [peer.name for peer in peers]
    work, _, shape = what.partition(" ")
    isa = _core.isas(options.isas)[0]
    found = row(
        session, work=f"litert-{work}", shape=shape, isa=isa, ours=ours.name, peers=names, floor_us=None,
        extra={}, conditions=_conditions.conditions(),
    )  # fmt: skip
    return [found]


def _model(name: str, options: Options) -> tuple[Engine, list[Engine]]:
    package = hub.pull(name)
    model = models.from_package(package.config(), package.tensors())
    module, example = models.methods(package.config(), model)["forward"]
    inputs = tuple(torch.randn_like(x) if x.is_floating_point() else x for x in example)
    tflite = _interpreter(compiler.lower({"forward": (module, inputs)}, {}), [x.numpy() for x in inputs], options)
    method = _executorch.method(executorch.lower(module, inputs))
    return Engine("tflite", tflite), [Engine("pte", lambda: method.execute(inputs))]


def _linear(m: int, bits: int, layer: type[nn.Module], options: Options) -> tuple[Engine, list[Engine]]:
    x = torch.randn(m, WIDTH)
    ours = _interpreter(compiler.lower({"forward": (layer(WIDTH, WIDTH), (x,))}, {}), [x.numpy()], options)
    file, graph = _stock_graph()
    given, result = graph.tensor("x", (m, WIDTH), "float32"), graph.tensor("y", (m, WIDTH), "float32")
    drawn = np.random.default_rng(0).integers(0, 256, WIDTH * WIDTH * bits // 8, np.uint8)
    packed = (drawn & 0x55 if bits == 2 else drawn).tobytes()  # no code -2
    kind = T.INT4 if bits == 4 else T.INT2
    w = graph.raw_constant("w", (WIDTH, WIDTH), kind, packed, np.full(WIDTH, 0.01))
    options_of = schema.FullyConnectedOptionsT()
    inputs = [given, w, graph.constant("b", np.zeros(WIDTH, np.float32))]
    graph.operator(Op.FULLY_CONNECTED, inputs, [result], options_of, version=12 if bits == 4 else 14)
    stock = _interpreter(_finished(file, graph, given, result), [x.numpy()], options, with_edgeq=False)
    return Engine("edgeq", ours), [Engine(f"stock int{bits}", stock)]


def _conv(size: int, c: int, options: Options) -> tuple[Engine, list[Engine]]:
    x = torch.randint(0, 256, (1, size, size, ops.row_bytes(c)), dtype=torch.uint8)
    ours = _interpreter(compiler.lower({"forward": (Binary(c), (x,))}, {}), [x.numpy()], options)
    file, graph = _stock_graph()
    shape = (1, size, size, c)
    given, result = graph.tensor("x", shape, "float32"), graph.tensor("y", shape, "float32")
    packed = np.random.default_rng(0).integers(0, 256, c * 9 * c, np.uint8).tobytes()
    w = graph.raw_constant("w", (c, 3, 3, c), T.INT8, packed, np.full(c, 0.01))
    options_of = schema.Conv2DOptionsT()
    options_of.strideH = options_of.strideW = options_of.dilationHFactor = options_of.dilationWFactor = 1
    inputs = [given, w, graph.constant("b", np.zeros(c, np.float32))]
    graph.operator(Op.CONV_2D, inputs, [result], options_of, version=5)
    floats = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    stock = _interpreter(_finished(file, graph, given, result), [floats], options, with_edgeq=False)
    return Engine("edgeq", ours), [Engine("stock int8", stock)]


def _stock_graph() -> tuple[TfliteFile, Any]:
    file = TfliteFile("stock")
    return file, file.subgraph("main")


def _finished(file: TfliteFile, graph: Any, given: int, result: int) -> bytes:
    graph.boundary([given], [result])
    return file.finish()


def _interpreter(
    tflite: bytes, inputs: list[Any], options: Options, *, with_edgeq: bool = True
) -> Callable[[], object]:
    """One execution by LiteRT's interpreter; the inputs are set once."""
    module = litert.runtime("ai_edge_litert")
    delegates = [litert.delegate(threads=options.threads, module=module)] if with_edgeq else []
    interpreter = module.Interpreter(
        model_content=tflite, experimental_delegates=delegates, num_threads=options.threads
    )
    interpreter.allocate_tensors()
    for detail, value in zip(interpreter.get_input_details(), inputs, strict=True):
        interpreter.set_tensor(detail["index"], value)
    interpreter.invoke()

    def invoke() -> object:
        return interpreter.invoke()

    return invoke
