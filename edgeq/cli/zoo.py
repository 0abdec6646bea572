"""`edgeq zoo`: the models that come with EdgeQ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from edgeq.cli._options import AllowUnsigned, Json, Model, examples
from edgeq.cli._output import plain, print_json, print_table, size

if TYPE_CHECKING:
    from edgeq.hub import ZooEntry

app = typer.Typer(help="The models that come with EdgeQ.", no_args_is_help=True)


@app.command(name="list", epilog=examples("edgeq zoo list", "edgeq zoo list --json"))
def list_(json: Json = False) -> None:
    """List the bundled models with size, accuracy and licence."""
    from edgeq import hub

    entries = hub.list_zoo()
    if json:
        print_json([_entry(entry) for entry in entries])
    else:
        head = ("name", "task", "bits", "download", "accuracy", "licence", "targets")
        print_table([_row(entry) for entry in entries], head=head)


@app.command(epilog=examples("edgeq zoo show pokebnn-fashion"))
def show(
    model: Model,
    allow_unsigned: AllowUnsigned = False,
    card: Annotated[bool, typer.Option("--card", help="Print the model card instead.")] = False,
    json: Json = False,
) -> None:
    """Show what a package says of its model: files, figures with their labels, signature."""
    from edgeq import hub

    package = hub.pull(model, allow_unsigned=allow_unsigned)
    manifest = package.manifest
    if card:
        print(plain(package.read("README.md").decode("utf-8", "replace")))
        return
    document = {
        "name": manifest.name,
        "version": manifest.version,
        "created": manifest.created.isoformat(),
        "licence": manifest.licence,
        "signed_by": package.signed_by,
        "source": package.source,
        "path": str(package.path),
        "files": {name: {"size": f.size, "sha256": f.sha256} for name, f in manifest.files.items()},
        "metrics": [dict(metric) for metric in manifest.metrics],
        "config": package.config(),
    }
    if json:
        print_json(document)
        return
    rows = [(key, str(document[key])) for key in ("name", "version", "created", "licence", "source", "path")]
    rows.append(("signed by", package.signed_by or "nobody that is trusted"))
    rows += [(name, size(entry.size)) for name, entry in manifest.files.items()]
    rows += [(str(m["name"]), _metric(m)) for m in manifest.metrics]
    print_table(rows)


def _entry(entry: ZooEntry) -> dict[str, object]:
    return {
        "name": entry.name,
        "version": entry.version,
        "task": entry.task,
        "scheme": entry.scheme,
        "size_bytes": entry.size_bytes,
        "accuracy": _share(entry.accuracy),
        "licence": entry.licence,
        "targets": list(entry.targets),
        "signed_by": entry.signed_by,
    }


def _row(entry: ZooEntry) -> tuple[str, ...]:
    share = _share(entry.accuracy)
    accuracy = "-" if share is None else f"{100 * share:.2f} %"
    targets = ", ".join(entry.targets)
    return (entry.name, entry.task, entry.scheme, size(entry.size_bytes), accuracy, entry.licence, targets)


def _share(metric: Mapping[str, object] | None) -> float | None:
    """An accuracy as a share, 0..1, whichever unit the manifest uses."""
    if metric is None or not isinstance(value := metric["value"], int | float):
        return None
    return value / 100 if metric["unit"] == "%" else float(value)


def _metric(metric: Mapping[str, object]) -> str:
    rest = ", ".join(f"{k} {v}" for k, v in metric.items() if k not in ("name", "value", "unit", "source"))
    return f"{metric['value']} {metric['unit']} ({metric['source']}{', ' if rest else ''}{rest})"
