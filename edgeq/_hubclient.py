"""The conversation with a Hub: resolve, download, upload, and one clear error for each way it can fail.

`huggingface_hub` brings the session, the credentials and the upload protocol. Downloads are EdgeQ's own: the client
checks sizes only, gives up at the first 503, and starts broken transfers again (huggingface_hub 2.4.0).
"""

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, BinaryIO, TypeVar
from urllib.parse import quote

from ._errors import EdgeQError, HubError, IntegrityError, NotFoundError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

ATTEMPTS = 5
LONGEST_WAIT_S = 60.0
TIMEOUT_S = 20.0
_BUSY = (429, 500, 502, 503, 504)

_COMMIT = re.compile(r"[0-9a-f]{40}")
_T = TypeVar("_T")

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class HubClient:
    """One Hub, at `endpoint`; `wait` sleeps between two attempts."""

    endpoint: str = field(default_factory=lambda: _endpoint())
    wait: Callable[[float], None] = time.sleep

    def resolve(self, repo: str, revision: str) -> str:
        """The commit (40 hex digits) that a branch, tag or commit stands for now. Raises NotFoundError, HubError."""
        where = f"{repo}@{revision}"

        def ask() -> str | None:
            return self._api().model_info(repo, revision=revision, timeout=TIMEOUT_S).sha

        with self._explained(where):
            commit = self._persist(ask, after_loss=False)
        if commit is None or not _COMMIT.fullmatch(commit):
            raise HubError(f"{where}: {self.endpoint} answered with commit {commit!r}, expected 40 hex digits")
        return commit

    def download(
        self,
        repo: str,
        commit: str,
        name: str,
        to: BinaryIO,
        *,
        size: int | None,
        limit: int,
        progress: Progress | None,
    ) -> None:
        """Write a file of a repository to `to`, which is open for writing at its start.

        Broken transfers go on where they broke, busy servers are asked again when they say, up to 5 attempts in all.

        size    the signed size, None if not known; any other is refused before it is fetched
        limit   most bytes to take
        raises  NotFoundError, HubError; IntegrityError for another size
        """
        from huggingface_hub.errors import HfHubHTTPError

        where = f"{repo}@{commit[:12]}: {name}"
        url = f"{self.endpoint}/{repo}/resolve/{commit}/{quote(name)}"
        transfer = _Transfer(url, self._headers(), to, name, where, size, limit, progress)
        with self._explained(where):
            try:
                self._persist(transfer.attempt, after_loss=True)
            except HfHubHTTPError:
                raise
            except _transport_error() as error:
                of = f" of {size}" if size is not None else ""
                lost = f"connection lost after {transfer.done}{of} bytes, {ATTEMPTS} attempts; try again later"
                raise HubError(f"{where}: {lost}") from error

    def upload(
        self, repo: str, files: Mapping[str, bytes], *, message: str, private: bool, revision: str | None, create: bool
    ) -> tuple[str, str]:
        """Commit files to a repository in one step; create repository and branch where `create` allows it.

        return  (commit, address of the commit)
        raises  NotFoundError, HubError
        """
        from huggingface_hub import CommitOperationAdd

        api = self._api()
        with self._explained(repo):
            if create:
                api.create_repo(repo, private=private or None, exist_ok=True)
                if revision is not None:
                    api.create_branch(repo, branch=revision, exist_ok=True)
            operations = [CommitOperationAdd(name, data) for name, data in files.items()]
            done = api.create_commit(repo, operations, commit_message=message, revision=revision)
        return done.oid, str(done.commit_url)

    def _api(self) -> "HfApi":
        from huggingface_hub import HfApi

        return HfApi(endpoint=self.endpoint, library_name="edgeq", library_version=_version())

    def _headers(self) -> dict[str, str]:
        from huggingface_hub.utils._headers import build_hf_headers

        own = build_hf_headers(library_name="edgeq", library_version=_version())
        return own | {"Accept-Encoding": "identity"}

    def _persist(self, action: Callable[[], _T], *, after_loss: bool) -> _T:
        """Act again while the server is busy and, with `after_loss`, when the connection broke; 5 times in all."""
        from huggingface_hub.errors import HfHubHTTPError

        for attempt in range(1, ATTEMPTS):
            try:
                return action()
            except HfHubHTTPError as error:
                if error.response.status_code not in _BUSY:
                    raise
                said = error.response.headers.get("Retry-After", "")
            except _transport_error():
                if not after_loss:
                    raise
                said = ""
            self.wait(min(float(said) if said.isdigit() else 2.0 ** (attempt - 2), LONGEST_WAIT_S))
        return action()

    @contextmanager
    def _explained(self, where: str) -> Iterator[None]:
        """Turn what huggingface_hub raises into EdgeQ's errors."""
        try:
            yield
        except EdgeQError:
            raise
        except Exception as error:
            if (known := self._explain(where, error)) is None:
                raise
            raise known from error

    def _explain(self, where: str, error: Exception) -> EdgeQError | None:
        from huggingface_hub import errors

        hub = self.endpoint
        if isinstance(error, RuntimeError) and isinstance(error.__cause__, Exception):  # how uploads wrap theirs
            return self._explain(where, error.__cause__)
        if isinstance(error, errors.GatedRepoError):
            return HubError(f"{where}: gated; accept its terms on {hub}, then set HF_TOKEN")
        if isinstance(error, errors.RepositoryNotFoundError):
            return NotFoundError(f"{where}: no such model on {hub} (a private one needs HF_TOKEN)")
        if isinstance(error, errors.RevisionNotFoundError):
            return NotFoundError(f"{where}: no such revision on {hub}")
        if isinstance(error, errors.EntryNotFoundError):
            return NotFoundError(f"{where}: no such file on {hub}")
        if isinstance(error, errors.HfHubHTTPError):
            status = error.response.status_code
            if status in (401, 403):
                return HubError(f"{where}: {hub} refused (HTTP {status}); set HF_TOKEN to a token that may do this")
            if status in _BUSY:
                return HubError(f"{where}: {hub} is busy (HTTP {status}); try again later")
            return HubError(f"{where}: {hub} answered HTTP {status}: {_first_line(error.server_message or error)}")
        if isinstance(error, errors.OfflineModeIsEnabled):
            return HubError(f"{where}: HF_HUB_OFFLINE forbids asking {hub}")
        if isinstance(error, _transport_error()):
            return HubError(f"{where}: {hub} cannot be reached: {_first_line(error)}")
        if isinstance(error, ValueError):  # a card, for one, whose metadata the Hub does not take
            return HubError(f"{where}: {_first_line(' '.join(str(error).split()))}")
        return None


