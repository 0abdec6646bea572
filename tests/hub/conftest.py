import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from fake_hub import FakeHub
from sample_package import KEY

from edgeq import _paths, hub


@pytest.fixture
def fake_hub(monkeypatch):
    """A running Hub that HF_ENDPOINT points to."""
    with FakeHub() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


@pytest.fixture
def waits(monkeypatch):
    """The seconds that pulls would have slept, instead of sleeping."""
    slept = []
    monkeypatch.setattr(hub, "HubClient", lambda client=hub.HubClient: client(wait=slept.append))
    return slept


@pytest.fixture(autouse=True)
def trusting(clean_environment):
    """The key that signs the samples is trusted."""
    _paths.trusted().mkdir(parents=True)
    pem = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (_paths.trusted() / "maker.pub").write_bytes(pem)
