"""Where a program's activations lie: placed anew by their lifetimes, the arena as small as can be found.

ExecuTorch's planner gives every tensor bytes of its own while it is alive. Two things are better here: a result takes
the place of an operand of equal shape that nobody reads afterwards, where the kernels read an element before they write
it; and several orders of placement are tried. The file stays an ordinary program: only offsets change.

`floor` is the lower bound that both are judged by: the most bytes that are alive during one call.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

ALIGNMENT = 16
ELEMENT_BYTES = {0: 1, 1: 1, 2: 2, 3: 4, 4: 8, 5: 2, 6: 4, 11: 1}  # ExecuTorch's scalar types
_SHUFFLES = 200
# Operator: the operands that its result may replace, and the result, as positions among the arguments.
_IN_PLACE = {
    "edgeq::conv2d_b1b1_fused": ((8, 7), 11),
    "edgeq::conv2d_b1b1_tuned": ((11, 10), 14),
    "edgeq::epilogue": ((4, 3, 0), 6),
}


def replan(plan: Any) -> None:
    """Give the tensors of memory id 1 new offsets, unless the old ones are as good. In place, before values are merged.

    plan  ExecuTorch's schema object of one method; its calls are KernelCalls
    """
    old = _planned_bytes(plan)
    if old == 0:
        return
    for merge in (True, False):
        storages = _storages(plan, merge=merge)
        if storages is None:
            return
        offsets = _place(storages)
        size = _end(storages, offsets)
        if size >= old:
            continue
        for storage, offset in zip(storages, offsets, strict=True):
            for number, delta in storage.members.items():
                plan.values[number].val.allocation_info.memory_offset_low = offset + delta
        for value in plan.values:
            if _is_planned(value.val) and tensor_bytes(value.val) == 0:
                value.val.allocation_info.memory_offset_low = 0
        plan.non_const_buffer_sizes[1] = size
        return


def floor(plan: Any) -> int:
    """Most bytes of the first arena that are alive during one call: no plan of the same calls can take less.

    Backwards: what a call reads is alive before it, what it writes is not. Tensors at one place are one storage.
    """
    most, alive = 0, set(plan.outputs)
    for call in reversed(calls(plan)):
        read, written = uses(plan, call)
        places: dict[int, int] = {}
        for number in alive | read | written:
            if size := _arena_bytes(plan.values[number].val):
                offset = plan.values[number].val.allocation_info.memory_offset_low
                places[offset] = max(size, places.get(offset, 0))
        most = max(most, sum(places.values()))
        alive = (alive - written) | read
    return most


def calls(plan: Any) -> list[Any]:
    """The kernel calls of a method, in order."""
    instructions = [i.instr_args for chain in plan.chains for i in chain.instructions]
    return [i for i in instructions if type(i).__name__ == "KernelCall"]


def members(plan: Any, number: int) -> list[int]:
    """A value and, of a list, its items."""
    value = plan.values[number].val
    return [number, *value.items] if type(value).__name__ in ("IntList", "TensorList") else [number]


def uses(plan: Any, call: Any) -> tuple[set[int], set[int]]:
    """Values that a call reads, and those that it writes. ExecuTorch appends the results to the arguments."""
    last = plan.values[call.args[-1]].val
    outs = list(last.items) if type(last).__name__ == "TensorList" else [call.args[-1]]
    before = call.args[:-1]
    is_out_form = before[len(before) - len(outs) :] == outs
    operands = before[: len(before) - len(outs)] if is_out_form else [a for a in before if a not in outs]
    return {m for a in operands for m in members(plan, a)}, set(outs)


def tensor_bytes(tensor: Any) -> int:
    count = ELEMENT_BYTES[int(tensor.scalar_type)]
    for extent in tensor.sizes:
        count *= extent
    return count


def _is_planned(value: Any) -> bool:
    return type(value).__name__ == "Tensor" and bool(value.allocation_info) and value.allocation_info.memory_id == 1


def _arena_bytes(value: Any) -> int:
    return tensor_bytes(value) if _is_planned(value) else 0


def _planned_bytes(plan: Any) -> int:
    return int(plan.non_const_buffer_sizes[1]) if len(plan.non_const_buffer_sizes) > 1 else 0


@dataclass(eq=False)
class _Storage:
    """Bytes that live from call `first` to call `last`; `members` are tensors in it, by distance from its start."""

    size: int
    first: int
    last: int
    members: dict[int, int] = field(default_factory=dict)

    def meets(self, other: _Storage) -> bool:
        return self.first <= other.last and other.first <= self.last


def _storages(plan: Any, *, merge: bool) -> list[_Storage] | None:
    """Every piece of memory and its lifetime; None when a tensor's bytes come from nowhere that is known."""
    of: dict[int, _Storage] = {}
    found: list[_Storage] = []

    def born(number: int, at: int) -> None:
        size = _arena_bytes(plan.values[number].val)
        if size and number not in of:
            of[number] = _Storage(size, at, at, {number: 0})
            found.append(of[number])

    for number in plan.inputs:
        born(number, -1)
    sequence = calls(plan)
    for at, call in enumerate(sequence):
        read, written = uses(plan, call)
        for number in sorted(read):
            if _arena_bytes(plan.values[number].val) == 0:
                continue
            if number not in of and not _is_view(plan, number, found, of):
                return None
            of[number].last = at
        for number in sorted(written):
            born(number, at)
            if number in of:
                of[number].last = at
    for number in plan.outputs:
        if number in of:
            of[number].last = len(sequence)
        elif _arena_bytes(plan.values[number].val):
            return None
    if merge:
        _merge(plan, sequence, of, found)
    return found


