"""Where data sets lie: `$EDGEQ_DATA/NAME`, EdgeQ's own data folder, and for some a Debian package's folder."""

import os
from pathlib import Path

from edgeq import _paths
from edgeq._errors import NotFoundError

DEBIAN_ROOT = Path("/usr/share/datasets")


def folders(name: str) -> list[Path]:
    """All places, first come first served; a folder may write _ for -."""
    roots = [Path(chosen)] if (chosen := os.environ.get("EDGEQ_DATA")) else []
    spellings = dict.fromkeys((name, name.replace("-", "_")))
    return [root / spelling for root in (*roots, _paths.data(), DEBIAN_ROOT) for spelling in spellings]


def folder(name: str, ways: str) -> Path:
    """The first place that exists; raises NotFoundError with the ways to get the data set."""
    places = folders(name)
    for place in places:
        if place.is_dir():
            return place
    asked = " or ".join(dict.fromkeys(str(place.parent) for place in places))
    raise NotFoundError(f"{name}: no such folder in {asked}; {ways}")
