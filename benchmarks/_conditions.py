"""What a figure needs beside it: processor, instruction sets of both sides, versions."""

from __future__ import annotations

import os
import platform
import sys
from functools import cache
from importlib import metadata
from pathlib import Path

_LIBRARIES = (
    "edgeq",
    "torch",
    "executorch",
    "onnxruntime",
    "onnx",
    "numpy",
    "ai-edge-litert",
    "ggml-py",
    "openvino",
    "ncnn",
)
_ISA_FLAGS = (
    "avx2",
    "avx_vnni",
    "avx512f",
    "avx512_vnni",
    "avx512_vpopcntdq",
    "amx_tile",
    "amx_int8",
    "asimd",
    "asimddp",
    "i8mm",
)


@cache
def conditions() -> dict[str, object]:
    """The machine and the software; the same for all rows of a process."""
    flags = cpu_flags()
    return {
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "cpu_flags": [flag for flag in _ISA_FLAGS if flag in flags],
        "amx": amx(),
        "os": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: version for name in _LIBRARIES if (version := _version(name))},
        "peer_isa": {
            "torch": _torch_isa(),
            "torch int8": _int8_isa(),
            "onnxruntime": _int8_isa(),
            "executorch (XNNPACK)": "chosen at run time from cpu_flags",
        },
    }


def cpu_flags() -> frozenset[str]:
    for line in _cpuinfo():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return frozenset(value.split())
    return frozenset()


def cpu_name() -> str:
    """Model, with family and model number where the name says too little (virtual machines)."""
    facts: dict[str, str] = {}
    for line in _cpuinfo():
        name, _, value = line.partition(":")
        facts.setdefault(name.strip(), value.strip())
    name = facts.get("model name") or platform.processor() or platform.machine()
    numbers = [facts.get(key) for key in ("cpu family", "model", "stepping")]
    return f"{name} (family {numbers[0]}, model {numbers[1]}, stepping {numbers[2]})" if all(numbers) else name


def amx() -> str:
    """not present, denied (by --no-amx) or available."""
    if "amx_tile" not in cpu_flags():
        return "not present"
    return "denied" if os.environ.get("ONEDNN_MAX_CPU_ISA") == "AVX512_CORE_VNNI" else "available"


def _int8_isa() -> str:
    flags = cpu_flags()
    best = (
        "AMX int8"
        if amx() == "available"
        else "AVX-512 VNNI"
        if "avx512_vnni" in flags
        else "AVX-VNNI"
        if "avx_vnni" in flags
        else "plain vectors"
    )
    return f"chosen at run time; the best int8 unit offered is {best}"


def _torch_isa() -> str | None:
    torch = sys.modules.get("torch")
    return str(torch.backends.cpu.get_cpu_capability()) if torch else None


def _cpuinfo() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
