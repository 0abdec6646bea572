"""Let products keep what they make of their constant weights, from one run of a program to the next.

A kernel call knows nothing of the program that it is part of, and so cannot own memory. A call through EdgeQ's backend
(`runtime/ports/executorch/backend.cpp`) is the same call with the same arguments, in a place of its own that goes with
the method. The weights stay where they are, in their canonical form.
"""

from __future__ import annotations

from typing import Any

BACKEND = "EdgeqBackend"
WEIGHTS = {  # operator: which arguments must be constants
    "edgeq::conv2d_b1b1": (1,),
    "edgeq::conv2d_b1b1_fused": (1,),
    "edgeq::conv2d_b1b1_tuned": (4,),
    "edgeq::linear_b1b1": (1,),
    "edgeq::linear_b1t2": (1,),
    "edgeq::linear_b1u1": (1,),
    "edgeq::linear_i4i8": (1, 2, 3),
    "edgeq::linear_i8i8": (1,),
    "edgeq::linear_s2i8": (1,),
    "edgeq::linear_s3i8": (1,),
    "edgeq::linear_s4i8": (1,),
    "edgeq::linear_t2i8": (1,),
}


def keep_tiles(program: Any, plan: Any) -> None:
    """Turn the kernel calls of `plan` that can use tiles into calls of the backend. In place.

    program, plan  ExecuTorch's schema objects
    """
    from executorch.exir import schema

    for chain in plan.chains:
        for instruction in chain.instructions:
            call = instruction.instr_args
            if not isinstance(call, schema.KernelCall):
                continue
            operator = plan.operators[call.op_index]
            weights = WEIGHTS.get(operator.name, ())
            if not weights or not all(_constant(plan.values[call.args[i]].val, schema) for i in weights):
                continue
            place = schema.BackendDelegateDataReference(schema.DataLocation.INLINE, len(program.backend_delegate_data))
            name = f"{operator.name}.{operator.overload}"
            program.backend_delegate_data.append(schema.BackendDelegateInlineData(name.encode()))
            instruction.instr_args = schema.DelegateCall(len(plan.delegates), call.args)
            plan.delegates.append(schema.BackendDelegate(BACKEND, place, []))


def called(program: Any, plan: Any, call: Any) -> str:
    """The operator that a backend's call stands for, or the other backend's name."""
    delegate = plan.delegates[call.delegate_index]
    if delegate.id != BACKEND:
        return f"{delegate.id} (rest)"
    name: str = program.backend_delegate_data[delegate.processed.index].data.decode()
    return name.rpartition(".")[0]


def _constant(value: Any, schema: Any) -> bool:
    if isinstance(value, schema.Null):
        return True
    return isinstance(value, schema.Tensor) and value.allocation_info is None and value.data_buffer_idx > 0
