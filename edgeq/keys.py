"""Ed25519 keys: who may vouch for a package.

Keys are PEM files, so `openssl pkeyutl -verify -rawin` and every other tool reads them. A signature covers
`domain + NUL + data`; the domain keeps a signature made for one purpose from meaning anything elsewhere.
"""

import hashlib
import os
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from . import _paths
from ._errors import FormatError, NotFoundError, PackageError, UsageError

SIGNATURE_BYTES = 64
_MAX_PEM_BYTES = 4096
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class TrustedKey:
    """A public key (`raw`, 32 bytes) and the name of its file."""

    name: str
    raw: bytes

    @property
    def fingerprint(self) -> str:
        """First 16 hex digits of the key's sha256: what two people compare."""
        return hashlib.sha256(self.raw).hexdigest()[:16]

    @property
    def label(self) -> str:
        return f"{self.name} ({self.fingerprint})"

    def verifies(self, signature: bytes, message: bytes) -> bool:
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, message)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True)
class KeyPair:
    """Where `keygen` put the two halves, and the public one."""

    private: Path
    public: Path
    key: TrustedKey


def keygen(name: str, *, folder: Path | None = None) -> KeyPair:
    """Make a key pair: NAME.key, readable by its owner only, and NAME.pub.

    folder  holds both; None puts the private key into $EDGEQ_HOME/keys and the public one into
            $EDGEQ_HOME/trusted, so that one's own packages are accepted here
    raises  UsageError for a name that is no file name; PackageError if either file exists
    """
    _check_name(name)
    private = (folder or _paths.keys()) / f"{name}.key"
    public = (folder or _paths.trusted()) / f"{name}.pub"
    for path in (private, public):
        if path.exists():
            raise PackageError(f"{path}: exists already; a key is never overwritten, choose another name")
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    private.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with os.fdopen(os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(pem)
    _write_public(public, key.public_key())
    return KeyPair(private, public, load_public(public))


def load_private(path: Path) -> Ed25519PrivateKey:
    """Read a private key.

    raises  NotFoundError; PackageError if others may read the file; FormatError if it is no Ed25519 key
    """
    pem = _read_pem(path)
    if os.name == "posix" and (mode := stat.S_IMODE(path.stat().st_mode)) & 0o077:
        raise PackageError(f"{path}: mode {mode:04o} lets others read this private key; run: chmod 600 {path}")
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise FormatError(f"{path}: not a PEM private key without a password") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise FormatError(f"{path}: a {type(key).__name__}, expected an Ed25519 private key")
    return key


def load_named(name: str | None) -> Ed25519PrivateKey | None:
    """The private key of that name in EdgeQ's key folder, or in the file of that path; None for None."""
    if name is None:
        return None
    known = _paths.keys() / f"{name}.key"
    return load_private(known if known.is_file() else Path(name))


def load_public(path: Path) -> TrustedKey:
    """Read a public key; its name is the file's. Raises NotFoundError, FormatError."""
    try:
        key = serialization.load_pem_public_key(_read_pem(path))
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise FormatError(f"{path}: not a PEM public key") from None
    if not isinstance(key, Ed25519PublicKey):
        raise FormatError(f"{path}: a {type(key).__name__}, expected an Ed25519 public key")
    return TrustedKey(path.stem, key.public_bytes_raw())


def load_trusted() -> tuple[TrustedKey, ...]:
    """The keys shipped with EdgeQ, then those of $EDGEQ_HOME/trusted, by name."""
    folders = (_paths.shipped_keys(), _paths.trusted())
    return tuple(load_public(path) for folder in folders for path in sorted(folder.glob("*.pub")))


def trust(path: Path, *, name: str | None = None) -> TrustedKey:
    """Accept packages signed by the public key in `path` from now on: copy it to $EDGEQ_HOME/trusted/NAME.pub.

    raises  NotFoundError, FormatError; PackageError if another key has that name
    """
    given = load_public(path)
    _check_name(name or given.name)
    target = _paths.trusted() / f"{name or given.name}.pub"
    if target.exists():
        known = load_public(target)
        if known.raw != given.raw:
            raise PackageError(f"{target}: already holds another key ({known.fingerprint}); choose another name")
        return known
    _write_public(target, Ed25519PublicKey.from_public_bytes(given.raw))
    return load_public(target)


def sign(key: Ed25519PrivateKey, domain: str, data: bytes) -> bytes:
    """The 64-byte signature of `domain + NUL + data`."""
    return key.sign(domain.encode("ascii") + b"\0" + data)


def signer(trusted: Iterable[TrustedKey], domain: str, data: bytes, signature: bytes) -> TrustedKey | None:
    """The trusted key that made this signature, or None."""
    message = domain.encode("ascii") + b"\0" + data
    return next((key for key in trusted if key.verifies(signature, message)), None)


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise UsageError(f"key name {name!r}: use up to 64 letters, digits, dots, dashes and underscores")


def _write_public(path: Path, key: Ed25519PublicKey) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    with path.open("xb") as file:
        file.write(pem)


def _read_pem(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_PEM_BYTES)
    except FileNotFoundError:
        raise NotFoundError(f"{path}: no such key") from None
    except OSError as error:
        raise PackageError(f"{path}: cannot be read: {error.strerror}") from None
