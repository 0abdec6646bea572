"""PyTorch's operators as builtin operators of LiteRT: one function for each kind of layer.

Images are NCHW in PyTorch and NHWC here. A tensor of four axes that a convolution made is kept in NHWC, element by
element layers pass it on, and it goes back where its order shows: `Live.nhwc` tells.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from ai_edge_litert import schema_py_generated as schema
from torch import Tensor
from torch.fx import Node

from edgeq._errors import CompileError

from .tflite_file import Array, Subgraph

Op = schema.BuiltinOperator
aten = torch.ops.aten
_TO_NHWC, _TO_NCHW = (0, 2, 3, 1), (0, 3, 1, 2)
_FIRST_64_BIT = {Op.ADD: 4, Op.SUB: 4, Op.MUL: 6}  # versions that say: 64-bit integers


@dataclass(frozen=True)
class Live:
    """A computed tensor: its number, and shape and type as PyTorch sees them."""

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    nhwc: bool = False


Value = Live | Tensor | tuple[Any, ...] | None  # computed, known now, several, or not there


class Lowering:
    """A subgraph in the making and what its nodes became."""

    def __init__(self, graph: Subgraph) -> None:
        self.graph = graph
        self.values: dict[Node, Value] = {}

    def value(self, node: Node) -> Value:
        return self.values[node]

    def new(self, name: str, like: Tensor, *, nhwc: bool = False) -> Live:
        """A tensor to be computed, of that shape and type."""
        shape = tuple(int(extent) for extent in like.shape)
        stored = tuple(shape[i] for i in _TO_NHWC) if nhwc else shape
        return Live(self.graph.tensor(name, stored, _dtype(like.dtype)), name, shape, like.dtype, nhwc)

    def folded(self, node: Node) -> Value:
        """The result where every tensor that a PyTorch operator takes is known now; else None."""
        target: Any = node.target
        if getattr(target, "namespace", "") != "aten" or torch.Tag.nondeterministic_seeded in target.tags:
            return None
        if not all(isinstance(self.value(n), Tensor) for n in node.all_input_nodes):
            return None
        known: Any = self.value
        arguments, named = cast(Any, torch.fx.map_arg((node.args, node.kwargs), known))
        result: Value = target(*arguments, **named)
        return result

    def live(self, given: Any, *, nhwc: bool = False, dtype: torch.dtype | None = None) -> Live:
        """The tensor of a node, of a known tensor or of a number, in the wanted layout."""
        value = self.value(given) if isinstance(given, Node) else given
        if isinstance(value, int | float):
            value = torch.tensor(value, dtype=dtype)
        if isinstance(value, Tensor):
            return self._constant(value, nhwc=nhwc)
        if not isinstance(value, Live):
            raise CompileError(f"{given} is not a tensor")
        if value.nhwc == nhwc or len(value.shape) != 4:
            return value
        order = _TO_NHWC if nhwc else _TO_NCHW
        stored = [value.shape[i] for i in _TO_NHWC] if nhwc else value.shape
        index = self.graph.tensor(f"{value.name}/{'nhwc' if nhwc else 'nchw'}", stored, _dtype(value.dtype))
        self.graph.operator(Op.TRANSPOSE, [value.index, self.ints(order)], [index], schema.TransposeOptionsT())
        return replace(value, index=index, nhwc=nhwc)

    def output(self, value: Value) -> Live:
        """A result of the method: computed, in PyTorch's layout."""
        live = self.live(value)
        return self.reshaped(live, live.shape, f"{live.name}/output") if isinstance(value, Tensor) else live

    def ints(self, values: Sequence[int]) -> int:
        return self.graph.constant("integers", np.array(values, np.int32))

    def emit(
        self,
        node: Node,
        builtin: int,
        inputs: Sequence[int],
        options: Any = None,
        *,
        nhwc: bool = False,
        version: int = 1,
    ) -> Live:
        """An operator whose result is the node's."""
        result = self.new(node.name, node.meta["val"], nhwc=nhwc)
        if result.dtype == torch.int64:
            version = max(version, _FIRST_64_BIT.get(builtin, version))
        self.graph.operator(builtin, inputs, [result.index], options, version=version)
        return result

    def step(
        self, name: str, like: Tensor, builtin: int, inputs: Sequence[int], options: Any, *, version: int = 1
    ) -> Live:
        """An operator whose result has that shape and type."""
        result = self.new(name, like)
        self.graph.operator(builtin, inputs, [result.index], options, version=version)
        return result

    def reshaped(self, live: Live, shape: Sequence[int], name: str) -> Live:
        options = schema.ReshapeOptionsT()
        options.newShape = [int(extent) for extent in shape]
        index = self.graph.tensor(name, shape, _dtype(live.dtype))
        self.graph.operator(Op.RESHAPE, [live.index, self.ints(options.newShape)], [index], options)
        return Live(index, name, tuple(options.newShape), live.dtype)

    def cut(self, x: Live, axis: int, start: int, size: int, name: str) -> Live:
        """`size` items of an axis from `start` on."""
        begin = [start if d == axis else 0 for d in range(len(x.shape))]
        shape = tuple(size if d == axis else extent for d, extent in enumerate(x.shape))
        if shape == x.shape:
            return x
        index = self.graph.tensor(name, shape, _dtype(x.dtype))
        self.graph.operator(Op.SLICE, [x.index, self.ints(begin), self.ints(shape)], [index], schema.SliceOptionsT())
        return Live(index, name, shape, x.dtype)

    def _constant(self, value: Tensor, *, nhwc: bool) -> Live:
        shape = tuple(value.shape)
        if nhwc and value.dim():  # of fewer axes: broadcast against an image
            value = value.reshape((1,) * (4 - value.dim()) + shape).permute(_TO_NHWC)
        array: Array = value.detach().contiguous().numpy()
        return Live(self.graph.constant("constant", array), "constant", shape, value.dtype, nhwc)


