"""A model as a web page: one file that runs it where it is opened; program and JavaScript package lie beside it."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeq import _paths
from edgeq._errors import StoreError, UnsupportedError

from . import micro, wasm

TASKS = ("image-classification", "audio-classification")
_SCRIPTS = ("js/index.js", "page/prepare.js", "page/page.js")  # one after the other they are the page's script


@dataclass(frozen=True)
class Export:
    """What was written: the folder, the files below it, and the memory that the model takes."""

    folder: Path
    files: tuple[str, ...]
    report: micro.Report


def export(pte: bytes, folder: Path, name: str, config: Mapping[str, Any], *, version: str = "0") -> Export:
    """Write a micro program as a page that opens from a disk or any server, and what a page of your own needs.

    pte      from `edgeq.compile.micro.lower`
    folder   made if it is missing; files of an earlier export are replaced
    config   of the package: task, labels, input, preprocessing
    raises   UnsupportedError for a task or input that the page does not know, or without clang and wasm-ld,
             CompileError when the program does not keep to the profile, StoreError when the folder cannot be written
    """
    model = _described(name, version, config)
    report = micro.report(pte)
    package = wasm.package()
    contents = {
        "index.html": _page(model, pte, package),
        f"{name}.pte": pte,
        **{f"edgeq/{file}": content for file, content in package.items()},
    }
    try:
        for path, content in contents.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
    except OSError as error:
        raise StoreError(f"{folder} cannot be written: {error.strerror}") from error
    return Export(folder, tuple(sorted(contents)), report)


def _described(name: str, version: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """What the page has to know of a model."""
    task, shape = config.get("task"), config.get("input", {}).get("shape", ())
    if task not in TASKS:
        raise UnsupportedError(f'{name}: no page for the task "{task}", only for {" and ".join(TASKS)}')
    if len(shape) != 3 or shape[2] not in (1, 3):
        raise UnsupportedError(f"{name}: the page gives pictures of 1 or 3 channels, the input is {list(shape)}")
    if task == "audio-classification" and config.get("features", {}).get("kind") != "log-mel":
        raise UnsupportedError(f"{name}: the page computes log-mel features, the model takes others")
    told = {key: config[key] for key in ("task", "labels", "preprocessing")}
    return {"name": name, "version": version, "input": list(shape), **told}


def _page(model: Mapping[str, Any], pte: bytes, package: Mapping[str, bytes]) -> bytes:
    port = _paths.runtime() / "ports/wasm"
    modules = {file: _base64(package[file]) for file in wasm.MODULES}
    data = json.dumps({**model, "pte": _base64(pte), "wasm": modules}).replace("<", "\\u003c")  # ends no element
    page = (port / "page/page.html").read_text(encoding="utf-8")
    scripts = "\n".join((port / file).read_text(encoding="utf-8") for file in _SCRIPTS)
    return page.replace("@SCRIPTS@", scripts).replace("@MODEL@", data).encode()


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
