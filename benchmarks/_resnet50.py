"""ResNet-50 as the float and int8 engines run it: the network that PokeBNN-1x is measured beside.

He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition, arXiv 1512.03385, with the stride in the 3x3
convolution (the common "v1.5"), batch norm already folded into the convolutions. The weights are random from a fixed
seed: time does not depend on them. One description gives all three files; they are built once and cached.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from edgeq import _paths
from edgeq._quiet import quiet

from ._peers import IR_VERSION, OPSET, onnx_call
from .harness import WrongResultError

BLOCKS = (3, 4, 6, 3)
CLASSES = 1000
SIZE = 224
_CALIBRATION_PICTURES = 4
Array = npt.NDArray[np.float32]
Call = Callable[[], Array]


class Bottleneck(nn.Module):
    """(n, in, h, w) -> (n, 4 width, h / stride, w / stride)."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 1)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1)
        self.conv3 = nn.Conv2d(width, 4 * width, 1)
        change = stride > 1 or channels != 4 * width
        self.shortcut = nn.Conv2d(channels, 4 * width, 1, stride) if change else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv3(torch.relu(self.conv2(torch.relu(self.conv1(x)))))
        return torch.relu(y + (x if self.shortcut is None else self.shortcut(x)))


class ResNet50(nn.Module):
    """(n, 3, 224, 224) -> (n, 1000)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 64, 7, 2, 3)
        self.pool = nn.MaxPool2d(3, 2, 1)
        blocks, channels = [], 64
        for stage, count in enumerate(BLOCKS):
            width = 64 << stage
            for index in range(count):
                blocks.append(Bottleneck(channels, width, 2 if stage and index == 0 else 1))
                channels = 4 * width
        self.blocks = nn.ModuleList(blocks)
        self.head = nn.Linear(channels, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(torch.relu(self.stem(x)))
        for block in self.blocks:
            x = block(x)
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits


def picture(seed: int = 0) -> Array:
    """One input (1, 3, 224, 224), normalised."""
    return np.random.default_rng(seed).standard_normal((1, 3, SIZE, SIZE), np.float32)


def calls(*, threads: int, say: Callable[[str], None]) -> dict[str, Call]:
    """One inference of `picture()` in each engine, logits (1, 1000) back.

    raises  WrongResultError when the float engines disagree with PyTorch by more than rounding explains
    """
    files = _built(say)
    x = picture()
    found = {
        "resnet50 int8 ort": onnx_call(str(files["int8.onnx"]), x, threads),
        "resnet50 fp32 ort": onnx_call(str(files["fp32.onnx"]), x, threads),
        "resnet50 fp32 xnnpack": _executorch_call(files["fp32.pte"], x),
    }
    with torch.no_grad():
        expected = _network()(torch.from_numpy(x)).numpy()
    for name, call in found.items():
        error = float(np.abs(np.asarray(call()) - expected).max() / np.abs(expected).max())
        if error > (0.5 if "int8" in name else 1e-4):  # int8: only a check that it is the same network
            raise WrongResultError(f"{name}: logits differ from PyTorch's by {error:.2g} of the largest")
    return found


def _network() -> ResNet50:
    """Weights as He et al. initialise them; the last convolution of a block small, to keep activations in range."""
    rng = np.random.default_rng(50)
    network = ResNet50().eval()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            fan_in = parameter[0].numel() if parameter.dim() > 1 else 1
            spread = np.sqrt(2 / fan_in) * (0.3 if "conv3" in name else 1.0) if parameter.dim() > 1 else 0.1
            values = rng.standard_normal(tuple(parameter.shape), np.float32) * np.float32(spread)
            parameter.copy_(torch.from_numpy(values))
    return network


def _built(say: Callable[[str], None]) -> dict[str, Path]:
    versions = [metadata.version(name) for name in ("torch", "executorch", "onnx", "onnxruntime")]
    key = hashlib.sha256(Path(__file__).read_bytes() + " ".join(versions).encode()).hexdigest()[:16]
    folder = _paths.cache() / "benchmarks" / f"resnet50-{key}"
    folder.mkdir(parents=True, exist_ok=True)
    files = {name: folder / name for name in ("fp32.onnx", "int8.onnx", "fp32.pte")}
    builders: dict[str, Callable[[Path], None]] = {
        "fp32.onnx": _write_onnx,
        "int8.onnx": lambda out: _quantise(files["fp32.onnx"], out),
        "fp32.pte": _lower,
    }
    for name, file in files.items():
        if not file.is_file():
            say(f"building ResNet-50 {name} (once)")
            part = file.with_suffix(f".part{file.suffix}")
            builders[name](part)
            part.replace(file)
    return files


def _write_onnx(file: Path) -> None:
    """The network as an ONNX graph, node for node."""
    import onnx
    from onnx import helper, numpy_helper

    nodes: list[Any] = []
    constants: list[Any] = []

    def add(kind: str, inputs: list[str], **attributes: Any) -> str:
        output = f"{kind.lower()}_{len(nodes)}"
        nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def constant(name: str, value: Tensor) -> str:
        constants.append(numpy_helper.from_array(value.detach().numpy(), name))
        return name

    def conv(x: str, layer: nn.Conv2d, *, relu: bool = True) -> str:
        name = f"w{len(nodes)}"
        weights = [constant(name, layer.weight), constant(f"{name}_bias", layer.bias)]
        pads, strides = [*layer.padding, *layer.padding], list(layer.stride)
        y = add("Conv", [x, *weights], kernel_shape=list(layer.kernel_size), pads=pads, strides=strides)
        return add("Relu", [y]) if relu else y

    network = _network()
    x = conv("x", network.stem)
    x = add("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    for block in network.blocks:
        y = conv(conv(conv(x, block.conv1), block.conv2), block.conv3, relu=False)
        shortcut = x if block.shortcut is None else conv(x, block.shortcut, relu=False)
        x = add("Relu", [add("Add", [y, shortcut])])
    x = add("Flatten", [add("GlobalAveragePool", [x])])
    x = add("Gemm", [x, constant("head", network.head.weight), constant("head_bias", network.head.bias)], transB=1)
    nodes[-1].output[0] = "y"
    shape = [1, 3, SIZE, SIZE]
    graph = helper.make_graph(
        nodes,
        "resnet50",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, CLASSES])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model)
    onnx.save(model, str(file))


def _quantise(source: Path, out: Path) -> None:
    """Static int8 (QDQ): uint8 activations per tensor, int8 weights per channel."""
    from onnxruntime import quantization

    class Pictures(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self.left = iter(range(1, _CALIBRATION_PICTURES + 1))

        def get_next(self) -> dict[str, Array] | None:
            seed = next(self.left, None)
            return None if seed is None else {"x": picture(seed)}

    with quiet():
        quantization.quantize_static(
            str(source),
            str(out),
            Pictures(),
            quant_format=quantization.QuantFormat.QDQ,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            per_channel=True,
        )


def _lower(file: Path) -> None:
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    with quiet():
        exported = torch.export.export(_network(), (torch.from_numpy(picture()),), strict=False)
        program = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()]).to_executorch()
    file.write_bytes(program.buffer)


def _executorch_call(file: Path, x: Array) -> Call:
    """The pool's size must have been set before (`_executorch.py`)."""
    from executorch.runtime import Runtime

    method = Runtime.get().load_program(file).load_method("forward")
    inputs = (torch.from_numpy(x),)
    return lambda: method.execute(inputs)[0].numpy()
