"""`edgeq compile`: package to artefact."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from edgeq.cli._options import DEFAULT_TARGET, AllowUnsigned, Json, Model, Target, examples
from edgeq.cli._output import Progress, print_json, remark, size

EPILOG = examples(
    "edgeq compile pokebnn-fashion",
    "edgeq compile ./my-package --target executorch -o net.pte",
    "edgeq compile pokebnn-fashion --target micro:nrf52840",
    "edgeq compile pokebnn-fashion --target litert -o net.tflite",
    "edgeq compile denseshift-kws --tunable head,scales,taps -o kws.pte",
)


def command(
    model: Model,
    target: Target = DEFAULT_TARGET,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Copy the artefact there.")] = None,
    tunable: Annotated[
        str | None,
        typer.Option("--tunable", metavar="PARTS", help="With forward_tune: head,scales,taps,latents:LAYERS, or all."),
    ] = None,
    stock: Annotated[bool, typer.Option("--stock", help="For litert: no custom operators.")] = False,
    allow_unsigned: AllowUnsigned = False,
    json: Json = False,
) -> None:
    """Compile a package for a target, or take the result from the cache."""
    from edgeq import hub
    from edgeq.compile import build
    from edgeq.compile.tunable_artefact import HEAD_SUFFIX, build_tunable, describe

    told = ""
    with Progress() as progress:
        package = hub.pull(model, allow_unsigned=allow_unsigned, progress=progress)
        if tunable is None:
            artefact = build(package, f"{target}:stock" if stock else target, progress=progress)
        else:
            parts = "" if tunable == "all" else tunable
            artefact, tuning = build_tunable(package, parts, target=target, progress=progress)
            told = describe(tuning)
    remark(package.note)
    path = artefact.path if output is None else Path(shutil.copyfile(artefact.path, output))
    if output is not None and tunable is not None:  # what forward_tune cannot be used without
        for suffix in (HEAD_SUFFIX, ".json"):
            shutil.copyfile(artefact.path.with_suffix(suffix), output.with_suffix(suffix))
    if json:
        print_json(
            {
                "model": artefact.model_name,
                "target": artefact.target,
                "path": str(path),
                "size_bytes": artefact.size_bytes,
                "artefact_sha256": artefact.sha256,
                "manifest": artefact.manifest,
            }
        )
    else:
        print(f"{path}  {size(artefact.size_bytes)}  sha256 {artefact.sha256}")
        if told:
            print(told)
        if memory := artefact.manifest.get("micro"):
            print(micro_memory(memory))


def micro_memory(need: Mapping[str, Any]) -> str:
    """Flash and RAM of a micro program, bytes; the arena beside the least that any plan could take."""
    arena, floor = need["arena_bytes"][0] if need["arena_bytes"] else 0, need["floor_bytes"]
    more = f", {100 * (arena / floor - 1):.1f} % above the lifetime bound of {floor}" if floor else ""
    return (
        f"flash {need['program_bytes']} B ({need['weight_bytes']} of weights)\n"
        f"RAM   {need['ram_bytes']} B: arena {sum(need['arena_bytes'])}{more}; "
        f"workspace {need['workspace_bytes']}; scratch {need['scratch_bytes']}"
    )
