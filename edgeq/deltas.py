"""Deltas: what a device learned, as small signed packages bound to the base that they were learned on.

    config.json         model, base_sha256, layout_sha256, identity, method, samples, scores
    model.safetensors   one tensor, `delta`: the bytes that the tuning module wrote (`edgeq/tune.h`)
    README.md           one paragraph; edgeq.json, edgeq.sig as in every package

They lie in $EDGEQ_HOME/deltas/MODEL/ID. The file `active` there names the one that `deploy`, `bench` and `eval` use.
The base's own files are never written.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeq import _paths, keys
from edgeq import package as packages
from edgeq._errors import FormatError, IntegrityError, NotFoundError, UsageError
from edgeq._weights import write_tensors

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KIND = "delta"
ACTIVE = "active"
NONE = "none"  # instead of an id: the base as it is
LICENCE = "LicenseRef-own-data"
_ID = re.compile(r"[0-9a-f]{12}")
_FIELDS = ("model", "base_sha256", "layout_sha256", "identity", "method")


@dataclass(frozen=True)
class DeltaFile:
    """A verified delta. id: the first 12 hex digits of its bytes' sha256; `facts`: config.json."""

    id: str
    path: Path
    model: str
    blob: bytes
    facts: Mapping[str, Any]
    signed_by: str | None
    created: datetime
    active: bool

    @property
    def size_bytes(self) -> int:
        return len(self.blob)

    def check(self, *, base_sha256: str, identity: bytes) -> None:
        """Raises IntegrityError when it was learned on another base or for another layout."""
        if self.facts["base_sha256"] != base_sha256:
            raise IntegrityError(
                f"delta {self.id}: learned on base {str(self.facts['base_sha256'])[:12]}..., "
                f"this {self.model} is {base_sha256[:12]}...; fine-tune again on this base"
            )
        if self.facts["identity"] != identity.hex():
            raise IntegrityError(f"delta {self.id}: made for another layout of what can be tuned; fine-tune again")


def folder(model: str) -> Path:
    return _paths.home() / "deltas" / re.sub(r"[^A-Za-z0-9._-]", "-", model)


def keep(blob: bytes, facts: Mapping[str, Any], key: Ed25519PrivateKey | None, to: Path | None = None) -> DeltaFile:
    """Write a delta as a package, whole or not at all; what is there already is that very delta.

    facts  JSON values; `_FIELDS` must be among them
    to     a new folder; None: EdgeQ's own place
    """
    name = hashlib.sha256(blob).hexdigest()[:12]
    path = folder(str(facts["model"])) / name if to is None else to
    if to is not None or not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        card = f"# {facts['model']}, fine-tuned\n\nA delta of EdgeQ; it needs its base, {facts['base_sha256']}.\n"
        files = {
            packages.CONFIG: json.dumps({"kind": KIND, **facts}, indent=1, sort_keys=True).encode(),
            packages.WEIGHTS: write_tensors({"delta": np.frombuffer(blob, np.uint8)}),
            packages.CARD: card.encode(),
        }
        packages.write_package(path, files=files, name=f"delta-{name}", version=1, licence=LICENCE, key=key)
    return read(path, allow_unsigned=True)


def read(path: Path, *, allow_unsigned: bool = False) -> DeltaFile:
    """Verify a delta's package. Raises NotFoundError, FormatError, IntegrityError."""
    package = packages.verify_package(path, allow_unsigned=allow_unsigned)
    facts, tensors = package.config(), package.tensors()
    missing = [name for name in _FIELDS if not isinstance(facts.get(name), str)]
    if facts.get("kind") != KIND or missing:
        raise FormatError(f"{path}: not a delta: config.json lacks {missing[0] if missing else 'kind'}")
    if tensors.keys() != {"delta"} or tensors["delta"].dtype != np.uint8 or tensors["delta"].ndim != 1:
        raise FormatError(f"{path}: not a delta: model.safetensors must hold one row of bytes, delta")
    blob = tensors["delta"].tobytes()
    name = hashlib.sha256(blob).hexdigest()[:12]
    model = str(facts["model"])
    return DeltaFile(name, path, model, blob, facts, package.signed_by, package.manifest.created, in_use(model) == name)


