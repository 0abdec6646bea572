"""A machine with a shell as a device: what it is, the runtime on it, and the agent at the end of a pipe.

Everything of ours lies in one folder there: `runtime/<hash>/` with the agent and its libraries, `store/` with programs,
`litert/<hash>/` with what a `.tflite` needs once one was to run. A runtime arrives in a hidden folder, which gets its
name when every SHA-256 is right. So a transfer that breaks off leaves nothing that looks whole, and the next one sends
what is missing.
"""

from __future__ import annotations

import re
import shlex
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edgeq._errors import DeviceError, UnsupportedError, UsageError

from ._shell import Reply, Shell, last_line
from .program import KERNELS, AgentProgram
from .records import Condition
from .runtime import AGENT, LITERT_LIBRARY, OPERATORS, Progress, Runtime, litert_for, runtime_for, sha256_of
from .stream import FdStream

_SLOW_S = 600.0  # a large file over a slow line
_CPU = "/sys/devices/system/cpu"

# One line per fact; what is not there stays empty.
_EXAMINE = f"""
echo "arch=$(uname -m)"; echo "system=$(uname -sr)"; echo "home=$HOME"; echo "cache=$XDG_CACHE_HOME"
echo "model=$(cat /proc/device-tree/model 2>/dev/null | tr -d '\\000')"
echo "android=$(getprop ro.build.version.release 2>/dev/null)"
echo "phone=$(getprop ro.product.manufacturer 2>/dev/null) $(getprop ro.product.model 2>/dev/null)"
echo "libc=$( (ldd --version 2>&1 || true) | head -n 1)"
echo "memory=$(grep MemTotal /proc/meminfo 2>/dev/null | tr -dc 0-9)"
echo "features=$(grep -m 1 -E '^(Features|flags)' /proc/cpuinfo 2>/dev/null | cut -d : -f 2)"
echo "governor=$(cat {_CPU}/cpu0/cpufreq/scaling_governor 2>/dev/null)"
echo "fastest=$(cat {_CPU}/cpu*/cpufreq/cpuinfo_max_freq 2>/dev/null | tr '\\n' ' ')"
echo "zones=$(cat /sys/class/thermal/thermal_zone*/type 2>/dev/null | tr '\\n' ' ')"
"""

_CONDITION = f"""
echo "zones=$(cat /sys/class/thermal/thermal_zone*/temp 2>/dev/null | tr '\\n' ' ')"
echo "clocks=$(cat {_CPU}/cpu*/cpufreq/scaling_cur_freq 2>/dev/null | tr '\\n' ' ')"
echo "governor=$(cat {_CPU}/cpu0/cpufreq/scaling_governor 2>/dev/null)"
if command -v dumpsys >/dev/null 2>&1; then dumpsys battery 2>/dev/null | sed -n 's/^ *\\([a-z]*\\): /battery.\\1=/p'
else for b in /sys/class/power_supply/*; do [ "$(cat $b/type 2>/dev/null)" = Battery ] || continue
echo "battery.level=$(cat $b/capacity 2>/dev/null)"; echo "battery.temperature=$(cat $b/temp 2>/dev/null)"
echo "battery.charge=$(cat $b/status 2>/dev/null)"; break; done; fi
"""
_CHARGING = {"2", "5", "Charging", "Full"}  # numbers: BatteryManager's


@dataclass(frozen=True)
class Facts:
    """What a machine tells of itself; empty or 0: it does not.

    arch       as `uname -m` says it
    features   of the processor, as the kernel names them
    max_hz     of each core
    """

    arch: str
    system: str
    name: str
    libc: str
    android: str
    memory_bytes: int
    features: tuple[str, ...]
    governor: str
    zones: tuple[str, ...]
    max_hz: tuple[int, ...]
    cache: str  # folder for what may be deleted

    @property
    def fast_cores(self) -> tuple[int, ...]:
        """Cores of the fastest kind, where there are several kinds and the kernel tells."""
        top = max(self.max_hz, default=0)
        cores = tuple(i for i, hz in enumerate(self.max_hz) if hz == top)
        return cores if len(cores) < len(self.max_hz) else ()


