"""Where data sets lie: `$EDGEQ_DATA/NAME`, EdgeQ's own data folder, and for some a Debian package's folder."""

import os
from pathlib import Path

from edgeq import _paths
from edgeq._errors import NotFoundError

DEBIAN_ROOT = Path("/usr/share/datasets")


def folders(name: str) -> list[Path]:
    """All places, first come first served."""
    roots = [Path(chosen)] if (chosen := os.environ.get("EDGEQ_DATA")) else []
    return [root / name for root in (*roots, _paths.data(), DEBIAN_ROOT)]


def folder(name: str, ways: str) -> Path:
    """The first place that exists; raises NotFoundError with the ways to get the data set."""
    places = folders(name)
    for place in places:
        if place.is_dir():
            return place
    raise NotFoundError(f"{name}: not in {' or '.join(map(str, places[:-1]))}; {ways}")
