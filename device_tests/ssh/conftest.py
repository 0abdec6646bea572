"""An OpenSSH server on loopback with keys of its own, as the board."""

import getpass
import os
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin") or ""
DEADLINE_S = 20.0


@dataclass(frozen=True)
class Board:
    """Where the server listens, and the client's command that trusts it."""

    port: int
    ssh: str
    folder: Path

    def url(self, query: str = "") -> str:
        """Of the device, its files in a folder of the test."""
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}{self.folder}/ours{query}"


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """The server for the whole run; yields (port, command of the client)."""
    if not SSHD or not shutil.which("ssh-keygen"):
        pytest.skip("no sshd: apt-get install openssh-server openssh-client")
    folder = tmp_path_factory.mktemp("sshd")
    for key in ("host", "client"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)], check=True)
    shutil.copy(folder / "client.pub", folder / "authorized")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "sshd.conf").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized\n"
        f"PasswordAuthentication no\nUsePAM no\nStrictModes no\nPidFile {folder}/pid\n"
    )
    (folder / "known").write_text(f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}")
    (folder / "ssh.conf").write_text(
        f"IdentityFile {folder}/client\nIdentitiesOnly yes\nUserKnownHostsFile {folder}/known\n"
        "GlobalKnownHostsFile none\nStrictHostKeyChecking yes\n"
    )
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # it insists
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([SSHD, "-D", "-e", "-f", str(folder / "sshd.conf")], stderr=log)
    try:
        _await_port(process, port, folder / "log")
        yield port, f"ssh -F {folder}/ssh.conf"
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def board(server, tmp_path, monkeypatch):
    """The server as a board with an empty folder."""
    monkeypatch.setenv("EDGEQ_SSH", server[1])
    return Board(*server, tmp_path)


def _await_port(process, port, log):
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as client:
            client.settimeout(1)
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    pytest.fail(f"sshd does not start here: {log.read_text().strip().splitlines()[-1:]}")
