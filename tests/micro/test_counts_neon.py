"""Instructions of NEON's inner loops on an emulated 64-bit Arm, compared with counts.json as those of Cortex-M are.

The emulator knows no cycles. 16 instructions make a tick (62.5 MHz, -icount shift=0).
"""

import shutil
import subprocess

import pytest
from micro_build import RUNTIME
from test_counts import HERE, compare

GCC, EMULATOR = "aarch64-linux-gnu-gcc", "qemu-system-aarch64"
MARCH = {"neon": (), "neon_dotprod": ("-march=armv8.2-a+dotprod",), "neon_i8mm": ("-march=armv8.2-a+dotprod+i8mm",)}
PER_TICK = 16
MISSING = [tool for tool in (GCC, EMULATOR) if not shutil.which(tool)]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"NEON is not counted here: no {', '.join(MISSING)}")


def counted(folder) -> dict[str, int]:
    """Instructions of one round of each part of board/bench_neon.c, compiled as runtime/CMakeLists.txt does."""
    common = ["-std=c11", "-O3", "-ffreestanding", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
    common += [f"-I{RUNTIME}", f"-I{RUNTIME / 'include'}", f"-I{HERE / 'board'}", "-fno-pie", "-fno-stack-protector"]
    sources = [(RUNTIME / f"kernels/{name}/integer.c", flags) for name, flags in MARCH.items()]
    sources += [(RUNTIME / f"kernels/{name}/conv2d_b1b1.c", MARCH[name]) for name in ("neon", "neon_dotprod")]
    sources.append((HERE / "board/bench_neon.c", ("-DEQ_NAME(x)=x##_neon",)))
    sources.append((HERE / "board/start_aarch64.c", ("-mgeneral-regs-only",)))
    objects = [folder / f"{i}.o" for i in range(len(sources))]
    for (source, flags), made in zip(sources, objects, strict=True):
        subprocess.run([GCC, *common, *flags, "-c", source, "-o", made], check=True)
    place = {"flash_at": 0x40100000, "flash_bytes": 1 << 20, "ram_at": 0x40200000, "ram_bytes": 1 << 22}
    link = ["-nostdlib", "-static", "-no-pie", "-T", HERE / "board/link.ld", "-Wl,--gc-sections"]
    link += ["-Wl,--build-id=none,--no-warn-rwx-segments,--unresolved-symbols=ignore-all"]  # kernels of the tables
    link += [f"-Wl,--defsym={name}={value}" for name, value in place.items()]
    subprocess.run([GCC, *objects, *link, "-o", folder / "program.elf"], check=True)
    run = [EMULATOR, "-M", "virt", "-cpu", "max", "-kernel", folder / "program.elf", "-display", "none", "-nic", "none"]
    run += ["-monitor", "none", "-serial", "none", "-icount", "shift=0"]
    run += ["-semihosting-config", "enable=on,target=native"]
    ran = subprocess.run(list(map(str, run)), capture_output=True, text=True, timeout=120)
    said = ran.stdout + ran.stderr
    assert ran.returncode == 0, said
    words = [line.split() for line in said.splitlines() if line]
    return {name: round(PER_TICK * int(ticks) / int(rounds)) for name, ticks, rounds in words}


def test_neon(tmp_path):
    """The program itself compares the results with plain loops. NAME_ROWS: a 256 x 256 matrix and so many rows."""
    now = counted(tmp_path)
    print("\n" + ", ".join(f"{name} {count}" for name, count in now.items()))
    for rows in (1, 4, 24):
        assert now[f"i8i8_dotprod_{rows}"] >= 3.7 * now[f"b1b1_dotprod_{rows}"]
    assert now["i8i8_neon_1"] >= 6 * now["b1b1_neon_1"]
    assert now["i8i8_dotprod_24"] >= 1.25 * now["i8i8_i8mm_24"]
    compare("aarch64", now, GCC)
