"""The further methods of tunable programs in the micro runtime: the bits of eager, and memory as it was told."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from micro_build import OPERATORS, READER, ROOT, RUNTIME, SANITIZERS, compile_c, needs_gcc, objects, run

from edgeq import models
from edgeq.compile import micro, optable, tunable
from edgeq.compile.layout import METHOD, PARTS, STEP
from edgeq.package import verify_package

sys.path.append(str(ROOT / "tests/unit"))
from tiny_tunable import SHAPE, poke_network, shift_network

pytestmark = needs_gcc
TUNED = [*sorted((RUNTIME / "micro/tuned").glob("*.c")), RUNTIME / "core/quarters.c"]


def test_the_compiler_knows_the_operators_of_tunable_programs():
    assert set(optable.tuned()) == micro.TUNED
    assert not micro.TUNED & micro.OPERATORS


@pytest.fixture(scope="session")
def tuned_host(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tuned")
    table = folder / "table.c"
    table.write_text(optable.source([*optable.functions(), *optable.tuned()]))
    sources = [*READER, *(file for file in OPERATORS if file.name != "operators.c"), *TUNED]
    sources += [ROOT / "tests/micro/host.c", table]
    made = objects(folder, sources, "gcc", "-O1", "-D_POSIX_C_SOURCE=200112L", "-DEQ_MOMENTS", *SANITIZERS)
    compile_c("gcc", *SANITIZERS, *made, "-o", folder / "host")
    return folder / "host"


SMALL = {"shift": shift_network, "poke": poke_network}


def example_of(name: str):
    if name in SMALL:
        model, example = SMALL[name](), (torch.zeros(1, *SHAPE),)
        return model, {"forward": (model, example)}
    package = verify_package(ROOT / "zoo" / name / "package")
    model = models.from_package(package.config(), package.tensors())
    return model, models.methods(package.config(), model)


long = pytest.mark.long
CASES = [*SMALL, *(pytest.param(name, marks=long) for name in ("denseshift-kws", "pokebnn-fashion"))]


@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_bits_of_eager_and_memory_as_told(tuned_host, tmp_path, name):
    model, methods = example_of(name)
    example = methods["forward"][1]
    layout = tunable.layout_of(model, example, PARTS)
    sigma = np.linspace(0.5, 2, len(layout.layers), dtype=np.float32)
    further = {key: tunable.tunable_method(model, example, layout, sigma, lean=key == STEP) for key in (METHOD, STEP)}
    pte = micro.lower_tunable({**methods, **further}, dict.fromkeys(further, 3))
    program = tmp_path / "net.pte"
    program.write_bytes(pte)
    g = torch.Generator().manual_seed(1)
    x = [torch.randn(array.shape, generator=g) for array in example]
    weight, bias = tunable.base_head(model)
    theta = [0.2 * torch.randn(1, 2 * layout.channels, generator=g), weight + 0.1, bias]
    files = [tmp_path / f"input{i}" for i in range(len(x) + 3)]
    for file, array in zip(files, [*x, *theta], strict=True):
        file.write_bytes(array.contiguous().numpy().tobytes())
    for key, (module, _) in further.items():
        ran = run(tuned_host, program, f"{key}:{','.join(map(str, files))}")
        assert ran.status == 0, ran.message
        assert ran.output == b"".join(array.contiguous().numpy().tobytes() for array in module(*x, *theta))
        need, sizes = micro.report(pte, key), ran.sizes[0]
        assert sizes["arenas"] == list(need.arena_bytes) and sizes["scratch"] == [need.scratch_bytes]
        declared = 4 * (layout.width + 2 * layout.channels) if key == METHOD else 0
        if name not in SMALL:  # whose taps and moments outweigh everything
            assert need.arena_bytes[0] <= 1.2 * micro.report(pte).arena_bytes[0] + declared


def test_firmware_without_the_feature_refuses_it_by_name(host, tmp_path):
    model, methods = example_of("shift")
    example = methods["forward"][1]
    layout = tunable.layout_of(model, example, PARTS)
    step = tunable.tunable_method(model, example, layout, None, lean=True)
    program = tmp_path / "net.pte"
    program.write_bytes(micro.lower_tunable({**methods, STEP: step}, {STEP: 3}))
    assert run(host, program, "forward").status == 0
    assert "does not have" in run(host, program, STEP).message
