"""Compare EdgeQ's networks with a fixture made by a paper's own code.

    python tools/parity.py FIXTURE.npz [--path float|packed|pte] [--json]

Builds the network from the fixture's own tensors and JSON sidecar, runs it, and prints the largest absolute
difference of every recorded tensor. Exit code 0 only if all are within tolerance. Without --path every available
path is run. One family of networks is one file in `_parity/`.
"""

import argparse
import json
import sys
from pathlib import Path
from types import ModuleType

from _parity import bart, bert, bivit, denseshift, int4, pokebnn, quantisers
from _parity.report import Fixture, Report, read_fixture

from edgeq._errors import EdgeQError, FormatError, UnsupportedError

# each has recognises(fixture) and PATHS
FAMILIES: tuple[ModuleType, ...] = (pokebnn, denseshift, bivit, quantisers, bert, bart, int4)
PATHS = ("float", "packed", "pte")


def family_of(fixture: Fixture) -> ModuleType:
    for family in FAMILIES:
        if family.recognises(fixture):
            return family
    raise FormatError(f"{fixture.name}: no family of networks recognises its tensors and sidecar")


def run(fixture: Fixture, path: str) -> Report:
    """One path of one fixture; raises UnsupportedError where that path has nothing to say about it."""
    checks = family_of(fixture).PATHS
    if path not in checks:
        raise UnsupportedError(f"{fixture.name}: this family has no path {path}")
    report = Report(fixture.name, path)
    checks[path](fixture, report)
    return report


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("fixture", type=Path)
    parser.add_argument("--path", choices=PATHS, help="default: all that are available")
    parser.add_argument("--json", action="store_true", help="one JSON object per path")
    options = parser.parse_args(arguments)
    reports = []
    try:
        fixture = read_fixture(options.fixture)
        for path in [options.path] if options.path else PATHS:
            try:
                reports.append(run(fixture, path))
            except UnsupportedError as error:
                if options.path:
                    raise
                print(f"path {path} skipped: {error}", file=sys.stderr)
    except (EdgeQError, KeyError) as error:
        print(f"error: {options.fixture}: {error}", file=sys.stderr)
        return 3
    for report in reports:
        show(report, as_json=options.json)
    return 0 if reports and all(report.ok for report in reports) else 1


def show(report: Report, *, as_json: bool) -> None:
    if as_json:
        fields = {"fixture": report.fixture, "path": report.path, "max_abs_diff": report.max_abs_diff}
        print(json.dumps({**fields, "ok": report.ok}))
        return
    for name, diff in report.max_abs_diff.items():
        print(f"{diff:10.3e}  {'FAIL' if name in report.failed else 'ok  '}  {name}")
    print(f"{report.fixture} {report.path}: {'ok' if report.ok else 'FAILED'}")


if __name__ == "__main__":
    sys.exit(main())
