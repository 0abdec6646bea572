"""PyTorch module -> LiteRT program (`.tflite`): the fused graph of the `.pte` path, written by our own hand.

EdgeQ's operators become custom operators `edgeq.NAME`: their tensors in the order of the schema, then `params`, a
constant int32 input with the version of this agreement, the number of arguments, and a kind and a value for each
(`runtime/ports/litert/call.h` reads it). What is None has no input, what is not wanted no output. LiteRT's compiled
models ask an operator for the shapes of its results without a look at params: for them the node's options repeat
params, and each different content has a length of its own, by zeros at its end. The float remainder becomes builtin
operators (`tflite_layers`), which the runtime hands to XNNPACK. Activations lie in NHWC.

Each method is a subgraph and a signature. A buffer that any method writes is an input `state.NAME` of the methods that
read it and an output `state.NAME` of those that write it: the caller hands it from one call to the next, zeros first.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx import GraphModule, Node
from torch.fx.passes.fake_tensor_prop import FakeTensorProp

from edgeq._errors import CompileError, UnsupportedError

from .executorch import Methods, fused

try:
    from . import tflite_layers, tflite_stock
    from .tflite_file import Subgraph, TfliteFile
    from .tflite_layers import Live, Lowering, Value
except ModuleNotFoundError as missing:
    raise UnsupportedError(
        f"target litert needs {missing.name}, which is not installed: pip install 'edgeq[litert]'"
    ) from missing

PARAMS_VERSION = 1  # runtime/ports/litert/call.h
_NONE, _TENSOR, _INTEGER, _FLOAT = range(4)
METADATA = "edgeq.manifest"
STATE = "state."
_WRITERS = {
    torch.ops.aten.copy_.default: tflite_layers.copy,
    torch.ops.aten.zero_.default: tflite_layers.zeros,
    torch.ops.aten.index_copy_.default: tflite_layers.index_copy,
}


def lower(methods: Methods, manifest: Mapping[str, Any], *, stock: bool = False) -> bytes:
    """Compile methods for the shapes of their examples.

    manifest  what names the package; goes into the file's metadata
    stock     no custom operators: EdgeQ's linear layers become builtin ones with INT4, INT2 or int8 weights, which
              quantise activations at run time, so results differ from those of the same model elsewhere
    return    the file's bytes
    raises    CompileError naming the first node that cannot be expressed
    """
    file = TfliteFile("EdgeQ")
    graphs = {name: fused(model, example) for name, (model, example) in methods.items()}
    states = {target for graph in graphs.values() for target in _written(graph)}
    params = Params()
    main = "forward" if "forward" in methods else next(iter(methods))
    for number, (name, graph) in enumerate(graphs.items()):
        model, example = methods[name]
        try:
            inputs, outputs = _Method(file.subgraph(name), graph, example, states, params, stock=stock).lower()
        except CompileError as error:
            raise CompileError(f"{type(model).__name__}.{name}: {error}") from error
        file.signature(name, number, inputs, outputs)
        if name == main:
            file.signature("serving_default", number, inputs, outputs)
    file.metadata(METADATA, json.dumps(manifest, sort_keys=True).encode())
    return file.finish()


def _written(graph: GraphModule) -> list[str]:
    """Buffers that a graph writes in place."""
    return [str(node.args[0].target) for node in graph.graph.nodes if node.target in _WRITERS]


class Params:
    """What nodes say of their arguments: among those of one operator, equal lengths mean equal content."""

    def __init__(self) -> None:
        self._known: dict[str, dict[int, tuple[int, ...]]] = {}

    def padded(self, name: str, words: list[int]) -> np.ndarray[Any, np.dtype[np.int32]]:
        known = self._known.setdefault(name, {})
        padded = (*words,)
        while known.setdefault(len(padded), padded) != padded:
            padded = (*padded, 0)
        return np.array(padded, np.int32)


class _Method(Lowering):
    """One walk over one method's graph."""

    def __init__(
        self,
        graph: Subgraph,
        module: GraphModule,
        example: tuple[Tensor, ...],
        states: set[str],
        params: Params,
        *,
        stock: bool,
    ) -> None:
        super().__init__(graph)
        self._module, self._example, self._states, self._stock = module, example, states, stock
        self._params = params
        self._held: dict[str, Live] = {}  # what a state's buffer holds at this point of the graph
        self._read: list[Live] = []  # states that came in
        self._changed: dict[str, None] = {}

    def lower(self) -> tuple[dict[str, int], dict[str, int]]:
        """Inputs and outputs, public name -> tensor."""
        mode = FakeTensorMode(allow_non_fake_inputs=True)
        FakeTensorProp(self._module, mode).propagate(*self._example)
        inputs: dict[str, int] = {}
        results: list[Value] = []
        for node in self._module.graph.nodes:
            if node.op == "placeholder":
                live = self.new(node.name, node.meta["val"])
                inputs[f"input_{len(inputs)}"] = live.index
                self.values[node] = live
            elif node.op == "get_attr" and str(node.target) not in self._states:
                self.values[node] = self._buffer(str(node.target))
            elif node.op == "call_function":
                self._call(node)
            elif node.op == "output":
                results = [self.value(found) for found in _leaves(node.args[0])]
        outputs = {f"output_{i}": self.output(value).index for i, value in enumerate(results)}
        outputs |= {f"{STATE}{name}": self._held[name].index for name in self._changed}
        inputs |= {live.name: live.index for live in self._read}
        self.graph.boundary(list(inputs.values()), list(outputs.values()))
        return inputs, outputs

    def value(self, node: Node) -> Value:
        name = str(node.target)
        if node.op != "get_attr" or name not in self._states:
            return self.values[node]
        if name not in self._held:
            self._held[name] = self.new(f"{STATE}{name}", self._buffer(name))
            self._read.append(self._held[name])
        return self._held[name]

    def _buffer(self, name: str) -> Tensor:
        found: Any = self._module
        for part in name.split("."):
            found = getattr(found, part)
        buffer: Tensor = found.detach()
        return buffer

    def _call(self, node: Node) -> None:
        target: Any = node.target
        if target in _WRITERS:
            name = str(node.args[0].target)  # type: ignore[union-attr]  # fused graphs write to attributes only
            self._held[name] = self.values[node] = _WRITERS[target](self, node)
            self._changed[name] = None
        elif target in tflite_layers.IGNORED:
            pass
        elif (known := self.folded(node)) is not None:
            self.values[node] = known
        elif target in tflite_layers.LAYERS:
            self.values[node] = tflite_layers.LAYERS[target](self, node)
        elif getattr(target, "namespace", "") == "edgeq":
            self._edgeq(node)
        else:
            raise CompileError(f"node {node.name}: {target} has no counterpart in LiteRT; {_REMEDY}")

    def _edgeq(self, node: Node) -> None:
        """A custom operator."""
        target: Any = node.target
        name = f"edgeq.{target._opname}"
        if self._stock:
            self.values[node] = tflite_stock.lower(self, node)
            return
        schema = target._schema.arguments
        given = list(node.args) + [node.kwargs.get(a.name, a.default_value) for a in schema[len(node.args) :]]
        tensors: list[int] = []
        words = [PARAMS_VERSION, len(given)]
        for argument in given:
            if argument is None:
                words += [_NONE, 0]
            elif isinstance(argument, Node):
                words += [_TENSOR, int(isinstance(self.value(argument), Tensor))]
                tensors.append(self.live(argument).index)
            elif isinstance(argument, float):
                words += [_FLOAT, struct.unpack("<i", struct.pack("<f", argument))[0]]
            else:
                words += [_INTEGER, int(argument)]
        padded = self._params.padded(name, words)
        params = self.graph.constant(f"{node.name}/params", padded)
        made = node.meta["val"]
        if isinstance(made, Tensor):
            results = self.new(node.name, made)
            self.values[node] = results
            outputs = [results.index]
        else:
            parts = tuple(self.new(f"{node.name}/{i}", part) if part.numel() else None for i, part in enumerate(made))
            self.values[node] = parts
            outputs = [part.index for part in parts if part is not None]
        self.graph.custom(name, [*tensors, params], outputs, padded.tobytes())


_REMEDY = "use one of EdgeQ's packed layers, or a layer of docs/litert.md's list"


def _leaves(arguments: Any) -> list[Node]:
    """The nodes of a nested result, in order."""
    if isinstance(arguments, Node):
        return [arguments]
    return [leaf for argument in arguments for leaf in _leaves(argument)]
