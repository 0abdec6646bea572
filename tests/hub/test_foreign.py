"""Checkpoints of others on the Hub: what is fetched, what is kept, and what is said when it cannot be."""

import json

import pytest
from fake_hub import Fault

from edgeq import foreign
from edgeq._errors import HubError, NotFoundError, UnsupportedError, UsageError

FILES = {
    "config.json": json.dumps({"model_type": "bert"}).encode(),
    "vocab.txt": b"[PAD]\n",
    "model.safetensors": b"weights",
    "pytorch_model.bin": b"the same as a pickle",
    "README.md": b"not for an importer",
}


def test_only_what_an_importer_reads_is_fetched_once(fake_hub):
    commit = fake_hub.commit("someone/encoder", FILES)
    folder = foreign.find("someone/encoder")
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors", "vocab.txt"]
    assert folder.name == commit and (folder / "model.safetensors").read_bytes() == b"weights"
    asked = len(fake_hub.log)
    assert foreign.find("someone/encoder@main") == folder
    assert not any("resolve" in request.path for request in fake_hub.log[asked:])


def test_pickles_are_taken_where_there_is_nothing_better(fake_hub):
    fake_hub.commit("someone/old", {name: data for name, data in FILES.items() if name != "model.safetensors"})
    assert (foreign.find("someone/old") / "pytorch_model.bin").is_file()


@pytest.mark.parametrize(
    ("files", "kind", "text"),
    [
        ({"README.md": b""}, NotFoundError, "no config.json"),
        ({"config.json": b"{}"}, NotFoundError, "neither model.safetensors"),
        ({"config.json": b"{}", "model.safetensors.index.json": b"{}"}, UnsupportedError, "several files"),
    ],
)
def test_repositories_without_a_checkpoint_leave_nothing(files, kind, text, fake_hub):
    fake_hub.commit("someone/other", files)
    with pytest.raises(kind, match=text):
        foreign.find("someone/other")
    from edgeq import _paths

    assert not list((_paths.cache() / "checkpoints" / "someone--other").iterdir())


def test_a_lost_connection_goes_on_and_a_dead_one_leaves_nothing(fake_hub, monkeypatch):
    waited = []
    monkeypatch.setattr(foreign, "HubClient", lambda client=foreign.HubClient: client(wait=waited.append))
    fake_hub.commit("someone/encoder", FILES)
    fake_hub.faults.append(Fault("drop", "model.safetensors"))
    with pytest.raises(HubError, match="connection lost"):
        foreign.find("someone/encoder")
    fake_hub.faults[:] = [Fault("drop", "model.safetensors", times=1)]
    assert (foreign.find("someone/encoder") / "model.safetensors").read_bytes() == b"weights"
    assert waited


def test_paths_are_taken_as_they_are_and_names_that_are_none_are_told(tmp_path, fake_hub, monkeypatch):
    assert foreign.find(str(tmp_path)) == tmp_path
    for ref, kind in (
        ("./missing", NotFoundError),
        ("/missing/file", NotFoundError),
        ("a/b/c", NotFoundError),
        ("encoder", UsageError),
        ("someone/../x", NotFoundError),
        ("someone/none", NotFoundError),
    ):
        with pytest.raises(kind):
            foreign.find(ref)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(NotFoundError, match="HF_HUB_OFFLINE"):
        foreign.find("someone/encoder")
