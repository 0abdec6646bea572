"""PyTorch module -> ExecuTorch program (`.pte`): export, passes, XNNPACK for what stays float, slimming."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgeq._errors import CompileError
from edgeq._quiet import quiet

from .passes import PASSES
from .slim import slim


def lower(model: nn.Module, example: tuple[Tensor, ...]) -> bytes:
    """Compile `model.forward` for the shapes of `example`.

    model    in eval mode; EdgeQ's packed layers and ordinary torch layers may be mixed
    return   the program's bytes
    raises   CompileError naming what torch.export or ExecuTorch refused
    """
    return slim(export(model, example))


def export(model: nn.Module, example: tuple[Tensor, ...], *, delegate: bool = True) -> bytes:
    """As `lower`, but not slimmed; delegate=False keeps XNNPACK out of it."""
    with quiet():
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower

        try:
            exported = torch.export.export(fused(model, example), example, strict=False)
            edge = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()] if delegate else [])
            program = edge.to_executorch()
        except Exception as error:  # the exporters raise every kind there is
            raise CompileError(
                f"{type(model).__name__}: cannot be lowered to ExecuTorch: {_first_line(error)}"
            ) from error
    return bytes(program.buffer)


def fused(model: nn.Module, example: tuple[Tensor, ...]) -> torch.fx.GraphModule:
    """The exported graph after EdgeQ's passes, runnable in eager: same values, fewer operators."""
    module: torch.fx.GraphModule = torch.export.export(model.eval(), example, strict=False).module()
    for run in PASSES:
        run(module)
    module.graph.eliminate_dead_code()
    module.recompile()
    return module


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
