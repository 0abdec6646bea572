"""What a later reader must know about the machine of a run: hardware, versions, temperature, frequency, load."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from importlib import metadata
from pathlib import Path

from edgeq.bench.latency import BUSY_SHARE, busy_share
from edgeq.device.records import Condition

PACKAGES = ("edgeq", "executorch", "torch", "numpy")
LOOK_S = 0.25  # how long the load is watched before a measurement


def facts(root: Path = Path("/")) -> dict[str, object]:
    """Facts for the store's `host` column; what cannot be read is left out."""
    found: dict[str, object | None] = {
        "system": platform.system(),
        "release": platform.release(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "cpu": cpu_model(root),
        "cpus": os.cpu_count(),
        "ram_bytes": ram_bytes(root),
        "governor": _read(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "loadavg": _read(root / "proc/loadavg"),
        **{f"{name}_version": version(name) for name in PACKAGES},
    }
    return {key: value for key, value in found.items() if value is not None}


def version(package: str) -> str | None:
    """The installed version, without importing the package."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def commit(folder: Path = Path(__file__).parents[2]) -> str:
    """Commit of the checkout that EdgeQ runs from, with "+" when it is changed; "" outside of a checkout."""
    if not (folder / ".git").exists():
        return ""
    try:
        head = _git(folder, "rev-parse", "HEAD")
        return head + ("+" if _git(folder, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return ""


def temperature_c(root: Path = Path("/")) -> float | None:
    """The warmest thermal zone, degrees Celsius; None where there is none."""
    zones = sorted((root / "sys/class/thermal").glob("thermal_zone*/temp"))
    warm = [milli / 1000 for zone in zones if (milli := _integer(zone)) is not None]
    return max(warm, default=None)


def condition(root: Path = Path("/")) -> Condition:
    """Temperature, clock and battery now."""
    supplies = sorted((root / "sys/class/power_supply").glob("*"))
    battery = next((folder for folder in supplies if _read(folder / "type") == "Battery"), None)
    return Condition(
        temperature_c(root),
        frequency_hz(root),
        battery_percent=None if battery is None else _integer(battery / "capacity"),
        charging=None if battery is None else _read(battery / "status") in ("Charging", "Full"),
    )


def frequency_hz(root: Path = Path("/")) -> int | None:
    """Frequency of the first core now, if the kernel tells."""
    if (kilo := _integer(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq")) is not None:
        return 1000 * kilo
    for line in (_read(root / "proc/cpuinfo") or "").splitlines():
        if line.startswith("cpu MHz"):
            return round(float(line.partition(":")[2]) * 1e6)
    return None


def cpu_model(root: Path = Path("/")) -> str | None:
    for line in (_read(root / "proc/cpuinfo") or "").splitlines():
        if line.startswith(("model name", "Model")):
            return line.partition(":")[2].strip()
    return platform.processor() or None


def ram_bytes(root: Path = Path("/")) -> int | None:
    for line in (_read(root / "proc/meminfo") or "").splitlines():
        if line.startswith("MemTotal:"):
            return 1024 * int(line.split()[1])
    return None


def load_warning() -> str | None:
    """Watch the machine for a moment; what to say if others keep it busy, or None."""
    stat = Path("/proc/stat")
    try:
        before = stat.read_text()
        time.sleep(LOOK_S)
        share = busy_share(before, stat.read_text())
    except OSError:
        return None
    if share <= BUSY_SHARE:
        return None
    return f"other work keeps {100 * share:.0f} % of this machine busy: its latencies are not worth comparing"


def _git(folder: Path, *args: str) -> str:
    run = subprocess.run(["git", "-C", str(folder), *args], capture_output=True, text=True, timeout=5, check=True)
    return run.stdout.strip()


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return None


def _integer(path: Path) -> int | None:
    text = _read(path)
    return int(text) if text is not None and text.lstrip("-").isdigit() else None
