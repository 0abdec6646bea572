"""Torch modules as `.tflite`: what the file holds, and what stock LiteRT with EdgeQ's delegate makes of it."""

import json
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgeq import litert, ops
from edgeq._errors import CompileError, UnsupportedError, UsageError
from edgeq.compile import litert as compiler
from edgeq.compile.tflite_file import Array, TfliteFile, misaligned, read_metadata, schema

FLOAT = 1e-5  # relative: sums of other orders


def run(module: nn.Module, *inputs: Tensor) -> tuple[list[Array], list[Array]]:
    """Outputs of the compiled file, and eager ones."""
    tflite = compiler.lower({"forward": (module, inputs)}, {})
    assert misaligned(tflite) == []
    found = litert.Program(tflite).run("forward", [x.numpy() for x in inputs])
    with torch.no_grad():
        expected = module(*inputs)
    return found, [y.numpy() for y in (expected if isinstance(expected, tuple) else (expected,))]


def assert_close(module: nn.Module, *inputs: Tensor, relative: float = FLOAT) -> None:
    for found, expected in zip(*run(module.eval(), *inputs), strict=True):
        assert found.shape == expected.shape and found.dtype == expected.dtype
        assert np.abs(found - expected).max() <= relative * max(np.abs(expected).max(), 1e-30)


class Pictures(nn.Module):
    """Convolutions of every allowed kind; back and forth between the layouts."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 16, 3, padding=1, groups=8, bias=False)
        self.dilated = nn.Conv2d(16, 6, (3, 2), dilation=(2, 1))
        self.most, self.mean = nn.MaxPool2d(3, 2, padding=1), nn.AvgPool2d(2)
        self.head = nn.Linear(6, 5)
        self.bias = nn.Parameter(torch.randn(16, 1, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.most(torch.relu(self.norm(self.stem(x))))
        y = nn.functional.hardtanh(self.depthwise(y) + self.bias, -0.5, 2.0)
        y = self.dilated(nn.functional.hardswish(y))
        return self.head(y.mean((2, 3))), self.mean(y)


class Tokens(nn.Module):
    """Attention, normalisation, cuts and joins."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.norm = nn.Embedding(11, 8), nn.LayerNorm(8)
        self.qkv, self.out = nn.Linear(8, 24), nn.Linear(8, 8, bias=False)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        x = self.norm(self.words(ids))
        q, k, v = (part.view(1, 6, 2, 4).transpose(1, 2) for part in self.qkv(x).chunk(3, -1))
        hidden = (1 - mask.float())[:, None, None] * -1e4
        y = nn.functional.scaled_dot_product_attention(q, k, v, hidden).transpose(1, 2).flatten(2)
        y = nn.functional.gelu(self.out(y)) + x
        total = (y * mask[..., None].float()).sum(1) / mask.sum(1, keepdim=True).float().clamp_min(1)
        return torch.cat([total, torch.softmax(y[:, 0], -1), torch.tanh(y[:, -1] * 2)], -1)


class Bits(nn.Module):
    """EdgeQ's operators between builtin ones, with results that nobody reads."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("w", torch.randint(0, 256, (16, ops.row_bytes(64)), dtype=torch.uint8))
        self.register_buffer("params", torch.randn(2, 16))

    def forward(self, x: Tensor) -> Tensor:
        y, _, codes = torch.ops.edgeq.linear_b1t2(
            torch.ops.edgeq.pack_t2(x, None), self.w, 64, 0, self.params, None, torch.tensor([1.0, -128, 127]), 11
        )
        return torch.relu(y) + codes.to(torch.float32)


class Counter(nn.Module):
    """Writes what it is given at a place of its memory."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("memory", torch.zeros(1, 4, 2))


class Write(nn.Module):
    def __init__(self, counter: Counter) -> None:
        super().__init__()
        self.counter = counter

    def forward(self, x: Tensor, place: Tensor) -> Tensor:
        self.counter.memory.index_copy_(1, place, x)
        return self.counter.memory * 2


