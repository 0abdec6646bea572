"""What a package's network is for: the data it is judged on, how it runs over them, its figures. One kind, one file.

`config.json` names the kind under "task", in the Hub's words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from edgeq._errors import UnsupportedError

from ._task import Outcome, Samples, Task

KINDS: Mapping[str, str] = {  # task: file
    "image-classification": "classification",
    "audio-classification": "classification",
    "sentence-similarity": "similarity",
    "text-classification": "text_classification",
    "text2text-generation": "pronunciation",
}

__all__ = ["KINDS", "Outcome", "Samples", "Task", "of"]


def of(config: Mapping[str, object]) -> Task[Any]:
    """The task of a package.

    raises  UnsupportedError for one that this EdgeQ cannot judge
    """
    name = config.get("task")
    kind = KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise UnsupportedError(f'config.json: task "{name}" is not known; this EdgeQ has: {", ".join(KINDS)}')
    make: Callable[[], Task[Any]] = import_module(f"{__name__}.{kind}").make
    return make()
