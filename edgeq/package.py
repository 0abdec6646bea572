"""The package: a folder with a model, its card, and a signed list of both.

    config.json         model, scheme, preprocessing, labels
    model.safetensors   packed weights
    README.md           the card
    edgeq.json          manifest: canonical JSON with name, version, licence, size and sha256 of every file, metrics
    edgeq.sig           64 bytes, Ed25519 over "edgeq-manifest-1" NUL manifest

More files (compiled artefacts, an evaluation split) may stand beside them, in sub-folders too. A file that the manifest
does not list is not part of the package and is never opened.
"""

import hashlib
import math
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BufferedReader
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from . import _json, keys
from ._errors import FormatError, IntegrityError, NotFoundError, PackageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from ._weights import Array

FORMAT = "edgeq-manifest-1"
MANIFEST = "edgeq.json"
SIGNATURE = "edgeq.sig"
CONFIG = "config.json"
WEIGHTS = "model.safetensors"
CARD = "README.md"
SOURCES = ("measured", "simulated", "estimated")

MAX_MANIFEST_BYTES = 1 << 20
MAX_CONFIG_BYTES = 1 << 20
MAX_PACKAGE_BYTES = 4 << 30
MAX_FILES = 1024
MAX_VERSION = (1 << 31) - 1

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_LICENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+() -]{0,95}")
_PATH_PART = re.compile(r"[A-Za-z0-9._+-]{1,100}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_CREATED = "%Y-%m-%dT%H:%M:%SZ"

Metric = Mapping[str, str | int | float | bool | None]


@dataclass(frozen=True)
class FileEntry:
    """What the manifest says of one file: sha256 in hex, size in bytes."""

    sha256: str
    size: int


@dataclass(frozen=True)
class Manifest:
    """A parsed `edgeq.json`; `sha256` is that of its bytes and so names the package's whole content."""

    name: str
    version: int
    created: datetime
    licence: str
    files: Mapping[str, FileEntry]
    metrics: tuple[Metric, ...]
    sha256: str


@dataclass(frozen=True)
class VerifiedPackage:
    """A package whose files are the ones that were signed.

    path       the folder
    signed_by  the trusted key, or None for an unsigned package that was accepted all the same: say so in every report

    Read the files through this object. Each read hashes again the bytes it hands out, so a file that changes after the
    verification raises IntegrityError and is never used.
    """

    path: Path
    manifest: Manifest
    signed_by: str | None

    def read(self, name: str) -> bytes:
        """The bytes of a listed file. Raises NotFoundError for any other name, IntegrityError for other bytes."""
        if (entry := self.manifest.files.get(name)) is None:
            raise NotFoundError(f"{name}: not listed in {self.path / MANIFEST}")
        with _open(self.path, name) as file:
            data = file.read(entry.size + 1)
        _check_size(name, len(data), entry)
        _check_digest(name, hashlib.sha256(data).hexdigest(), entry)
        return data

    def config(self) -> dict[str, object]:
        """`config.json`. Raises FormatError, IntegrityError."""
        return _parse_config(self.read(CONFIG))

    def tensors(self) -> "dict[str, Array]":
        """`model.safetensors` by tensor name. Raises FormatError, IntegrityError."""
        from ._weights import read_tensors

        return read_tensors(self.read(WEIGHTS), WEIGHTS)

    def copy_to(self, folder: Path) -> "VerifiedPackage":
        """A private copy in a new folder, for what must be given a path. Raises PackageError if it is not empty."""
        contents = {name: self.read(name) for name in self.manifest.files}
        contents[MANIFEST] = _read_capped(self.path, MANIFEST, MAX_MANIFEST_BYTES)
        if hashlib.sha256(contents[MANIFEST]).hexdigest() != self.manifest.sha256:
            raise IntegrityError(f"{MANIFEST}: changed after it was verified")
        if self.signed_by is not None:
            contents[SIGNATURE] = _read_capped(self.path, SIGNATURE, keys.SIGNATURE_BYTES)
        _write_folder(folder, contents)
        return VerifiedPackage(folder, self.manifest, self.signed_by)


def write_package(
    folder: Path,
    *,
    files: Mapping[str, bytes | Path],
    name: str,
    version: int,
    licence: str,
    metrics: Sequence[Metric] = (),
    key: "Ed25519PrivateKey | None",
    created: datetime | None = None,
) -> Manifest:
    """Write a package folder, whole or not at all.

    files    path in the package -> its bytes, or the file to copy; config.json, model.safetensors and README.md must
             be among them
    version  1 or more; grows with every change of the content, because receivers refuse to go back
    licence  SPDX expression of the weights
    metrics  each with name, value, unit, source (measured, simulated or estimated), and what else labels the number
    key      None writes an unsigned package, which is refused unless the receiver insists
    created  UTC; None is now
    raises   PackageError if the folder exists and is not empty; FormatError for what `verify_package` would refuse
    """
    for path in files:
        _check_path(path)
    try:
        contents = {path: data if isinstance(data, bytes) else data.read_bytes() for path, data in files.items()}
    except OSError as error:
        raise PackageError(f"{error.filename}: cannot be read: {error.strerror}") from None
    contents |= _signed_manifest(contents, name, version, licence, metrics, key, created)
    _write_folder(folder, contents)
    return parse_manifest(contents[MANIFEST])


def sign_folder(
    folder: Path,
    *,
    name: str,
    version: int,
    licence: str,
    metrics: Sequence[Metric] = (),
    key: "Ed25519PrivateKey | None",
    created: datetime | None = None,
) -> Manifest:
    """Make a package of a folder as it lies: list every file in it, sign, write edgeq.json and edgeq.sig.

    raises  FormatError for a link, a name or a content that `verify_package` would refuse; see `write_package`
    """
    found = (path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if not path.is_dir())
    contents = {}
    for path in found:
        if path not in (MANIFEST, SIGNATURE):
            _check_path(path)
            with _open(folder, path) as file:
                contents[path] = file.read()
    sidecars = _signed_manifest(contents, name, version, licence, metrics, key, created)
    (folder / SIGNATURE).unlink(missing_ok=True)
    for path, data in sidecars.items():
        (folder / path).write_bytes(data)
    return parse_manifest(sidecars[MANIFEST])


def verify_package(
    folder: Path,
    *,
    trusted: Iterable[keys.TrustedKey] | None = None,
    allow_unsigned: bool = False,
    minimum_version: int | None = None,
) -> VerifiedPackage:
    """Check a package folder: signature over the raw manifest first, then its format, paths, sizes and hashes.

    trusted          None: the keys shipped with EdgeQ and those in $EDGEQ_HOME/trusted
    allow_unsigned   accept a package without a signature, or signed by a key that is not trusted
    minimum_version  refuse anything older
    raises           NotFoundError, FormatError or IntegrityError: one line that says which file and why
    """
    if folder.is_file() or not os.path.lexists(folder):
        raise NotFoundError(f"{folder}: {'not a folder' if folder.exists() else 'no such folder'}")
    raw = _read_capped(folder, MANIFEST, MAX_MANIFEST_BYTES)
    try:
        signature = _read_capped(folder, SIGNATURE, keys.SIGNATURE_BYTES)
    except NotFoundError:
        signature = None
    signed_by = check_signature(raw, signature, trusted=trusted, allow_unsigned=allow_unsigned)
    manifest = parse_manifest(raw)
    if minimum_version is not None and manifest.version < minimum_version:
        raise IntegrityError(
            f"{manifest.name}: version {manifest.version} is older than the version {minimum_version} asked for"
        )
    for name, entry in manifest.files.items():
        with _open(folder, name) as file:
            _check_size(name, os.fstat(file.fileno()).st_size, entry)
    for name, entry in manifest.files.items():
        with _open(folder, name) as file:
            _check_digest(name, hashlib.file_digest(file, "sha256").hexdigest(), entry)
    return VerifiedPackage(folder, manifest, signed_by)


def check_signature(
    raw: bytes,
    signature: bytes | None,
    *,
    trusted: Iterable[keys.TrustedKey] | None = None,
    allow_unsigned: bool = False,
) -> str | None:
    """The label of the trusted key that signed these bytes of a manifest; None if unsigned and that is allowed.

    raises  IntegrityError for no signature, one of the wrong length, or one that no trusted key made
    """
    if signature is None:
        if allow_unsigned:
            return None
        raise IntegrityError(f"not signed: {SIGNATURE} is missing (to use it all the same: --allow-unsigned)")
    if len(signature) != keys.SIGNATURE_BYTES:
        raise IntegrityError(f"{SIGNATURE}: {len(signature)} bytes, expected {keys.SIGNATURE_BYTES}")
    candidates = keys.load_trusted() if trusted is None else trusted
    if key := keys.signer(candidates, FORMAT, raw, signature):
        return key.label
    if allow_unsigned:
        return None
    raise IntegrityError(
        f"{SIGNATURE}: not the signature of this {MANIFEST} by a trusted key (to trust its maker, put the public key "
        "into $EDGEQ_HOME/trusted; to use it all the same: --allow-unsigned)"
    )


def parse_manifest(raw: bytes) -> Manifest:
    """The manifest in these bytes, whose signature was checked before. Raises FormatError naming the first fault."""
    if len(raw) > MAX_MANIFEST_BYTES:
        raise FormatError(f"{MANIFEST}: {len(raw)} bytes, at most {MAX_MANIFEST_BYTES} are read")
    doc = _json.parse(raw, MANIFEST)
    if doc.get("format") != FORMAT:
        raise FormatError(f"{MANIFEST}: format {doc.get('format')!r}, this EdgeQ reads {FORMAT!r}")
    try:
        spelling = _json.canonical(doc)
    except (ValueError, RecursionError):
        raise FormatError(f"{MANIFEST}: holds a number out of range or is nested too deeply") from None
    if spelling != raw:
        raise FormatError(f"{MANIFEST}: not canonical JSON (sorted keys, no blanks, ASCII)")
    if unknown := sorted(doc.keys() ^ {"format", "name", "version", "created", "licence", "files", "metrics"}):
        raise FormatError(f"{MANIFEST}: key {unknown[0]!r} is {'unknown' if unknown[0] in doc else 'missing'}")
    name, version, created, licence = doc["name"], doc["version"], doc["created"], doc["licence"]
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise FormatError(f"{MANIFEST}: name {name!r}: use letters, digits, dots, dashes and underscores")
    if type(version) is not int or not 1 <= version <= MAX_VERSION:
        raise FormatError(f"{MANIFEST}: version {version!r}: expected an integer from 1 to {MAX_VERSION}")
    if not isinstance(licence, str) or not _LICENCE.fullmatch(licence):
        raise FormatError(f"{MANIFEST}: licence {licence!r}: expected an SPDX expression")
    return Manifest(
        name=name,
        version=version,
        created=_parse_created(created),
        licence=licence,
        files=_parse_files(doc["files"]),
        metrics=_parse_metrics(doc["metrics"]),
        sha256=hashlib.sha256(raw).hexdigest(),
    )


def _signed_manifest(
    contents: Mapping[str, bytes],
    name: str,
    version: int,
    licence: str,
    metrics: Sequence[Metric],
    key: "Ed25519PrivateKey | None",
    created: datetime | None,
) -> dict[str, bytes]:
    """edgeq.json and, with a key, edgeq.sig; nothing is signed that the readers here would refuse."""
    from ._weights import read_tensors

    doc = {
        "format": FORMAT,
        "name": name,
        "version": version,
        "created": (created or datetime.now(UTC)).astimezone(UTC).strftime(_CREATED),
        "licence": licence,
        "files": {p: {"sha256": hashlib.sha256(d).hexdigest(), "size": len(d)} for p, d in contents.items()},
        "metrics": [dict(metric) for metric in metrics],
    }
    try:
        raw = _json.canonical(doc)
    except (TypeError, ValueError):
        raise FormatError(
            f"{MANIFEST}: metrics hold what JSON cannot spell (NaN, infinity or no plain value)"
        ) from None
    parse_manifest(raw)
    _parse_config(contents[CONFIG])
    read_tensors(contents[WEIGHTS], WEIGHTS)
    return {MANIFEST: raw} | ({} if key is None else {SIGNATURE: keys.sign(key, FORMAT, raw)})


def check_new(folder: Path) -> None:
    """Raises PackageError unless a package can be written there: no such folder yet, or an empty one."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise PackageError(f"{folder}: exists already; choose a new folder or remove it first")


def _write_folder(folder: Path, contents: Mapping[str, bytes]) -> None:
    check_new(folder)
    staging = folder.parent / f".{folder.name}.{secrets.token_hex(8)}"
    try:
        for name, data in contents.items():
            path = staging / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        staging.replace(folder)
    except OSError as error:
        raise PackageError(f"{folder}: cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _parse_created(value: object) -> datetime:
    try:
        created = datetime.strptime(str(value), _CREATED).replace(tzinfo=UTC)
    except ValueError:
        created = None
    if created is None or created.strftime(_CREATED) != value:
        raise FormatError(f"{MANIFEST}: created {value!r}: expected UTC such as 2030-01-31T23:59:59Z")
    return created


def _parse_files(value: object) -> dict[str, FileEntry]:
    if not isinstance(value, dict) or len(value) > MAX_FILES:
        raise FormatError(f"{MANIFEST}: files: expected an object of at most {MAX_FILES} entries")
    files: dict[str, FileEntry] = {}
    taken: dict[str, tuple[str, bool]] = {}
    for path, entry in value.items():
        _check_path(path)
        for part in (PurePosixPath(path), *PurePosixPath(path).parents[:-1]):
            is_file, folded = str(part) == path, str(part).lower()
            other = taken.setdefault(folded, (str(part), is_file))
            if other[0] != str(part) or other[1] != is_file:
                raise FormatError(f"{MANIFEST}: {path!r} and {other[0]!r} cannot stand side by side everywhere")
        files[path] = _parse_entry(path, entry)
    for path in (CONFIG, WEIGHTS, CARD):
        if path not in files:
            raise FormatError(f"{MANIFEST}: lists no {path}")
    if (total := sum(entry.size for entry in files.values())) > MAX_PACKAGE_BYTES:
        raise FormatError(f"{MANIFEST}: files of {total} bytes in all, at most {MAX_PACKAGE_BYTES} are read")
    return files


def _parse_entry(path: str, entry: object) -> FileEntry:
    if not isinstance(entry, dict) or entry.keys() != {"sha256", "size"}:
        raise FormatError(f"{MANIFEST}: {path}: expected sha256 and size, nothing else")
    sha256, size = entry["sha256"], entry["size"]
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
        raise FormatError(f"{MANIFEST}: {path}: sha256 {sha256!r}: expected 64 hex digits, lower case")
    if type(size) is not int or size < 0:
        raise FormatError(f"{MANIFEST}: {path}: size {size!r}: expected a number of bytes")
    return FileEntry(sha256, size)


def _parse_metrics(value: object) -> tuple[Metric, ...]:
    if not isinstance(value, list):
        raise FormatError(f"{MANIFEST}: metrics: expected a list")
    for index, metric in enumerate(value):
        where = f"{MANIFEST}: metrics[{index}]"
        if not isinstance(metric, dict) or not metric.keys() >= {"name", "value", "unit", "source"}:
            raise FormatError(f"{where}: expected an object with name, value, unit and source")
        for key, item in metric.items():
            if not (item is None or isinstance(item, str | int | float)):
                raise FormatError(f"{where}: {key!r} is not a plain value")
            if not (key.isprintable() and (not isinstance(item, str) or item.isprintable())):
                raise FormatError(f"{where}: {key!r} holds unprintable characters")
        number = metric["value"]
        if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
            raise FormatError(f"{where}: value {number!r} is not a number")
        if metric["source"] not in SOURCES:
            raise FormatError(f"{where}: source {metric['source']!r} is not one of {', '.join(SOURCES)}")
        if not (isinstance(metric["name"], str) and isinstance(metric["unit"], str)):
            raise FormatError(f"{where}: name and unit must be text")
    return tuple(value)


def _parse_config(raw: bytes) -> dict[str, object]:
    if len(raw) > MAX_CONFIG_BYTES:
        raise FormatError(f"{CONFIG}: {len(raw)} bytes, at most {MAX_CONFIG_BYTES} are read")
    return _json.parse(raw, CONFIG)


def _check_path(path: str) -> None:
    """A path that means one file inside the package, on every system."""
    parts = path.split("/")
    if ".." in parts or path.startswith("/") or "\\" in path or ":" in path:
        raise FormatError(f"{MANIFEST}: path {path!r} leads out of the package")
    if len(path) > 200 or any(not _PATH_PART.fullmatch(part) or part.endswith(".") for part in parts):
        raise FormatError(f"{MANIFEST}: path {path!r}: use letters, digits and . _ + - in names of up to 100")
    if path.lower() in (MANIFEST, SIGNATURE):
        raise FormatError(f"{MANIFEST}: lists {path!r}, which cannot vouch for itself")


def _open(folder: Path, name: str) -> BufferedReader:
    """Open a plain file of the package; links are refused wherever they stand below the folder."""
    path = folder / name
    try:
        for step in (path, *list(path.parents)[: name.count("/")]):
            if stat.S_ISLNK(step.lstat().st_mode):
                raise FormatError(f"{step.relative_to(folder)}: a symbolic link; a package holds plain files only")
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        descriptor = os.open(path, flags)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFoundError(f"{name}: missing from {folder}") from None
    except OSError as error:
        raise PackageError(f"{path}: cannot be read: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FormatError(f"{name}: not a plain file")
    return os.fdopen(descriptor, "rb")


def _read_capped(folder: Path, name: str, limit: int) -> bytes:
    with _open(folder, name) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise FormatError(f"{name}: {os.stat(folder / name).st_size} bytes, at most {limit} are read")
    return data


def _check_size(name: str, size: int, entry: FileEntry) -> None:
    if size != entry.size:
        raise IntegrityError(f"{name}: {size} bytes, signed {entry.size}")


def _check_digest(name: str, sha256: str, entry: FileEntry) -> None:
    if sha256 != entry.sha256:
        raise IntegrityError(
            f"{name}: damaged or altered: sha256 {sha256[:12]}..., signed {entry.sha256[:12]}...; get the package again"
        )
