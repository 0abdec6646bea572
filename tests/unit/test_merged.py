"""Buffers that lie in files as one tensor per element type."""

import pytest
import torch
from torch import nn

from edgeq.nn.merged import Merged


class Layer(nn.Module):
    def __init__(self, rows: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(rows, 3, dtype=torch.uint8))
        self.register_buffer("scale", torch.zeros(rows))


class Block(Merged):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = Layer(2), Layer(4)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block = Block()
        self.head = Layer(1)


def filled() -> Net:
    net = Net()
    for i, buffer in enumerate(net.buffers()):
        buffer.copy_(torch.arange(buffer.numel()).view(buffer.shape) + 10 * i)
    return net


def test_a_block_is_two_tensors_and_comes_back():
    net = filled()
    state = net.state_dict()
    assert {name: tuple(t.shape) for name, t in state.items()} == {
        "block.codes": (18,),
        "block.params": (6,),
        "head.weight": (1, 3),
        "head.scale": (1,),
    }
    other = Net()
    other.load_state_dict(state)
    assert [name for name, _ in other.named_buffers()] == [name for name, _ in net.named_buffers()]
    assert all(torch.equal(a, b) for a, b in zip(other.buffers(), net.buffers(), strict=True))


def test_loading_into_a_network_without_memory():
    with torch.device("meta"):
        other = Net()
    other.load_state_dict(filled().state_dict(), assign=True)
    assert all(torch.equal(a, b) for a, b in zip(other.buffers(), filled().buffers(), strict=True))


@pytest.mark.parametrize("spoil", [lambda s: s.pop("block.codes"), lambda s: s.update({"block.params": torch.ones(5)})])
def test_what_does_not_fit_is_refused(spoil):
    state = filled().state_dict()
    spoil(state)
    with pytest.raises(RuntimeError, match="block"):
        Net().load_state_dict(state)
