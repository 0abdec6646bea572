"""PyTorch module -> ExecuTorch program (`.pte`): export, passes, XNNPACK for what stays float, slimming."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from edgeq._errors import CompileError
from edgeq._quiet import quiet

from .arena import replan
from .passes import PASSES
from .slim import slim

Methods = Mapping[str, tuple[nn.Module, tuple[Tensor, ...]]]  # name -> what it runs, inputs of its shapes


def lower(model: nn.Module, example: tuple[Tensor, ...]) -> bytes:
    """Compile `model.forward` for the shapes of `example`.

    model    in eval mode; EdgeQ's packed layers and ordinary torch layers may be mixed
    return   the program's bytes
    raises   CompileError naming what torch.export or ExecuTorch refused
    """
    return slim(export(model, example), tiles=True)


def lower_methods(methods: Methods, *, plain: Collection[str] = (), borrowed: Mapping[str, int] | None = None) -> bytes:
    """As `lower`, for several methods in one program; buffers of one name that a method writes are shared by all.

    plain     methods that keep XNNPACK out: their float steps are many and small, and each delegate has its price
    borrowed  how many of a method's last inputs are read where the caller has them instead of copied into its arena
    """

    def borrow(plan: Any) -> None:
        if count := (borrowed or {}).get(plan.name, 0):
            for number in plan.inputs[-count:]:
                plan.values[number].val.allocation_info = None
            replan(plan)

    return slim(export_methods(methods, plain=plain), borrow, tiles=True)


def export(model: nn.Module, example: tuple[Tensor, ...], *, delegate: bool = True) -> bytes:
    """As `lower`, but not slimmed; delegate=False keeps XNNPACK out of it."""
    return export_methods({"forward": (model, example)}, delegate=delegate)


def export_methods(methods: Methods, *, delegate: bool = True, plain: Collection[str] = ()) -> bytes:
    """As `export`, for several methods."""
    with quiet():
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import ExecutorchBackendConfig, to_edge_transform_and_lower
        from executorch.exir.passes import MemoryPlanningPass

        config = ExecutorchBackendConfig(
            memory_planning_pass=MemoryPlanningPass(share_mutable_buffers=len(methods) > 1)
        )
        try:
            exported = {
                name: torch.export.export(fused(model, example), example, strict=False)
                for name, (model, example) in methods.items()
            }
            partitioner = {name: [XnnpackPartitioner()] if delegate and name not in plain else [] for name in methods}
            program = to_edge_transform_and_lower(exported, partitioner=partitioner).to_executorch(config)
        except Exception as error:  # the exporters raise every kind there is
            model = next(iter(methods.values()))[0]
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
