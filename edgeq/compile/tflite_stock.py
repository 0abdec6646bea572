"""EdgeQ's operators of transformers as builtin ones, for files without custom operators.

Weights stay as narrow as a builtin FULLY_CONNECTED takes them: ternary ones as INT2, 4-bit ones of one group a row and
without zero points as INT4, others as int8 with one scale a row, which rounds them anew. Quantisers of activations fall
away: the runtime quantises each row to 8 bits by itself. So results are near those of other targets, not equal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from ai_edge_litert import schema_py_generated as schema
from torch import Tensor
from torch.fx import Node

from edgeq._errors import CompileError
from edgeq.ops import Act, Want

from .tflite_file import Array
from .tflite_layers import Live, Lowering, Op, Value, attention, layer_norm

_VERSION = {2: 14, 4: 12, 8: 12}  # of FULLY_CONNECTED: older runtimes refuse what they would compute wrongly
_KIND = {2: schema.TensorType.INT2, 4: schema.TensorType.INT4, 8: schema.TensorType.INT8}


def lower(low: Lowering, node: Node) -> Value:
    """The results of one of EdgeQ's operators. CompileError for those that have no builtin counterpart."""
    target: Any = node.target
    expressed = _OPERATORS.get(target._opname)
    if expressed is None:
        raise CompileError(
            f"node {node.name}: edgeq.{target._opname} cannot be expressed by builtin operators; leave --stock out"
        )
    schema_arguments = target._schema.arguments
    rest = (node.kwargs.get(a.name, a.default_value) for a in schema_arguments[len(node.args) :])
    given = dict(zip((a.name for a in schema_arguments), (*node.args, *rest), strict=True))
    return expressed(low, node, given)


def _known(low: Lowering, given: Any) -> Tensor | None:
    value = low.value(given) if isinstance(given, Node) else given
    return value if isinstance(value, Tensor) else None


def _quantise_rows(low: Lowering, node: Node, given: dict[str, Any]) -> Value:
    return low.live(given["x"]), None


def _linear(low: Lowering, node: Node, given: dict[str, Any]) -> Value:
    """act(x w^T * scale + bias + skip): the step of a row has gone with its quantiser."""
    params = _known(low, given["params"])
    rows = given["rows"]
    if params is None or given["want"] != Want.MAP or params.shape[0] not in (2, 3) or not isinstance(rows, Node):
        raise CompileError(f"node {node.name}: only linear layers with quantised rows and float results are expressed")
    x = low.live(given["x"])
    codes, scale, bits = _weights(low, node, given)
    scale = scale * params[0].double().numpy()
    packed = _packed(codes, bits)
    name = f"{node.name}/weight"
    w = low.graph.raw_constant(name, codes.shape, _KIND[bits], packed, scale.astype(np.float32))
    options = schema.FullyConnectedOptionsT()
    options.keepNumDims = True
    inputs = [x.index, w, low.live(params[1]).index]
    like = node.meta["val"][0]
    y = low.step(f"{node.name}/product", like, Op.FULLY_CONNECTED, inputs, options, version=_VERSION[bits])
    if given["skip"] is not None:
        y = low.step(f"{node.name}/sum", like, Op.ADD, [y.index, low.live(given["skip"]).index], schema.AddOptionsT())
    act = Act(given["act"])
    if act not in (Act.NONE, Act.RELU, Act.GELU):
        raise CompileError(f"node {node.name}: activation {act.name} is not expressed")
    if act is Act.GELU:
        y = low.step(f"{node.name}/gelu", like, Op.GELU, [y.index], schema.GeluOptionsT())
    elif act is Act.RELU:
        y = low.step(f"{node.name}/relu", like, Op.RELU, [y.index], None)
    return y, None, None


def _weights(low: Lowering, node: Node, given: dict[str, Any]) -> tuple[Array, Array, int]:
    """Codes (o, k), a scale for each row, bits of a code."""
    w = _known(low, given["w"])
    k = int(low.live(given["x"]).shape[-1])
    assert w is not None
    raw = w.numpy()
    match str(node.target).split(".")[1]:
        case "linear_t2i8":
            sign, there = (np.unpackbits(plane, axis=1, bitorder="little")[:, :k].astype(np.int8) for plane in raw)
            return (2 * sign - 1) * there, np.ones(raw.shape[1]), 2
        case "linear_i8i8":
            return raw, np.ones(len(raw)), 8
    codes = np.stack([raw & 15, raw >> 4], -1).reshape(len(raw), -1)[:, :k].astype(np.float64)
    scale, zero, group = _known(low, given["scale"]), _known(low, given["zero"]), int(given["group"])
    assert scale is not None
    scales = scale.double().numpy()
    if zero is None and scales.shape[1] == 1:
        return (codes - 8).astype(np.int8), scales[:, 0], 4
    zeros: Array = np.full_like(scales, 8)
    if zero is not None:
        packed = zero.numpy()
        nibbles = (
            np.stack([packed & 15, packed >> 4], -1).reshape(len(raw), -1) if zero.dtype == torch.uint8 else packed
        )
        zeros = nibbles[:, : scales.shape[1]].astype(np.float64)
    real = (codes - np.repeat(zeros, group, 1)[:, :k]) * np.repeat(scales, group, 1)[:, :k]
    step = np.maximum(np.abs(real).max(1), 1e-30) / 127
    return np.rint(real / step[:, None]).astype(np.int8), step, 8