@dataclass
class _Transfer:
    """One file on its way; `done` bytes of it, of the version `tag`, are in `to`."""

    url: str
    headers: Mapping[str, str]
    to: BinaryIO
    name: str
    where: str
    size: int | None
    limit: int
    progress: Progress | None
    done: int = 0
    tag: str = ""

    def attempt(self) -> None:
        """Fetch what is missing."""
        from huggingface_hub import get_session, hf_raise_for_status

        rest = {"Range": f"bytes={self.done}-", "If-Range": self.tag} if self.done and self.tag else {}
        with get_session().stream("GET", self.url, headers={**self.headers, **rest}, timeout=TIMEOUT_S) as answer:
            hf_raise_for_status(answer)
            self._begin(answer.status_code, answer.headers)
            for chunk in answer.iter_raw():  # a chunk size here would lose the last bytes of a broken transfer
                self._take(chunk)

    def _begin(self, status: int, headers: Mapping[str, str]) -> None:
        if status != 206 or not headers.get("Content-Range", "").startswith(f"bytes {self.done}-"):
            self.done = 0
            self.to.seek(0)
            self.to.truncate()
        self.tag = headers.get("ETag", "")
        length = headers.get("Content-Length", "")
        if self.size is not None and length.isdigit() and self.done + int(length) != self.size:
            offered = self.done + int(length)
            raise IntegrityError(f"{self.where}: the Hub has {offered} bytes, signed {self.size}")

    def _take(self, chunk: bytes) -> None:
        self.done += len(chunk)
        if self.done > self.limit:
            raise IntegrityError(f"{self.where}: the Hub sends more than {self.limit} bytes")
        self.to.write(chunk)
        if self.progress is not None:
            self.progress(self.name, self.done, self.size or self.done)


def is_offline() -> bool:
    """Whether HF_HUB_OFFLINE is set, read the way huggingface_hub reads it."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def _endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def _version() -> str:
    try:
        return version("edgeq")
    except PackageNotFoundError:  # run from the sources, not installed
        return "0"


def _transport_error() -> type[Exception]:
    """httpx's HTTPError, from whichever httpx this huggingface_hub was built on."""
    from huggingface_hub.errors import HfHubHTTPError

    return next(base for base in HfHubHTTPError.__mro__ if base.__name__ == "HTTPError")


def _first_line(error: object) -> str:
    """What a stranger's text may put on a terminal."""
    line = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
    return "".join(letter if letter.isprintable() else "?" for letter in line)