def _is_view(plan: Any, number: int, found: list[_Storage], of: dict[int, _Storage]) -> bool:
    """A tensor that is read and never written shows another one's bytes: the youngest at its place."""
    value = plan.values[number].val
    at, size = value.allocation_info.memory_offset_low, _arena_bytes(value)
    for storage in reversed(found):
        owner = next(iter(storage.members))
        start = plan.values[owner].val.allocation_info.memory_offset_low
        if start <= at and at + size <= start + storage.size:
            storage.members[number] = at - start
            of[number] = storage
            return True
    return False


def _merge(plan: Any, sequence: Sequence[Any], of: dict[int, _Storage], found: list[_Storage]) -> None:
    """Let results replace operands that die in their call."""
    for at, call in enumerate(sequence):
        operands, position = _IN_PLACE.get(plan.operators[call.op_index].name, ((), 0))
        for number in (call.args[operand] for operand in operands):
            old, result = of.get(number), of.get(call.args[position])
            if old is None or result is None or old is result or old.last != at or result.first != at:
                continue
            if plan.values[number].val.sizes != plan.values[call.args[position]].val.sizes or old.size != result.size:
                continue
            old.last = result.last
            old.members.update(result.members)
            of.update(dict.fromkeys(result.members, old))
            found.remove(result)
            break


def _place(storages: list[_Storage]) -> list[int]:
    """Offsets, each storage at the lowest place that is free during its life; the best of several orders."""
    bound = max(
        (sum(_rounded(s.size) for s in storages if s.first <= t <= s.last) for t in {s.first for s in storages}),
        default=0,
    )
    best: list[int] | None = None
    for order in _orders(storages):
        offsets = _in_order(storages, order)
        if best is None or _end(storages, offsets) < _end(storages, best):
            best = offsets
        if _end(storages, best) <= bound:
            break
    assert best is not None
    return best


def _orders(storages: list[_Storage]) -> Iterator[list[int]]:
    numbers = range(len(storages))
    yield sorted(numbers, key=lambda i: -storages[i].size)
    yield sorted(numbers, key=lambda i: (storages[i].first - storages[i].last, -storages[i].size))
    yield sorted(numbers, key=lambda i: -storages[i].size * (storages[i].last - storages[i].first + 1))
    yield sorted(numbers, key=lambda i: (storages[i].first, -storages[i].size))
    draw = random.Random(0)
    for _ in range(_SHUFFLES if len(storages) < 1000 else 0):
        yield sorted(numbers, key=lambda i: -storages[i].size * draw.uniform(0.5, 1.0))


def _in_order(storages: list[_Storage], order: Sequence[int]) -> list[int]:
    offsets = [0] * len(storages)
    placed: list[int] = []
    for i in order:
        taken = sorted((offsets[j], offsets[j] + storages[j].size) for j in placed if storages[j].meets(storages[i]))
        offset = 0
        for start, end in taken:
            if offset + storages[i].size <= start:
                break
            offset = max(offset, _rounded(end))
        offsets[i] = offset
        placed.append(i)
    return offsets


def _end(storages: Sequence[_Storage], offsets: Sequence[int]) -> int:
    return max((_rounded(offset + s.size) for s, offset in zip(storages, offsets, strict=True)), default=0)


def _rounded(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
