"""A Hub on the loopback interface: model repositories with commits and branches, upload, faults, and a request log.

It answers what huggingface_hub 2.4.0 asks (recorded from that client) and nothing else.

    with FakeHub() as hub:
        commit = hub.commit("edgeq/demo", {"README.md": b"..."})
        hub.faults.append(Fault("drop", "model.safetensors"))
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
"""

import base64
import contextlib
import hashlib
import json
import re
import socket
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import unquote, urlsplit

LARGE = (".safetensors", ".pte", ".bin")  # kept as Git LFS objects
JSON = "application/json"


@dataclass
class Fault:
    """Something that goes wrong with the answers for `path`, the first `times` times.

    corrupt  one bit of the last byte flipped, size right
    short    half of the file, and a length that agrees
    drop     the whole length promised, half of what was asked for sent, connection closed
    busy     503 with Retry-After
    etag     the ETag of other content
    astray   a revision that stands for a path instead of a commit
    gated    403: terms to accept first
    weird    HTTP 418 and a text that would clear the terminal
    missing  404 for a file that the commit holds
    stall    half of the file, then nothing until the server closes
    """

    kind: Literal["corrupt", "short", "drop", "busy", "etag", "missing", "stall", "astray", "gated", "weird"]
    path: str
    times: int = 1 << 30


@dataclass(frozen=True)
class Request:
    """What was asked, header names in lower case, and the status that was answered."""

    method: str
    path: str
    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class Repository:
    private: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)

    def commit(self, files: dict[str, bytes], branch: str, message: str = "") -> str:
        parent = self.refs.get(branch, "")
        digest = hashlib.sha1(f"{parent} {message}\n".encode(), usedforsecurity=False)
        for path, data in sorted(files.items()):
            digest.update(f"{path} {hashlib.sha256(data).hexdigest()}\n".encode())
        self.commits[digest.hexdigest()] = files
        self.refs[branch] = digest.hexdigest()
        return digest.hexdigest()


