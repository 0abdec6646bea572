"""Pushing: exactly the signed files arrive, and a fresh machine can pull and verify them."""

import json
import os
import subprocess
import sys

import pytest
from fake_hub import FakeHub
from sample_package import KEY, STRANGER, sample_files, write_sample

from edgeq import _paths
from edgeq._errors import HubError, IntegrityError, NotFoundError, UsageError
from edgeq.hub import pull, push

# huggingface_hub 2.4.0 uploads with an argument that httpx2 would rather see named otherwise
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture(autouse=True)
def plain_uploads(monkeypatch):
    """Large files go by Git LFS: the Xet service is not part of the fake Hub. (The variable is read at import.)"""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)


@pytest.fixture
def demo(tmp_path):
    write_sample(tmp_path / "demo")
    return tmp_path / "demo"


def test_push_then_pull_gives_equal_bytes(fake_hub, demo):
    pushed = push(demo, "someone/demo")
    assert pushed.url == f"{fake_hub.url}/someone/demo/commit/{pushed.commit}"
    pulled = pull("someone/demo")
    assert pulled.commit == pushed.commit
    assert {p.name: p.read_bytes() for p in pulled.path.iterdir()} == {p.name: p.read_bytes() for p in demo.iterdir()}


def test_requests_of_a_push_in_order(fake_hub, demo):
    push(demo, "someone/demo", message="first", private=True)
    (large,) = fake_hub.objects
    assert [(r.method, r.path) for r in fake_hub.log] == [
        ("POST", "/api/repos/create"),
        ("POST", "/api/validate-yaml"),
        ("POST", "/api/models/someone/demo/preupload/main"),
        ("POST", "/someone/demo.git/info/lfs/objects/batch"),
        ("PUT", f"/objects/{large}"),
        ("POST", "/api/models/someone/demo/commit/main"),
    ]
    assert json.loads(fake_hub.log[0].body) == {"name": "demo", "organization": "someone", "visibility": "private"}
    lines = [json.loads(line) for line in fake_hub.log[-1].body.splitlines()]
    assert lines[0] == {"key": "header", "value": {"summary": "first", "description": ""}}
    assert {line["value"]["path"]: line["key"] for line in lines[1:]} == {
        "README.md": "file",
        "config.json": "file",
        "edgeq.json": "file",
        "edgeq.sig": "file",
        "model.safetensors": "lfsFile",
    }


def test_unlisted_files_stay_at_home(fake_hub, demo):
    (demo / "notes.txt").write_text("private")
    pushed = push(demo, "someone/demo")
    assert "notes.txt" not in fake_hub.repos["someone/demo"].commits[pushed.commit]


def test_push_again_changes_nothing(fake_hub, demo):
    first = push(demo, "someone/demo")
    assert push(demo, "someone/demo") == first


def test_push_to_a_branch(fake_hub, demo):
    commit = push(demo, "someone/demo", revision="next").commit
    assert fake_hub.repos["someone/demo"].refs["next"] == commit != fake_hub.repos["someone/demo"].refs["main"]
    assert pull("someone/demo@next").commit == commit


def test_package_that_does_not_verify_is_not_sent(fake_hub, demo):
    (demo / "README.md").write_text("changed")
    with pytest.raises(IntegrityError, match=r"^README\.md: 7 bytes, signed \d+$"):
        push(demo, "someone/demo")
    assert fake_hub.log == []


def test_unsigned_package_is_sent_only_on_demand(fake_hub, tmp_path):
    write_sample(tmp_path / "demo", key=None)
    with pytest.raises(IntegrityError, match="not signed"):
        push(tmp_path / "demo", "someone/demo")
    commit = push(tmp_path / "demo", "someone/demo", allow_unsigned=True).commit
    assert "edgeq.sig" not in fake_hub.repos["someone/demo"].commits[commit]


