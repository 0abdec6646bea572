"""A function in the user's own Python file, which is executed: FILE.py:FUNCTION."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgeq._errors import NotFoundError, UsageError


def is_function(source: str) -> bool:
    """Does it look like FILE.py:FUNCTION?"""
    path, colon, name = source.rpartition(":")
    return bool(colon) and path.endswith(".py") and name.isidentifier()


def load(source: str) -> Callable[..., Any]:
    """raises  NotFoundError, UsageError when the file fails or has no such function"""
    if not is_function(source):
        raise UsageError(f"{source}: expected FILE.py:FUNCTION")
    path, _, name = source.rpartition(":")
    if not Path(path).is_file():
        raise NotFoundError(f"{path}: no such file")
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    assert spec is not None and spec.loader is not None
    program = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(program)
        found: Callable[..., Any] = getattr(program, name)
    except Exception as error:  # whatever the user's program raises
        raise UsageError(f"{source}: {type(error).__name__}: {error}") from error
    return found
