"""Checkpoints of others, by path or by their name on the Hub: the few files of a repository that an importer reads.

They are not signed, so nothing vouches for them but the address they came from. Fetched files lie under
`$EDGEQ_HOME/cache/checkpoints/OWNER--NAME/COMMIT/` and are not fetched twice.
"""

from __future__ import annotations

import re
import secrets
import shutil
from pathlib import Path

from edgeq import _paths
from edgeq._errors import NotFoundError, PackageError, UnsupportedError, UsageError
from edgeq._hubclient import HubClient, Progress, is_offline
from edgeq.package import MANIFEST

CONFIGURATION = ("config.json", "quantize_config.json", "vocab.txt")  # only the first one must be there
WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # the first one that is there is taken
LARGEST_CONFIGURATION_BYTES = 4 << 20
LARGEST_WEIGHTS_BYTES = 4 << 30

_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?"
_NAME = re.compile(rf"({_PART}/{_PART})(?:@([A-Za-z0-9][A-Za-z0-9._/-]{{0,199}}))?")


def find(ref: str, *, progress: Progress | None = None) -> Path:
    """A checkpoint folder or a file: `ref` itself when it lies here, else OWNER/NAME[@REVISION] fetched from the Hub.

    raises  UsageError for a package of ours, NotFoundError, HubError, UnsupportedError for weights in several files,
            PackageError when the cache is full
    """
    path = Path(ref).expanduser()
    if (path / MANIFEST).is_file():
        raise UsageError(f"{ref}: is an EdgeQ package already; run it: edgeq deploy {ref}")
    if path.exists():
        return path
    match = _NAME.fullmatch(ref)
    if match is None or ref.startswith((".", "~", "/")) or ".." in ref or "--" in ref:
        if "/" in ref or ref.startswith((".", "~")):
            raise NotFoundError(f"{ref}: no such file or folder")
        raise UsageError(f"{ref!r}: expected a checkpoint's folder, its file, or OWNER/NAME on the Hub")
    repo, revision = match[1], match[2] or "main"
    if is_offline():
        raise NotFoundError(f"{ref}: not here, and HF_HUB_OFFLINE forbids asking a Hub")
    client = HubClient()
    commit = client.resolve(repo, revision)
    folder = _paths.cache() / "checkpoints" / repo.replace("/", "--") / commit
    if not folder.is_dir():
        try:
            _fetch(client, repo, commit, folder, progress)
        except OSError as error:
            raise PackageError(f"{folder}: cannot be written: {error.strerror}") from error
    return folder


def _fetch(client: HubClient, repo: str, commit: str, folder: Path, progress: Progress | None) -> None:
    """All files or none: they are moved into place together."""
    staging = folder.with_name(f".{secrets.token_hex(8)}")
    staging.mkdir(parents=True)
    try:
        for name in CONFIGURATION:
            if (
                not _take(client, repo, commit, staging / name, LARGEST_CONFIGURATION_BYTES, None)
                and name == "config.json"
            ):
                raise NotFoundError(f"{repo}: no config.json; not a checkpoint that can be imported")
        if not any(_take(client, repo, commit, staging / name, LARGEST_WEIGHTS_BYTES, progress) for name in WEIGHTS):
            index = staging / "model.safetensors.index.json"
            if _take(client, repo, commit, index, LARGEST_CONFIGURATION_BYTES, None):
                raise UnsupportedError(f"{repo}: weights in several files are not imported; merge them first")
            raise NotFoundError(f"{repo}: neither {' nor '.join(WEIGHTS)}")
        staging.replace(folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _take(client: HubClient, repo: str, commit: str, to: Path, limit: int, progress: Progress | None) -> bool:
    """Fetch one file; False when the repository does not have it."""
    try:
        with to.open("xb") as file:
            client.download(repo, commit, to.name, file, size=None, limit=limit, progress=progress)
    except NotFoundError:
        to.unlink()
        return False
    return True