@dataclass(frozen=True)
class Options:
    """How the agent is started.

    runner   command in front of it (`qemu-aarch64`); arch: which machine that is, where `uname` means another one
    cores    that it may use, like "4-7"; "": all, or on a phone the fastest ones
    isa      instead of the best instruction set
    """

    threads: int = 1
    runner: str = ""
    arch: str = ""
    cores: str = ""
    isa: str = ""

    @classmethod
    def of(cls, url: str, query: Mapping[str, list[str]]) -> Options:
        """From a URL's query; raises UsageError for what it does not know."""
        known = set(cls.__dataclass_fields__)
        if unknown := sorted(set(query) - known):
            raise UsageError(f'{url}: no option "{unknown[0]}"; there are: {", ".join(sorted(known))}')
        given = {key: values[-1] for key, values in query.items()}
        threads = given.pop("threads", "1")
        if not (threads.isascii() and threads.isdecimal() and 1 <= int(threads) <= 256):
            raise UsageError(f'{url}: threads is a number from 1 to 256, got "{threads}"')
        if not re.fullmatch(r"(\d+(-\d+)?(,\d+(-\d+)?)*)?", given.get("cores", "")):
            raise UsageError(f'{url}: cores are numbers like 4-7 or 0,2, got "{given["cores"]}"')
        return cls(int(threads), **given)


def examine(shell: Shell) -> Facts:
    """Ask a machine what it is."""
    told = _ask(shell, _EXAMINE)
    android = told["android"]
    name = " ".join(dict.fromkeys(told["phone"].split())) if android else told["model"]
    return Facts(
        arch=told["arch"],
        system=f"Android {android}" if android else told["system"],
        name=name,
        libc="bionic" if android else told["libc"],
        android=android,
        memory_bytes=(_number(told["memory"]) or 0) * 1024,
        features=tuple(told["features"].split()),
        governor=told["governor"],
        zones=tuple(told["zones"].split()),
        max_hz=tuple(1000 * khz for khz in _numbers(told["fastest"])),
        cache=told["cache"] or (f"{told['home']}/.cache" if told["home"] else "/tmp"),
    )


def condition(shell: Shell) -> Condition:
    """Temperature, clock and battery now."""
    told = _ask(shell, _CONDITION)
    zones = [milli / 1000 for milli in _numbers(told["zones"])]
    clocks = [khz * 1000 for khz in _numbers(told["clocks"])]
    tenths = _number(told.get("battery.temperature", ""))
    battery_c = None if tenths is None else tenths / 10
    state = told.get("battery.charge") or told.get("battery.status") or ""
    return Condition(
        temperature_c=battery_c if battery_c is not None else max(zones, default=None),
        frequency_hz=max(clocks, default=None),
        governor=told["governor"],
        zones_c=tuple(zones),
        battery_percent=_number(told.get("battery.level", "")),
        charging=state in _CHARGING if state else None,
    )


def install(
    shell: Shell, runtime: Runtime, root: str, progress: Progress = lambda stage: None, *, shelf: str = "runtime"
) -> str:
    """Put a runtime on a machine unless it is there; its folder.

    shelf   where such runtimes lie; only the newest is kept
    raises  DeviceError with the machine's own words when there is no room or nothing may be written
    """
    main = next(iter(runtime.files))
    folder, beside = f"{root}/{shelf}/{runtime.name}", f"{root}/{shelf}/.{runtime.name}"
    look = f"if test -x {_q(folder)}/{_q(main)}; then echo whole; exit; fi; command -v sha256sum >/dev/null || exit 9"
    held = _must(
        shell, f"{look}; mkdir -p {_q(beside)} && cd {_q(beside)} && {{ sha256sum ./* 2>/dev/null; true; }}", root
    )
    if held == "whole":
        return folder
    wanted = {f"{sha256_of(path)}  ./{name}": (name, path) for name, path in runtime.files.items()}
    missing = dict(pair for line, pair in wanted.items() if line not in held.splitlines())
    progress(f"sending {main}, {sum(path.stat().st_size for path in missing.values()) / 1e6:.0f} MB, once")
    if missing:
        try:
            shell.put(missing, beside)
        except DeviceError:
            _try(shell, f"rm -rf {_q(beside)}")  # a full disk should not stay full; a lost connection leaves it
            raise
    arrived = _must(shell, f"cd {_q(beside)} && sha256sum ./*", root).splitlines()
    if altered := [name for line, (name, _) in wanted.items() if line not in arrived]:
        raise DeviceError(f"{shell.name}: {altered[0]} arrived altered; try again")
    every, keep = f"{_q(root)}/{shelf}/* {_q(root)}/{shelf}/.[!.]*", f'[ "$old" = {_q(folder)} ]'
    publish = f"cd {_q(beside)} && chmod 755 ./* && sync; cd / && mv {_q(beside)} {_q(folder)}"
    _must(shell, f'{publish} && for old in {every}; do {keep} || rm -rf "$old"; done', root)
    return folder


def start(
    shell: Shell, options: Options, root: str = "", progress: Progress = lambda stage: None, target: str = ""
) -> tuple[FdStream, Facts]:
    """Examine, install, start the agent.

    root    folder of ours on the machine; "": the usual one there
    target  "litert": with what a `.tflite` needs
    """
    facts, runtime, root, folder = _installed(shell, options, root, progress)
    beside = ""
    if target == "litert":
        with _told(shell):
            litert = litert_for(options.arch or facts.arch, progress)
        beside = install(shell, litert, root, progress, shelf="litert")
    command = _command(folder, runtime, options, facts, root, beside)
    return shell.start(command, _arguments(root, options, facts, beside)), facts


