"""Packages by name: pull from the cache, the bundled zoo or a Hub; push to a Hub.

A pulled package lies in `$EDGEQ_HOME/cache/packages/<owner>--<name>/<commit>/`, beside `refs/<revision>` with the
commit each revision stood for when it was last asked. It is fetched into a staging folder, verified there, and moved
into place in one step; whatever interrupts a pull, nothing half-installed is left.
"""

import contextlib
import difflib
import re
import secrets
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from . import _paths
from ._errors import FormatError, HubError, IntegrityError, NotFoundError, PackageError, UsageError
from ._hubclient import HubClient, Progress, is_offline
from .keys import SIGNATURE_BYTES, TrustedKey
from .package import (
    CONFIG,
    MANIFEST,
    MAX_MANIFEST_BYTES,
    SIGNATURE,
    Manifest,
    Metric,
    VerifiedPackage,
    check_signature,
    parse_manifest,
    verify_package,
)

OWNER = "edgeq"
_STALE_AFTER_S = 24 * 3600
_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?"
_REF = re.compile(rf"(?:(?P<owner>{_PART})/)?(?P<name>{_PART})(?:@(?P<revision>[A-Za-z0-9][A-Za-z0-9._/-]{{0,199}}))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class PulledPackage(VerifiedPackage):
    """A verified package and where it came from.

    commit  of the repository; None for a folder or the bundled zoo
    note    one line the user should see (an unreachable Hub, a missing signature), or ""
    """

    source: Literal["cache", "bundled", "hub", "folder"]
    commit: str | None
    note: str


@dataclass(frozen=True)
class PushedPackage:
    """The commit that holds the package, and its address."""

    commit: str
    url: str


@dataclass(frozen=True)
class ZooEntry:
    """A bundled model as its signed package describes it; `accuracy` is the manifest's metric of that name."""

    name: str
    version: int
    task: str
    scheme: str
    targets: tuple[str, ...]
    size_bytes: int
    accuracy: Metric | None
    licence: str
    signed_by: str | None
    path: Path


@dataclass(frozen=True)
class _Terms:
    """What a package must satisfy to be accepted."""

    trusted: Iterable[TrustedKey] | None
    allow_unsigned: bool
    allow_downgrade: bool

    def verify(self, folder: Path) -> VerifiedPackage:
        return verify_package(folder, trusted=self.trusted, allow_unsigned=self.allow_unsigned)

    def accepts(self, folder: Path) -> VerifiedPackage | None:
        try:
            return self.verify(folder)
        except PackageError:
            return None


def pull(
    ref: str | Path,
    *,
    revision: str | None = None,
    allow_unsigned: bool = False,
    allow_downgrade: bool = False,
    offline: bool | None = None,
    trusted: Iterable[TrustedKey] | None = None,
    progress: Progress | None = None,
) -> PulledPackage:
    """Find a package, verify it, and say where it came from.

    ref              NAME (of the zoo, or else edgeq/NAME), OWNER/NAME, either with @REVISION, or the folder of a
                     package or of a zoo entry
    revision         branch, tag or commit; a bundled model is used only if none is given
    allow_unsigned   accept a package without a signature by a trusted key
    allow_downgrade  accept an older version than one seen before
    offline          ask no server; None follows HF_HUB_OFFLINE
    trusted          keys to accept; None: the shipped ones and those in $EDGEQ_HOME/trusted
    progress         called with file, bytes done, bytes in all

    A NAME of the zoo is served from the cache or the bundled zoo, whichever is newer, without asking a server. For
    the others HF_ENDPOINT is asked which commit the revision stands for; if it does not answer, the cache serves what
    it stood for last time, and `note` says so.

    raises  UsageError, NotFoundError, FormatError, IntegrityError, HubError
    """
    terms = _Terms(None if trusted is None else tuple(trusted), allow_unsigned, allow_downgrade)
    if (folder := _as_folder(ref)) is not None:
        if revision is not None:
            raise UsageError(f"{ref}: a folder has no revision")
        return _pulled(terms.verify(folder), "folder", None)
    repo, bundled, revision = _parse(str(ref), revision)
    shelf = _Shelf(repo)
    if bundled is not None and revision is None:
        offered = _named(repo, terms.verify(bundled))
        kept = shelf.newest(terms)
        if kept is not None and kept.manifest.version >= offered.manifest.version:
            return kept
        return _pulled(offered, "bundled", None)
    try:
        return _from_hub(shelf, revision or "main", terms, is_offline() if offline is None else offline, progress)
    except (NotFoundError, HubError) as error:
        if bundled is not None or "/" in str(ref):
            raise
        known, close = _not_in_zoo(str(ref))
        if close:
            raise NotFoundError(known) from error
        raise type(error)(f"{known}; {error}") from error


def _from_hub(shelf: "_Shelf", revision: str, terms: _Terms, offline: bool, progress: Progress | None) -> PulledPackage:
    """The package that a Hub, or the cache in its place, holds under a revision."""
    if _COMMIT.fullmatch(revision) and (known := shelf.find(revision, terms)) is not None:
        return known
    if offline:
        return shelf.last(revision, terms, "offline")
    client = HubClient()
    try:
        commit = client.resolve(shelf.repo, revision)
    except HubError as error:
        return shelf.last(revision, terms, str(error), otherwise=error)
    found = shelf.find(commit, terms) if shelf.has(commit) else None
    if found is not None:
        shelf.check_version(found.manifest, terms)
    else:
        try:
            found = shelf.install(client, commit, terms, progress)
        except OSError as error:
            raise PackageError(f"{shelf.path}: cannot be written: {error.strerror}") from error
    shelf.remember(revision, commit)
    return found


def push(
    folder: Path,
    repo_id: str,
    *,
    message: str | None = None,
    private: bool = False,
    revision: str | None = None,
    create: bool = True,
    allow_unsigned: bool = False,
    trusted: Iterable[TrustedKey] | None = None,
) -> PushedPackage:
    """Verify a package and commit its files, and only those, to a repository of the Hub at HF_ENDPOINT.

    repo_id   OWNER/NAME; NAME is the package's signed name, because receivers compare the two
    message   of the commit; None names package and version
    private   of a repository made by this call
    revision  branch; None is main
    create    make repository and branch where they do not exist
    raises    UsageError, NotFoundError, FormatError, IntegrityError, HubError. The token is huggingface_hub's
              (HF_TOKEN, or `hf auth login`)
    """
    match = _REF.fullmatch(repo_id)
    if match is None or not match["owner"] or match["revision"]:
        raise UsageError(f"{repo_id!r}: expected OWNER/NAME")
    package = verify_package(folder, trusted=trusted, allow_unsigned=allow_unsigned)
    if match["name"] != package.manifest.name:
        raise UsageError(f"{repo_id}: the package is signed as {package.manifest.name!r}; the names must be the same")
    files = {name: package.read(name) for name in package.manifest.files}
    files[MANIFEST] = (folder / MANIFEST).read_bytes()
    if package.signed_by is not None:
        files[SIGNATURE] = (folder / SIGNATURE).read_bytes()
    commit, url = HubClient().upload(
        repo_id,
        files,
        message=message or f"{package.manifest.name} version {package.manifest.version}",
        private=private,
        revision=revision,
        create=create,
    )
    return PushedPackage(commit, url)


def list_zoo(*, trusted: Iterable[TrustedKey] | None = None) -> list[ZooEntry]:
    """The bundled models by name. Raises IntegrityError or FormatError if one of them is damaged."""
    zoo = _paths.bundled_zoo()
    folders = sorted(path.parent for path in zoo.glob(f"*/package/{MANIFEST}")) if zoo else []
    return [_zoo_entry(verify_package(folder, trusted=trusted)) for folder in folders]


class _Shelf:
    """What the cache holds of one repository."""

    def __init__(self, repo: str) -> None:
        self.repo = repo
        self.path = _paths.cache() / "packages" / repo.replace("/", "--")

    def has(self, commit: str) -> bool:
        return (self.path / commit).is_dir()

    def find(self, commit: str, terms: _Terms) -> PulledPackage | None:
        """The package of this commit, verified again; None if it is not here or was damaged and must be fetched."""
        package = terms.accepts(self.path / commit)
        return None if package is None else _pulled(_named(self.repo, package), "cache", commit)

    def last(self, revision: str, terms: _Terms, why: str, *, otherwise: HubError | None = None) -> PulledPackage:
        """What the revision stood for when a server last answered. Raises `otherwise`, or NotFoundError."""
        commit = revision if _COMMIT.fullmatch(revision) else self._recall(revision)
        if commit is None or not self.has(commit):
            raise otherwise or NotFoundError(f"{self.repo}@{revision}: not in the cache, and {why}")
        package = _named(self.repo, terms.verify(self.path / commit))
        return _pulled(package, "cache", commit, note=f"from cache ({why})")

    def newest(self, terms: _Terms) -> PulledPackage | None:
        found = [package for commit in self._commits() if (package := self.find(commit, terms)) is not None]
        return max(found, key=lambda package: package.manifest.version, default=None)

    def check_version(self, manifest: Manifest, terms: _Terms) -> None:
        """Refuse an older version than one that was here before. Raises IntegrityError."""
        bundled = _bundled(self.repo)
        here = (self.newest(terms), None if bundled is None else terms.accepts(bundled))
        newest = max((package.manifest.version for package in here if package is not None), default=0)
        if manifest.version < newest and not terms.allow_downgrade:
            raise IntegrityError(
                f"{self.repo}: the Hub offers version {manifest.version}, but version {newest} is here already "
                "(to go back on purpose: --allow-downgrade)"
            )

    def install(self, client: HubClient, commit: str, terms: _Terms, progress: Progress | None) -> PulledPackage:
        """Fetch, verify, then move into place in one step."""
        staging = _staging()
        package = staging / "package"
        try:
            manifest = self._fetch_manifest(client, commit, package, terms)
            for name, entry in manifest.files.items():
                path = package / name
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("xb") as file:
                    client.download(self.repo, commit, name, file, size=entry.size, limit=entry.size, progress=progress)
            verified = terms.verify(package)
            self._place(package, commit, terms)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        return _pulled(VerifiedPackage(self.path / commit, verified.manifest, verified.signed_by), "hub", commit)

    def remember(self, revision: str, commit: str) -> None:
        """Note what a revision stands for."""
        refs = self.path / "refs"
        refs.mkdir(parents=True, exist_ok=True)
        new = refs / f".{secrets.token_hex(8)}"
        new.write_text(commit, encoding="ascii")
        new.replace(refs / quote(revision, safe=""))

    def _fetch_manifest(self, client: HubClient, commit: str, package: Path, terms: _Terms) -> Manifest:
        """Fetch and check edgeq.json and edgeq.sig, before anything that they list is asked for."""
        package.mkdir()
        self._fetch_sidecar(client, commit, package / MANIFEST, MAX_MANIFEST_BYTES)
        raw = (package / MANIFEST).read_bytes()
        try:
            self._fetch_sidecar(client, commit, package / SIGNATURE, SIGNATURE_BYTES)
            signature = (package / SIGNATURE).read_bytes()
        except NotFoundError:
            (package / SIGNATURE).unlink(missing_ok=True)
            signature = None
        check_signature(raw, signature, trusted=terms.trusted, allow_unsigned=terms.allow_unsigned)
        manifest = parse_manifest(raw)
        _check_name(self.repo, manifest)
        self.check_version(manifest, terms)
        return manifest

    def _fetch_sidecar(self, client: HubClient, commit: str, path: Path, limit: int) -> None:
        with path.open("xb") as file:
            client.download(self.repo, commit, path.name, file, size=None, limit=limit, progress=None)

    def _place(self, package: Path, commit: str, terms: _Terms) -> None:
        """Move a verified package to where its commit belongs, unless another process was faster."""
        self.path.mkdir(parents=True, exist_ok=True)
        target = self.path / commit
        if terms.accepts(target) is not None:
            return
        with contextlib.suppress(FileNotFoundError):
            target.replace(package.with_name("damaged"))
        try:
            package.replace(target)
        except OSError:
            if terms.accepts(target) is None:
                raise

    def _recall(self, revision: str) -> str | None:
        try:
            commit = (self.path / "refs" / quote(revision, safe="")).read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError):
            return None
        return commit if _COMMIT.fullmatch(commit) else None

    def _commits(self) -> list[str]:
        if not self.path.is_dir():
            return []
        return sorted(path.name for path in self.path.iterdir() if _COMMIT.fullmatch(path.name))


