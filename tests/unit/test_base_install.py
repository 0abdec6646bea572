"""What `pip install edgeq` alone brings is enough for every command that does not name an extra."""

import importlib.metadata
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement

# Runs the command line in an interpreter that finds none of the modules named in the first argument.
WITHOUT = """
import sys
class Without:
    def __init__(self, finder):
        self._finder = finder
    def __getattr__(self, name):
        return getattr(self._finder, name)
    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in missing else self._finder.find_spec(name, path, target)
missing = set(sys.argv[1].split(","))
sys.meta_path[:] = map(Without, sys.meta_path)
from edgeq.cli import run
sys.exit(run(sys.argv[2:]))
"""


def distributions(wanted: Iterable[str], extras: Iterable[str] = ()) -> set[str]:
    """Those named and all that they need, as far as they are installed."""
    found: set[str] = set()
    left = [(name, extra) for name in wanted for extra in ("", *extras)]
    seen = set(left)
    for name, extra in left:
        try:
            needs = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        found.add(name.lower().replace("_", "-"))
        for need in map(Requirement, needs):
            if need.marker is None or need.marker.evaluate({"extra": extra}):
                more = [(need.name, ask) for ask in ("", *need.extras) if (need.name, ask) not in seen]
                left += more
                seen.update(more)
    return found


def modules_of_extras() -> set[str]:
    base = distributions(["edgeq"])
    extras = importlib.metadata.metadata("edgeq").get_all("Provides-Extra") or []
    more = distributions(["edgeq"], extras) - base
    return {
        module
        for module, owners in importlib.metadata.packages_distributions().items()
        if {owner.lower().replace("_", "-") for owner in owners} <= more
    }


@pytest.mark.parametrize(
    "command",
    [
        "devices",
        "doctor",
        "zoo list",
        "deploy pokebnn-fashion --device local",
        "eval pokebnn-fashion --device local --data {data}",
        "finetune pokebnn-fashion --device local --data {data} --method stats --flag unguarded",
    ],
)
def test_a_command_needs_no_extra(command: str, tmp_path: Path) -> None:
    missing = modules_of_extras()
    assert "unicorn" in missing, "the extras are not installed: nothing would be left out"
    data = tmp_path / "data.npz"
    pictures = np.random.default_rng(0).integers(256, size=(40, 28, 28), dtype=np.uint8)
    np.savez(data, x=pictures, y=np.arange(40) % 10)
    child = subprocess.run(
        [sys.executable, "-c", WITHOUT, ",".join(sorted(missing)), *command.format(data=data).split()],
        env=os.environ | {"EDGEQ_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert child.returncode == 0, child.stderr
