"""Passes keep every value, slimming keeps the program, the cache serves only what it should."""

import json
import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from edgeq import models
from edgeq._errors import CompileError, UnsupportedError
from edgeq.compile import Artefact, artefact, compile_module, executorch, host
from edgeq.compile.slim import slim
from edgeq.models import pokebnn

CONFIG = pokebnn.PokeBNNConfig(width=0.125, classes=10, in_channels=1, blocks=(1, 1, 1, 1))


@pytest.fixture(scope="module")
def network() -> nn.Module:
    """A small packed PokeBNN with random weights."""
    g = torch.Generator().manual_seed(1)
    model = pokebnn.packed(CONFIG)
    for buffer in model.buffers():
        if buffer.dtype == torch.float32:
            buffer.copy_(torch.rand(buffer.shape, generator=g) + 0.1)
        else:
            buffer.copy_(torch.randint(-8, 8, buffer.shape, generator=g).to(buffer.dtype))
    return model.eval()


@pytest.fixture(scope="module")
def picture() -> torch.Tensor:
    return torch.randn(1, 28, 28, 1, generator=torch.Generator().manual_seed(2))


@pytest.fixture(scope="module")
def program(network, picture) -> bytes:
    return executorch.lower(network, (picture,))


def operators(module: torch.fx.GraphModule) -> list[str]:
    return [n.target._schema.name for n in module.graph.nodes if isinstance(n.target, torch._ops.OpOverload)]


def test_passes_leave_one_operator_per_convolution_and_gain(network, picture):
    fused = executorch.fused(network, (picture,))
    names = operators(fused)
    assert names.count("edgeq::conv2d_b1b1_fused") == names.count("edgeq::squeeze_excite_i4f32") == 12
    assert not {"edgeq::conv2d_b1b1", "edgeq::epilogue", "edgeq::pack_sign", "edgeq::mean_hw"} & set(names)


def test_passes_change_no_bit(network, picture):
    fused = executorch.fused(network, (picture,))
    assert torch.equal(fused(picture), network(picture))


def test_only_results_that_are_read_are_asked_for(network, picture):
    fused = executorch.fused(network, (picture,))
    wants = [n.args[-1] for n in fused.graph.nodes if str(n.target).startswith("edgeq.conv2d_b1b1_fused")]
    assert wants == [7] * 11 + [4]  # of the last block only the mean is read


def test_program_gives_the_bits_of_eager(network, picture, program):
    (got,) = host.run(program, (picture,))
    assert torch.equal(got, network(picture))


def test_program_is_little_more_than_its_weights(network, program):
    content = sum(b.numel() * b.element_size() for b in network.buffers())
    assert len(program) - content < 11_800  # twelve blocks of description, each with a place for its tiles


def test_float_layers_go_to_xnnpack_and_mix_with_ours(picture):
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(28, 8)
            self.second = nn.Linear(8, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = torch.ops.edgeq.mean_hw(self.first(x.reshape(1, 1, 28, 28)).relu())
            out: torch.Tensor = self.second(y)
            return out

    model = Mixed().eval()
    (got,) = host.run(executorch.lower(model, (picture,)), (picture,))
    with torch.no_grad():
        torch.testing.assert_close(got, model(picture), rtol=1e-5, atol=1e-5)


def test_slimming_twice_is_slimming_once(program):
    assert slim(program) == program


def test_what_cannot_be_exported_is_named():
    class Unruly(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if float(x.sum()) > 0 else -x

    with pytest.raises(CompileError, match="Unruly: cannot be lowered"):
        executorch.lower(Unruly(), (torch.ones(2),))


def test_own_modules_compile_into_a_folder(tmp_path):
    made = compile_module(nn.Linear(4, 2).eval(), (torch.zeros(1, 4),), name="mine", folder=tmp_path)
    assert made.path == tmp_path / "mine.pte"
    assert json.loads((tmp_path / "mine.json").read_text())["sha256"] == made.sha256


def test_unknown_target_is_refused():
    with pytest.raises(UnsupportedError, match='target "fpga" is not known'):
        compile_module(nn.Linear(4, 2), (torch.zeros(1, 4),), name="mine", target="fpga")


@pytest.mark.parametrize("damage", ["program", "manifest", "nothing"])
def test_a_damaged_cache_entry_is_not_served(tmp_path, damage):
    file = tmp_path / "m.pte"
    kept = artefact._store(file, b"program", {"model": "m", "target": "executorch"})
    if damage == "program":
        file.write_bytes(b"progrom")
    elif damage == "manifest":
        file.with_suffix(".json").write_text("{")
    got = artefact._read_cached(file, "executorch")
    assert got == (kept if damage == "nothing" else None)
    assert got is None or isinstance(got, Artefact)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("head.params"), '"head.params" is missing'),
        (lambda t: t.update(extra=t["head.params"]), '"extra" is not expected'),
        (lambda t: t.update({"head.params": t["head.params"][:1]}), r"the network needs float32 \(2, 10\)"),
        (lambda t: t.update({"head.weight": t["head.weight"].astype("float32")}), "needs int8"),
    ],
)
def test_tensors_that_do_not_fit_are_named(network, change, message):
    from dataclasses import asdict

    from edgeq._errors import FormatError

    tensors = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    change(tensors)
    with pytest.raises(FormatError, match=message):
        models.from_package({"model": "pokebnn", "network": asdict(CONFIG)}, tensors)


def test_the_operators_refuse_a_thread_count_that_is_none():
    code = (
        "import ctypes; from edgeq.compile import host; library = host._load_operators()\n"
        "library.edgeq_settings_error.restype = ctypes.c_char_p\n"
        "print(library.edgeq_settings_error().decode())"
    )
    child = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "EDGEQ_THREADS": "0"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert child.stdout == "EDGEQ_THREADS=0 is not a number from 1 to 256\n", child.stderr
