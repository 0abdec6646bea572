"""Zoo models as `.tflite` on a board behind ssh: this machine, and LiteRT for 64-bit Arm in the emulator."""

import shutil
from urllib.parse import quote

import pytest
from zoo_models import ALL, assert_deploys, assert_equal, outputs_on

pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is not installed: pip install 'edgeq[litert]'")
pytestmark = pytest.mark.long

CORE = """processor\t: {}
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm crc32 cpuid asimddp
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd0b
CPU revision\t: 3

"""


@pytest.fixture
def arm(board, tmp_path):
    """The board's URL with the emulator as runner, which shows LiteRT the files of an Arm kernel: it asks those."""
    if not shutil.which("qemu-aarch64"):
        pytest.skip("no qemu-aarch64: apt-get install qemu-user")
    root = tmp_path / "arm"
    cpus = root / "sys/devices/system/cpu"
    cpus.mkdir(parents=True)
    for name in ("possible", "present", "online"):
        (cpus / name).write_text("0-1\n")
    (cpus / "kernel_max").write_text("1\n")
    (root / "proc").mkdir()
    (root / "proc/cpuinfo").write_text("".join(CORE.format(i) for i in range(2)))
    return board.url(f"?runner={quote(f'qemu-aarch64 -L {root}')}&arch=aarch64")


@pytest.mark.parametrize("name", ALL)
def test_the_outputs_on_arm_are_those_of_the_pte(arm, name):
    assert_equal(outputs_on(arm, name, "litert"), outputs_on("local", name), exact=False)


def test_deploy_to_arm(arm, capsys):
    assert_deploys(arm, "pokebnn-fashion", capsys, "litert")


def test_deploy_to_a_board_like_this_machine(board, capsys):
    assert_deploys(board.url(), "pokebnn-fashion", capsys, "litert")
    ours = board.folder / "ours"
    assert [len(list((ours / shelf).iterdir())) for shelf in ("runtime", "litert")] == [1, 1]
    library = next((ours / "litert").glob("*/libLiteRt.so"))
    before = library.stat().st_mtime_ns
    assert_deploys(board.url(), "pokebnn-fashion", capsys)  # without LiteRT, which stays
    assert_deploys(board.url(), "pokebnn-fashion", capsys, "litert")
    assert library.stat().st_mtime_ns == before
