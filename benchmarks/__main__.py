"""python -m benchmarks NAME [--quick] [--json FILE] [--plot FILE] [--threads N]: run, show a table, keep the figures.

NAME is a file of this folder, or `all`. Examples:

  python -m benchmarks binary --quick
  python -m benchmarks pokebnn --isa avx2 --json pokebnn.json
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from pathlib import Path

SUPPORT = ("harness",)


def names() -> list[str]:
    """The benchmarks: one file each."""
    files = Path(__file__).parent.glob("*.py")
    return sorted(file.stem for file in files if not file.stem.startswith("_") and file.stem not in SUPPORT)


def main(arguments: list[str] | None = None) -> int:
    """0 done; 1 a benchmark failed (the others are still run and kept); 2 wrong use."""
    chosen = _parser().parse_args(arguments)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if chosen.no_amx:
        from . import _amx

        _amx.deny()
    from edgeq._errors import EdgeQError

    from . import _plot, _store, harness
    from ._table import console, show

    options = harness.Options(
        quick=chosen.quick,
        threads=chosen.threads,
        cold=chosen.cold,
        peers=not chosen.no_peers,
        isas=tuple(chosen.isa or ()),
        only=chosen.only,
        rounds=chosen.rounds,
        resume=chosen.resume,
        say=lambda line: console.log(line),
    )
    rows: list[harness.Row] = []
    failed = 0
    for name in names() if chosen.name == "all" else [chosen.name]:
        try:
            new = importlib.import_module(f"benchmarks.{name}").run(options)
            rows += new
            show(name, new)
            if chosen.json:
                harness.write_json(rows, chosen.json)
            if chosen.plot:
                _plot.write_svg(chosen.name, rows, chosen.plot)
            if not chosen.no_store:
                _store.keep(name, new)
        except EdgeQError as error:
            console.print(f"{name}: {error}", style="red", markup=False)
            failed = 1
        except ModuleNotFoundError as error:
            console.print(f"{name}: {error}; pip install 'edgeq[bench]', or use --no-peers", style="red", markup=False)
            failed = 1
    return failed


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=[*names(), "all"], help="which benchmark")
    parser.add_argument("--quick", action="store_true", help="few shapes and rounds: does it work?")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows as a JSON list")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the ratios as SVG")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="of every engine (default 1)")
    parser.add_argument(
        "--isa", action="append", metavar="NAME", help="instruction set, repeatable (default: all vector sets)"
    )
    parser.add_argument("--cold", action="store_true", help="evict the caches before each call")
    parser.add_argument("--no-amx", action="store_true", help="keep every library from using AMX (Linux, x86-64)")
    parser.add_argument("--no-peers", action="store_true", help="EdgeQ alone")
    parser.add_argument("--only", default="", metavar="TEXT", help="shapes whose name holds TEXT")
    parser.add_argument("--rounds", type=int, metavar="N", help="turns of each engine")
    parser.add_argument(
        "--resume", type=Path, metavar="FILE", help="finetune: keep every run's result there, and go on from it"
    )
    parser.add_argument("--no-store", action="store_true", help="leave EdgeQ's results store alone")
    return parser


if __name__ == "__main__":
    sys.exit(main())
