"""A small package to test with, and the raw parts of which hostile ones are made."""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edgeq._weights import write_tensors
from edgeq.keys import TrustedKey
from edgeq.package import Manifest, write_package

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
MAKER = TrustedKey("maker", KEY.public_key().public_bytes_raw())
STRANGER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
CREATED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
METRIC = {"name": "accuracy", "value": 91.5, "unit": "%", "source": "measured", "n": 1000}


def sample_files(weights: int = 64) -> dict[str, bytes]:
    """The three files of a package, with `weights` bytes of codes."""
    rng = np.random.default_rng(7)
    tensors = {"w": rng.integers(0, 256, weights, dtype=np.uint8), "scale": rng.normal(size=4).astype(np.float32)}
    return {
        "config.json": b'{"model": "demo", "scheme": "b1b1", "targets": ["micro"], "task": "images"}',
        "model.safetensors": write_tensors(tensors),
        "README.md": b"---\nlicense: apache-2.0\nlibrary_name: edgeq\n---\n# demo\n",
    }


def write_sample(
    folder: Path,
    *,
    name: str = "demo",
    version: int = 1,
    key: Ed25519PrivateKey | None = KEY,
    files: dict[str, bytes] | None = None,
) -> Manifest:
    files = sample_files() if files is None else files
    return write_package(
        folder,
        files=files,
        name=name,
        version=version,
        licence="Apache-2.0",
        metrics=[METRIC],
        key=key,
        created=CREATED,
    )


def manifest_of(files: dict[str, bytes], /, **changes: object) -> dict[str, object]:
    """The manifest of these files as a plain object, with some of its keys changed."""
    return {
        "format": "edgeq-manifest-1",
        "name": "demo",
        "version": 1,
        "created": "2026-01-02T03:04:05Z",
        "licence": "Apache-2.0",
        "files": {p: {"sha256": hashlib.sha256(d).hexdigest(), "size": len(d)} for p, d in files.items()},
        "metrics": [METRIC],
    } | changes


def spell(doc: object) -> bytes:
    """Canonical JSON, written without EdgeQ's own code."""
    return json.dumps(doc, sort_keys=True, separators=(",", ":")).encode()


def lay_out(folder: Path, files: dict[str, bytes], raw: bytes, *, domain: bytes = b"edgeq-manifest-1\0") -> Path:
    """Write any files and any manifest, signed by KEY: what a careless or hostile maker could publish."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (folder / "edgeq.json").write_bytes(raw)
    (folder / "edgeq.sig").write_bytes(KEY.sign(domain + raw))
    return folder
