"""One way to define an operator: schema, shape rule, eager implementation.

Every operator gets a functional form and an `.out` overload, which is what ExecuTorch calls. The eager implementation
is the C core, so eager, exported and on-device integers are the same by construction.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import torch
from torch.library import Library

_LIBRARY: Any = Library("edgeq", "DEF")  # type: ignore[no-untyped-call]  # torch.library has no annotations
_KEY = "CompositeExplicitAutograd"

Tensors = torch.Tensor | tuple[torch.Tensor, ...]


def operator(schema: str, shape: Callable[..., Tensors]) -> Callable[[Callable[..., Tensors]], Any]:
    """Define `edgeq::NAME` and its `.out` overload; the decorated function is the eager implementation.

    schema  `name(arguments) -> (Tensor out, Tensor second, ...)`: results are named, the names become the out arguments
    shape   same arguments on fake tensors, returns empty tensors of the results' shapes and dtypes
    return  the callable `torch.ops.edgeq.NAME`
    """
    name, arguments, results = _parse(schema)
    plain = ", ".join(["Tensor"] * len(results))
    aliases = [f"Tensor({chr(ord('a') + i)}!)" for i in range(len(results))]
    out = ", ".join(f"{alias} {result}" for alias, result in zip(aliases, results, strict=True))
    _LIBRARY.define(f"{name}({arguments}) -> ({plain})")
    _LIBRARY.define(f"{name}.out({arguments}, *, {out}) -> ({', '.join(aliases)})")

    def register(eager: Callable[..., Tensors]) -> Any:
        def into(*args: Any, **kwargs: Any) -> Tensors:
            targets = tuple(kwargs.pop(result) for result in results)
            values = eager(*args, **kwargs)
            for target, value in zip(targets, values if isinstance(values, tuple) else (values,), strict=True):
                target.copy_(value)
            return targets if len(targets) > 1 else targets[0]

        _LIBRARY.impl(name, eager, _KEY)
        _LIBRARY.impl(f"{name}.out", into, _KEY)
        torch.library.register_fake(f"edgeq::{name}", shape, lib=_LIBRARY)
        return getattr(torch.ops.edgeq, name)

    return register


def _parse(schema: str) -> tuple[str, str, list[str]]:
    match = re.fullmatch(r"(\w+)\((.*)\) -> \(?([^()]*)\)?", schema)
    if match is None:
        raise ValueError(f"operator schema not understood: {schema}")
    results = [part.split()[1] for part in match[3].split(",")]
    return match[1], match[2], results