def _as_folder(ref: str | Path) -> Path | None:
    """The folder that is meant: any Path, any text that starts like one, a package or a zoo entry that lies here."""
    path = Path(ref).expanduser()
    for folder in (path, path / "package"):
        if (folder / MANIFEST).is_file():
            return folder
    if path.is_file():
        raise UsageError(f"{ref}: is a file; a model is a NAME of the zoo, OWNER/NAME, or the folder of a package")
    looks_like_one = isinstance(ref, Path) or path.is_absolute() or ref.startswith((".", "~"))
    return path if looks_like_one else None


def _parse(ref: str, revision: str | None) -> tuple[str, Path | None, str | None]:
    """(OWNER/NAME, its bundled package if the owner was left out, revision)."""
    match = _REF.fullmatch(ref)
    if match is None or any(twice in ref for twice in ("..", "--")):
        raise UsageError(f"{ref!r}: expected NAME, OWNER/NAME (with @REVISION if wanted) or a folder such as ./model")
    if match["revision"] and revision and match["revision"] != revision:
        raise UsageError(f"{ref}: revision {revision!r} is asked for beside it; give one of the two")
    repo = f"{match['owner'] or OWNER}/{match['name']}"
    return repo, None if match["owner"] else _bundled(repo), revision or match["revision"]


