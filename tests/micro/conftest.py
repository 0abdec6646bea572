from pathlib import Path

import pytest
import torch
from micro_build import BOARDS, OPERATORS, READER, ROOT, RUNTIME, SANITIZERS, compile_c, for_board, sanitized
from micro_programs import Example, write_example

from edgeq.models import pokebnn


@pytest.fixture(scope="session")
def built(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("micro")


@pytest.fixture(scope="session")
def link(built):
    """Programs of the reader with other objects: a main function, and a table of operators."""
    reader = sanitized(built, READER)

    def linked(name: str, *objects: Path) -> Path:
        compile_c("gcc", *SANITIZERS, *reader, *objects, "-o", built / name)
        return built / name

    return linked


@pytest.fixture(scope="session")
def board_objects(tmp_path_factory):
    """Objects of sources for a board, made once."""
    folders = {board: tmp_path_factory.mktemp(board) for board in BOARDS}
    return lambda board, sources: for_board(folders[board], board, sources)


@pytest.fixture(scope="session")
def operators(built) -> list[Path]:
    return sanitized(built, OPERATORS)


@pytest.fixture(scope="session")
def demo(built) -> list[Path]:
    """The table that the reader's fixtures need."""
    return sanitized(built, [ROOT / "tests/micro/demo_operators.c"])


@pytest.fixture(scope="session")
def host_main(built) -> list[Path]:
    return sanitized(built, [ROOT / "tests/micro/host.c"])


@pytest.fixture(scope="session")
def fuzz_main(built) -> list[Path]:
    return sanitized(built, [RUNTIME / "micro/fuzz_micro.c"])


@pytest.fixture(scope="session")
def host(link, host_main, operators) -> Path:
    return link("host", *host_main, *operators)


@pytest.fixture(scope="session")
def demo_host(link, host_main, demo) -> Path:
    return link("demo_host", *host_main, *demo)


@pytest.fixture(scope="session")
def fuzz(link, fuzz_main, operators) -> Path:
    return link("fuzz", *fuzz_main, *operators)


@pytest.fixture(scope="session")
def demo_fuzz(link, fuzz_main, demo) -> Path:
    return link("demo_fuzz", *fuzz_main, *demo)


@pytest.fixture(scope="session")
def small(built) -> Example:
    """PokeBNN, width 1/8, one block a stage, random weights, 28 x 28 x 1."""
    torch.set_num_threads(1)
    g = torch.Generator().manual_seed(1)
    model = pokebnn.packed(pokebnn.PokeBNNConfig(width=0.125, classes=10, in_channels=1, blocks=(1, 1, 1, 1)))
    for buffer in model.buffers():
        if buffer.dtype == torch.float32:
            buffer.copy_(torch.rand(buffer.shape, generator=g) + 0.1)
        else:
            buffer.copy_(torch.randint(-8, 8, buffer.shape, generator=g).to(buffer.dtype))
    return write_example(built, "small", model.eval(), torch.randn(1, 28, 28, 1, generator=g))
