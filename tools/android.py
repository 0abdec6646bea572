"""Builds the Android library without Google's NDK: `python tools/android.py [-o build/android]`, or `make android`.

For arm64-v8a and x86_64 (emulators) libedgeq.so stands alone: no libc, no undefined symbol, pages of 16 KB. With the
Java classes (level 11) it becomes edgeq.aar, which Android Studio takes as a file dependency; edgeq.jar and the classes
serve any JVM. Everything is checked with readelf and nm before it is packed.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
EMBED, JNI = ROOT / "runtime" / "ports" / "embed", ROOT / "runtime" / "ports" / "jni"
TOOLCHAIN = ROOT / "runtime" / "cmake" / "aarch64-linux-gnu.cmake"
ABIS = {"arm64-v8a": ("aarch64-linux-gnu-", [f"-DCMAKE_TOOLCHAIN_FILE={TOOLCHAIN}"]), "x86_64": ("", [])}
PAGE = 0x4000
JAVA = "11"
MANIFEST = """<?xml version="1.0" encoding="utf-8"?>
<manifest xmlns:android="http://schemas.android.com/apk/res/android" package="ai.edgeq">
  <uses-sdk android:minSdkVersion="21" />
</manifest>
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, default=ROOT / "build" / "android")
    parser.add_argument("--abi", action="append", choices=sorted(ABIS), help="only this one; may be repeated")
    chosen = parser.parse_args()
    for tool in ("cmake", "ninja", "javac", "jar", "readelf"):
        if shutil.which(tool) is None:
            sys.exit(
                f"{tool} is not installed: apt-get install openjdk-17-jdk-headless binutils; pip install cmake ninja"
            )
    chosen.out.mkdir(parents=True, exist_ok=True)
    libraries = {abi: build(abi, chosen.out) for abi in chosen.abi or ABIS}
    jar = compile_classes(chosen.out)
    archive = pack(chosen.out, jar, libraries)
    for path in (*libraries.values(), jar, archive):
        print(f"{path.stat().st_size:>9} B  {path}")


def build(abi: str, out: Path, *more: str) -> Path:
    """libedgeq.so for an ABI, checked; more: options for CMake."""
    prefix, options = ABIS[abi]
    if shutil.which(f"{prefix}gcc") is None:
        sys.exit(f"{prefix}gcc is not installed: apt-get install g++-aarch64-linux-gnu")
    folder = out / "cmake" / abi
    configure = ["cmake", "-S", str(EMBED), "-B", str(folder), "-G", "Ninja", *options]
    run([*configure, "-DCMAKE_BUILD_TYPE=Release", "-DEDGEQ_WITHOUT_LIBC=ON", *(more or ["-DEDGEQ_JNI=ON"])])
    run(["cmake", "--build", str(folder)])
    library = out / "jni" / abi / "libedgeq.so"
    library.parent.mkdir(parents=True, exist_ok=True)
    run([f"{prefix}strip", "--strip-unneeded", "-o", str(library), str(folder / "libedgeq.so")])
    if faults := check(library):
        sys.exit(f"{library}: {'; '.join(faults)}")
    return library


def check(library: Path) -> list[str]:
    """What would keep Android from loading it."""
    dynamic = told(["readelf", "-dW", str(library)])
    segments = re.findall(r"^\s+LOAD\s.*\s(0x[0-9a-f]+)$", told(["readelf", "-lW", str(library)]), re.MULTILINE)
    symbols = told(["readelf", "--dyn-syms", "-W", str(library)])
    faults = [f"needs {name}" for name in re.findall(r"\(NEEDED\).*\[(\S+)\]", dynamic)]
    faults += [f"undefined: {name}" for name in re.findall(r"\sUND +(\S+)", symbols)]
    faults += [f"a segment lies on {size}, not on {PAGE:#x}" for size in segments if int(size, 16) % PAGE]
    if not re.search(r"SONAME.*\[libedgeq\.so\]", dynamic):
        faults.append("it does not call itself libedgeq.so")
    return faults if segments else [*faults, "no segments"]


def compile_classes(out: Path) -> Path:
    """edgeq.jar."""
    classes = out / "classes"
    shutil.rmtree(classes, ignore_errors=True)
    sources = sorted(str(path) for path in (JNI / "ai").rglob("*.java"))
    run(["javac", "--release", JAVA, "-Xlint:all", "-Werror", "-d", str(classes), *sources])
    jar = out / "edgeq.jar"
    run(["jar", "--create", "--file", str(jar), "-C", str(classes), "ai"])
    return jar


def pack(out: Path, jar: Path, libraries: dict[str, Path]) -> Path:
    """edgeq.aar: a zip of manifest, classes and libraries."""
    archive = out / "edgeq.aar"
    with zipfile.ZipFile(archive, "w") as aar:
        aar.writestr("AndroidManifest.xml", MANIFEST)
        aar.writestr("R.txt", "")
        aar.write(jar, "classes.jar")
        for abi, library in sorted(libraries.items()):
            aar.write(library, f"jni/{abi}/libedgeq.so", zipfile.ZIP_DEFLATED)
    return archive


def run(words: list[str]) -> None:
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{words[0]} failed:\n{done.stdout}{done.stderr}")


def told(words: list[str]) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    main()
