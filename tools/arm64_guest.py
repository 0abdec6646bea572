"""Makes a small arm64 Linux for `device_tests/ssh/test_guest.py`: `python tools/arm64_guest.py [-o .cache/guest]`.

Debian's arm64 kernel, busybox and the dropbear SSH server, 65 MB, fetched by apt through a state of its own (the
system's stays as it is), become `vmlinuz`, `initramfs.gz` and `key` (the client's). No root is needed.
"""

from __future__ import annotations

import argparse
import gzip
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import BinaryIO

ROOT = Path(__file__).parents[1]
PACKAGES = ("busybox-static", "dropbear-bin", "libc6", "libcrypt1", "libgmp10", "libtomcrypt1", "libtommath1", "zlib1g")
MODULES = ("failover", "net_failover", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci", "virtio_net")
FOLDERS = (
    "bin",
    "sbin",
    "dev/pts",
    "proc",
    "sys",
    "tmp",
    "modules",
    "root/.ssh",
    "etc/dropbear",
    "usr/bin",
    "usr/sbin",
)
INIT = f"""#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin:/sbin:/usr/bin:/usr/sbin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev; mkdir -p /dev/pts
mount -t devpts pts /dev/pts; mount -t tmpfs -o size=300m tmp /tmp
for module in {" ".join(MODULES)}; do [ -f /modules/$module.ko ] && insmod /modules/$module.ko; done
ip link set lo up; ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0; ip route add default via 10.0.2.2
dropbear -R -s -E -p 22 && echo GUEST-READY
while :; do sleep 60; done
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, default=ROOT / ".cache" / "guest")
    out = parser.parse_args().out.absolute()
    for tool in ("apt-get", "dpkg-deb", "ssh-keygen"):
        if shutil.which(tool) is None:
            sys.exit(f"{tool} is not installed: this needs a Debian with openssh-client")
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out) as scratch:
        folder = Path(scratch)
        kernel, system = unpack(fetch(folder), folder)
        shutil.copy(next((kernel / "boot").glob("vmlinuz-*")), out / "vmlinuz")
        tree = folder / "tree"
        fill(tree, kernel, system, out)
        with gzip.open(folder / "initramfs.gz", "wb", 6) as archive:
            write_cpio(tree, archive)
        os.replace(folder / "initramfs.gz", out / "initramfs.gz")
    print(f"{out}: vmlinuz, initramfs.gz, key")


def fetch(folder: Path) -> list[Path]:
    """The packages, by a private apt."""
    for name in ("state/lists/partial", "cache/archives/partial", "debs"):
        (folder / name).mkdir(parents=True)
    (folder / "status").touch()
    (folder / "apt.conf").write_text(
        f'Dir::State "{folder}/state"; Dir::State::status "{folder}/status"; Dir::Cache "{folder}/cache";\n'
        'APT::Architecture "arm64"; APT::Architectures {"arm64";}; Acquire::Languages "none";\n'
        'APT::Sandbox::User "root";\n'
    )
    settings = {**os.environ, "APT_CONFIG": str(folder / "apt.conf")}
    told = {}
    for words in (("apt-get", "-q", "update"), ("apt-cache", "depends", "linux-image-arm64")):
        told[words[1]] = subprocess.run(words, env=settings, check=True, capture_output=True, text=True).stdout
    kernel = re.search(r"Depends: (linux-image-\d\S*-arm64)$", told["depends"], re.MULTILINE)
    if kernel is None:
        sys.exit("apt knows no kernel for arm64")
    subprocess.run(["apt-get", "-q", "download", kernel[1], *PACKAGES], env=settings, cwd=folder / "debs", check=True)
    return sorted((folder / "debs").glob("*.deb"))


def unpack(debs: list[Path], folder: Path) -> tuple[Path, Path]:
    """Folders of the kernel's files and of all others."""
    for deb in debs:
        where = folder / ("kernel" if deb.name.startswith("linux-image") else "system")
        subprocess.run(["dpkg-deb", "-x", str(deb), str(where)], check=True)
    return folder / "kernel", folder / "system"


def fill(tree: Path, kernel: Path, system: Path, out: Path) -> None:
    """The guest's first file system."""
    for name in FOLDERS:
        (tree / name).mkdir(parents=True)
    shutil.copytree(system / "lib", tree / "lib", symlinks=True)
    shutil.copytree(system / "usr/lib", tree / "usr/lib", symlinks=True, ignore=shutil.ignore_patterns("gconv", "*.ko"))
    busybox = next(path for path in (system / "bin/busybox", system / "usr/bin/busybox") if path.is_file())
    shutil.copy(busybox, tree / "bin/busybox")
    (tree / "bin/sh").symlink_to("busybox")
    shutil.copy(system / "usr/sbin/dropbear", tree / "usr/sbin/dropbear")
    for module in MODULES:
        for path in kernel.rglob(f"{module}.ko"):  # what is built in has no file
            shutil.copy(path, tree / "modules")
    if not (out / "key").exists():
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(out / "key")], check=True)
    shutil.copy(out / "key.pub", tree / "root/.ssh/authorized_keys")
    for path, mode in (("root", 0o700), ("root/.ssh", 0o700), ("root/.ssh/authorized_keys", 0o600)):
        (tree / path).chmod(mode)
    (tree / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (tree / "etc/group").write_text("root:x:0:\n")
    (tree / "etc/shells").write_text("/bin/sh\n")
    (tree / "init").write_text(INIT)
    (tree / "init").chmod(0o755)


def write_cpio(tree: Path, archive: BinaryIO | gzip.GzipFile) -> None:
    """The "newc" format that the kernel reads, and a console in it."""
    paths = sorted(tree.rglob("*"))
    for number, path in enumerate(paths, 1):
        mode = path.lstat().st_mode
        data = os.readlink(path).encode() if stat.S_ISLNK(mode) else path.read_bytes() if stat.S_ISREG(mode) else b""
        add(archive, number, str(path.relative_to(tree)), mode, data)
    add(archive, len(paths) + 1, "dev/console", stat.S_IFCHR | 0o600, b"", (5, 1))
    add(archive, 0, "TRAILER!!!", 0, b"")


def add(
    archive: BinaryIO | gzip.GzipFile, number: int, name: str, mode: int, data: bytes, device: tuple[int, int] = (0, 0)
) -> None:
    raw = name.encode() + b"\0"
    head = b"070701" + b"".join(
        b"%08x" % field for field in (number, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(raw), 0)
    )
    for part in (head + raw, data):
        archive.write(part + bytes(-len(part) % 4))


if __name__ == "__main__":
    main()