def test_card_that_the_hub_does_not_take(fake_hub, tmp_path):
    files = sample_files() | {"README.md": b"---\nbase_model: []\n---\n"}
    write_sample(tmp_path / "demo", files=files)
    message = r'^someone/demo: Invalid metadata in README\.md\. - "base_model" must not be empty$'
    with pytest.raises(HubError, match=message):
        push(tmp_path / "demo", "someone/demo")


@pytest.mark.parametrize("repo", ["demo", "a/b/demo", "someone/demo@main", ""])
def test_malformed_repository(demo, repo):
    with pytest.raises(UsageError, match=r"expected OWNER/NAME$"):
        push(demo, repo)


def test_repository_must_bear_the_signed_name(demo):
    with pytest.raises(
        UsageError, match=r"^someone/other: the package is signed as 'demo'; the names must be the same$"
    ):
        push(demo, "someone/other")


def test_without_create_the_repository_must_exist(fake_hub, demo):
    with pytest.raises(NotFoundError, match=r"^someone/demo: no such model on "):
        push(demo, "someone/demo", create=False)


def test_token_is_needed_and_sent(demo, monkeypatch):
    with FakeHub(token="secret") as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        with pytest.raises(HubError, match=r"^someone/demo: http://.* refused \(HTTP 401\); set HF_TOKEN to a token"):
            push(demo, "someone/demo")
        monkeypatch.setenv("HF_TOKEN", "secret")
        push(demo, "someone/demo", private=True)
        monkeypatch.setenv("HF_TOKEN", "wrong")
        with pytest.raises(HubError, match=r"^someone/demo@main: http://.* refused \(HTTP 401\)"):
            pull("someone/demo")


def test_unreachable_hub(fake_hub, demo):
    fake_hub.stop()
    with pytest.raises(HubError, match=r"^someone/demo: http://127\.0\.0\.1:\d+ cannot be reached: "):
        push(demo, "someone/demo")


AUTHOR = """
import sys
from pathlib import Path
from sample_package import write_sample
from edgeq.hub import push
from edgeq.keys import keygen, load_private
pair = keygen("author")
write_sample(Path(sys.argv[1]), key=load_private(pair.private))
print(pair.public)
print(push(Path(sys.argv[1]), "someone/demo").commit)
"""

USER = """
import sys
from pathlib import Path
from edgeq.hub import pull
from edgeq.keys import trust
trust(Path(sys.argv[1]))
pulled = pull("someone/demo", revision=sys.argv[2])
print(pulled.path)
print(pulled.signed_by)
"""


def test_round_trip_between_two_machines(fake_hub, tmp_path):
    """keygen, package, push in one home; trust, pull by commit, verify in another; as processes of their own."""
    child = {**os.environ, "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    child["PYTHONPATH"] = os.pathsep.join([path for path in sys.path if path])

    def run(script: str, home: str, *args: object) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-c", script, *map(str, args)],
            env=child | {"EDGEQ_HOME": str(tmp_path / home)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    public, commit = run(AUTHOR, "author", tmp_path / "demo")
    path, signed_by = run(USER, "user", public, commit)
    assert signed_by.startswith("author (")
    assert path.startswith(str(tmp_path / "user"))
    for name in (*sample_files(), "edgeq.json", "edgeq.sig"):
        assert (tmp_path / "demo" / name).read_bytes() == (_paths.Path(path) / name).read_bytes()


def test_stranger_who_pushes_is_not_believed(fake_hub, tmp_path):
    """Whoever gets hold of the repository, but not of the key, changes nothing for those who pull."""
    write_sample(tmp_path / "mine" / "demo", key=KEY)
    push(tmp_path / "mine" / "demo", "someone/demo")
    write_sample(tmp_path / "theirs", version=2, key=STRANGER)
    fake_hub.commit("someone/demo", {p.name: p.read_bytes() for p in (tmp_path / "theirs").iterdir()})
    with pytest.raises(IntegrityError, match=r"^edgeq\.sig: not the signature"):
        pull("someone/demo")