class Clear(Write):
    def forward(self, x: Tensor) -> Tensor:
        self.counter.memory.zero_()
        return x + 1


def test_pictures_equal_eager():
    torch.manual_seed(0)
    module = Pictures()
    with torch.no_grad():
        for x in (module.norm.running_mean, module.norm.running_var):
            x.uniform_(0.5, 1.5)
    assert_close(module, torch.randn(1, 3, 33, 34))


def test_tokens_equal_eager():
    torch.manual_seed(0)
    assert_close(Tokens(), torch.tensor([[3, 1, 4, 1, 5, 9]]), torch.tensor([[1, 1, 1, 1, 0, 0]]))


def test_our_operators_are_bit_equal():
    torch.manual_seed(0)
    found, expected = run(Bits().eval(), torch.randn(3, 64))
    assert (found[0] == expected[0]).all()


def test_methods_share_what_they_keep():
    counter = Counter()
    place = torch.tensor([2])
    methods = {"write": (Write(counter), (torch.ones(1, 1, 2), place)), "clear": (Clear(counter), (torch.ones(2),))}
    program = litert.Program(compiler.lower(methods, {}))
    assert program.methods == ["write", "clear"]
    write = [np.full((1, 1, 2), 3, np.float32), np.array([1])]
    assert program.run("write", write)[0].tolist() == [[[0, 0], [6, 6], [0, 0], [0, 0]]]
    write[1] = np.array([3])
    assert program.run("write", write)[0].tolist() == [[[0, 0], [6, 6], [0, 0], [6, 6]]]
    assert program.run("clear", [np.zeros(2, np.float32)])[0].tolist() == [1, 1]
    assert program.run("write", write)[0].tolist() == [[[0, 0], [0, 0], [0, 0], [6, 6]]]


def test_file_names_its_package_and_signatures():
    tflite = compiler.lower({"forward": (nn.Linear(2, 3), (torch.zeros(1, 2),))}, {"model": "me", "sha": "12"})
    assert json.loads(read_metadata(tflite, compiler.METADATA)) == {"model": "me", "sha": "12"}
    assert read_metadata(tflite, "other") is None
    model = schema.ModelT.InitFromPackedBuf(tflite, 0)
    assert [s.signatureKey for s in model.signatureDefs] == [b"forward", b"serving_default"]
    assert model.buffers[0].data is None and model.version == 3


def test_misaligned_constants_are_found(monkeypatch):
    file = TfliteFile("")
    graph = file.subgraph("main")
    graph.constant("a", np.zeros(5, np.int8))
    graph.constant("b", np.zeros(7, np.int32))
    assert misaligned(file.finish()) == []
    monkeypatch.setattr("edgeq.compile.tflite_file.ALIGNMENT", 4096)
    assert misaligned(file.finish()) == []


