"""EdgeQ in LiteRT's compiled models: one kernel for all nodes of an operator."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is not installed")

from compiled_models import CompiledModel  # needs the package that may be missing

from edgeq.compile import litert as compiler
from edgeq.compile.litert import Params


class Rows(nn.Module):
    """Nodes of one operator with different arguments and shapes."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("w", torch.randint(0, 256, (24, 8), dtype=torch.uint8))
        self.register_buffer("params", torch.randn(2, 24))

    def forward(self, ids: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        edgeq = torch.ops.edgeq
        y, _, _ = edgeq.linear_b1t2(edgeq.pack_t2(x, None), self.w, 64, 0, self.params, None, None, 1)
        z, bits, _ = edgeq.linear_b1t2(edgeq.pack_t2(y, None), self.w[:, :4], 24, 1, self.params, y, None, 17)
        table = torch.arange(0, 40, dtype=torch.uint8).reshape(10, 4)
        return z + edgeq.embedding_b1(ids, table, torch.ones(10), 24), bits


class Alike(nn.Module):
    """Nodes that differ in nothing but where their weights lie."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("w", torch.randint(0, 256, (3, 64, 8), dtype=torch.uint8))
        self.register_buffer("params", torch.randn(2, 64))

    def forward(self, x: Tensor) -> Tensor:
        edgeq = torch.ops.edgeq
        for i in range(3):
            x = edgeq.linear_b1t2(edgeq.pack_t2(x, None), self.w[i], 64, 0, self.params, None, None, 1)[0]
        return x


def compiled(module: nn.Module, *inputs: Tensor, registered: bool = False) -> CompiledModel:
    return CompiledModel(compiler.lower({"forward": (module, inputs)}, {}), registered=registered)


@pytest.mark.parametrize("registered", [False, True])
def test_results_are_bit_equal(registered):
    torch.manual_seed(0)
    module, inputs = Rows(), (torch.tensor([9, 0, 3]), torch.randn(3, 64))
    model = compiled(module, *inputs, registered=registered)
    found = model.run([x.numpy() for x in inputs])
    assert model.why() is None
    for ours, eager in zip(found, module(*inputs), strict=True):
        assert (ours == eager.numpy()).all()
    model.close()


@pytest.mark.parametrize("registered", [False, True])
def test_every_node_keeps_tiles_of_its_own_weights(registered):
    torch.manual_seed(0)
    module = Alike()
    model = compiled(module, torch.zeros(2, 64), registered=registered)
    for _ in range(3):
        x = torch.randn(2, 64)
        assert (model.run([x.numpy()])[0] == module(x).numpy()).all()
    assert model.why() is None
    model.close()


def test_with_the_delegate_a_failing_run_is_an_error_and_says_why():
    torch.manual_seed(0)
    inputs = (torch.tensor([9, 0, 3]), torch.randn(3, 64))
    model = compiled(Rows(), *inputs, registered=True)
    with pytest.raises(RuntimeError, match="RunCompiledModel"):
        model.run([np.array([9, 10, 3]), inputs[1].numpy()])
    assert "edgeq.embedding_b1: a pointer is missing" in model.why()
    assert model.why() is None
    model.close()


def test_what_fails_while_running_says_so_and_spoils_the_result():
    torch.manual_seed(0)
    inputs = (torch.tensor([9, 0, 3]), torch.randn(3, 64))
    model = compiled(Rows(), *inputs)
    y, _ = model.run([np.array([9, 10, 3]), inputs[1].numpy()])
    assert np.isnan(y).all()
    assert (
        model.why()
        == "edgeq.embedding_b1: a pointer is missing, or a parameter has a value that this operator does not take"
    )
    assert model.why() is None
    model.close()


def test_params_of_equal_length_are_equal():
    params = Params()
    first, same = params.padded("a", [1, 0]), params.padded("a", [1, 0])
    other, third, elsewhere = params.padded("a", [1, 1]), params.padded("a", [1, 0, 0]), params.padded("b", [1, 1])
    assert first.tolist() == same.tolist() == [1, 0]
    assert other.tolist() == [1, 1, 0] and third.tolist() == [1, 0, 0, 0] and elsewhere.tolist() == [1, 1]
