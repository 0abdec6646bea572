"""`edgeq flash`: the firmware onto a board."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer

from edgeq.cli._options import Json, examples
from edgeq.cli._output import print_json, remark

EPILOG = examples(
    "edgeq flash --board nrf52840",
    "edgeq flash --board stm32f407vg --runner stlink",
    "edgeq flash -b rp2350 --dry-run",
    "edgeq flash -b nrf52840 --model pokebnn-fashion",
)


def command(
    board: Annotated[
        str, typer.Option("--board", "-b", help="What the firmware is built for; a wrong name lists them.")
    ],
    runner: Annotated[
        str, typer.Option("--runner", help="pyocd, openocd, esptool, stlink or dfu; default: the board's first.")
    ] = "",
    port: Annotated[str, typer.Option("--port", help="Which probe (its serial number), or esptool's port.")] = "",
    models: Annotated[
        list[str] | None,
        typer.Option("--model", metavar="MODEL", help="Only the kernels of this model; may be repeated. Default: all."),
    ] = None,
    features: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            metavar="NAME",
            help="mlperf, mlperf-energy: answer the MLPerf Tiny runner too; marker: a pin is high during inferences; "
            "tune: finetune on the board.",
        ),
    ] = None,
    erase: Annotated[bool, typer.Option("--erase", help="Erase the whole flash first, models too.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Build, print the commands, and do nothing.")] = False,
    json: Json = False,
) -> None:
    """Build the firmware for a board and call the program that puts it there."""
    from edgeq.device import firmware, flash

    chosen = firmware.find(board)
    remark(f"{chosen.title}: {chosen.state}")
    remark("building the firmware; a minute, the first time")
    run = None if dry_run else flash.execute
    commands = flash.flash(
        chosen, runner, port=port, operators=_called(models or []), features=tuple(features or ()), erase=erase, run=run
    )
    if json:
        print_json({"board": chosen.name, "state": chosen.state, "commands": commands, "done": not dry_run})
    elif dry_run:
        for words in commands:
            print(shlex.join(words))
    else:
        print(f"{chosen.name} is flashed; connect: edgeq devices --probe")


def _called(models: list[str]) -> tuple[str, ...]:
    """The operators that the compiled models call, sorted."""
    if not models:
        return ()
    from edgeq import hub
    from edgeq.compile import build, micro

    programs = [build(hub.pull(model), "micro").path.read_bytes() for model in models]
    return tuple(sorted({operator for program in programs for operator in micro.operators(program)}))
