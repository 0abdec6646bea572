"""What `-d` means: names of the user's own, words that fit one device, and lists of candidates."""

import json

import pytest

from edgeq import _paths, cli
from edgeq._errors import UsageError
from edgeq.device import Found, _names, adb, local

SCHEMES = ["adb", "local", "serial", "ssh"]
WITHIN = [
    Found("local", "host", "ready", "AMD EPYC"),
    Found("adb:R58M", "phone", "ready", "Galaxy S21"),
    Found("adb:emulator-5554", "phone", "ready", "Pixel 8"),
    Found("serial:///dev/ttyACM0", "serial", "unknown", "STLink (0483:374b)"),
]


def resolve(text, within=WITHIN):
    return _names.resolve(text, SCHEMES, lambda scheme: [f for f in within if f.url.startswith(scheme)])


def write_names(text):
    _paths.writable_home()
    (_paths.home() / "devices.toml").write_text(text)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("local", "local"),
        ("local:?threads=2", "local:?threads=2"),
        ("adb:unseen", "adb:unseen"),
        ("serial", "serial:///dev/ttyACM0"),
        ("serial:", "serial:///dev/ttyACM0"),
        ("ssh", "ssh:"),
        ("pixel", "adb:emulator-5554"),
        ("ttyACM0", "serial:///dev/ttyACM0"),
    ],
)
def test_a_word_that_fits_one(text, url):
    assert resolve(text) == url


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("adb", '"adb" fits several devices: adb:R58M, adb:emulator-5554; name one with -d'),
        ("toaster", 'no transport for device "toaster"; there are: adb, local, serial, ssh'),
    ],
)
def test_a_word_that_does_not(text, says):
    with pytest.raises(UsageError, match=f"^{says}"):
        resolve(text)


def test_names_of_the_user(capsys, monkeypatch):
    write_names('[devices]\npi = "ssh://pi@raspberrypi.local"\nphone = "adb:R58M"\n')
    assert resolve("pi") == "ssh://pi@raspberrypi.local"
    monkeypatch.setattr(local, "discover", lambda: WITHIN[:1])
    monkeypatch.setattr(adb, "discover", lambda: WITHIN[1:3])
    assert cli.run(["devices", "--json"]) == 0
    listed = {item["url"]: (item["name"], item["state"]) for item in json.loads(capsys.readouterr().out)}
    assert next(iter(listed)) == "local"
    assert listed["adb:R58M"] == ("phone", "ready") and listed["adb:emulator-5554"] == ("", "ready")
    assert listed["ssh://pi@raspberrypi.local"] == ("pi", "unknown")
    monkeypatch.setenv("EDGEQ_DEVICE", "adb")
    assert cli.run(["bench", "pokebnn-fashion"]) == 2
    assert "fits several devices: phone (adb:R58M), adb:emulator-5554" in capsys.readouterr().err


def test_a_misspelt_word_gets_a_suggestion(monkeypatch):
    monkeypatch.setattr(local, "discover", list)
    monkeypatch.setattr(adb, "discover", list)
    write_names('[devices]\nkitchen = "ssh://pi@raspberrypi.local"\n')
    for word, meant in (("locl", "local"), ("kichen", "kitchen")):
        with pytest.raises(UsageError, match=f"did you mean {meant}\\?"):
            resolve(word)


@pytest.mark.parametrize("text", ["[devices", "[devices]\npi = 3\n", '[devices]\npi = "raspberry"\n', "devices = 1\n"])
def test_a_file_of_names_that_says_something_else(text):
    write_names(text)
    with pytest.raises(UsageError, match=r"devices\.toml"):
        resolve("pi")


def test_only_boards_and_phones_can_be_cleaned(capsys):
    assert cli.run(["devices", "--clean", "local"]) == 2
    assert "only boards behind ssh: and phones behind adb:" in capsys.readouterr().err
