"""The application and its verbs."""

from __future__ import annotations

from typing import Annotated

import typer

from edgeq.cli import (
    bench,
    compare,
    dashboard,
    delta,
    deploy,
    devices,
    doctor,
    energy,
    export,
    export_c,
    export_web,
    finetune,
    flash,
    import_checkpoint,
    keygen,
    package,
    profile,
    pull,
    push,
    quantize,
    report,
    train,
    verify,
    zoo,
)
from edgeq.cli import compile as compile_verb
from edgeq.cli import eval as eval_verb
from edgeq.cli._options import examples

EXIT_CODES = (
    "Exit codes: 0 done, or the reader of a pipe has seen enough; 1 other error; 2 wrong call; 3 package; 4 Hub; "
    "5 device; 6 compiler; 7 unsupported; 8 results store; 9 energy sensor; 70 internal error; 130 interrupted."
)

app = typer.Typer(
    name="edgeq",
    help="Run, measure and teach 1- to 4-bit neural networks on the devices people hold and solder.",
    epilog=f"{EXIT_CODES}\n\n" + examples("edgeq zoo list", "edgeq deploy pokebnn-fashion", "edgeq doctor"),
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)
app.add_typer(zoo.app, name="zoo")
app.add_typer(delta.app, name="delta")
for verb in (
    pull,
    push,
    verify,
    keygen,
    train,
    quantize,
    package,
    compile_verb,
    deploy,
    bench,
    compare,
    report,
    export,
    energy,
    dashboard,
    eval_verb,
    finetune,
    profile,
    devices,
    flash,
    doctor,
):
    app.command(name=verb.__name__.rpartition(".")[2], epilog=verb.EPILOG)(verb.command)

app.command(name="export-c", epilog=export_c.EPILOG)(export_c.command)
app.command(name="export-web", epilog=export_web.EPILOG)(export_web.command)
app.command(name="import", epilog=import_checkpoint.EPILOG)(import_checkpoint.command)  # no module can be called so


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(version("edgeq"))
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and end.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Options before the verb."""
