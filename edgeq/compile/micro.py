"""Compile for microcontrollers: the same `.pte`, kept to the micro profile, and its memory told before it is flashed.

`runtime/micro` executes a program in place from flash. `lower` makes one; `check` names everything for which the
runtime would refuse a program; `report` gives the bytes that it takes; `require` refuses a part that is too small. What
an operator demands of its own arguments is left to the runtime: the compiler cannot write a program that breaks it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

from edgeq._errors import CompileError, UnsupportedError
from edgeq._quiet import quiet
from edgeq.ops import Want

from . import arena, executorch, parts
from .layout import METHOD, STEP
from .slim import slim

# runtime/micro/operators.c
OPERATORS = frozenset(
    f"edgeq::{name}.out"
    for name in (
        "pack_sign",
        "conv2d_b1b1",
        "conv2d_b1b1_fused",
        "linear_b1b1",
        "conv2d_i8f32",
        "conv2d_i8f32_fused",
        "linear_i8f32",
        "linear_i4f32",
        "squeeze_excite_i4f32",
        "quantise_i8",
        "conv2d_s2i8",
        "conv2d_s3i8",
        "conv2d_s4i8",
        "conv2d_i8i8",
        "epilogue",
        "mean_hw",
    )
)

# runtime/micro/tuned/rows.inc: what the further methods of a tunable program may call besides, and no other method
TUNED = frozenset(
    (
        "edgeq::conv2d_b1b1_tuned.out",
        "edgeq::conv2d_i8f32_tuned.out",
        "edgeq::conv2d_s2i8_tuned.out",
        "edgeq::conv2d_s3i8_tuned.out",
        "edgeq::conv2d_s4i8_tuned.out",
        "edgeq::conv2d_i8i8_tuned.out",
        "edgeq::mean_quarters.out",
        "edgeq::fake_quantise.out",
        "edgeq::linear_f32f32.out",
        "aten::full_like.out",
        "aten::cat.out",
    )
)

IDENTIFIER = b"ET12"
# runtime/micro/micro.h
MOST_ARENAS, MOST_DIMS, MOST_ARGS, MOST_ITEMS, MOST_VALUES, MOST_CALLS = 4, 6, 24, 64, 4096, 4096
MOST_ELEMENTS = 1 << 27
VALUE_BYTES, CALL_BYTES, ARGUMENT_BYTES = 16, 4, 2  # of the workspace, on a 32-bit machine
ALIGNMENT = 16
_DTYPES = {
    0: torch.uint8,
    1: torch.int8,
    2: torch.int16,
    3: torch.int32,
    4: torch.int64,
    5: torch.float16,
    6: torch.float32,
    11: torch.bool,
}
_KINDS = ("Null", "Int", "Bool", "Double", "Tensor", "IntList", "TensorList")


@dataclass(frozen=True)
class Violation:
    """Something that the micro runtime refuses. `str` gives one line."""

    method: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.method}: {self.what}; {self.remedy}"


@dataclass(frozen=True)
class Report:
    """Bytes that a method takes on a 32-bit microcontroller, besides the firmware's own code and stack.

    program_bytes    the file, in flash, executed in place; weight_bytes of it are constants
    arena_bytes      planned memory, per memory id; the second and later ones hold state
    floor_bytes      most bytes of tensors alive at the same time: no plan of the first arena can be smaller
    workspace_bytes  the method's values and calls, made at start-up; workspace_values of them, which are twice as large
                     where pointers have 64 bits
    scratch_bytes    working memory of the operator that asks for most
    """

    method: str
    calls: int
    program_bytes: int
    weight_bytes: int
    arena_bytes: tuple[int, ...]
    floor_bytes: int
    workspace_bytes: int
    scratch_bytes: int
    workspace_values: int

    @property
    def ram_bytes(self) -> int:
        """All memory, each block rounded up to its alignment."""
        return sum(-(-size // ALIGNMENT) * ALIGNMENT for size in self._blocks())

    def to_dict(self) -> dict[str, Any]:
        """For a manifest; `ram_bytes` is added for readers."""
        return {**asdict(self), "arena_bytes": list(self.arena_bytes), "ram_bytes": self.ram_bytes}

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Report:
        names = {f.name for f in fields(cls)}
        taken = {name: value for name, value in given.items() if name in names}
        return cls(**{**taken, "arena_bytes": tuple(taken["arena_bytes"])})

    def _blocks(self) -> tuple[int, ...]:
        return (*self.arena_bytes, self.workspace_bytes, self.scratch_bytes)


def lower(model: nn.Module, example: tuple[Tensor, ...]) -> bytes:
    """Compile `model.forward` for the shapes of `example`, without delegates; ExecuTorch runs the same file.

    raises  CompileError naming what torch.export or ExecuTorch refused, or every operator outside the profile
    """
    return _checked(slim(executorch.export(model, example, delegate=False), arena.replan), model)


def lower_tunable(methods: executorch.Methods, borrowed: Mapping[str, int]) -> bytes:
    """As `lower`, for `forward` and the further methods of a tunable program.

    borrowed  how many of a method's last inputs get a memory of their own, from memory id 2 on: the runtime can read
              them where the caller has them (`eqm_borrow`), so they are no part of the arena
    """

    def lend(plan: Any) -> None:
        count = borrowed.get(plan.name, 0)
        while count and len(plan.non_const_buffer_sizes) > 2 and not plan.non_const_buffer_sizes[-1]:
            plan.non_const_buffer_sizes.pop()  # of mutable buffers, which these networks do not have
        for number in plan.inputs[len(plan.inputs) - count :]:
            tensor = plan.values[number].val
            tensor.allocation_info.memory_id = len(plan.non_const_buffer_sizes)
            tensor.allocation_info.memory_offset_low = 0
            plan.non_const_buffer_sizes.append(-(-arena.tensor_bytes(tensor) // ALIGNMENT) * ALIGNMENT)
        arena.replan(plan)

    return _checked(slim(executorch.export_methods(methods, delegate=False), lend), methods["forward"][0])


def _checked(pte: bytes, model: nn.Module) -> bytes:
    if found := check(pte):
        what = "; ".join(f"{violation.what}: {violation.remedy}" for violation in found)
        raise CompileError(f"{type(model).__name__} does not keep to the micro profile: {what}")
    return pte


def require(need: Report, part: parts.Part) -> None:
    """Does the program fit the part, beside the runtime library? UnsupportedError with the numbers when it does not."""
    demands = (
        ("flash", need.program_bytes, parts.LIBRARY_FLASH_BYTES, part.flash_bytes),
        ("RAM", need.ram_bytes, parts.LIBRARY_RAM_BYTES, part.ram_bytes),
    )
    short = [
        f"{program + library} bytes of {kind} ({program} for the program, {library} for the runtime), it has {have}"
        for kind, program, library, have in demands
        if have is not None and program + library > have
    ]
    if short:
        raise UnsupportedError(
            f"{part.name} is too small: {need.method} needs {'; and '.join(short)}; use a smaller model"
        )


def check(pte: bytes, method: str | None = None) -> list[Violation]:
    """What the micro runtime would refuse in a program, or in one method of it; empty: it runs.

    raises  CompileError when the bytes are no program, or there is no such method
    """
    return [violation for plan in _plans(pte, method) for violation in _violations(plan)]


def report(pte: bytes, method: str = "forward") -> Report:
    """The memory that a method takes.

    raises  CompileError when the bytes are no program, there is no such method, or `check` finds fault with it
    """
    (plan,) = _plans(pte, method)
    for violation in _violations(plan):
        raise CompileError(str(violation))
    calls = arena.calls(plan)
    return Report(
        method=plan.name,
        calls=len(calls),
        program_bytes=len(pte),
        weight_bytes=sum(_constants(plan).values()),
        arena_bytes=tuple(plan.non_const_buffer_sizes[1:]),
        floor_bytes=arena.floor(plan),
        workspace_bytes=VALUE_BYTES * len(plan.values)
        + sum(CALL_BYTES + ARGUMENT_BYTES * len(call.args) for call in calls),
        scratch_bytes=max((_scratch(plan, call) for call in calls), default=0),
        workspace_values=len(plan.values),
    )


def operators(pte: bytes, method: str = "forward") -> tuple[str, ...]:
    """The operators that a method calls, by name and overload, sorted."""
    (plan,) = _plans(pte, method)
    called = {call.op_index for call in arena.calls(plan)}
    return tuple(sorted(f"{plan.operators[index].name}.{plan.operators[index].overload}" for index in called))


def inputs(pte: bytes, method: str = "forward") -> list[tuple[tuple[int, ...], torch.dtype]]:
    """Shape and element type of each input."""
    (plan,) = _plans(pte, method)
    values = [plan.values[number].val for number in plan.inputs]
    return [(tuple(value.sizes), _DTYPES[int(value.scalar_type)]) for value in values]


def _plans(pte: bytes, method: str | None) -> list[Any]:
    with quiet():
        from executorch.exir._serialize._program import deserialize_pte_binary

    if pte[4:8] != IDENTIFIER:
        raise CompileError(f"not an ExecuTorch program: it starts with {pte[:8].hex()}, bytes 4 to 7 should be ET12")
    try:
        plans = deserialize_pte_binary(bytes(pte)).program.execution_plan
    except Exception as error:  # ExecuTorch's reader raises every kind there is
        raise CompileError(f"damaged ExecuTorch program: {type(error).__name__}") from error
    if method is None:
        return list(plans)
    found = [plan for plan in plans if plan.name == method]
    if not found:
        raise CompileError(f'no method "{method}"; the program has: {", ".join(plan.name for plan in plans)}')
    return found


def _violations(plan: Any) -> Iterator[Violation]:
    for what, remedy in (*_structure(plan), *_instructions(plan), *_values(plan)):
        yield Violation(plan.name, what, remedy)


Finding = tuple[str, str]


def _structure(plan: Any) -> Iterator[Finding]:
    if plan.delegates:
        yield (
            f"delegates to {', '.join(sorted({d.id for d in plan.delegates}))}",
            "replace its layers by EdgeQ's packed ones, there is no delegate on a microcontroller",
        )
    if len(plan.chains) != 1:
        yield f"{len(plan.chains)} chains of instructions", "export one straight graph"
    count = len(plan.non_const_buffer_sizes) - 1
    if count > MOST_ARENAS:
        yield f"{count} memory ids", f"plan at most {MOST_ARENAS}"
    if len(plan.values) > MOST_VALUES:
        yield f"{len(plan.values)} values", f"slim the program, or split it: at most {MOST_VALUES} are taken"
    for kind, numbers in (("input", plan.inputs), ("output", plan.outputs)):
        if len(numbers) > MOST_ITEMS:
            yield f"{len(numbers)} {kind}s", f"at most {MOST_ITEMS} are taken"
        for i, number in enumerate(numbers):
            value = plan.values[number].val
            if type(value).__name__ != "Tensor":
                yield f"{kind} {i} is {type(value).__name__}", "pass it as a tensor"
            elif 0 in value.sizes:
                yield f"{kind} {i} is empty, {value.sizes}", "leave it out"
            elif kind == "input" and not value.allocation_info:
                yield f"input {i} has no planned memory", "compile with alloc_graph_input=True"


def _instructions(plan: Any) -> Iterator[Finding]:
    instructions = [i.instr_args for chain in plan.chains for i in chain.instructions]
    if len(instructions) > MOST_CALLS:
        yield f"{len(instructions)} calls", f"at most {MOST_CALLS} are taken"
    for kind in sorted({type(i).__name__ for i in instructions} - {"KernelCall", "DelegateCall"}):
        yield f"instruction {kind}", "remove control flow that depends on data"
    called = {call.op_index for call in arena.calls(plan)}
    known = OPERATORS | TUNED if plan.name in (METHOD, STEP) else OPERATORS
    for index, operator in enumerate(plan.operators):
        name = f"{operator.name}.{operator.overload}"
        if index in called and name not in known:
            yield f"operator {name}", _remedy(operator.name)
    longest = max((len(call.args) for call in arena.calls(plan)), default=0)
    if longest > MOST_ARGS:
        yield f"a call with {longest} arguments", f"at most {MOST_ARGS} are taken"


_REMEDIES = {
    "edgeq::": "update the firmware, it has no kernel for it yet",
    "aten::view_copy": "reshape inside of the model's last EdgeQ layer, not after it",
    "aten::convolution": "quantise the convolution (edgeq.nn.BinaryConv2d, QuantConv2d) and pack it",
    "aten::addmm": "quantise the linear layer (edgeq.nn.QuantLinear) and pack it",
    "aten::linear": "quantise the linear layer (edgeq.nn.QuantLinear) and pack it",
    "aten::_native_batch_norm": "fold the batch norm into the layer before it",
    "aten::mean": "use edgeq.ops.mean_hw",
    "aten::permute": "keep activations in NHWC from the start",
    "dim_order_ops::": "keep one memory format, contiguous NHWC",
}


def _remedy(operator: str) -> str:
    known = (remedy for start, remedy in _REMEDIES.items() if operator.startswith(start))
    return next(known, "replace the layer by one of EdgeQ's packed layers")


def _values(plan: Any) -> Iterator[Finding]:
    for number in sorted(_reached(plan)):
        value = plan.values[number].val
        kind = type(value).__name__
        if kind not in _KINDS:
            yield f"value {number} is {kind}", "pass it as tensors or integers"
        elif kind == "Tensor":
            for what, remedy in _tensor(value):
                yield f"value {number}: {what}", remedy
        elif kind == "Int" and not -(1 << 31) <= value.int_val < 1 << 31:
            yield f"value {number} is {value.int_val}", "pass integers of more than 32 bits as int64 tensors"
        elif kind in ("IntList", "TensorList") and len(value.items) > MOST_ITEMS:
            yield f"value {number} is a list of {len(value.items)}", f"at most {MOST_ITEMS} items are taken"


def _tensor(t: Any) -> Iterator[Finding]:
    if int(t.scalar_type) not in arena.ELEMENT_BYTES:
        yield f"element type {t.scalar_type.name}", "use float32, or integers of 8 to 64 bits"
    if int(t.shape_dynamism) != 0:
        yield f"dynamic shape {t.sizes}", "export without dynamic_shapes"
    if list(t.dim_order) != list(range(len(t.sizes))):
        yield f"dimension order {list(t.dim_order)}", "use contiguous NHWC shapes instead of memory formats"
    if len(t.sizes) > MOST_DIMS:
        yield f"{len(t.sizes)} dimensions", f"at most {MOST_DIMS} are taken"
    if _elements(t) > MOST_ELEMENTS:
        yield f"{_elements(t)} elements", f"at most {MOST_ELEMENTS} are taken"
    if t.allocation_info is None and not t.data_buffer_idx:
        yield "no memory is planned for it", "compile with the default memory planning"
    if t.allocation_info is None and t.extra_tensor_info is not None and int(t.extra_tensor_info.location) != 0:
        yield "its data is outside of the file", "compile without external constants"


def _reached(plan: Any) -> set[int]:
    """Values that the runtime decodes."""
    boundary = [*plan.inputs, *plan.outputs]
    return {
        m for n in (*boundary, *(a for call in arena.calls(plan) for a in call.args)) for m in arena.members(plan, n)
    }


def _constants(plan: Any) -> dict[int, int]:
    """Bytes of each constant, by its number in the file."""
    values = [plan.values[number].val for number in _reached(plan)]
    tensors = [value for value in values if type(value).__name__ == "Tensor" and not value.allocation_info]
    return {t.data_buffer_idx: arena.tensor_bytes(t) for t in tensors}


def _elements(t: Any) -> int:
    count = 1
    for extent in t.sizes:
        count *= extent
    return count


_CHANNELS = 64  # runtime/kernels/mcu/pixel.h
_LANES = 8  # runtime/kernels/mcu/lanes.h


def _scratch(plan: Any, call: Any) -> int:
    """What the operator asks for: the `_scratch` functions of runtime/kernels/mcu, in bytes."""
    values = [plan.values[number].val for number in call.args]
    name = plan.operators[call.op_index].name.removeprefix("edgeq::")
    if not name.endswith("_tuned"):
        return _plain_scratch(name, values)
    name, values = name.removesuffix("_tuned"), values[3:]
    place, channels = _TUNED_PLACES[name]
    wants, o = Want(values[place].int_val), int(values[channels].sizes[1])
    moments = 2 * 4 * o if wants & Want.MOMENTS else 0
    return (
        _plain_scratch(name if name in _OVER_I8 else f"{name}_fused", values) + moments + 2 * 4 * o
    )  # corrected scale and bias


# Among a twin's arguments: `want` and `params`.
_OVER_I8 = ("conv2d_s2i8", "conv2d_s3i8", "conv2d_s4i8", "conv2d_i8i8")
_TUNED_PLACES = {"conv2d_b1b1": (10, 6), "conv2d_i8f32": (9, 8), **dict.fromkeys(_OVER_I8, (11, 7))}


def _plain_scratch(operator: str, values: Sequence[Any]) -> int:
    match operator:
        case "conv2d_b1b1":
            return _pixels(0) + _patch(values[1].sizes)
        case "conv2d_b1b1_fused":
            local, block, gain = (type(v).__name__ == "Tensor" for v in values[7:10])
            has_scale2 = values[6].sizes[0] in (4, 7)
            mean = int(values[1].sizes[0]) if values[10].int_val & Want.MEAN else 0
            return _pixels(local + block + (gain and has_scale2), mean) + _patch(values[1].sizes)
        case "linear_b1b1":
            return -(-int(values[1].sizes[1]) // 4) * 4
        case "conv2d_i8f32" | "conv2d_i8f32_fused" as name:
            fused = name.endswith("fused")
            want = Want(values[9].int_val) if fused else Want.MAP
            (_, _, width, channels), (o, kh, kw, group) = values[0].sizes, values[1].sizes
            stride, same = values[4].int_val, values[5].int_val
            out_width = -(-width // stride) if same else (width - kw) // stride + 1
            waiting = 0 if want & Want.MAP else out_width * o
            mean = o if want & Want.MEAN else 0
            return int(_pixels(0, mean) + 4 * (kh * width * channels + kh * kw * group * _LANES + waiting))
        case "linear_i8f32" | "linear_i4f32":
            return _pixels(0) + 4 * _padded(int(values[0].sizes[-1]))
        case "squeeze_excite_i4f32":
            (n, channels), hidden = values[0].sizes, values[3].int_val
            return int(4 * n * hidden + _pixels(0) + 4 * _padded(max(channels, hidden)))
        case "conv2d_s2i8" | "conv2d_s3i8" | "conv2d_s4i8" | "conv2d_i8i8":
            return 4 * int(values[7].sizes[1]) if values[11].int_val & Want.MEAN else 0
        case "epilogue":
            local, block, gain = (type(v).__name__ == "Tensor" for v in values[3:6])
            return _pixels(local + block + (gain and values[2].sizes[0] in (4, 7)))
        case "mean_hw":
            return 4 * int(values[0].sizes[3])
    return 0


def _padded(k: int) -> int:
    return -(-k // _LANES) * _LANES


def _pixels(buffers: int, mean: int = 0) -> int:
    return 4 * (_CHANNELS * (1 + buffers) + mean)


def _patch(weights: Sequence[int]) -> int:
    _, kh, kw, row = map(int, weights)
    return kh * -(-kw * row // 4) * 4
