"""A real arm64 Linux kernel in QEMU, with busybox and dropbear: the smallest board there can be."""

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from zoo_models import MODELS, assert_deploys, assert_equal, outputs_on

from edgeq import device
from edgeq.device import ssh

GUEST = Path(__file__).parents[2] / ".cache" / "guest"
BOOT_S = 600.0
pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def guest(tmp_path_factory):
    """The booted guest's URL."""
    if not shutil.which("qemu-system-aarch64") or not shutil.which("ssh"):
        pytest.skip("no qemu-system-aarch64 or ssh: apt-get install qemu-system-arm openssh-client")
    if not (GUEST / "initramfs.gz").is_file():
        pytest.skip("no guest to boot: python tools/arm64_guest.py")
    folder = tmp_path_factory.mktemp("guest")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    console = folder / "console"
    process = subprocess.Popen(
        [
            *("qemu-system-aarch64", "-M", "virt", "-cpu", "cortex-a76", "-m", "1024", "-display", "none"),
            *("-monitor", "none", "-serial", f"file:{console}", "-nic", "none", "-kernel", str(GUEST / "vmlinuz")),
            *("-initrd", str(GUEST / "initramfs.gz"), "-append", "console=ttyAMA0 quiet"),
            *("-netdev", f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:22"),
            *("-device", "virtio-net-pci,netdev=net,romfile="),
        ]
    )
    try:
        _await(process, console)
        (folder / "conf").write_text(
            f"IdentityFile {GUEST}/key\nIdentitiesOnly yes\nStrictHostKeyChecking no\nUserKnownHostsFile /dev/null\n"
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("EDGEQ_SSH", f"ssh -F {folder}/conf")
            yield f"ssh://root@127.0.0.1:{port}/tmp/edgeq", os.environ["EDGEQ_SSH"]
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def board(guest, monkeypatch):
    monkeypatch.setenv("EDGEQ_SSH", guest[1])
    return guest[0]


def _await(process, console):
    deadline = time.monotonic() + BOOT_S
    while time.monotonic() < deadline and process.poll() is None:
        text = console.read_text(errors="replace") if console.exists() else ""
        if "GUEST-READY" in text:
            return
        assert "Kernel panic" not in text, text[-2000:]
        time.sleep(0.5)
    pytest.fail(f"the guest did not start: {console.read_text(errors='replace')[-2000:]}")


def test_the_board_says_what_it_is(board):
    facts = ssh.examine(board)
    assert facts.arch == "aarch64" and "asimddp" in facts.features
    assert facts.memory_bytes > 900e6


def test_every_operator(board, programs):
    program = programs("operators")
    with device.connect(board) as connected:
        assert (connected.info.arch, connected.info.isa) == ("aarch64", "neon-dotprod")
        assert connected.info.cpu == "Cortex-A76"
        outputs = connected.deploy(program.path).run(*program.inputs).outputs
    for got, wanted in zip(outputs, program.outputs, strict=True):
        if wanted.dtype.kind == "f":
            np.testing.assert_allclose(got, wanted, rtol=2e-6, atol=1e-7)
        else:
            np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_deploys_and_gives_what_it_gives_here(board, name, capsys):
    assert_equal(outputs_on(board, name), outputs_on("local", name), exact=False)
    assert_deploys(board, name, capsys)