def _bundled(repo: str) -> Path | None:
    owner, name = repo.split("/")
    zoo = _paths.bundled_zoo()
    if owner != OWNER or zoo is None or not (zoo / name / "package" / MANIFEST).is_file():
        return None
    return zoo / name / "package"


def _not_in_zoo(ref: str) -> tuple[str, bool]:
    """Says so, and what was perhaps meant; whether there is something like it."""
    zoo = _paths.bundled_zoo()
    names = sorted(path.parent.parent.name for path in zoo.glob(f"*/package/{MANIFEST}")) if zoo else []
    name = ref.partition("@")[0]
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {close[0]}?" if close else f"there are: {', '.join(names) or 'none'}"
    return f"{name}: not in the bundled zoo ({hint})", bool(close)


def _check_name(repo: str, manifest: Manifest) -> None:
    if manifest.name != repo.split("/")[1]:
        raise IntegrityError(f"{repo}: holds a package that is signed as {manifest.name!r}")


def _named(repo: str, package: VerifiedPackage) -> VerifiedPackage:
    _check_name(repo, package.manifest)
    return package


def _pulled(
    package: VerifiedPackage,
    source: Literal["cache", "bundled", "hub", "folder"],
    commit: str | None,
    *,
    note: str = "",
) -> PulledPackage:
    unsigned = "UNSIGNED: nobody you trust vouches for these files" if package.signed_by is None else ""
    notes = "; ".join(text for text in (note, unsigned) if text)
    return PulledPackage(package.path, package.manifest, package.signed_by, source, commit, notes)


