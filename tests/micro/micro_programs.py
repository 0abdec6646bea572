"""Programs of the micro profile, with their inputs and what eager gives."""

from dataclasses import dataclass
from pathlib import Path

import torch

from edgeq.compile import micro


@dataclass(frozen=True)
class Example:
    """A compiled network, an input, and what eager makes of it."""

    program: Path
    input: str  # files, as tests/micro/host.c takes them
    output: bytes


def write_example(folder: Path, name: str, model: torch.nn.Module, *inputs: torch.Tensor) -> Example:
    program = folder / f"{name}.pte"
    program.write_bytes(micro.lower(model, inputs))
    files = [folder / f"{name}.in{i}" for i in range(len(inputs))]
    for file, x in zip(files, inputs, strict=True):
        file.write_bytes(x.numpy().tobytes())
    with torch.no_grad():
        outputs = model(*inputs)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    return Example(program, ",".join(map(str, files)), b"".join(y.contiguous().numpy().tobytes() for y in outputs))