class FakeHub:
    """The server.

    token    if set, what writing and reading private repositories takes
    storage  another server that large files are fetched from, by redirection, as from the real Hub
    """

    def __init__(self, *, token: str | None = None, storage: "FakeHub | None" = None) -> None:
        self.token = token
        self.storage = storage
        self.repos: dict[str, Repository] = {}
        self.objects: dict[str, bytes] = {}
        self.faults: list[Fault] = []
        self.log: list[Request] = []
        self.stalled = threading.Event()
        self.closing = threading.Event()
        self.sockets: set[socket.socket] = set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> "FakeHub":
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Close the port and every connection: what a server that is down looks like."""
        if not self.closing.is_set():
            self.closing.set()
            self._server.shutdown()
            self._server.server_close()
            for connection in list(self.sockets):
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def commit(self, repo: str, files: dict[str, bytes], *, branch: str = "main") -> str:
        """Publish these files as the whole content of a new commit."""
        return self.repos.setdefault(repo, Repository()).commit(dict(files), branch)

    def asked(self, method: str, path: str = "") -> list[Request]:
        return [request for request in self.log if request.method == method and path in request.path]

    def fault(self, path: str) -> str:
        """The kind of fault that strikes this time, or ""."""
        for fault in self.faults:
            if fault.path == path and fault.times > 0:
                fault.times -= 1
                return fault.kind
        return ""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one segment, or each answer waits 40 ms for an acknowledgement
    hub: FakeHub
    body: bytes

    ROUTES = (
        ("GET", r"/api/models/([^/]+/[^/]+)(?:/revision/([^/]+))?", "info"),
        ("GET", r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", "file"),
        ("POST", r"/api/repos/create", "create"),
        ("POST", r"/api/models/([^/]+/[^/]+)/branch/([^/]+)", "branch"),
        ("POST", r"/api/validate-yaml", "validate"),
        ("POST", r"/api/models/([^/]+/[^/]+)/preupload/([^/]+)", "preupload"),
        ("POST", r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch", "batch"),
        ("PUT", r"/objects/([0-9a-f]{64})", "put"),
        ("GET", r"/objects/([0-9a-f]{64})", "get"),
        ("POST", r"/api/models/([^/]+/[^/]+)/commit/([^/]+)", "commit"),
    )

    def setup(self) -> None:
        super().setup()
        self.hub.sockets.add(self.connection)

    def finish(self) -> None:
        self.hub.sockets.discard(self.connection)
        with contextlib.suppress(OSError):
            super().finish()

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = urlsplit(self.path).path
        for method, pattern, action in self.ROUTES:
            if method == self.command and (match := re.fullmatch(pattern, path)):
                if self.refuses(write=method != "GET", repo=(match.groups() or ("",))[0] or ""):
                    return self.error(401, "", "Invalid credentials")
                return getattr(self, action)(*(part and unquote(part) for part in match.groups()))
        return self.error(404, "", "no such route")

    do_POST = do_PUT = do_GET

    def refuses(self, *, write: bool, repo: str) -> bool:
        private = repo in self.hub.repos and self.hub.repos[repo].private
        allowed = self.hub.token is None or self.headers.get("Authorization") == f"Bearer {self.hub.token}"
        is_object = self.path.startswith("/objects/")  # the address alone is the permission, as in a storage bucket
        return (write or private) and not allowed and not is_object

    # --- reading

    def info(self, repo: str, revision: str | None) -> None:
        if not (commit := self.resolve(repo, revision or "main")):
            return
        fault = self.hub.fault("revision")
        if fault == "busy":
            return self.send(503, b"", {"Retry-After": "3"})
        if fault == "weird":
            return self.json({"error": "\x1b[2Jno\nmore"}, 418)
        if fault == "gated":
            return self.error(403, "GatedRepo", "Access to this model is restricted")
        if fault == "astray":
            commit = "../../../outside"
        self.json({"id": repo, "sha": commit, "private": False, "tags": [], "siblings": []})

    def file(self, repo: str, revision: str, path: str) -> None:
        if not (commit := self.resolve(repo, revision)):
            return
        data = self.hub.repos[repo].commits[commit].get(path)
        fault = self.hub.fault(path)
        if data is None or fault == "missing":
            return self.error(404, "EntryNotFound", f"{path} does not exist")
        if self.hub.storage is not None and path.endswith(LARGE):
            oid = hashlib.sha256(data).hexdigest()
            self.hub.storage.objects[oid] = data
            return self.send(302, b"", {"Location": f"{self.hub.storage.url}/objects/{oid}"})
        self.content(path, data, fault, {"X-Repo-Commit": commit})

    def get(self, oid: str) -> None:
        self.content(oid, self.hub.objects[oid], self.hub.fault("object"), {})

    def content(self, path: str, data: bytes, fault: str, headers: dict[str, str]) -> None:
        """The bytes, or the rest of them, with what goes wrong on the way."""
        if fault == "busy":
            return self.send(503, b"", {"Retry-After": "7"})
        tag = _etag(path, data + b"other" if fault == "etag" else data)
        headers |= {"ETag": f'"{tag}"', "Accept-Ranges": "bytes"}
        start, status = 0, 200
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if asked and self.headers.get("If-Range", f'"{tag}"') == f'"{tag}"':
            start, status = int(asked[1]), 206
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        body = data[start:]
        if fault == "corrupt":
            body = body[:-1] + bytes([body[-1] ^ 1])
        if fault == "short":
            body = body[: len(body) // 2]
        if fault not in ("drop", "stall"):
            return self.send(status, body, headers, kind="application/octet-stream")
        self.start(status, len(body), headers, kind="application/octet-stream")
        self.wfile.write(body[: len(body) // 2])
        self.wfile.flush()
        self.close_connection = True
        if fault == "stall":
            self.hub.stalled.set()
            self.hub.closing.wait(30)

    # --- writing

    def create(self) -> None:
        asked = json.loads(self.body)
        repo = f"{asked['organization']}/{asked['name']}"
        address = {"url": f"{self.hub.url}/{repo}"}
        if repo in self.hub.repos:
            return self.json(address | {"error": "You already created this model repo"}, 409)
        self.hub.repos[repo] = Repository(private=asked.get("visibility") == "private")
        self.hub.repos[repo].commit({".gitattributes": b"*.safetensors filter=lfs\n"}, "main", "initial commit")
        self.json(address)

    def branch(self, repo: str, branch: str) -> None:
        if not (commit := self.resolve(repo, "main")):
            return None
        if branch in self.hub.repos[repo].refs:
            return self.json({"error": "Reference already exists"}, 409)
        self.hub.repos[repo].refs[branch] = commit
        return self.json({})

    def validate(self) -> None:
        if "base_model: []" in json.loads(self.body)["content"]:
            return self.json({"errors": [{"message": '"base_model" must not be empty'}], "warnings": []}, 400)
        return self.json({"errors": [], "warnings": []})

    def preupload(self, repo: str, revision: str) -> None:
        if not (commit := self.resolve(repo, revision)):
            return
        held = self.hub.repos[repo].commits[commit]
        answer = []
        for path in (row["path"] for row in json.loads(self.body)["files"]):
            mode = "lfs" if path.endswith(LARGE) else "regular"
            oid = _etag(path, held[path]) if path in held else None
            answer.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        self.json({"files": answer})

    def batch(self, repo: str) -> None:
        rows: list[dict[str, object]] = []
        for row in json.loads(self.body)["objects"]:
            known = row["oid"] in self.hub.objects
            upload = {"upload": {"href": f"{self.hub.url}/objects/{row['oid']}", "header": {}}}
            rows.append(row if known else row | {"actions": upload})
        self.json({"transfer": "basic", "objects": rows})

    def put(self, oid: str) -> None:
        if hashlib.sha256(self.body).hexdigest() != oid:
            return self.error(400, "", "sha256 does not match")
        self.hub.objects[oid] = self.body
        return self.send(200, b"", {})

    def commit(self, repo: str, revision: str) -> None:
        if not (parent := self.resolve(repo, revision)):
            return
        lines = [json.loads(line) for line in self.body.splitlines()]
        files = dict(self.hub.repos[repo].commits[parent])
        for line in lines[1:]:
            value = line["value"]
            is_large = line["key"] == "lfsFile"
            files[value["path"]] = self.hub.objects[value["oid"]] if is_large else base64.b64decode(value["content"])
        commit = self.hub.repos[repo].commit(files, revision, lines[0]["value"]["summary"])
        self.json({"commitUrl": f"{self.hub.url}/{repo}/commit/{commit}", "commitOid": commit})

    # --- answering

    def resolve(self, repo: str, revision: str) -> str | None:
        if repo not in self.hub.repos:
            self.error(404, "RepoNotFound", "Repository not found")
            return None
        known = self.hub.repos[repo]
        commit = known.refs.get(revision, revision)
        if commit not in known.commits:
            self.error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return None
        return commit

    def json(self, value: object, status: int = 200) -> None:
        self.send(status, json.dumps(value).encode(), {})

    def error(self, status: int, code: str, message: str) -> None:
        self.send(status, json.dumps({"error": message}).encode(), {"X-Error-Code": code, "X-Error-Message": message})

    def send(self, status: int, body: bytes, headers: dict[str, str], *, kind: str = JSON) -> None:
        self.start(status, len(body), headers, kind=kind)
        self.wfile.write(body)

    def start(self, status: int, length: int, headers: dict[str, str], *, kind: str) -> None:
        asked = {name.lower(): value for name, value in self.headers.items()}
        self.hub.log.append(Request(self.command, self.path, status, asked, self.body))
        self.send_response(status)
        for name, value in ({"Content-Type": kind, "Content-Length": str(length)} | headers).items():
            self.send_header(name, value)
        self.end_headers()


def _etag(path: str, data: bytes) -> str:
    """sha256 of a large file, git's blob id of a small one."""
    if path.endswith(LARGE):
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