Layer = Callable[[Lowering, Node], Value]
LAYERS: dict[Any, Layer] = {}
IGNORED = frozenset({aten._assert_tensor_metadata.default})


def _layer(*targets: Any) -> Callable[[Layer], Layer]:
    def register(layer: Layer) -> Layer:
        LAYERS.update(dict.fromkeys(targets, layer))
        return layer

    return register


def _dtype(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _argument(node: Node, number: int, name: str, default: Any = None) -> Any:
    return node.args[number] if len(node.args) > number else node.kwargs.get(name, default)


def _axis(axis: int, rank: int) -> int:
    return axis + rank if axis < 0 else axis


# ---- elements

_BINARY: dict[Any, tuple[int, Any]] = {
    aten.add.Tensor: (Op.ADD, schema.AddOptionsT),
    aten.add_.Tensor: (Op.ADD, schema.AddOptionsT),
    aten.sub.Tensor: (Op.SUB, schema.SubOptionsT),
    aten.mul.Tensor: (Op.MUL, schema.MulOptionsT),
    aten.div.Tensor: (Op.DIV, schema.DivOptionsT),
    aten.maximum.default: (Op.MAXIMUM, schema.MaximumMinimumOptionsT),
    aten.minimum.default: (Op.MINIMUM, schema.MaximumMinimumOptionsT),
    aten.clamp_min.default: (Op.MAXIMUM, schema.MaximumMinimumOptionsT),
    aten.clamp_max.default: (Op.MINIMUM, schema.MaximumMinimumOptionsT),
}


@_layer(*_BINARY)
def _binary(low: Lowering, node: Node) -> Live:
    builtin, options = _BINARY[node.target]
    if _argument(node, 2, "alpha", 1) != 1:
        raise CompileError(f"node {node.name}: {node.target} with alpha is not expressed; multiply first")
    return _pair(low, node, builtin, options(), node.args[0], node.args[1])


@_layer(aten.rsub.Scalar)
def _reverse_sub(low: Lowering, node: Node) -> Live:
    return _pair(low, node, Op.SUB, schema.SubOptionsT(), node.args[1], node.args[0])


def _pair(low: Lowering, node: Node, builtin: int, options: Any, a: Any, b: Any) -> Live:
    values = [low.value(v) if isinstance(v, Node) else v for v in (a, b)]
    nhwc = any(isinstance(v, Live) and v.nhwc for v in values)
    dtype = node.meta["val"].dtype
    lives = [low.live(v, nhwc=nhwc, dtype=dtype) for v in values]
    for live in lives:
        if live.dtype != dtype:
            raise CompileError(f"node {node.name}: {node.target} of mixed types is not expressed; convert first")
    return low.emit(node, builtin, [live.index for live in lives], options, nhwc=nhwc)


def _gelu(node: Node) -> Any:
    options = schema.GeluOptionsT()
    options.approximate = node.kwargs.get("approximate", "none") == "tanh"
    return options


_UNARY: dict[Any, tuple[int, Callable[[Node], Any]]] = {
    aten.relu.default: (Op.RELU, lambda node: None),
    aten.relu_.default: (Op.RELU, lambda node: None),
    aten.relu6.default: (Op.RELU6, lambda node: None),
    aten.sigmoid.default: (Op.LOGISTIC, lambda node: None),
    aten.tanh.default: (Op.TANH, lambda node: None),
    aten.gelu.default: (Op.GELU, _gelu),
    aten.hardswish.default: (Op.HARD_SWISH, lambda node: schema.HardSwishOptionsT()),
    aten.hardswish_.default: (Op.HARD_SWISH, lambda node: schema.HardSwishOptionsT()),
    aten.sqrt.default: (Op.SQRT, lambda node: None),
    aten.rsqrt.default: (Op.RSQRT, lambda node: None),
    aten.square.default: (Op.SQUARE, lambda node: schema.SquareOptionsT()),
    aten.abs.default: (Op.ABS, lambda node: schema.AbsOptionsT()),
    aten.neg.default: (Op.NEG, lambda node: schema.NegOptionsT()),
    aten.exp.default: (Op.EXP, lambda node: schema.ExpOptionsT()),
}


@_layer(*_UNARY)
def _unary(low: Lowering, node: Node) -> Live:
    builtin, options = _UNARY[node.target]
    x = low.value(node.args[0])  # type: ignore[arg-type]
    nhwc = isinstance(x, Live) and x.nhwc
    return low.emit(node, builtin, [low.live(x, nhwc=nhwc).index], options(node), nhwc=nhwc)


@_layer(aten.hardtanh.default, aten.hardtanh_.default, aten.clamp.default)
def _clamp(low: Lowering, node: Node) -> Live:
    default = (None, None) if node.target is aten.clamp.default else (-1.0, 1.0)
    low_bound, high = _argument(node, 1, "min", default[0]), _argument(node, 2, "max", default[1])
    x = node.args[0]
    if low_bound is not None and high is not None:
        between = _pair(low, node, Op.MAXIMUM, schema.MaximumMinimumOptionsT(), x, low_bound)
        return _pair(low, node, Op.MINIMUM, schema.MaximumMinimumOptionsT(), between, high)
    if low_bound is not None:
        return _pair(low, node, Op.MAXIMUM, schema.MaximumMinimumOptionsT(), x, low_bound)
    return _pair(low, node, Op.MINIMUM, schema.MaximumMinimumOptionsT(), x, high)


@_layer(aten.to.dtype, aten._to_copy.default)
def _cast(low: Lowering, node: Node) -> Value:
    x, dtype = low.live(node.args[0]), node.meta["val"].dtype
    if x.dtype == dtype:
        return x
    options = schema.CastOptionsT()
    return low.emit(node, Op.CAST, [x.index], options)


@_layer(
    aten.dropout.default,
    aten.contiguous.default,
    aten.clone.default,
    aten.alias.default,
    aten.detach.default,
    aten.detach_.default,
)
def _same(low: Lowering, node: Node) -> Value:
    return low.value(node.args[0])  # type: ignore[arg-type]


@_layer(operator.getitem)
def _part(low: Lowering, node: Node) -> Value:
    parts = low.value(node.args[0])  # type: ignore[arg-type]
    assert isinstance(parts, tuple) and isinstance(node.args[1], int)
    part: Value = parts[node.args[1]]
    return part


@_layer(aten.ones_like.default, aten.zeros_like.default)
def _filled(low: Lowering, node: Node) -> Value:
    like: Tensor = node.meta["val"]
    return torch.full(like.shape, int(node.target is aten.ones_like.default), dtype=like.dtype)


# ---- shapes


@_layer(
    aten.view.default,
    aten.reshape.default,
    aten.flatten.using_ints,
    aten.unsqueeze.default,
    aten.squeeze.dim,
    aten.squeeze.dims,
    aten.squeeze.default,
    aten._unsafe_view.default,
)
def _reshape(low: Lowering, node: Node) -> Live:
    return low.reshaped(low.live(node.args[0]), node.meta["val"].shape, node.name)


@_layer(aten.permute.default)
def _permute(low: Lowering, node: Node) -> Live:
    x = low.live(node.args[0])
    order: Any = node.args[1]
    return _transposed(low, node, x, [_axis(axis, len(x.shape)) for axis in order])


@_layer(aten.transpose.int)
def _transpose(low: Lowering, node: Node) -> Live:
    x = low.live(node.args[0])
    order = list(range(len(x.shape)))
    a, b = (_axis(int(v), len(order)) for v in node.args[1:3])  # type: ignore[arg-type]
    order[a], order[b] = order[b], order[a]
    return _transposed(low, node, x, order)


@_layer(aten.t.default)
def _t(low: Lowering, node: Node) -> Live:
    x = low.live(node.args[0])
    return _transposed(low, node, x, list(range(len(x.shape)))[::-1])


def _transposed(low: Lowering, node: Node, x: Live, order: Sequence[int]) -> Live:
    return low.emit(node, Op.TRANSPOSE, [x.index, low.ints(order)], schema.TransposeOptionsT())


@_layer(aten.slice.Tensor)
def _slice(low: Lowering, node: Node) -> Value:
    x = low.live(node.args[0])
    axis = _axis(_argument(node, 1, "dim", 0), len(x.shape))
    start = _argument(node, 2, "start") or 0
    if _argument(node, 4, "step", 1) != 1:
        raise CompileError(f"node {node.name}: slices with a step are not expressed; take the items one by one")
    return low.cut(x, axis, start % x.shape[axis] if start < 0 else start, node.meta["val"].shape[axis], node.name)


@_layer(aten.select.int)
def _select(low: Lowering, node: Node) -> Live:
    x = low.live(node.args[0])
    axis = _axis(int(node.args[1]), len(x.shape))  # type: ignore[arg-type]
    cut = low.cut(x, axis, int(node.args[2]) % x.shape[axis], 1, f"{node.name}/cut")  # type: ignore[arg-type]
    return low.reshaped(cut, node.meta["val"].shape, node.name)


@_layer(aten.chunk.default, aten.split.Tensor, aten.split_with_sizes.default)
def _split(low: Lowering, node: Node) -> Value:
    x, parts = low.live(node.args[0]), node.meta["val"]
    axis = _axis(_argument(node, 2, "dim", 0), len(x.shape))
    starts = [sum(part.shape[axis] for part in parts[:i]) for i in range(len(parts))]
    return tuple(
        low.cut(x, axis, start, part.shape[axis], f"{node.name}/{i}")
        for i, (start, part) in enumerate(zip(starts, parts, strict=True))
    )


@_layer(aten.cat.default)
def _cat(low: Lowering, node: Node) -> Live:
    parts: Any = node.args[0]
    lives = [low.live(part) for part in parts]
    options = schema.ConcatenationOptionsT()
    options.axis = _axis(_argument(node, 1, "dim", 0), len(lives[0].shape))
    return low.emit(node, Op.CONCATENATION, [live.index for live in lives], options)


@_layer(aten.stack.default)
def _stack(low: Lowering, node: Node) -> Live:
    parts: Any = node.args[0]
    options = schema.PackOptionsT()
    options.valuesCount, options.axis = len(parts), _axis(_argument(node, 1, "dim", 0), len(node.meta["val"].shape))
    return low.emit(node, Op.PACK, [low.live(part).index for part in parts], options)


@_layer(aten.embedding.default)
def _embedding(low: Lowering, node: Node) -> Live:
    options = schema.GatherOptionsT()
    options.axis = 0
    table, ids = low.live(node.args[0]), low.live(node.args[1])
    return low.emit(node, Op.GATHER, [table.index, ids.index], options)


# ---- sums


@_layer(aten.sum.dim_IntList, aten.mean.dim, aten.amax.default)
def _reduce(low: Lowering, node: Node) -> Live:
    x = low.live(node.args[0])
    axes: Any = _argument(node, 1, "dim") or range(len(x.shape))
    options = schema.ReducerOptionsT()
    options.keepDims = bool(_argument(node, 2, "keepdim", False))
    kinds: dict[Any, int] = {aten.sum.dim_IntList: Op.SUM, aten.mean.dim: Op.MEAN, aten.amax.default: Op.REDUCE_MAX}
    target: Any = node.target
    inputs = [x.index, low.ints([_axis(axis, len(x.shape)) for axis in axes])]
    return low.emit(node, kinds[target], inputs, options)


@_layer(aten.adaptive_avg_pool2d.default)
def _global_mean(low: Lowering, node: Node) -> Live:
    if tuple(node.args[1]) != (1, 1):  # type: ignore[arg-type]
        raise CompileError(f"node {node.name}: adaptive pooling to {node.args[1]} is not expressed; only to (1, 1)")
    options = schema.ReducerOptionsT()
    options.keepDims = True
    x = low.live(node.args[0], nhwc=True)
    return low.emit(node, Op.MEAN, [x.index, low.ints([1, 2])], options, nhwc=True)


@_layer(aten.softmax.int, aten._softmax.default)
def _softmax(low: Lowering, node: Node) -> Live:
    x = low.live(node.args[0])
    if _axis(int(node.args[1]), len(x.shape)) != len(x.shape) - 1:  # type: ignore[arg-type]
        raise CompileError(f"node {node.name}: softmax over another axis than the last is not expressed; transpose")
    return low.emit(node, Op.SOFTMAX, [x.index], _softmax_options())


def _softmax_options() -> Any:
    options = schema.SoftmaxOptionsT()
    options.beta = 1.0
    return options


# ---- products


@_layer(aten.linear.default)
def _linear(low: Lowering, node: Node) -> Live:
    x, weight, bias = low.live(node.args[0]), low.live(node.args[1]), _argument(node, 2, "bias")
    options = schema.FullyConnectedOptionsT()
    options.keepNumDims = True
    addend = torch.zeros(weight.shape[0]) if bias is None else bias
    return low.emit(node, Op.FULLY_CONNECTED, [x.index, weight.index, low.live(addend).index], options)


@_layer(aten.matmul.default, aten.bmm.default, aten.mm.default)
def _matmul(low: Lowering, node: Node) -> Live:
    a, b = (low.live(argument) for argument in node.args[:2])
    return low.emit(node, Op.BATCH_MATMUL, [a.index, b.index], schema.BatchMatMulOptionsT())


@_layer(aten.scaled_dot_product_attention.default)
def _attention(low: Lowering, node: Node) -> Live:
    mask = _argument(node, 3, "attn_mask")
    if _argument(node, 5, "is_causal", False) or node.kwargs.get("enable_gqa"):
        raise CompileError(f"node {node.name}: causal or grouped attention is not expressed; give a mask")
    q, k, v = (low.live(argument) for argument in node.args[:3])
    scale: Any = node.kwargs.get("scale") or 1 / math.sqrt(q.shape[-1])
    return attention(low, node.name, (q, k, v), None if mask is None else low.live(mask), float(scale))


def attention(low: Lowering, name: str, qkv: tuple[Live, Live, Live], mask: Live | None, scale: float) -> Live:
    """softmax(q k^T * scale + mask) v over (..., tokens, d), the scale on q."""
    q, k, v = qkv
    scores_like = torch.empty((*q.shape[:-1], k.shape[-2]), device="meta")
    queries_like = torch.empty(q.shape, device="meta")
    transposed = schema.BatchMatMulOptionsT()
    transposed.adjY = True
    scaled = low.step(f"{name}/scaled", queries_like, Op.MUL, [q.index, low.live(scale).index], schema.MulOptionsT())
    scores = low.step(f"{name}/scores", scores_like, Op.BATCH_MATMUL, [scaled.index, k.index], transposed)
    if mask is not None:
        scores = low.step(f"{name}/masked", scores_like, Op.ADD, [scores.index, mask.index], schema.AddOptionsT())
    shares = low.step(f"{name}/shares", scores_like, Op.SOFTMAX, [scores.index], _softmax_options())
    return low.step(name, queries_like, Op.BATCH_MATMUL, [shares.index, v.index], schema.BatchMatMulOptionsT())


@_layer(aten.layer_norm.default)
def _layer_norm(low: Lowering, node: Node) -> Live:
    x, shape = low.live(node.args[0]), node.args[1]
    if tuple(shape) != x.shape[-1:]:  # type: ignore[arg-type]
        raise CompileError(f"node {node.name}: layer norm over {shape} is not expressed; only over the last axis")
    weight, bias, eps = (_argument(node, i, n) for i, n in ((2, "weight"), (3, "bias"), (4, "eps")))
    return layer_norm(low, node.name, x, weight, bias, 1e-5 if eps is None else float(eps))


def layer_norm(low: Lowering, name: str, x: Live, weight: Any, bias: Any, eps: float) -> Live:
    """Over the last axis; weight and bias may be None."""
    means = schema.ReducerOptionsT()
    means.keepDims = True
    last, like = low.ints([len(x.shape) - 1]), torch.empty(x.shape, device="meta")
    row = torch.empty((*x.shape[:-1], 1), device="meta")
    multiply, add = schema.MulOptionsT, schema.AddOptionsT
    mean = low.step(f"{name}/mean", row, Op.MEAN, [x.index, last], means).index
    centred = low.step(f"{name}/centred", like, Op.SUB, [x.index, mean], schema.SubOptionsT()).index
    squared = low.step(f"{name}/squared", like, Op.MUL, [centred, centred], multiply()).index
    variance = low.step(f"{name}/variance", row, Op.MEAN, [squared, last], means).index
    shifted = low.step(f"{name}/shifted", row, Op.ADD, [variance, low.live(eps).index], add()).index
    factor = low.step(f"{name}/factor", row, Op.RSQRT, [shifted], None).index
    gamma = low.live(torch.ones(x.shape[-1]) if weight is None else weight).index
    beta = low.live(torch.zeros(x.shape[-1]) if bias is None else bias).index
    y = low.step(f"{name}/normal", like, Op.MUL, [centred, factor], multiply()).index
    y = low.step(f"{name}/scaled", like, Op.MUL, [y, gamma], multiply()).index
    return low.step(name, like, Op.ADD, [y, beta], add())


# ---- images


def _known(low: Lowering, node: Node, given: Any) -> Tensor:
    value = low.value(given)
    if not isinstance(value, Tensor):
        raise CompileError(f"node {node.name}: weights that are computed are not expressed; make them constants")
    return value


@_layer(aten.conv2d.default)
def _conv2d(low: Lowering, node: Node) -> Live:
    """VALID, after a PAD with zeros: SAME would pad differently from PyTorch where the stride is not 1."""
    weight, bias = _known(low, node, node.args[1]), _argument(node, 2, "bias")
    addend = torch.zeros(weight.shape[0]) if bias is None else _known(low, node, bias)
    stride, padding, dilation = (
        _argument(node, i, n, d) for i, n, d in ((3, "stride", 1), (4, "padding", 0), (5, "dilation", 1))
    )
    (sh, sw), (ph, pw), (dh, dw) = (_two(v) for v in (stride, padding, dilation))
    groups, x = _argument(node, 6, "groups", 1), _padded(low, node, node.args[0], ph, pw)
    depthwise = groups == x.shape[1] > 1
    if groups != 1 and not depthwise:
        raise CompileError(f"node {node.name}: {groups} groups of channels are not expressed; only 1, or one each")
    options = schema.DepthwiseConv2DOptionsT() if depthwise else schema.Conv2DOptionsT()
    options.padding, options.strideH, options.strideW = schema.Padding.VALID, sh, sw
    options.dilationHFactor, options.dilationWFactor = dh, dw
    if depthwise:  # (o, 1, kh, kw) -> (1, kh, kw, o)
        options.depthMultiplier = weight.shape[0] // groups
        weight = weight.permute(1, 2, 3, 0)
    else:
        weight = weight.permute(0, 2, 3, 1)
    builtin = Op.DEPTHWISE_CONV_2D if depthwise else Op.CONV_2D
    return low.emit(node, builtin, [x.index, low.live(weight).index, low.live(addend).index], options, nhwc=True)


def _two(value: Any) -> tuple[int, int]:
    values = [value] if isinstance(value, int) else list(value)
    return int(values[0]), int(values[-1])


def _padded(low: Lowering, node: Node, given: Any, ph: int, pw: int, *, least: bool = False) -> Live:
    """The image in NHWC with zeros around it, or with what no maximum is."""
    x = low.live(given, nhwc=True)
    if not ph and not pw:
        return x
    n, c, h, w = x.shape
    shape = (n, c, h + 2 * ph, w + 2 * pw)
    index = low.graph.tensor(f"{node.name}/padded", (n, shape[2], shape[3], c), _dtype(x.dtype))
    inputs = [x.index, low.graph.constant("padding", np.array([[0, 0], [ph, ph], [pw, pw], [0, 0]], np.int32))]
    if least:
        inputs.append(low.live(float(np.finfo(np.float32).min)).index)
    low.graph.operator(
        Op.PADV2 if least else Op.PAD, inputs, [index], schema.PadV2OptionsT() if least else schema.PadOptionsT()
    )
    return replace(x, index=index, shape=shape)


@_layer(aten.batch_norm.default, aten._native_batch_norm_legit_no_training.default)
def _batch_norm(low: Lowering, node: Node) -> Live:
    """y = x * factor + rest, per channel: the frozen statistics in double precision, rounded once."""
    gamma, beta, mean, var = (None if a is None else _known(low, node, a) for a in node.args[1:5])
    assert mean is not None and var is not None
    eps: Any = node.args[7] if node.target is aten.batch_norm.default else node.args[6]
    factor = (var.double() + eps).rsqrt() * (1 if gamma is None else gamma.double())
    rest = (0 if beta is None else beta.double()) - mean.double() * factor
    x = low.live(node.args[0], nhwc=len(node.meta["val"].shape) == 4)
    scaled = low.new(f"{node.name}/scaled", node.meta["val"], nhwc=x.nhwc)
    constants = [low.live(v.float().reshape(-1)).index for v in (factor, rest)]  # along the last axis: the channels
    if not x.nhwc and len(x.shape) != 2:
        raise CompileError(f"node {node.name}: batch norm of {len(x.shape)} axes is not expressed; only of 2 or 4")
    low.graph.operator(Op.MUL, [x.index, constants[0]], [scaled.index], schema.MulOptionsT())
    return low.emit(node, Op.ADD, [scaled.index, constants[1]], schema.AddOptionsT(), nhwc=x.nhwc)


@_layer(aten.max_pool2d.default, aten.avg_pool2d.default)
def _pool(low: Lowering, node: Node) -> Live:
    kernel: Any = node.args[1]
    most = node.target is aten.max_pool2d.default
    (kh, kw), (ph, pw) = _two(kernel), _two(_argument(node, 3, "padding", 0))
    sh, sw = _two(_argument(node, 2, "stride") or kernel)
    dilated = most and _two(_argument(node, 4, "dilation", 1)) != (1, 1)
    ceil = _argument(node, 5 if most else 4, "ceil_mode", False)
    if (
        dilated
        or ceil
        or (not most and (_argument(node, 6, "divisor_override") or not _argument(node, 5, "count_include_pad", True)))
    ):
        raise CompileError(
            f"node {node.name}: dilated, rounded-up or re-weighted pooling is not expressed; use plain pooling"
        )
    x = _padded(low, node, node.args[0], ph, pw, least=most)
    options = schema.Pool2DOptionsT()
    options.padding, options.strideH, options.strideW = schema.Padding.VALID, sh, sw
    options.filterHeight, options.filterWidth = kh, kw
    return low.emit(node, Op.MAX_POOL_2D if most else Op.AVERAGE_POOL_2D, [x.index], options, nhwc=True)


# ---- what a method keeps between calls; each gives the buffer's new content


def copy(low: Lowering, node: Node) -> Live:
    source = low.live(node.args[1])
    return low.reshaped(source, node.meta["val"].shape, node.name)


def zeros(low: Lowering, node: Node) -> Live:
    """max(min(x, 0), 0): a compiled model does not run twice when one of its results is a constant."""
    held, none = low.live(node.args[0]), low.live(torch.zeros((), dtype=node.meta["val"].dtype))
    below = low.new(f"{node.name}/below", node.meta["val"])
    low.graph.operator(Op.MINIMUM, [held.index, none.index], [below.index], schema.MaximumMinimumOptionsT())
    return low.emit(node, Op.MAXIMUM, [below.index, none.index], schema.MaximumMinimumOptionsT())


def index_copy(low: Lowering, node: Node) -> Live:
    """One position, given by a tensor of one element."""
    into, place, part = (low.live(argument) for argument in (node.args[0], node.args[2], node.args[3]))
    axis = _axis(int(node.args[1]), len(into.shape))  # type: ignore[arg-type]
    if math.prod(place.shape) != 1:
        raise CompileError(f"node {node.name}: index_copy_ of several positions is not expressed; copy one")
    position = low.graph.tensor(f"{node.name}/position", (1,), "int32")
    low.graph.operator(Op.CAST, [place.index], [position], schema.CastOptionsT())
    begin = low.graph.tensor(f"{node.name}/begin", (len(into.shape),), "int32")
    options = schema.ConcatenationOptionsT()
    options.axis = 0
    around = [low.ints([0] * axis)] if axis else []
    behind = [low.ints([0] * (len(into.shape) - axis - 1))] if axis + 1 < len(into.shape) else []
    low.graph.operator(Op.CONCATENATION, [*around, position, *behind], [begin], options)
    return low.emit(node, Op.DYNAMIC_UPDATE_SLICE, [into.index, part.index, begin])
