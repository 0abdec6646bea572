"""Boards behind the real OpenSSH client and server: the way there, and every way in which it fails."""

import os
import shutil
import signal
import subprocess
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from edgeq import device
from edgeq._errors import DeviceError, UnsupportedError, UsageError
from edgeq._native.choices import TITLE
from edgeq.bench import kernels
from edgeq.device import ssh


def test_a_program_gives_what_pytorch_gives(board, programs):
    program = programs("mixed")
    with device.connect(board.url("?threads=2")) as connected:
        assert (connected.info.kind, connected.info.threads) == ("linux", 2)
        outputs = connected.deploy(program.path).run(*program.inputs).outputs
        assert connected.condition() is not None
    for got, wanted in zip(outputs, program.outputs, strict=True):
        np.testing.assert_array_equal(got, wanted)
    ours = board.folder / "ours"
    agent = next((ours / "runtime").glob("*/edgeq-agent"))
    before = agent.stat().st_mtime_ns
    with device.connect(board.url()) as connected:  # nothing is sent twice
        assert [entry.name for entry in connected.list()] == ["mixed.pte"]
    assert agent.stat().st_mtime_ns == before
    facts = ssh.examine(board.url())
    assert facts.memory_bytes > 1 << 28 and facts.features and facts.libc
    assert ssh.clean(board.url()) == str(ours)
    assert not ours.exists()


def test_kernels_are_measured_on_the_board_and_used_there(board):
    with closing(device.open_program(board.url())) as program:
        before = kernels.table(program)
        isa = before[-1].isa
        assert kernels.tune(program, isas={isa}) == str(board.folder / "ours" / "kernels.txt")
        program.keep(f"{TITLE}\n{isa} b1-rows 9\n")
        after = {(choice.isa, choice.choice): choice.value for choice in kernels.table(program)}
    assert after == {(c.isa, c.choice): c.value for c in before} | {(isa, "b1-rows"): 9}
    assert not (board.folder / "ours" / ".kernels.txt").exists()


def test_a_connection_that_is_lost_midway(board, programs):
    with device.connect(board.url()) as connected:
        net = connected.deploy(programs("mixed").path)
        _kill_agents(board.folder)
        with pytest.raises(DeviceError, match=r"^ssh://\S+: the connection ended"):
            net.run(*programs("mixed").inputs)
    with device.connect(board.url()) as connected:
        assert [entry.name for entry in connected.list()] == ["mixed.pte"]


def test_a_transfer_that_broke_off_is_finished(board):
    with device.connect(board.url()):
        pass
    whole = next((board.folder / "ours" / "runtime").iterdir())
    half = whole.with_name(f".{whole.name}")
    whole.rename(half)  # what an interrupted transfer leaves: no name yet, a file cut, a file missing
    agent = half / "edgeq-agent"
    size = agent.stat().st_size
    agent.write_bytes(agent.read_bytes()[: size // 2])
    (half / "libexecutorch.so").unlink()
    kept = half / "libm.so.6"
    before = kept.stat().st_mtime_ns
    with device.connect(board.url()) as connected:
        assert connected.list() == []
    assert (whole / "edgeq-agent").stat().st_size == size
    assert (whole / "libm.so.6").stat().st_mtime_ns == before


@pytest.mark.parametrize(("options", "why"), [("size=1m", "No space left on device"), ("ro", "Read-only file system")])
def test_a_disk_that_takes_nothing(board, options, why):
    disk = board.folder / "ours"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("only root can mount a disk that is full or read-only")
    try:
        with pytest.raises(DeviceError, match=rf"^ssh://\S+: .*{why}"):
            device.connect(board.url())
        assert not list(disk.glob("runtime/*"))
        subprocess.run(["mount", "-o", "remount,rw,size=100m", str(disk)], check=True)
        with device.connect(board.url()) as connected:
            assert connected.list() == []
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_what_is_in_the_way_is_said_in_one_line(board, monkeypatch, tmp_path):
    def refused(url, error, text):
        with pytest.raises(error) as caught:
            device.connect(url)
        assert text in str(caught.value) and "\n" not in str(caught.value)

    refused(board.url("?arch=sparc64"), UnsupportedError, "sparc64: no runtime for this processor; there are: aarch64")
    refused(board.url("?colour=red"), UsageError, 'no option "colour"; there are: arch, cores, isa, runner, threads')
    refused("ssh://-oProxyCommand=x", UsageError, "expected ssh://user@host:port/folder")
    refused("ssh://127.0.0.1:1", DeviceError, "Connection refused (is an SSH server running there?)")
    stranger = tmp_path / "stranger"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(stranger)], check=True)
    config = Path(board.ssh.split()[-1]).read_text().splitlines()
    (tmp_path / "conf").write_text("\n".join(line for line in config if not line.startswith("IdentityFile")))
    monkeypatch.setenv("EDGEQ_SSH", f"ssh -F {tmp_path}/conf -i {stranger}")
    refused(board.url(), DeviceError, "(put your key there: ssh-copy-id 127.0.0.1)")
    monkeypatch.setenv("EDGEQ_SSH", f"{board.ssh} -o UserKnownHostsFile=/dev/null")
    refused(board.url(), DeviceError, "connect once by hand and compare the key")
    monkeypatch.setenv("EDGEQ_SSH", "no-such-ssh")
    refused(board.url(), UnsupportedError, "no-such-ssh is not installed: apt-get install openssh-client")


def test_hosts_of_the_configuration_are_listed(monkeypatch, tmp_path):
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "config").write_text("Host pi bench-*\n  HostName 10.0.0.7\nhost jetson\nHost *\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert [found.url for found in ssh.discover()] == ["ssh:pi", "ssh:jetson"]


@pytest.mark.long
@pytest.mark.parametrize("isa", ["", "ref"])
def test_the_agent_for_aarch64(board, programs, isa):
    """Cross-compiled, sent, started in the emulator: every operator gives the same integers."""
    if not shutil.which("qemu-aarch64"):
        pytest.skip("no qemu-aarch64: apt-get install qemu-user")
    program = programs("operators")
    with device.connect(board.url(f"?runner=qemu-aarch64&arch=aarch64{f'&isa={isa}' if isa else ''}")) as connected:
        assert (connected.info.arch, connected.info.isa) == ("aarch64", isa or "neon-i8mm")
        outputs = connected.deploy(program.path).run(*program.inputs).outputs
    for got, wanted in zip(outputs, program.outputs, strict=True):
        if wanted.dtype.kind == "f":
            np.testing.assert_allclose(got, wanted, rtol=2e-6, atol=1e-7)
        else:
            np.testing.assert_array_equal(got, wanted)


def _kill_agents(folder):
    """Agents whose store lies in this folder."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if f"{folder}/ours/store".encode() in words:
            os.kill(int(process.name), signal.SIGKILL)
