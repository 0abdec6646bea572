"""The bundled zoo: listed and served without a server, and never older than what is already here."""

import json

import pytest
from fake_hub import Fault
from sample_package import METRIC, sample_files, write_sample

from edgeq import _paths
from edgeq._errors import FormatError, IntegrityError
from edgeq.hub import list_zoo, pull


@pytest.fixture
def zoo(tmp_path, monkeypatch):
    """A zoo with two entries, one of which has no package yet."""
    root = tmp_path / "zoo"
    write_sample(entry(root, "demo"), version=2)
    (root / "planned").mkdir()
    (root / "planned" / "recipe.toml").write_text("")
    monkeypatch.setattr(_paths, "bundled_zoo", lambda: root)
    return root


def entry(root, name):
    (root / name).mkdir(parents=True)
    return root / name / "package"


def test_list_reads_the_signed_packages(zoo):
    (demo,) = list_zoo()
    assert (demo.name, demo.version, demo.task, demo.scheme) == ("demo", 2, "images", "b1b1")
    assert (demo.targets, demo.licence, demo.accuracy) == (("micro",), "Apache-2.0", METRIC)
    assert demo.size_bytes == sum(len(data) for data in sample_files().values())
    assert demo.path == zoo / "demo" / "package"
    assert demo.signed_by is not None


def test_no_zoo_is_an_empty_list(monkeypatch):
    monkeypatch.setattr(_paths, "bundled_zoo", lambda: None)
    assert list_zoo() == []


def test_damaged_entry_is_not_passed_over(zoo):
    (zoo / "demo" / "package" / "README.md").write_text("changed")
    with pytest.raises(IntegrityError, match=r"^README\.md: "):
        list_zoo()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"scheme": "b1b1"}, "task: expected printable text, got None"),
        ({"task": "a", "scheme": "\x1b[2J"}, "scheme: expected printable text, got '\\x1b[2J'"),
        ({"task": "a", "scheme": "b", "targets": "micro"}, "targets: expected a list, got 'micro'"),
        ({"task": "a", "scheme": "b", "targets": [1]}, "targets: expected printable text, got 1"),
    ],
)
def test_entry_must_say_what_it_is_for(zoo, config, message):
    files = sample_files() | {"config.json": json.dumps(config).encode()}
    write_sample(entry(zoo, "other"), name="other", files=files)
    with pytest.raises(FormatError) as caught:
        list_zoo()
    assert str(caught.value) == f"config.json: {message}"


def test_bundled_model_needs_no_server(zoo, fake_hub):
    pulled = pull("demo")
    assert (pulled.source, pulled.commit, pulled.manifest.version) == ("bundled", None, 2)
    assert fake_hub.log == []


def test_newer_of_cache_and_zoo_is_served(zoo, fake_hub, tmp_path):
    write_sample(tmp_path / "newer", version=3)
    commit = fake_hub.commit("edgeq/demo", {p.name: p.read_bytes() for p in (tmp_path / "newer").iterdir()})
    assert pull("edgeq/demo").source == "hub"
    pulled = pull("demo")
    assert (pulled.source, pulled.commit, pulled.manifest.version) == ("cache", commit, 3)


def test_hub_may_not_offer_less_than_the_zoo(zoo, fake_hub, tmp_path):
    write_sample(tmp_path / "older", version=1)
    fake_hub.commit("edgeq/demo", {p.name: p.read_bytes() for p in (tmp_path / "older").iterdir()})
    fake_hub.faults.append(Fault("missing", "model.safetensors"))
    with pytest.raises(IntegrityError, match="offers version 1, but version 2 is here already"):
        pull("edgeq/demo")


def test_entry_must_bear_its_own_name(zoo):
    (zoo / "demo").rename(zoo / "alias")
    with pytest.raises(IntegrityError, match=r"^edgeq/alias: holds a package that is signed as 'demo'$"):
        pull("alias")
