"""What can be trained on: one data set, one file, with `Options` (the recipe's [data]) and `make(recipe) -> Task`."""

import importlib
from types import ModuleType

MODULES = {
    "fashion-mnist": "fashion_mnist",
    "fsdd": "fsdd",
}


def module(name: str) -> ModuleType:
    """The file of a data set."""
    return importlib.import_module(f"edgeq.train.tasks.{MODULES[name]}")