class Encoder(nn.Module):
    """What an INT4 sentence encoder consists of, and a ternary layer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("words", torch.randint(-127, 128, (20, 32)).to(torch.int8))
        self.register_buffer("steps", torch.rand(20) / 50)
        self.register_buffer("qkv", torch.randint(0, 256, (96, 16), dtype=torch.uint8))
        self.register_buffer("scale", torch.rand(96, 1).half() / 10)
        planes = torch.randint(0, 256, (2, 32, 4), dtype=torch.uint8)
        planes[0] &= planes[1]
        self.register_buffer("ternary", planes)
        self.register_buffer("affine", torch.rand(2, 96))
        self.register_buffer("more", torch.rand(2, 32))

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        edgeq = torch.ops.edgeq
        x = edgeq.embedding_i8(ids, self.words, self.steps)
        codes, rows = edgeq.quantise_rows_i8(x, 1, 0.0)
        y = edgeq.linear_i4i8(codes, self.qkv, self.scale, None, 32, None, rows, 0, self.affine, None, None, None, 1)[0]
        y = edgeq.attention_f32(y, 4, 0.3, mask.to(torch.uint8))
        y = edgeq.layer_norm(y, x, self.more[0], self.more[1], 1e-6, None, 1)[0]
        codes, rows = edgeq.quantise_rows_i8(y, 1, 0.0)
        z: Tensor = edgeq.linear_t2i8(codes, self.ternary, rows, 4, self.more, y, None, None, 1)[0]
        return z


def test_stock_file_has_no_custom_operator_and_comes_near():
    torch.manual_seed(0)
    module, inputs = Encoder(), (torch.tensor([[3, 1, 4, 1, 5, 9]]), torch.tensor([[1, 1, 1, 1, 0, 0]]))
    tflite = compiler.lower({"forward": (module, inputs)}, {}, stock=True)
    model = schema.ModelT.InitFromPackedBuf(tflite, 0)
    assert {code.customCode for code in model.operatorCodes} == {None}
    found = litert.Program(tflite, with_edgeq=False).run("forward", [x.numpy() for x in inputs])[0]
    expected = module(*inputs).numpy()
    assert np.abs(found - expected).max() <= 0.03 * np.abs(expected).max()  # each rounds its activations to 8 bits


def test_what_cannot_be_expressed_is_named():
    class Odd(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.special.erfcx(x)

    with pytest.raises(CompileError, match=r"Odd\.forward: node special_erfcx: aten\.special_erfcx\.default has no"):
        compiler.lower({"forward": (Odd(), (torch.zeros(2),))}, {})
    with pytest.raises(CompileError, match=r"edgeq\.pack_t2 cannot be expressed by builtin operators"):
        compiler.lower({"forward": (Bits(), (torch.zeros(3, 64),))}, {}, stock=True)


def test_without_our_library_the_error_says_what_to_load():
    tflite = compiler.lower({"forward": (Bits(), (torch.zeros(3, 64),))}, {})
    with pytest.raises(CompileError, match=r"unresolved custom op: edgeq\.pack_t2.*load EdgeQ's delegate"):
        litert.Program(tflite, with_edgeq=False)


def test_runtime_that_is_not_there_is_named(monkeypatch):
    with pytest.raises(UnsupportedError, match="no TFLite runtime is installed"):
        litert.runtime("no_such_runtime")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name == "tflite_runtime" or None)
    monkeypatch.setattr("importlib.metadata.version", lambda name: "2.14.0")
    with pytest.raises(UnsupportedError, match=r"tflite-runtime 2\.14\.0 was built for numpy 1"):
        litert.runtime()


def test_the_runtime_in_tensorflow_is_its_public_module(monkeypatch):
    lite = object()
    tensorflow = ModuleType("tensorflow")
    tensorflow.lite, tensorflow.__spec__ = lite, ModuleSpec("tensorflow", None)
    monkeypatch.setitem(sys.modules, "tensorflow", tensorflow)
    assert litert.runtime("tensorflow") is lite


def test_delegate_refuses_options_that_it_does_not_have():
    with pytest.raises(UnsupportedError, match="threads must be a number from 1 to 256"):
        litert.delegate(threads=0)


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_change_nothing(threads):
    torch.manual_seed(0)
    w, params = torch.randint(0, 256, (256, 64), dtype=torch.uint8), torch.randn(2, 256)

    class Wide(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            result: Tensor = torch.ops.edgeq.linear_b1u1(x, w, 512, 0, params, None, None, 1)[0]
            return result

    x = torch.randint(0, 256, (512, 64), dtype=torch.uint8)
    program = litert.Program(compiler.lower({"forward": (Wide(), (x,))}, {}), threads=threads)
    assert (program.run("forward", [x.numpy()])[0] == Wide()(x).numpy()).all()


def test_inputs_of_another_shape_or_number_are_refused():
    class Twice(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + x

    program = litert.Program(compiler.lower({"forward": (Twice(), (torch.zeros(2, 4),))}, {}))
    for value in (np.zeros((2, 5), np.float32), np.zeros((2, 4), np.float64), np.zeros(8, np.float32)):
        with pytest.raises(UsageError, match=r"^input 0 of forward: expected float32 \(2, 4\), given "):
            program.run("forward", [value])
    with pytest.raises(UsageError, match="forward takes 1 inputs, given 0"):
        program.run("forward", [])
