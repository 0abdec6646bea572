"""`edgeq delta`: what was learned, and going back to the base."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeq.cli._options import Json, Key, examples
from edgeq.cli._output import print_json, print_table, size

if TYPE_CHECKING:
    from edgeq.deltas import DeltaFile

app = typer.Typer(
    help="List, apply, take back, check and export what `edgeq finetune` learned.",
    no_args_is_help=True,
    epilog=examples("edgeq delta list", "edgeq delta rollback denseshift-kws"),
)
Name = Annotated[str, typer.Argument(metavar="MODEL", help="Name of the base, as `edgeq delta list` shows it.")]
Which = Annotated[str, typer.Argument(metavar="DELTA", help="Its id, the beginning of one, or a package folder.")]


@app.command("list", epilog=examples("edgeq delta list", "edgeq delta list denseshift-kws --json"))
def list_(
    model: Annotated[str | None, typer.Argument(metavar="MODEL", help="Only those of this base.")] = None,
    json: Json = False,
) -> None:
    """Every delta on this machine, newest first."""
    from edgeq import deltas

    found = deltas.listed(model)
    if json:
        print_json([_document(delta) for delta in found])
    elif not found:
        print("no deltas here; `edgeq finetune MODEL --data PATH` makes one")
    else:
        head = ("delta", "model", "method", "right before", "after", "size", "made", "signed by", "in use")
        print_table([_row(delta) for delta in found], head=head)


@app.command(epilog=examples("edgeq delta apply denseshift-kws 3fa9c2", "edgeq delta apply denseshift-kws ./my-delta"))
def apply(
    model: Name,
    delta: Which,
    allow_unsigned: Annotated[
        bool, typer.Option("--allow-unsigned", help="Accept a package from elsewhere without a trusted signature.")
    ] = False,
    json: Json = False,
) -> None:
    """From now on deploy, bench and eval of MODEL use this delta; one from elsewhere is copied here first."""
    from edgeq import deltas
    from edgeq._errors import UsageError

    found = deltas.find(model, delta, allow_unsigned=allow_unsigned or not Path(delta).is_dir())
    if found.model != model:
        raise UsageError(f"delta {found.id} is one of {found.model}, not of {model}")
    active = deltas.activate(found)
    _say(active, f"{model}: delta {active.id} is in use (back to the base: edgeq delta rollback {model})", json=json)


@app.command(epilog=examples("edgeq delta rollback denseshift-kws"))
def rollback(model: Name, json: Json = False) -> None:
    """Use the base again. The delta stays and can be applied again."""
    from edgeq import deltas

    was = deltas.roll_back(model)
    if json:
        print_json({"model": model, "rolled_back": was})
    else:
        print(f"{model}: {'no delta was in use' if was is None else f'delta {was} rolled back'}; the base is used")


@app.command(
    epilog=examples("edgeq delta verify denseshift-kws 3fa9c2", "edgeq delta verify denseshift-kws ./d --json")
)
def verify(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Zoo name, Hub id or package folder of the base.")],
    delta: Which,
    allow_unsigned: Annotated[
        bool, typer.Option("--allow-unsigned", help="Accept packages without a trusted signature.")
    ] = False,
    json: Json = False,
) -> None:
    """Check signature, hashes and format of a delta, and that it belongs to this base."""
    from edgeq import deltas, hub
    from edgeq._errors import IntegrityError

    package = hub.pull(model, allow_unsigned=allow_unsigned)
    found = deltas.find(package.manifest.name, delta, allow_unsigned=allow_unsigned)
    base = package.manifest.files["model.safetensors"].sha256
    if found.facts["base_sha256"] != base:
        raise IntegrityError(f"delta {found.id}: its base is {found.facts['base_sha256'][:12]}..., not {base[:12]}...")
    _say(found, f"delta {found.id}: sound, {found.signed_by or 'NOT SIGNED'}, base {base[:12]}...", json=json)


@app.command(epilog=examples("edgeq delta export denseshift-kws 3fa9c2 -o my-delta --key me"))
def export(
    model: Name,
    delta: Which,
    output: Annotated[Path, typer.Option("--output", "-o", help="The package folder; new or empty.")],
    key: Key = None,
    json: Json = False,
) -> None:
    """Copy a delta for another device of the same base, signed anew with --key."""
    from edgeq import deltas, keys

    made = deltas.export(deltas.find(model, delta), output, keys.load_named(key))
    _say(made, f"{made.path}: delta {made.id}, {made.signed_by or 'NOT SIGNED'}", json=json)


def _say(delta: DeltaFile, text: str, *, json: bool) -> None:
    if json:
        print_json(_document(delta))
    else:
        print(text)


def _document(delta: DeltaFile) -> dict[str, Any]:
    return {
        "id": delta.id,
        "path": str(delta.path),
        "size_bytes": delta.size_bytes,
        "signed_by": delta.signed_by,
        "created": delta.created.isoformat(),
        "active": delta.active,
        **delta.facts,
    }


def _row(delta: DeltaFile) -> tuple[str, ...]:
    facts = delta.facts
    return (
        delta.id,
        delta.model,
        str(facts["method"]),
        *(_judged(facts.get(which), facts.get("measure", "right")) for which in ("base", "tuned")),
        size(delta.size_bytes),
        f"{delta.created:%Y-%m-%d %H:%M}",
        delta.signed_by or "NOT SIGNED",
        "yes" if delta.active else "",
    )


def _judged(score: object, measure: object) -> str:
    metric = score.get("metric") if isinstance(score, dict) else None
    if not isinstance(metric, float):
        return "-"
    if measure in ("cost", "score"):
        return f"{measure} {0.0 - metric:.3f}"
    return f"{100 * metric:.1f} %" if metric >= 0 else "-"
