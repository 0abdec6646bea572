"""`edgeq dashboard`: the child process, and what is said when it cannot start."""

import socket
from urllib.request import urlopen

import pytest

from edgeq import cli
from edgeq.dashboard import server


def test_it_serves_on_loopback_and_ends_with_the_block(path, testing):
    with server.serve(0) as served:
        assert served.address.startswith("http://127.0.0.1:")
        with urlopen(f"{served.address}/_stcore/health", timeout=server.START_S) as answer:
            assert answer.status == 200
    assert served.process.returncode is not None


def test_without_the_extra_one_line_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr(server, "find_spec", lambda name: None)
    assert cli.run(["dashboard"]) == 7
    said = capsys.readouterr().err.splitlines()
    assert said[-1].endswith("not installed: pip install 'edgeq[dashboard]'")


def test_a_taken_port_is_a_wrong_call(testing, capsys):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert cli.run(["dashboard", "--port", str(port)]) == 2
    assert f"port {port}: " in capsys.readouterr().err


def test_other_machines_may_look_but_start_nothing(testing, capsys):
    assert cli.run(["dashboard", "--port", "0", "--host", "0.0.0.0"]) == 2
    assert "share them --read-only" in capsys.readouterr().err


def test_a_server_that_dies_at_once_is_reported(monkeypatch, testing):
    monkeypatch.setitem(server._FLAGS, "no.such.option", "1")
    with pytest.raises(server.UnsupportedError, match="ended with code"), server.serve(0):
        pass
