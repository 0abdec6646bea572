"""Pulling: where a package comes from, by which commit, and what happens when the Hub misbehaves."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fake_hub import FakeHub, Fault
from sample_package import KEY, STRANGER, sample_files, write_sample

from edgeq import _paths
from edgeq._errors import HubError, IntegrityError, NotFoundError, PackageError, UsageError
from edgeq.hub import pull

WEIGHTS = "model.safetensors"


def package_files(tmp_path: Path, version: int = 1, *, key=KEY, name="demo", weights=3000) -> dict[str, bytes]:
    """Every file of a sample package, by its path."""
    folder = tmp_path / f"{name}-{version}-{'unsigned' if key is None else 'signed'}"
    write_sample(folder, name=name, version=version, key=key, files=sample_files(weights))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def installed() -> list[str]:
    """Every file below the cache, as a path relative to it."""
    return sorted(str(p.relative_to(_paths.cache())) for p in _paths.cache().rglob("*") if p.is_file())


@pytest.fixture
def demo(fake_hub, tmp_path):
    """edgeq/demo, version 1; its commit."""
    return fake_hub.commit("edgeq/demo", package_files(tmp_path))


def test_pull_verifies_installs_and_names_the_commit(fake_hub, demo, tmp_path):
    pulled = pull("edgeq/demo")
    assert (pulled.source, pulled.commit, pulled.note) == ("hub", demo, "")
    assert pulled.signed_by is not None and pulled.signed_by.startswith("maker (")
    assert {p.name: p.read_bytes() for p in pulled.path.iterdir()} == package_files(tmp_path / "again")
    assert pulled.path == _paths.cache() / "packages" / "edgeq--demo" / demo
    assert pulled.tensors().keys() == {"scale", "w"}


def test_edgeq_is_the_owner_when_none_is_named(fake_hub, demo):
    assert pull("demo").commit == demo


def test_second_pull_fetches_nothing_but_the_commit(fake_hub, demo):
    pull("edgeq/demo")
    fake_hub.log.clear()
    assert pull("edgeq/demo").source == "cache"
    assert [r.path for r in fake_hub.log] == ["/api/models/edgeq/demo/revision/main"]


def test_known_commit_is_served_without_a_request(fake_hub, demo):
    pull("edgeq/demo")
    fake_hub.log.clear()
    assert pull(f"edgeq/demo@{demo}").source == "cache"
    assert fake_hub.log == []


def test_requests_name_edgeq_and_ask_for_plain_bytes(fake_hub, demo, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "secret")
    pull("edgeq/demo")
    for request in fake_hub.log:
        assert request.headers["user-agent"].startswith("edgeq/")
        assert request.headers["authorization"] == "Bearer secret"
    assert {r.headers["accept-encoding"] for r in fake_hub.asked("GET", "/resolve/")} == {"identity"}


def test_unlisted_files_are_not_asked_for(fake_hub, tmp_path):
    fake_hub.commit("edgeq/demo", package_files(tmp_path) | {"huge.bin": b"x" * 100})
    pull("edgeq/demo")
    assert not fake_hub.asked("GET", "huge.bin")


def test_pull_by_branch_commit_and_ref_suffix(fake_hub, demo, tmp_path):
    second = fake_hub.commit("edgeq/demo", package_files(tmp_path, 2), branch="next")
    assert pull("edgeq/demo", revision=demo).manifest.version == 1
    assert pull("edgeq/demo@next").commit == second
    assert pull("edgeq/demo", revision="next").source == "cache"


def test_progress_tells_bytes_of_each_file(fake_hub, demo):
    seen = []
    pulled = pull("edgeq/demo", progress=lambda *step: seen.append(step))
    last = {name: (done, total) for name, done, total in seen}
    assert last == {name: (entry.size, entry.size) for name, entry in pulled.manifest.files.items()}


# --- versions only go up


def test_older_version_is_refused_unless_told(fake_hub, demo, tmp_path):
    fake_hub.commit("edgeq/demo", package_files(tmp_path, 2))
    pull("edgeq/demo")
    back = fake_hub.commit("edgeq/demo", package_files(tmp_path / "back"))
    before = installed()
    message = (
        "edgeq/demo: the Hub offers version 1, but version 2 is here already "
        r"\(to go back on purpose: --allow-downgrade\)"
    )
    with pytest.raises(IntegrityError, match=f"^{message}$"):
        pull("edgeq/demo")
    assert installed() == before
    assert not fake_hub.asked("GET", f"{back}/{WEIGHTS}")
    assert pull("edgeq/demo", allow_downgrade=True).manifest.version == 1


def test_older_version_that_lies_in_the_cache_is_refused_too(fake_hub, demo, tmp_path):
    pull("edgeq/demo")
    fake_hub.commit("edgeq/demo", package_files(tmp_path, 2))
    pull("edgeq/demo")
    fake_hub.repos["edgeq/demo"].refs["main"] = demo
    with pytest.raises(IntegrityError, match="offers version 1, but version 2 is here already"):
        pull("edgeq/demo")


def test_package_signed_under_another_name_is_refused(fake_hub, tmp_path):
    fake_hub.commit("edgeq/demo", package_files(tmp_path, name="other"))
    with pytest.raises(IntegrityError, match=r"^edgeq/demo: holds a package that is signed as 'other'$"):
        pull("edgeq/demo")
    assert installed() == []


# --- faults: each with its own message, and nothing left behind


FAULTS = {
    "corrupt": (
        IntegrityError,
        r"^model\.safetensors: damaged or altered: sha256 [0-9a-f]{12}\.\.\., signed [0-9a-f]{12}\.\.\.; get",
    ),
    "short": (IntegrityError, r"^edgeq/demo@[0-9a-f]{12}: model\.safetensors: the Hub has \d+ bytes, signed \d+$"),
    "drop": (
        HubError,
        r"^edgeq/demo@[0-9a-f]{12}: model\.safetensors: connection lost after \d+ of \d+ bytes, 5 attempts; "
        r"try again later$",
    ),
    "busy": (
        HubError,
        r"^edgeq/demo@[0-9a-f]{12}: model\.safetensors: http://127\.0\.0\.1:\d+ is busy \(HTTP 503\); try again later$",
    ),
    "missing": (
        NotFoundError,
        r"^edgeq/demo@[0-9a-f]{12}: model\.safetensors: no such file on http://127\.0\.0\.1:\d+$",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_lasting_fault_is_refused_and_leaves_nothing(fake_hub, demo, waits, fault):
    fake_hub.faults.append(Fault(fault, WEIGHTS))
    error, message = FAULTS[fault]
    with pytest.raises(error, match=message):
        pull("edgeq/demo")
    assert list(_paths.cache().rglob("*")) == [_paths.cache() / "staging"]
    fake_hub.faults.clear()
    assert pull("edgeq/demo").source == "hub"


def test_the_messages_of_the_faults_differ():
    assert len({message for _, message in FAULTS.values()}) == len(FAULTS)


@pytest.mark.parametrize(
    ("sidecar", "error", "message"),
    [
        ("edgeq.json", NotFoundError, r"^edgeq/demo@[0-9a-f]{12}: edgeq\.json: no such file on "),
        ("edgeq.sig", IntegrityError, r"^not signed: edgeq\.sig is missing \(to use it all the same: "),
    ],
)
def test_missing_sidecar(fake_hub, demo, sidecar, error, message):
    fake_hub.faults.append(Fault("missing", sidecar))
    with pytest.raises(error, match=message):
        pull("edgeq/demo")
    assert installed() == []


@pytest.mark.parametrize("sidecar", ["edgeq.json", "edgeq.sig"])
def test_corrupt_sidecar_is_refused_before_anything_is_fetched(fake_hub, demo, sidecar):
    fake_hub.faults.append(Fault("corrupt", sidecar))
    with pytest.raises(IntegrityError, match=r"^edgeq\.sig: not the signature of this edgeq\.json by a trusted key"):
        pull("edgeq/demo")
    assert not fake_hub.asked("GET", WEIGHTS)
    assert installed() == []


def test_endless_manifest_is_cut_off(fake_hub, tmp_path):
    fake_hub.commit("edgeq/demo", package_files(tmp_path) | {"edgeq.json": b" " * (2 << 20)})
    with pytest.raises(IntegrityError, match=r"edgeq\.json: the Hub sends more than 1048576 bytes$"):
        pull("edgeq/demo")
    assert installed() == []


def test_commit_that_is_a_path_is_refused(fake_hub, demo):
    fake_hub.faults.append(Fault("astray", "revision"))
    message = r"answered with commit '\.\./\.\./\.\./outside', expected 40 hex digits$"
    with pytest.raises(HubError, match=message):
        pull("edgeq/demo")
    assert not _paths.cache().exists()


def test_gated_model_says_what_to_do(fake_hub, demo):
    fake_hub.faults.append(Fault("gated", "revision"))
    with pytest.raises(HubError, match=r"^edgeq/demo@main: gated; accept its terms on http://.*, then set HF_TOKEN$"):
        pull("edgeq/demo")


def test_text_of_a_stranger_is_one_printable_line(fake_hub, demo):
    fake_hub.faults.append(Fault("weird", "revision"))
    with pytest.raises(HubError, match=r"^edgeq/demo@main: http://127\.0\.0\.1:\d+ answered HTTP 418: \?\[2Jno$"):
        pull("edgeq/demo")


def test_dropped_once_goes_on_where_it_broke(fake_hub, demo, waits):
    fake_hub.faults.append(Fault("drop", WEIGHTS, times=1))
    assert pull("edgeq/demo").source == "hub"
    first, second = fake_hub.asked("GET", WEIGHTS)
    half = len(fake_hub.repos["edgeq/demo"].commits[demo][WEIGHTS]) // 2
    assert "range" not in first.headers
    assert (second.headers["range"], second.status) == (f"bytes={half}-", 206)
    assert waits == [0.5]


def test_file_that_changed_between_attempts_is_fetched_from_its_start(fake_hub, demo, waits):
    fake_hub.faults += [Fault("drop", WEIGHTS, times=1), Fault("etag", WEIGHTS)]
    assert pull("edgeq/demo").source == "hub"
    assert [r.status for r in fake_hub.asked("GET", WEIGHTS)] == [200, 200]


def test_wrong_etag_alone_is_harmless_because_the_bytes_are_signed(fake_hub, demo):
    fake_hub.faults.append(Fault("etag", WEIGHTS))
    assert pull("edgeq/demo").source == "hub"


def test_busy_server_is_asked_again_when_it_says(fake_hub, demo, waits):
    fake_hub.faults += [Fault("busy", WEIGHTS, times=2), Fault("busy", "revision", times=1)]
    assert pull("edgeq/demo").source == "hub"
    assert waits == [3.0, 7.0, 7.0]


def test_large_files_may_come_from_another_host_that_never_sees_the_token(tmp_path, monkeypatch, waits):
    monkeypatch.setenv("HF_TOKEN", "secret")
    with FakeHub() as storage, FakeHub(storage=storage) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        server.commit("edgeq/demo", package_files(tmp_path))
        storage.faults.append(Fault("drop", "object", times=1))
        assert pull("edgeq/demo").source == "hub"
        assert [r.status for r in storage.log] == [200, 206]
        assert all("authorization" not in r.headers for r in storage.log)
        assert all(r.headers["authorization"] == "Bearer secret" for r in server.asked("GET", WEIGHTS))


def test_pulls_at_the_same_time_do_not_disturb_each_other(fake_hub, demo):
    with ThreadPoolExecutor(8) as pool:
        pulled = list(pool.map(pull, ["edgeq/demo"] * 8))
    assert {package.path for package in pulled} == {_paths.cache() / "packages" / "edgeq--demo" / demo}
    assert all(package.read("README.md") for package in pulled)
    assert list((_paths.cache() / "staging").iterdir()) == []


def test_killed_pull_leaves_nothing_half_installed(fake_hub, demo):
    fake_hub.faults.append(Fault("stall", WEIGHTS))
    child = subprocess.Popen([sys.executable, "-c", "from edgeq.hub import pull; pull('edgeq/demo')"], env=os.environ)
    assert fake_hub.stalled.wait(120)
    child.send_signal(signal.SIGKILL)
    assert child.wait(120) == -signal.SIGKILL
    assert not (_paths.cache() / "packages").exists()
    fake_hub.faults.clear()
    assert pull("edgeq/demo").source == "hub"


def test_left_over_staging_folders_are_cleared_after_a_day(fake_hub, demo):
    old, young = (_paths.cache() / "staging" / name for name in ("old", "young"))
    for folder in (old, young):
        folder.mkdir(parents=True)
    os.utime(old, (0, 0))
    pull("edgeq/demo")
    assert not old.exists() and young.exists()


# --- without a server


def test_unreachable_hub_serves_the_cache_and_says_so(fake_hub, demo):
    pull("edgeq/demo")
    fake_hub.stop()
    pulled = pull("edgeq/demo")
    assert (pulled.source, pulled.commit) == ("cache", demo)
    assert pulled.note.startswith(f"from cache (edgeq/demo@main: {fake_hub.url} cannot be reached: ")


def test_unreachable_hub_and_an_empty_cache(fake_hub):
    fake_hub.stop()
    with pytest.raises(HubError, match=r"^edgeq/demo@main: http://127\.0\.0\.1:\d+ cannot be reached: "):
        pull("edgeq/demo")
    assert not _paths.cache().exists()


def test_offline_asks_nobody(fake_hub, demo, monkeypatch):
    with pytest.raises(NotFoundError, match=r"^edgeq/demo@main: not in the cache, and offline$"):
        pull("edgeq/demo", offline=True)
    pull("edgeq/demo")
    fake_hub.log.clear()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert pull("edgeq/demo").note == "from cache (offline)"
    assert fake_hub.log == []
    assert pull("edgeq/demo", offline=False).note == ""


def test_damaged_cache_is_fetched_again_and_refused_offline(fake_hub, demo):
    path = pull("edgeq/demo").path / WEIGHTS
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(IntegrityError, match=r"^model\.safetensors: damaged"):
        pull("edgeq/demo", offline=True)
    assert pull("edgeq/demo").source == "hub"
    assert pull("edgeq/demo").source == "cache"


# --- what does not exist, and what is not trusted


def test_unknown_repository_and_revision(fake_hub, demo):
    with pytest.raises(NotFoundError, match=r"^edgeq/nothing@main: no such model on http://.* needs HF_TOKEN\)$"):
        pull("edgeq/nothing")
    with pytest.raises(NotFoundError, match=r"^edgeq/demo@v9: no such revision on http://127\.0\.0\.1:\d+$"):
        pull("edgeq/demo@v9")


@pytest.mark.parametrize("key", [None, STRANGER])
def test_unsigned_package_is_used_only_on_demand_and_says_so_every_time(fake_hub, tmp_path, key):
    fake_hub.commit("edgeq/demo", package_files(tmp_path, key=key))
    with pytest.raises(IntegrityError, match="--allow-unsigned"):
        pull("edgeq/demo")
    assert installed() == []
    for source in ("hub", "cache"):
        pulled = pull("edgeq/demo", allow_unsigned=True)
        assert (pulled.source, pulled.signed_by) == (source, None)
        assert pulled.note == "UNSIGNED: nobody you trust vouches for these files"
    with pytest.raises(IntegrityError, match="--allow-unsigned"):
        pull("edgeq/demo", offline=True)


def test_a_file_is_no_model(tmp_path):
    (tmp_path / "net.pte").touch()
    with pytest.raises(UsageError, match="is a file; a model is a NAME of the zoo"):
        pull(str(tmp_path / "net.pte"))


@pytest.mark.parametrize(
    "ref", ["", "a/b/c", "edgeq/../demo", "-demo", "edgeq/demo@", "edgeq/de mo", "a--b", "demo@x y"]
)
def test_malformed_reference(ref):
    with pytest.raises(UsageError, match="expected NAME, OWNER/NAME"):
        pull(ref)


def test_two_different_revisions():
    with pytest.raises(UsageError, match="give one of the two"):
        pull("edgeq/demo@a", revision="b")


# --- folders


def test_folder_of_a_zoo_entry_means_its_package(tmp_path):
    (tmp_path / "entry").mkdir()
    write_sample(tmp_path / "entry" / "package")
    assert pull(tmp_path / "entry").path == tmp_path / "entry" / "package"


def test_folder_is_verified_where_it_lies(tmp_path, monkeypatch):
    write_sample(tmp_path / "demo")
    pulled = pull(tmp_path / "demo")
    assert (pulled.source, pulled.commit, pulled.path) == ("folder", None, tmp_path / "demo")
    monkeypatch.chdir(tmp_path)
    assert pull("demo").source == pull("./demo").source == "folder"
    with pytest.raises(UsageError, match="a folder has no revision"):
        pull("./demo", revision="main")
    with pytest.raises(NotFoundError, match=r"^nowhere: no such folder$"):
        pull("./nowhere")


def test_a_cache_that_cannot_be_written_is_one_clear_error(fake_hub, demo):
    _paths.cache().mkdir(parents=True)
    (_paths.cache() / "staging").write_bytes(b"in the way")
    with pytest.raises(PackageError, match="packages/edgeq--demo: cannot be written: "):
        pull("edgeq/demo")


def test_two_hubs_in_one_process(fake_hub, demo, tmp_path, monkeypatch):
    with FakeHub() as other:
        commit = other.commit("edgeq/demo", package_files(tmp_path, 2))
        monkeypatch.setenv("HF_ENDPOINT", other.url + "/")
        assert pull("edgeq/demo").commit == commit != demo