def program(shell: Shell, options: Options, root: str = "", progress: Progress = lambda stage: None) -> AgentProgram:
    """Examine, install; the agent's program there, on the cores where the agent runs. Closing it closes the shell."""
    facts, runtime, root, folder = _installed(shell, options, root, progress)
    command = _command(folder, runtime, options, facts, root)

    def call(arguments: list[str], timeout_s: float) -> Reply:
        return shell.run(f"{command} {shlex.join(arguments)}", timeout_s=timeout_s)

    def keep(table: str) -> str:
        with tempfile.TemporaryDirectory(prefix="edgeq-") as stage:
            (Path(stage) / KERNELS).write_text(table)
            shell.put({f".{KERNELS}": Path(stage) / KERNELS}, root)
        _must(shell, f"cd {_q(root)} && mv .{KERNELS} {KERNELS}", root)
        return f"{root}/{KERNELS}"

    return AgentProgram(shell.name, call, keep, shell.close)


def _installed(shell: Shell, options: Options, root: str, progress: Progress) -> tuple[Facts, Runtime, str, str]:
    """What the machine is, the runtime for it, our folder there, and the runtime's."""
    facts = examine(shell)
    with _told(shell):
        runtime = runtime_for(options.arch or facts.arch, progress)
    root = root or f"{facts.cache}/edgeq"
    return facts, runtime, root, install(shell, runtime, root, progress)


@contextmanager
def _told(shell: Shell) -> Iterator[None]:
    """UnsupportedError with the machine's name."""
    try:
        yield
    except UnsupportedError as error:
        raise UnsupportedError(f"{shell.name}: {error}") from error


def clean(shell: Shell, root: str = "") -> str:
    """Remove everything of ours from a machine; the folder that was removed."""
    root = root or f"{examine(shell).cache}/edgeq"
    _must(shell, f"rm -rf {_q(root)}", root)
    return root


def _command(folder: str, runtime: Runtime, options: Options, facts: Facts, root: str, litert: str = "") -> str:
    words = [f"{folder}/{runtime.loader}", "--library-path", folder, f"{folder}/{AGENT}"]
    cores = options.cores or (",".join(map(str, facts.fast_cores)) if facts.android else "")
    settings = [f"EDGEQ_KERNELS={root}/{KERNELS}"]
    settings += [f"EDGEQ_ISA={options.isa}"] if options.isa else []
    settings += [f"EDGEQ_LITERT={litert}/{OPERATORS}"] if litert else []
    pin = ["--cores", cores] if cores else []
    return shlex.join(["env", *settings, *shlex.split(options.runner), *words, *pin])


def _arguments(root: str, options: Options, facts: Facts, litert: str = "") -> str:
    words = ["--store", f"{root}/store", "--threads", str(options.threads)]
    words += ["--litert", f"{litert}/{LITERT_LIBRARY}"] if litert else []
    if facts.android:
        words += ["--kind", "phone"]
    if facts.name:
        words += ["--name", facts.name[:64]]
    return shlex.join(words)


def _ask(shell: Shell, script: str) -> dict[str, str]:
    reply = shell.run(script)
    told = dict(line.split("=", 1) for line in reply.out.splitlines() if "=" in line)
    wanted = set(re.findall(r'echo "(\w+)=', script))
    if missing := sorted(wanted - set(told)):
        raise DeviceError(f"{shell.name}: no POSIX shell there ({missing[0]} is not told): {last_line(reply.err)}")
    return {key: " ".join(value.split()) for key, value in told.items()}


def _must(shell: Shell, command: str, root: str) -> str:
    """The output of a command that has to succeed."""
    reply = shell.run(command, timeout_s=_SLOW_S)
    if reply.code == 9:
        raise UnsupportedError(f"{shell.name}: there is no sha256sum, which checks what is sent")
    if reply.code:
        raise DeviceError(f"{shell.name}: {root}: {last_line(reply.err) or last_line(reply.out) or 'refused'}")
    return reply.out


def _try(shell: Shell, command: str) -> None:
    try:
        shell.run(command)
    except DeviceError:
        return


def _number(text: str) -> int | None:
    """A whole number of twelve digits at most, as a device wrote it; None for anything else."""
    return int(text) if re.fullmatch(r"-?[0-9]{1,12}", text) else None


def _numbers(text: str) -> list[int]:
    return [number for word in text.split() if (number := _number(word)) is not None]


def _q(text: str) -> str:
    return shlex.quote(text)
