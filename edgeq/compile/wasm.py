"""The micro runtime as WebAssembly: the modules that the JavaScript package carries, built with clang and wasm-ld."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from edgeq import _paths
from edgeq._errors import CompileError, StoreError, UnsupportedError

MODULES = {"edgeq-simd.wasm": ("-msimd128",), "edgeq.wasm": ()}  # with and without vector instructions
_PACKAGE = ("index.js", "index.d.ts", "package.json", "README.md")
_FLAGS = (
    *("--target=wasm32", "-std=c11", "-ffreestanding", "-ffp-contract=off", "-fvisibility=hidden", "-mbulk-memory"),
    *("-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Wdouble-promotion", "-Werror"),
)
_SMALL, _FAST = "-Oz", "-O2"  # kernels are fast, the rest is small
# The stack lies first: to overflow it leads out of memory, which traps, and not into the program.
_LINK = (
    *("--target=wasm32", "-nostdlib", "-Wl,--no-entry", "-Wl,--gc-sections", "-Wl,--strip-all"),
    *("-Wl,--stack-first", "-Wl,-z,stack-size=65536"),
)


def package() -> dict[str, bytes]:
    """The JavaScript package, file by file, with its modules; raises as `modules`."""
    folder = _paths.runtime() / "ports/wasm/js"
    return {name: (folder / name).read_bytes() for name in _PACKAGE} | modules()


def modules() -> dict[str, bytes]:
    """The files of MODULES, from the cache or made now.

    raises  UnsupportedError without clang or wasm-ld, CompileError with clang's first words, StoreError when nothing
            can be kept
    """
    clang = _tool("clang", "clang")
    _tool("wasm-ld", "lld")
    folder = _paths.writable_home() / "wasm" / _digest(clang)
    try:
        if not folder.is_dir():
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder.parent) as made:
                for name, flags in MODULES.items():
                    _build(clang, flags, Path(made), name)
                _keep(Path(made), folder)
        return {name: (folder / name).read_bytes() for name in MODULES}
    except OSError as error:
        raise StoreError(f"{folder} cannot be written: {error.strerror}") from error


def _sources() -> tuple[list[Path], list[Path]]:
    """What is compiled small, and what fast."""
    runtime = _paths.runtime()
    micro = sorted(file for file in (runtime / "micro").glob("*.c") if not file.name.startswith("fuzz"))
    core = [runtime / "core" / f"{name}.c" for name in ("check", "shape")]
    return [runtime / "ports/wasm/module.c", *micro, *core], sorted((runtime / "kernels/mcu").glob("*.c"))


def _digest(clang: str) -> str:
    version = subprocess.run([clang, "--version"], capture_output=True, text=True).stdout
    digest = hashlib.sha256("\0".join((version, *_FLAGS, _SMALL, _FAST, *_LINK, *map(str, MODULES.items()))).encode())
    small, fast = _sources()
    for file in (*small, *fast, *sorted(_paths.runtime().rglob("*.h"))):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:32]


def _build(clang: str, flags: Sequence[str], folder: Path, name: str) -> None:
    runtime, objects = _paths.runtime(), []
    for level, sources in zip((_SMALL, _FAST), _sources(), strict=True):
        into = folder / f"{name}{level}"
        into.mkdir()
        include = (f"-I{runtime}", f"-I{runtime / 'include'}")
        _run([clang, *_FLAGS, *flags, level, *include, "-c", *map(str, sources)], into)
        objects += sorted(map(str, into.glob("*.o")))
    _run([clang, *_LINK, *objects, "-o", str(folder / name)], folder)


def _keep(made: Path, folder: Path) -> None:
    """In one step; who comes second finds the same."""
    whole = made / "whole"
    whole.mkdir()
    for name in MODULES:
        os.replace(made / name, whole / name)
    try:
        os.rename(whole, folder)
    except OSError:
        if not folder.is_dir():
            raise


def _tool(name: str, debian: str) -> str:
    if (path := shutil.which(name)) is None:
        raise UnsupportedError(f"{name}, which makes WebAssembly, is not installed: apt-get install {debian}")
    return path


def _run(words: list[str], folder: Path) -> None:
    done = subprocess.run(words, capture_output=True, text=True, cwd=folder)
    if done.returncode:
        lines = done.stderr.splitlines() or ["it says nothing"]
        why = next((line for line in lines if "error:" in line), lines[0])
        raise CompileError(f"the WebAssembly module cannot be built: {why.strip()}")
