"""OpenVINO and ncnn as peers, where their wheels are installed (pip install 'edgeq[peers]').

Both work on the calling thread when they are told one. OpenVINO makes int8 codes of the activations, by rows for int8
weights and by blocks of 32 for 4-bit ones; ncnn with a step that was chosen beforehand, as its converter does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt

from ._lowbit import Weights, checked, packed
from .harness import Engine

F32 = npt.NDArray[np.float32]
PACKAGES = ("openvino", "ncnn")
_INT8_TAG = 0x000D4B38  # in front of int8 weights in files of ncnn
_WIDEST = 4.5  # standard deviations; activations of the benchmarks are normal


def missing() -> list[str]:
    return [name for name in PACKAGES if find_spec(name) is None]


def openvino(x: F32, weights: Weights, threads: int) -> Iterator[Engine]:
    """Weights of 4 bits in groups, or of 8 bits by row."""
    if find_spec("openvino") is None:
        return
    import openvino as ov
    from openvino import opset13 as op

    (m, k), (o, groups) = x.shape, weights.scale.shape
    given = op.parameter([m, k], ov.Type.f32)
    if weights.bits == 4:
        shape = [o, groups, k // groups]
        codes = ov.Tensor(packed(weights.codes + 8, 4).reshape(-1), ov.Shape(shape), ov.Type.u4)
        eight = ov.Tensor(np.array([8], np.uint8), ov.Shape([1, 1, 1]), ov.Type.u4)
        signed = op.subtract(op.convert(op.constant(codes), "f32"), op.convert(op.constant(eight), "f32"))
        scaled = op.multiply(signed, op.constant(weights.scale.reshape(o, groups, 1)))
        matrix = op.reshape(scaled, op.constant(np.array([o, k], np.int64)), False)
    else:
        matrix = op.multiply(op.convert(op.constant(weights.codes), "f32"), op.constant(weights.scale))
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": k // groups,
    }
    model = ov.Model([op.matmul(given, matrix, False, True)], [given], "product")
    request = ov.Core().compile_model(model, "CPU", settings).create_infer_request()
    request.set_input_tensor(ov.Tensor(x, shared_memory=True))
    name = f"openvino int{weights.bits}"
    request.infer()
    checked(name, request.get_output_tensor().data, x, weights)
    yield Engine(name, request.infer)


def ncnn(x: F32, weights: Weights, threads: int) -> Iterator[Engine]:
    """Weights of 8 bits by row."""
    if find_spec("ncnn") is None:
        return
    o, k = weights.codes.shape
    scales = np.concatenate([1 / weights.scale[:, 0], [127 / _WIDEST]]).astype(np.float32)  # of weights, of activations
    blob = np.array([_INT8_TAG], np.uint32).tobytes() + weights.codes.tobytes() + scales.tobytes()
    call = _net(f"0={o} 1=0 2={o * k} 8=2", blob, x, threads)
    checked("ncnn int8", np.array(call()), x, weights)
    yield Engine("ncnn int8", call)


def _net(inner_product: str, blob: bytes, x: F32, threads: int) -> Callable[[], Any]:
    import ncnn as library

    net = library.Net()
    net.opt.num_threads, net.opt.use_vulkan_compute = threads, False
    for storage in ("use_bf16_storage", "use_fp16_storage", "use_fp16_packed", "use_fp16_arithmetic"):
        setattr(net.opt, storage, False)
    m, k = x.shape
    net.load_param_mem(f"7767517\n2 2\nInput in 0 1 x 0={k} 1={m}\nInnerProduct product 1 1 x y {inner_product}\n")
    net.load_model_mem(blob)
    given = library.Mat(x)

    def call(_kept: tuple[object, ...] = (net, blob, x)) -> Any:
        extractor = net.create_extractor()
        extractor.input("x", given)
        return extractor.extract("y")[1]

    return call