def find(model: str, which: str, *, allow_unsigned: bool = True) -> DeltaFile:
    """A delta by its id, the beginning of one, or the path of its package.

    raises  NotFoundError, UsageError when the beginning is that of several
    """
    if (path := Path(which)).is_dir() and (path / packages.MANIFEST).is_file():
        return read(path, allow_unsigned=allow_unsigned)
    matches = [path for path in _all(model) if path.name.startswith(which)]
    if len(matches) > 1:
        raise UsageError(f"delta {which}: {', '.join(path.name for path in matches)}; give more of the id")
    if not matches or not which:
        raise NotFoundError(f"delta {which}: none of {model} here; `edgeq delta list` shows what there is")
    return read(matches[0], allow_unsigned=allow_unsigned)


def chosen(model: str, which: str | None) -> DeltaFile | None:
    """What a verb runs with: the delta it was given, else the active one; None for the base."""
    if which == NONE:
        return None
    if which is None:
        which = in_use(model)
    return None if which is None else find(model, which)


def listed(model: str | None = None) -> list[DeltaFile]:
    """Every readable delta, newest first."""
    root = _paths.home() / "deltas"
    models = [model] if model is not None else sorted(p.name for p in root.iterdir()) if root.is_dir() else []
    found = [read(path, allow_unsigned=True) for name in models for path in _all(name)]
    return sorted(found, key=lambda delta: delta.created, reverse=True)


def activate(delta: DeltaFile) -> DeltaFile:
    """Let later runs use it; one from elsewhere is copied here first."""
    kept = keep_copy(delta)
    pointer = folder(delta.model) / ACTIVE
    draft = pointer.with_suffix(".new")
    draft.write_text(kept.id + "\n")
    os.replace(draft, pointer)
    return read(kept.path, allow_unsigned=True)


def keep_copy(delta: DeltaFile) -> DeltaFile:
    path = folder(delta.model) / delta.id
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        packages.verify_package(delta.path, allow_unsigned=True).copy_to(path)
    return read(path, allow_unsigned=True)


def in_use(model: str) -> str | None:
    """The id of the delta that `deploy`, `bench` and `eval` take; None for the base."""
    try:
        text = (folder(model) / ACTIVE).read_text().strip()
    except OSError:
        return None
    return text if _ID.fullmatch(text) else None


def roll_back(model: str) -> str | None:
    """Back to the base; the id of what was active. The delta itself stays and can be applied again."""
    was = in_use(model)
    (folder(model) / ACTIVE).unlink(missing_ok=True)
    return was


def export(delta: DeltaFile, to: Path, key: Ed25519PrivateKey | None) -> DeltaFile:
    """A copy for another device of the same base; signed anew where a key is given."""
    if key is not None:
        facts = {name: value for name, value in delta.facts.items() if name != "kind"}
        return keep(delta.blob, facts, key, to)
    packages.verify_package(delta.path, allow_unsigned=True).copy_to(to)
    return read(to, allow_unsigned=True)


def remove(delta: DeltaFile) -> None:
    """Delete it; an active one is rolled back first."""
    if delta.active:
        roll_back(delta.model)
    shutil.rmtree(delta.path)


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def own_key() -> Ed25519PrivateKey | None:
    """The key that deltas are signed with when none is named: `edgeq keygen device`, if there is one."""
    path = _paths.keys() / "device.key"
    return keys.load_private(path) if path.is_file() else None


def _all(model: str) -> list[Path]:
    where = folder(model)
    return sorted(path for path in where.iterdir() if _ID.fullmatch(path.name)) if where.is_dir() else []
