"""PyTorch and ONNX Runtime doing the work that a binary operator replaces, in float and in int8.

An int8 engine quantises a float activation itself where the product does (linear) and passes uint8 on where the product
passes bits on (convolution). Weights and activations are random: speed does not depend on them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeq._quiet import quiet

from . import _core
from .harness import Engine

Array = npt.NDArray[Any]
OPSET = 17
IR_VERSION = 9


def linear(m: int, k: int, o: int, *, threads: int, seed: int = 0) -> list[Engine]:
    """x (m, k) float32 -> (m, o) float32 in every engine."""
    rng = np.random.default_rng(seed)
    x, w = _core.aligned((m, k), np.float32), _core.aligned((o, k), np.float32)
    x[:], w[:] = rng.standard_normal(x.shape, np.float32), rng.standard_normal(w.shape, np.float32)
    return [*_torch_linear(x, w, threads), *_ort_linear(x, w, threads)]


def conv2d(size: int, c: int, o: int, kernel: int, *, threads: int, seed: int = 0) -> list[Engine]:
    """One picture of size x size x c, stride 1, padding kernel // 2. int8 engines read and write uint8."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((1, c, size, size), np.float32)
    w = rng.standard_normal((o, c, kernel, kernel), np.float32)
    return [*_torch_conv2d(x, w, threads), *_ort_conv2d(x, w, threads)]


def _torch(threads: int) -> Any:
    with quiet():
        import torch

        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)
        torch.backends.quantized.engine = "onednn"
    return torch


def _torch_linear(x: Array, w: Array, threads: int) -> list[Engine]:
    torch = _torch(threads)
    tx, tw = torch.from_numpy(x), torch.from_numpy(w)
    layer = torch.nn.Linear(w.shape[1], w.shape[0], bias=False)
    layer.weight.data = tw
    with quiet():  # torch announces that torchao will take this over
        dynamic = torch.ao.quantization.quantize_dynamic(
            torch.nn.Sequential(layer), {torch.nn.Linear}, dtype=torch.qint8
        )
    return [
        Engine("torch fp32", lambda: torch.nn.functional.linear(tx, tw)),
        Engine("torch int8", lambda: dynamic(tx)),
    ]


def _torch_conv2d(x: Array, w: Array, threads: int) -> list[Engine]:
    torch = _torch(threads)
    pad = w.shape[2] // 2
    tx = torch.from_numpy(x).to(memory_format=torch.channels_last)
    tw = torch.from_numpy(w).to(memory_format=torch.channels_last)
    with quiet():
        qx = torch.quantize_per_tensor(tx, 0.02, 128, torch.quint8).contiguous(memory_format=torch.channels_last)
        qw = torch.quantize_per_tensor(torch.from_numpy(w), 0.01, 0, torch.qint8)
    packed = torch.ops.quantized.conv2d_prepack(qw, None, [1, 1], [pad, pad], [1, 1], 1)
    return [
        Engine("torch fp32", lambda: torch.nn.functional.conv2d(tx, tw, padding=pad)),
        Engine("torch int8", lambda: torch.ops.quantized.conv2d(qx, packed, 0.1, 128)),
    ]


def _ort_linear(x: Array, w: Array, threads: int) -> list[Engine]:
    from onnx import helper

    rng = np.random.default_rng(1)
    float_node = helper.make_node("MatMul", ["x", "w"], ["y"])
    int8_node = helper.make_node("DynamicQuantizeMatMul", ["x", "w", "scale", "zero"], ["y"], domain="com.microsoft")
    o, k = w.shape
    int8_weights = {
        "w": rng.integers(-64, 64, (k, o)).astype(np.int8),
        "scale": np.full(o, 0.01, np.float32),
        "zero": np.zeros(o, np.int8),
    }
    return [
        Engine("ort fp32", one_node(float_node, x, {"w": np.ascontiguousarray(w.T)}, threads)),
        Engine("ort int8", one_node(int8_node, x, int8_weights, threads)),
    ]


def _ort_conv2d(x: Array, w: Array, threads: int) -> list[Engine]:
    from onnx import helper

    rng = np.random.default_rng(1)
    geometry = {"kernel_shape": list(w.shape[2:]), "pads": [w.shape[2] // 2] * 4}
    float_node = helper.make_node("Conv", ["x", "w"], ["y"], **geometry)
    names = ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz"]
    int8_node = helper.make_node("QLinearConv", names, ["y"], **geometry)
    int8_weights = {
        "xs": np.float32(0.01),
        "xz": np.uint8(128),
        "w": rng.integers(-64, 64, w.shape).astype(np.int8),
        "ws": np.full(len(w), 0.01, np.float32),
        "wz": np.zeros(len(w), np.int8),
        "ys": np.float32(0.1),
        "yz": np.uint8(128),
    }
    codes = rng.integers(0, 255, x.shape).astype(np.uint8)
    return [
        Engine("ort fp32", one_node(float_node, x, {"w": w}, threads)),
        Engine("ort int8", one_node(int8_node, codes, int8_weights, threads)),
    ]


def one_node(node: Any, x: Array, constants: dict[str, Any], threads: int) -> Callable[[], object]:
    """A call of an ONNX model of one node with input x and output y of x's type."""
    from onnx import helper, numpy_helper

    kind = helper.np_dtype_to_tensor_dtype(x.dtype)
    graph = helper.make_graph(
        [node],
        node.op_type,
        [helper.make_tensor_value_info("x", kind, x.shape)],
        [helper.make_tensor_value_info("y", kind, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
    return onnx_call(model.SerializeToString(), x, threads)


def onnx_call(model: bytes | str, x: Array, threads: int) -> Callable[[], Array]:
    """A call of an ONNX model (bytes or a file) with input x and output y; gives the output back."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    if threads > 1:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # a spinning pool starves the others
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    binding.bind_cpu_input("x", x)
    binding.bind_output("y")

    def call(_kept: Array = x) -> Array:
        session.run_with_iobinding(binding)
        return binding.get_outputs()[0]

    return call
