"""What a board or a phone tells of itself, good and hostile; a shell is a function of a command here."""

import pytest

from edgeq._errors import DeviceError, UsageError
from edgeq.device import Condition, _board
from edgeq.device._shell import Reply
from edgeq.device.runtime import Runtime

RUNTIME = Runtime("aarch64", "hash", {}, "ld.so")

PHONE = """arch=aarch64
system=Linux 5.10.107
home=/
cache=
model=
android=14
phone=Google Pixel 8
libc=bash: ldd: not found
memory=7812345
features= fp asimd  asimddp i8mm
governor=sched_pixel
fastest=1704000 1704000 2367000 2914000 2914000
zones=BIG LITTLE battery
"""


class Told:
    """A shell that answers every command with the same."""

    name = "adb:X"

    def __init__(self, out, err=""):
        self.out, self.err = out, err

    def run(self, command, *, timeout_s=60.0):
        return Reply(0, self.out, self.err)


def test_a_phone():
    facts = _board.examine(Told(PHONE))
    assert (facts.name, facts.system, facts.libc) == ("Google Pixel 8", "Android 14", "bionic")
    assert facts.memory_bytes == 7812345 * 1024 and "i8mm" in facts.features
    assert facts.fast_cores == (3, 4)
    words = _board._command("/f", RUNTIME, _board.Options(isa="neon"), facts, "/o")
    settings = "EDGEQ_KERNELS=/o/kernels.txt EDGEQ_ISA=neon"
    assert words == f"env {settings} /f/ld.so --library-path /f /f/edgeq-agent --cores 3,4"
    assert _board._command("/f", RUNTIME, _board.Options(cores="0-1"), facts, "/o").endswith("--cores 0-1")


def test_a_board():
    text = PHONE.replace("android=14", "android=").replace("model=\n", "model=Raspberry Pi 5\n")
    facts = _board.examine(Told(text.replace("fastest=1704000 1704000 2367000 ", "fastest=")))
    assert (facts.name, facts.system, facts.fast_cores) == ("Raspberry Pi 5", "Linux 5.10.107", ())
    assert "--cores" not in _board._command("/f", RUNTIME, _board.Options(), facts, "/o")


@pytest.mark.parametrize(
    ("out", "condition"),
    [
        (
            "zones=41000 39500\nclocks=600000 2400000\ngovernor=ondemand\n",
            Condition(41.0, 2.4e9, "ondemand", (41.0, 39.5)),
        ),
        (
            "zones=\nclocks=\ngovernor=\nbattery.level=55\nbattery.temperature=312\nbattery.status=2\n",
            Condition(31.2, None, "", (), 55, True),
        ),
        (f"zones=x 7e9 {'9' * 5000}\nclocks=-\ngovernor=\nbattery.level=½\n", Condition()),
    ],
    ids=["board", "phone", "hostile"],
)
def test_condition(out, condition):
    assert _board.condition(Told(out)) == condition


def test_a_machine_without_a_shell_is_told():
    with pytest.raises(DeviceError, match=r"^adb:X: no POSIX shell there \(android is not told\): nologin$"):
        _board.examine(Told("Welcome to the switch", "banner\nnologin"))


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ({"threads": ["0"]}, "threads is a number from 1 to 256"),
        ({"cores": ["4-"]}, "cores are numbers like 4-7 or 0,2"),
        ({"speed": ["9"]}, 'no option "speed"; there are: arch, cores, isa, runner, threads'),
    ],
)
def test_options_that_cannot_be(query, says):
    with pytest.raises(UsageError, match=says):
        _board.Options.of("ssh:pi", query)
