"""Make a `.pte` smaller without changing what it computes.

The exporter writes one value per scalar argument and lists every constant in every method. Here unreferenced values
are dropped, equal scalars and lists merged, container metadata and names of constants emptied, and segments aligned to
16 bytes instead of 128. The result is an ordinary program for ExecuTorch. Works through ExecuTorch's own (private)
reader and writer, so the executorch version is pinned.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .tiles import keep_tiles

ALIGNMENT = 16


def slim(pte: bytes, before: Callable[[Any], None] | None = None, *, tiles: bool = False) -> bytes:
    """The same program in fewer bytes; a program with control flow is returned as it is.

    before  called with each method's plan (ExecuTorch's schema object), to change it in place first
    tiles   products keep what they make of their weights (`keep_tiles`)
    """
    from executorch.exir import schema
    from executorch.exir._serialize._program import deserialize_pte_binary, serialize_pte_binary

    file = deserialize_pte_binary(bytes(pte))
    for plan in file.program.execution_plan:
        instructions = [i for chain in plan.chains for i in chain.instructions]
        calls = (schema.KernelCall, schema.DelegateCall)
        if not all(isinstance(i.instr_args, calls) for i in instructions):
            return bytes(pte)
        if before:
            before(plan)
        if tiles:
            keep_tiles(file.program, plan)
        _renumber(plan, [i.instr_args for i in instructions], schema)
        plan.container_meta_type = schema.ContainerMetadata(encoded_inp_str="", encoded_out_str="")
        for chain in plan.chains:
            chain.stacktrace = None
    return bytes(
        serialize_pte_binary(
            file,
            extract_delegate_segments=True,
            segment_alignment=ALIGNMENT,
            constant_tensor_alignment=ALIGNMENT,
        )
    )


def _renumber(plan: Any, calls: list[Any], schema: Any) -> None:
    """Give `plan` a new value table that holds each used value once, and point everything at it."""
    lists = (schema.IntList, schema.TensorList, schema.OptionalTensorList)  # their items are value numbers
    boundary = {*plan.inputs, *plan.outputs}
    used = _used(plan, calls, schema, lists)
    number: dict[int, int] = {-1: -1}
    values: list[Any] = []
    known: dict[str, int] = {}
    for index in sorted(used, key=lambda i: (isinstance(plan.values[i].val, lists), i)):  # items before lists
        value = plan.values[index]
        if isinstance(value.val, lists):
            value.val.items = [number[item] for item in value.val.items]
        elif isinstance(value.val, schema.Tensor) and _is_plain_constant(value.val):
            value.val.extra_tensor_info = None
        key = "" if index in boundary else repr(value)
        if not key or key not in known:
            known[key] = len(values)
            values.append(value)
        number[index] = known[key]
    plan.values = values
    plan.inputs = [number[i] for i in plan.inputs]
    plan.outputs = [number[i] for i in plan.outputs]
    for call in calls:
        call.args = [number[i] for i in call.args]


def _used(plan: Any, calls: list[Any], schema: Any, lists: tuple[type, ...]) -> set[int]:
    """Values that the plan can reach, and mutable buffers with an initial value."""
    todo = [*plan.inputs, *plan.outputs, *(i for call in calls for i in call.args)]
    todo += [
        i
        for i, value in enumerate(plan.values)
        if isinstance(value.val, schema.Tensor) and value.val.allocation_info is not None and value.val.data_buffer_idx
    ]
    used: set[int] = set()
    while todo:
        index = todo.pop()
        if index < 0 or index in used:
            continue
        used.add(index)
        if isinstance(plan.values[index].val, lists):
            todo += plan.values[index].val.items
    return used


def _is_plain_constant(tensor: Any) -> bool:
    info = tensor.extra_tensor_info
    return tensor.allocation_info is None and info is not None and not info.location
