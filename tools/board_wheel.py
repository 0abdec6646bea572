"""Builds the wheel for boards, which needs numpy only: `python tools/board_wheel.py [--arch aarch64] [-o build/board]`.

It holds the package `edgeq_runtime` and a libedgeq.so without libc, so it suits every Linux of the architecture.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import platform
import shutil
import sys
import tomllib
import zipfile
from pathlib import Path

from android import build

ROOT = Path(__file__).parents[1]
ABIS = {"aarch64": "arm64-v8a", "x86_64": "x86_64"}
NAME = "edgeq_runtime"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, default=ROOT / "build" / "board")
    parser.add_argument("--arch", choices=sorted(ABIS), default=platform.machine())
    chosen = parser.parse_args()
    for tool in ("cmake", "ninja", "readelf"):
        if shutil.which(tool) is None:
            sys.exit(f"{tool} is not installed: apt-get install binutils; pip install cmake ninja")
    chosen.out.mkdir(parents=True, exist_ok=True)
    library = build(ABIS[chosen.arch], chosen.out, "-DEDGEQ_JNI=OFF")
    print(pack(chosen.out, chosen.arch, library))


def pack(out: Path, arch: str, library: Path) -> Path:
    """The wheel (PEP 427)."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    # no symbol of any libc: the oldest tag there is for the architecture
    tags = [f"py3-none-manylinux_2_17_{arch}", f"py3-none-musllinux_1_1_{arch}"]
    platforms = ".".join(tag.rpartition("-")[2] for tag in tags)
    wheel = out / f"{NAME}-{version}-py3-none-{platforms}.whl"
    info = f"{NAME}-{version}.dist-info"
    metadata = (
        f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {version}\nRequires-Python: >=3.10\nRequires-Dist: numpy\n"
    )
    package = (ROOT / "runtime" / "ports" / "python" / NAME / "__init__.py").read_bytes()
    files = {
        f"{NAME}/__init__.py": package,
        f"{NAME}/libedgeq.so": library.read_bytes(),
        f"{info}/METADATA": f"{metadata}License: Apache-2.0\nSummary: Run compiled EdgeQ models\n".encode(),
        f"{info}/WHEEL": ("Wheel-Version: 1.0\nGenerator: edgeq\nRoot-Is-Purelib: false\n" + tag_lines(tags)).encode(),
    }
    record = "".join(f"{name},sha256={digest(data)},{len(data)}\n" for name, data in files.items())
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
        archive.writestr(f"{info}/RECORD", f"{record}{info}/RECORD,,\n")
    return wheel


def tag_lines(tags: list[str]) -> str:
    return "".join(f"Tag: {tag}\n" for tag in tags)


def digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


if __name__ == "__main__":
    main()
