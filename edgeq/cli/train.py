"""`edgeq train`: recipe to weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeq._errors import NotFoundError
from edgeq.cli._options import Json, examples
from edgeq.cli._output import Progress, print_json, print_table

if TYPE_CHECKING:
    from edgeq.train import Progress as Epoch

EPILOG = examples("edgeq train zoo/pokebnn-fashion/recipe.toml", "edgeq train recipe.toml -o out/twin --twin --no-test")


def command(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe.toml.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Holds checkpoint and weights; else out/ and the recipe's folder name."),
    ] = None,
    resume: Annotated[bool, typer.Option(help="Go on from the checkpoint in there.")] = True,
    twin: Annotated[bool, typer.Option("--twin", help="Train the float twin: the same without quantisers.")] = False,
    test: Annotated[bool, typer.Option(help="Read the test split once, at the end.")] = True,
    teacher: Annotated[
        Path | None, typer.Option("--teacher", help="Folder of the teacher's run; else it is trained first.")
    ] = None,
    json: Json = False,
) -> None:
    """Train the network of a recipe: deterministic from its seed, resumable after any interruption."""
    if not recipe.is_file():
        raise NotFoundError(f"{recipe}: no such recipe")

    from edgeq import train  # takes seconds, so the argument comes first

    with Progress() as progress:

        def tell(epoch: Epoch) -> None:
            found = ", ".join(f"validation {name} {100 * value:.2f} %" for name, value in epoch.validation.items())
            who = "teacher, epoch" if epoch.of_teacher else "epoch"
            text = f"{who} {epoch.epoch}/{epoch.epochs}: loss {epoch.loss:.4f}, {found}, {epoch.wall_s:.0f} s"
            progress(text, epoch.epoch, epoch.epochs)

        progress(f"training {recipe}")
        folder = output or Path("out", recipe.resolve().parent.name)
        result = train.run(recipe, folder, resume=resume, progress=tell, twin=twin, test=test, teacher=teacher)
    document = {"weights": str(result.weights), **result.facts()}
    if json:
        print_json(document)
    else:
        print_table([(key, str(value)) for key, value in document.items()])