def _staging() -> Path:
    """A new folder beside the packages; those that a killed process left behind are removed after a day."""
    root = _paths.cache() / "staging"
    root.mkdir(parents=True, exist_ok=True)
    for old in root.iterdir():
        if time.time() - old.stat().st_mtime > _STALE_AFTER_S:
            shutil.rmtree(old, ignore_errors=True)
    fresh = root / secrets.token_hex(8)
    fresh.mkdir()
    return fresh


def _zoo_entry(package: VerifiedPackage) -> ZooEntry:
    manifest, config = package.manifest, package.config()
    targets = config.get("targets", [])
    if not isinstance(targets, list):
        raise FormatError(f"{CONFIG}: targets: expected a list, got {targets!r}")
    return ZooEntry(
        name=manifest.name,
        version=manifest.version,
        task=_text("task", config.get("task")),
        scheme=_text("scheme", config.get("scheme")),
        targets=tuple(_text("targets", target) for target in targets),
        size_bytes=sum(entry.size for entry in manifest.files.values()),
        accuracy=next((metric for metric in manifest.metrics if metric["name"] == "accuracy"), None),
        licence=manifest.licence,
        signed_by=package.signed_by,
        path=package.path,
    )


def _text(key: str, value: object) -> str:
    if not isinstance(value, str) or not value.isprintable():
        raise FormatError(f"{CONFIG}: {key}: expected printable text, got {value!r}")
    return value
