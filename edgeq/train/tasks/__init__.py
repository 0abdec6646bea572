"""What can be trained on: one data set, one file, with `Options` (the recipe's [data]) and `make(recipe) -> Task`."""

import importlib
from types import ModuleType

MODULES = {
    "cmudict": "cmudict",
    "fashion-mnist": "fashion_mnist",
    "cifar10": "cifar10",
    "cifar10-jpeg": "cifar10",
    "fsdd": "fsdd",
    "sst2": "sst2",
}


def module(name: str) -> ModuleType:
    """The file of a data set."""
    return importlib.import_module(f"edgeq.train.tasks.{MODULES[name]}")
