"""Models by name: what the command line does in steps, for Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeq import hub

if TYPE_CHECKING:
    from torch import nn

    from edgeq.compile import Artefact


def load(ref: str, *, allow_unsigned: bool = False) -> nn.Module:
    """The packed network of a model as a torch module in eval mode; it runs on the C core.

    ref     zoo name, `org/name[@revision]` on the Hub, or a package folder
    raises  PackageError when it cannot be found or does not verify, HubError
    """
    from edgeq import models

    package = hub.pull(ref, allow_unsigned=allow_unsigned)
    return models.from_package(package.config(), package.tensors())


def build(ref: str, *, target: str = "executorch", allow_unsigned: bool = False) -> Artefact:
    """The compiled file of a model, from the cache where it was compiled before.

    raises  as `load`, UnsupportedError for an unknown target, CompileError
    """
    from edgeq import compile as compiler

    return compiler.build(hub.pull(ref, allow_unsigned=allow_unsigned), target)
