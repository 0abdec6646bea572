"""Phones behind the real adb client: both shell protocols, what is refused, what breaks off."""

import numpy as np
import pytest

from edgeq import device
from edgeq._errors import DeviceError, UnsupportedError, UsageError
from edgeq.device import adb as transport


@pytest.mark.parametrize("codes", [True, False], ids=["shell-2", "shell-1"])
def test_a_program_gives_what_pytorch_gives(phones, open_phone, programs, codes):
    phone, program = phones(codes=codes), programs("mixed")
    with open_phone(phone) as connected:
        assert (connected.info.kind, connected.info.name) == ("phone", "Acme EdgeQ Test")
        outputs = connected.deploy(program.path).run(*program.inputs).outputs
        now = connected.condition()
    for got, wanted in zip(outputs, program.outputs, strict=True):
        np.testing.assert_array_equal(got, wanted)
    assert (now.temperature_c, now.battery_percent, now.charging) == (29.1, 87, False)
    ours = phone.folder / "edgeq"
    runtimes = list((ours / "runtime").iterdir())
    assert [path.name.startswith(".") for path in runtimes] == [False]
    before = (runtimes[0] / "edgeq-agent").stat().st_mtime_ns
    with open_phone(phone) as connected:  # nothing is sent twice
        assert [entry.name for entry in connected.list()] == ["mixed.pte"]
    assert (runtimes[0] / "edgeq-agent").stat().st_mtime_ns == before
    assert transport.clean(f"adb:{phone.serial}") == "/data/local/tmp/edgeq"
    assert not ours.exists()


def test_a_full_phone_is_told_and_the_next_time_succeeds(phones, open_phone):
    phone = phones(full_after=1_000_000)
    with pytest.raises(DeviceError, match=r"^adb:\S+: cannot write to \S+: .*No space left on device$"):
        open_phone(phone)
    assert list((phone.folder / "edgeq" / "runtime").glob("*")) == []
    phone.full_after = None
    with open_phone(phone) as connected:
        assert connected.list() == []


def test_a_phone_that_restarts_in_the_middle(phones, open_phone, adb, programs):
    phone = phones()
    with open_phone(phone) as connected:
        net = connected.deploy(programs("mixed").path)
        phone.reboot()
        with pytest.raises(DeviceError, match=r"^adb:\S+: the connection ended"):
            net.run(*programs("mixed").inputs)
    for words in (("disconnect",), ("connect",)):
        adb[1](*words, phone.serial)
    adb[1]("-s", phone.serial, "wait-for-device")
    with open_phone(phone) as connected:
        assert [entry.name for entry in connected.list()] == ["mixed.pte"]


def test_states_and_choices(phones):
    locked = phones(allowed=False)
    with pytest.raises(DeviceError, match=r"(unauthorized|authorizing): unlock the phone and allow this computer"):
        device.connect(f"adb:{locked.serial}")
    one, other = phones(), phones()
    with pytest.raises(UsageError, match=r'^"adb:" fits several devices: adb:.*, adb:.*; name one with -d$'):
        device.connect("adb:")
    with pytest.raises(DeviceError, match=r"^adb:nobody: not connected; there are: adb:127"):
        device.connect("adb:nobody")
    found = {item.url: item for item in device.discover() if item.url.startswith("adb:")}
    assert found[f"adb:{locked.serial}"].state == "unauthorized"
    assert found[f"adb:{one.serial}"].state == found[f"adb:{other.serial}"].state == "ready"
    assert found[f"adb:{one.serial}"].detail == "EdgeQ Test"


def test_without_adb(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UnsupportedError, match=r"^adb is not installed: apt-get install adb$"):
        device.connect("adb:")
