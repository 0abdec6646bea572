"""`edgeq flash` with programs of the right names that only note how they were called."""

import json
import re
import shlex

import pytest

from edgeq import cli
from edgeq.device import firmware, flash

TOOLS = ("pyocd", "openocd", "esptool", "st-flash", "dfu-util", "arm-none-eabi-objcopy")


@pytest.fixture
def image(tmp_path, monkeypatch):
    """The firmware is not built here: that is test_boards.py's."""
    elf = tmp_path / "board.elf"
    elf.write_bytes(b"\x7fELF")
    monkeypatch.setattr(firmware, "build", lambda board, **_choices: elf)
    return elf


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """Fake programs, alone on PATH; the function gives what they were called with."""
    folder, log = tmp_path / "bin", tmp_path / "log"
    folder.mkdir()
    for tool in TOOLS:
        script = folder / tool
        script.write_text(
            f'#!/bin/sh\necho {tool} "$@" >> {log}\n[ ! -e {tmp_path}/broken ] || {{ echo no probe; exit 3; }}\n'
        )
        script.chmod(0o700)
    monkeypatch.setenv("PATH", f"{folder}:/bin:/usr/bin")
    return lambda: log.read_text().splitlines() if log.exists() else []


PROBE = "cmsis-dap.cfg"
CALLS = [
    ("nrf52840", "pyocd", ["pyocd flash --target nrf52840 {elf}"]),
    (
        "rp2350",
        "openocd",
        [f"openocd -f interface/{PROBE} -f target/rp2350.cfg -c program {{{{{{elf}}}}}} verify reset exit"],
    ),
    (
        "stm32f407vg",
        "stlink",
        ["arm-none-eabi-objcopy -O binary {elf} {bin}", "st-flash --reset write {bin} 0x08000000"],
    ),
    (
        "stm32h743zi",
        "dfu",
        ["arm-none-eabi-objcopy -O binary {elf} {bin}", "dfu-util -a 0 -s 0x08000000:leave -D {bin}"],
    ),
    (
        "esp32c3",
        "esptool",
        [
            "esptool --chip esp32c3 elf2image --output {bin} {elf}",
            "esptool --chip esp32c3 --port /dev/ttyUSB0 write-flash 0x0 {bin}",
        ],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("board", "runner", "wanted"), CALLS)
def test_every_runner_is_called_as_its_manual_says(image, tools, board, runner, wanted):
    port = ["--port", "/dev/ttyUSB0"] if runner == "esptool" else []
    assert cli.run(["flash", "--board", board, "--runner", runner, *port]) == 0
    assert tools() == [line.format(elf=image, bin=image.with_suffix(".bin")) for line in wanted]


def test_a_dry_run_prints_the_command_and_calls_nothing(image, tools, capsys):
    assert cli.run(["flash", "-b", "stm32f746zg", "--runner", "stlink", "--erase", "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [shlex.split(line)[0] for line in lines] == ["arm-none-eabi-objcopy", "st-flash"]
    assert tools() == []
    assert cli.run(["flash", "-b", "nrf5340", "--dry-run", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["done"] is False and document["state"] == "not run on silicon"
    assert document["commands"][0][:4] == ["pyocd", "flash", "--target", "nrf5340_xxaa"]


def test_a_failing_tool_gives_its_last_words(image, tools, tmp_path, capsys):
    (tmp_path / "broken").touch()
    assert cli.run(["flash", "-b", "nrf52840"]) == 5
    assert capsys.readouterr().err.splitlines()[-1] == "edgeq: pyocd ended with 3: no probe"


def test_a_missing_tool_says_how_to_install_it(image, monkeypatch, capsys):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(firmware, "build", lambda *args, **options: pytest.fail("built before it looked"))
    assert cli.run(["flash", "-b", "nrf52840"]) == 7
    assert "pip install pyocd" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-b", "z80"], 'no board "z80"; there are: .*nrf52840'),
        (["-b", "nrf52840", "--runner", "esptool"], "there are: pyocd, openocd"),
        (["-b", "cortex-m4"], "none: it is a simulator"),
    ],
)
def test_wrong_names_list_the_right_ones(image, arguments, message, capsys):
    assert cli.run(["flash", *arguments]) == 2
    assert re.search(message, capsys.readouterr().err)


def test_every_runner_of_every_board_makes_a_command(image):
    for board in firmware.boards().values():
        assert set(board.runners) <= set(flash.RUNNERS)
        for runner in board.runners:
            for commands in (flash.flash(board, runner), flash.flash(board, runner, port="X", erase=True)):
                assert all(isinstance(word, str) and word for command in commands for word in command)
