"""Methods of one program that keep something between runs: their nets have it in common, as long as one is loaded."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgeq.compile import executorch
from edgeq.device import connect


class Memory(nn.Module):
    """Three numbers, zero at first."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("total", torch.zeros(3), persistent=False)

    total: Tensor


class Add(nn.Module):
    def __init__(self, memory: Memory) -> None:
        super().__init__()
        self.memory = memory

    def forward(self, x: Tensor) -> Tensor:
        self.memory.total.add_(x)
        return self.memory.total * 2


class Read(nn.Module):
    def __init__(self, memory: Memory) -> None:
        super().__init__()
        self.memory = memory

    def forward(self, scale: Tensor) -> Tensor:
        return self.memory.total * scale


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    memory = Memory()
    methods = {"add": (Add(memory).eval(), (torch.ones(3),)), "read": (Read(memory).eval(), (torch.ones(1),))}
    path = tmp_path_factory.mktemp("memory") / "memory.pte"
    path.write_bytes(executorch.lower_methods(methods))
    return path


@pytest.fixture
def device(agent_path):
    with connect("local") as device:
        yield device


ONES, TWO = np.ones(3, np.float32), np.full(1, 2, np.float32)


def test_what_one_method_keeps_another_one_reads(device, program):
    name = device.put(program).name
    add, read = device.load(name, "add"), device.load(name, "read")
    assert read.run(TWO).outputs[0].tolist() == [0, 0, 0]
    add.run(ONES)
    add.run(ONES)
    assert read.run(TWO).outputs[0].tolist() == [4, 4, 4]


def test_it_lives_as_long_as_one_net_is_loaded(device, program):
    name = device.put(program).name
    add, read = device.load(name, "add"), device.load(name, "read")
    add.run(ONES)
    add.unload()
    assert read.run(TWO).outputs[0].tolist() == [2, 2, 2]
    again = device.load(name, "add")
    assert again.run(ONES).outputs[0].tolist() == [4, 4, 4]
    device.reset()
    assert device.load(name, "read").run(TWO).outputs[0].tolist() == [0, 0, 0]


def test_programs_of_other_content_share_nothing(device, program, tmp_path):
    other = tmp_path / "other.pte"
    other.write_bytes(program.read_bytes() + bytes(16))
    names = [device.put(path).name for path in (program, other)]
    device.load(names[0], "add").run(ONES)
    assert device.load(names[1], "read").run(TWO).outputs[0].tolist() == [0, 0, 0]