def _packed(codes: Array, bits: int) -> bytes:
    """Two's complement, first code in the lowest bits, no padding of rows."""
    each = 8 // bits
    low: Array = (codes.astype(np.int8).view(np.uint8) & ((1 << bits) - 1)).reshape(-1)
    low = np.pad(low, (0, -len(low) % each)).reshape(-1, each)
    packed: Array = np.bitwise_or.reduce(low << (np.arange(each, dtype=np.uint8) * bits), axis=1)
    return packed.astype(np.uint8).tobytes()


def _embedding_i8(low: Lowering, node: Node, given: dict[str, Any]) -> Value:
    ids, table, scale = (low.live(given[name]) for name in ("ids", "w", "scale"))
    options, like = schema.GatherOptionsT(), node.meta["val"]
    options.axis = 0
    codes = low.step(f"{node.name}/codes", like.to(torch.int8), Op.GATHER, [table.index, ids.index], options)
    floats = low.step(f"{node.name}/floats", like, Op.CAST, [codes.index], schema.CastOptionsT())
    steps = low.step(f"{node.name}/steps", like[..., 0], Op.GATHER, [scale.index, ids.index], options)
    rows = low.reshaped(steps, (*steps.shape, 1), f"{node.name}/rows")
    return low.step(node.name, like, Op.MUL, [floats.index, rows.index], schema.MulOptionsT())


def _layer_norm(low: Lowering, node: Node, given: dict[str, Any]) -> Value:
    if given["want"] != Want.MAP:
        raise CompileError(f"node {node.name}: a layer norm whose signs are wanted is not expressed")
    x = low.live(given["x"])
    if given["residual"] is not None:
        inputs = [x.index, low.live(given["residual"]).index]
        x = low.step(f"{node.name}/sum", node.meta["val"][0], Op.ADD, inputs, schema.AddOptionsT())
    return layer_norm(low, node.name, x, given["gamma"], given["beta"], given["eps"]), None


def _attention_f32(low: Lowering, node: Node, given: dict[str, Any]) -> Value:
    qkv, heads, like = low.live(given["qkv"]), int(given["heads"]), node.meta["val"]
    batch, tokens, channels = like.shape
    d = channels // heads

    def part(i: int) -> Live:
        cut = low.cut(qkv, 2, i * channels, channels, f"{node.name}/part{i}")
        split = low.reshaped(cut, (batch, tokens, heads, d), f"{node.name}/heads{i}")
        turned = like.new_empty(batch, heads, tokens, d)
        order = [split.index, low.ints((0, 2, 1, 3))]
        return low.step(f"{node.name}/turned{i}", turned, Op.TRANSPOSE, order, schema.TransposeOptionsT())

    mask = None
    if given["mask"] is not None:
        seen = low.live(given["mask"])
        floats = low.step(f"{node.name}/seen", like.new_empty(seen.shape), Op.CAST, [seen.index], schema.CastOptionsT())
        rows = low.reshaped(floats, (batch, 1, 1, tokens), f"{node.name}/row")
        shape = like.new_empty(rows.shape)
        one, far = low.live(1.0).index, low.live(1e9).index
        below = low.step(f"{node.name}/below", shape, Op.SUB, [rows.index, one], schema.SubOptionsT())
        mask = low.step(f"{node.name}/mask", shape, Op.MUL, [below.index, far], schema.MulOptionsT())
    y = attention(low, node.name, (part(0), part(1), part(2)), mask, float(given["step"]))
    back = like.new_empty(batch, tokens, heads, d)
    order = [y.index, low.ints((0, 2, 1, 3))]
    joined = low.step(f"{node.name}/back", back, Op.TRANSPOSE, order, schema.TransposeOptionsT())
    return low.reshaped(joined, like.shape, node.name)


_OPERATORS: dict[str, Callable[[Lowering, Node, dict[str, Any]], Value]] = {
    "quantise_rows_i8": _quantise_rows,
    "linear_t2i8": _linear,
    "linear_i4i8": _linear,
    "linear_i8i8": _linear,
    "embedding_i8": _embedding_i8,
    "layer_norm": _layer_norm,
    "attention_f32": _attention_f32,
}
