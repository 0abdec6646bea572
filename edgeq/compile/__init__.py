"""From a verified package, or your own torch module, to the file that a device runs. One target, one file here."""

from .artefact import Artefact, build, compile_module

__all__ = ["Artefact", "build", "compile_module"]
