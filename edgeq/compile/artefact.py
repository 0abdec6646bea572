"""Compiled artefacts: a file and its manifest, cached under the hash of what they were made from."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from edgeq import _paths
from edgeq._errors import UnsupportedError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from .executorch import Methods

TARGETS = {"executorch": ".pte", "micro": ".pte", "litert": ".tflite"}
_STOCK = "stock"  # litert without custom operators


@dataclass(frozen=True)
class Artefact:
    """A compiled model on disk. The manifest beside it (`.json`) holds the same fields."""

    path: Path
    sha256: str
    size_bytes: int
    target: str
    model_name: str
    manifest: dict[str, Any]


class Manifest(Protocol):
    """What names a package and all its content."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def sha256(self) -> str: ...


class Package(Protocol):
    """A verified package (`edgeq.package.VerifiedPackage`): what it hands out is what was signed."""

    @property
    def manifest(self) -> Manifest: ...
    @property
    def signed_by(self) -> str | None: ...
    def config(self) -> dict[str, object]: ...
    def tensors(self) -> dict[str, np.ndarray[Any, Any]]: ...


def build(package: Package, target: str = "executorch", *, progress: Callable[[str], None] | None = None) -> Artefact:
    """Compile the model of a package, or take the result from the cache.

    package   from `edgeq.hub.pull` or `edgeq.package.verify_package`
    target    "executorch", "micro", or "micro:PART" (`edgeq.compile.parts`): the same file, and a part with less
              memory than it takes is refused. The manifest of a micro artefact tells its memory under "micro".
              "litert", or "litert:stock" without custom operators
    progress  called with one line per stage
    raises    UnsupportedError for an unknown target or model or a part that is too small, FormatError for weights that
              do not fit, CompileError, StoreError when the cache cannot be written
    """
    from edgeq import models

    target, part = _split(target)
    name, origin = package.manifest.name, package.manifest.sha256
    variant = f"{target}:{part}" if target == "litert" and part else target
    file = _cached_file(f"{origin} {variant} {fingerprint()}", target, name)
    if (known := _read_cached(file, target)) is not None:
        _require(known, part)
        return known
    _paths.writable_home()
    lower = _lowering(target, part)
    if progress:
        progress(f"compiling {name} for {target}")
    config = package.config()
    model = models.from_package(config, package.tensors())
    manifest = {
        "model": name,
        "version": package.manifest.version,
        "package_sha256": origin,
        "signed_by": package.signed_by,
        "target": target,
        "edgeq": metadata.version("edgeq"),
        "executorch": metadata.version("executorch"),
    }
    artefact = _store(file, lower(models.methods(config, model), manifest), manifest)
    _require(artefact, part)
    return artefact


def compile_module(
    model: nn.Module, example: tuple[Tensor, ...], *, name: str, target: str = "executorch", folder: Path | None = None
) -> Artefact:
    """Compile your own module; the artefact lands in `folder` (default: the cache)."""
    target, part = _split(target)
    manifest = {"model": name, "target": target, "edgeq": metadata.version("edgeq")}
    data = _lowering(target, part)({"forward": (model, example)}, manifest)
    digest = hashlib.sha256(data).hexdigest()
    file = _cached_file(digest, target, name) if folder is None else folder / f"{name}{TARGETS[target]}"
    artefact = _store(file, data, manifest)
    _require(artefact, part)
    return artefact


def _split(target: str) -> tuple[str, str]:
    """ "micro:PART" -> ("micro", "PART"); UnsupportedError for an unknown target or part."""
    base, _, part = target.partition(":")
    if base not in TARGETS or (part and base != "micro" and (base, part) != ("litert", _STOCK)):
        known = ", ".join(TARGETS)
        raise UnsupportedError(f'target "{target}" is not known; use one of: {known}, micro:PART, litert:{_STOCK}')
    if base == "micro" and part:
        from . import parts

        parts.find(part)
    return base, part


def _require(artefact: Artefact, part: str) -> None:
    if artefact.target == "micro" and part:
        from . import micro, parts

        micro.require(micro.Report.from_dict(artefact.manifest["micro"]), parts.find(part))


def _lowering(target: str, part: str) -> Callable[[Methods, Mapping[str, Any]], bytes]:
    """What turns methods and manifest into the file; UnsupportedError where the target's packages are missing."""
    if target == "litert":
        from . import litert

        return lambda methods, manifest: litert.lower(methods, manifest, stock=part == _STOCK)
    from . import executorch, micro

    if target == "executorch":
        return lambda methods, _: executorch.lower_methods(methods)

    def one_method(methods: Methods, _: Mapping[str, Any]) -> bytes:
        if list(methods) != ["forward"]:
            raise UnsupportedError(
                f"target micro takes networks with one method, this one has: {', '.join(methods)}; "
                "compile it for executorch or litert"
            )
        return micro.lower(*methods["forward"])

    return one_method


@functools.cache
def fingerprint() -> str:
    """Hash of the code that decides what a compiled file holds: a new compiler never serves old artefacts."""
    root = Path(__file__).parents[1]
    digest = hashlib.sha256(metadata.version("executorch").encode())
    for folder in ("compile", "models", "nn", "ops"):
        for file in sorted((root / folder).rglob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()


def _cached_file(key: str, target: str, name: str) -> Path:
    folder = hashlib.sha256(key.encode()).hexdigest()[:32]
    return _paths.cache() / "artefacts" / folder / f"{name.rpartition('/')[2]}{TARGETS[target]}"


def _read_cached(file: Path, target: str) -> Artefact | None:
    """The artefact if both files are there and the bytes are the ones that the manifest names."""
    try:
        data = file.read_bytes()
        manifest = json.loads(file.with_suffix(".json").read_text())
        if manifest["sha256"] != hashlib.sha256(data).hexdigest():
            return None
        return Artefact(file, manifest["sha256"], len(data), target, manifest["model"], manifest)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _store(file: Path, data: bytes, manifest: dict[str, Any]) -> Artefact:
    digest = hashlib.sha256(data).hexdigest()
    manifest = {**manifest, "sha256": digest, "size_bytes": len(data)}
    if manifest["target"] == "micro":
        from . import micro

        manifest["micro"] = micro.report(data).to_dict()
    _write(file, data)
    _write(file.with_suffix(".json"), json.dumps(manifest, indent=2, sort_keys=True).encode())
    return Artefact(file, digest, len(data), manifest["target"], manifest["model"], manifest)


def _write(file: Path, data: bytes) -> None:
    """Atomic: a reader, or a killed writer, leaves the old file or the new one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=file.parent)
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(data)
        os.replace(temporary, file)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
