"""How often `edgeq compare` is right: python tools/compare_bars.py [--repeats 100] [--rounds 12]

Two programs of linear layers run on this machine, 60 layers and 63: the first against itself, and against the one
that does 5 % more. Wanted, on a machine that does nothing else: "no difference" in 95 of 100, "slower" in 90 of 100.
The machine's load is printed beside the counts.
"""

import argparse
import os
import statistics
from pathlib import Path

import torch
from torch import nn

from edgeq.bench import compare, comparison, host
from edgeq.compile import compile_module
from edgeq.device import connect

LAYERS, MORE, WIDTH = 60, 63, 128


def network(layers: int) -> nn.Module:
    """Layers of equal cost."""
    return nn.Sequential(*[part for _ in range(layers) for part in (nn.Linear(WIDTH, WIDTH), nn.ReLU())]).eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=compare.ROUNDS)
    chosen = parser.parse_args()
    torch.manual_seed(0)
    paths = [
        compile_module(network(layers), (torch.randn(1, WIDTH),), name=f"linear{layers}").path
        for layers in (LAYERS, MORE)
    ]
    print(host.load_warning() or "the machine is otherwise idle")
    found: dict[str, list[comparison.Ratio]] = {"same": [], "5 % more": []}
    with connect("local") as device:
        for i in range(chosen.repeats):
            for ratios, second in zip(found.values(), paths, strict=True):
                loaders = [_loader(path) for path in (paths[0], second)]
                logs, _ = compare.in_turn(device, loaders, chosen.rounds, _quiet)
                ratios.append(comparison.paired(logs))
            if (i + 1) % 10 == 0:
                print(f"{i + 1} repeats, load {os.getloadavg()[0]:.1f}: {_said(found)}", flush=True)


def _loader(path: Path) -> compare.Loader:
    return lambda device: compare.program_of(device, path)


def _quiet(stage: str, done: int = 0, total: int = 0, /) -> None:
    pass


def _said(found: dict[str, list[comparison.Ratio]]) -> str:
    def one(kind: str, verdict: str) -> str:
        ratios = found[kind]
        count = sum(ratio.verdict == verdict for ratio in ratios)
        middle = statistics.median(ratio.value for ratio in ratios)
        return f'{kind}: "{verdict}" {count} of {len(ratios)}, median ratio {middle:.4f}'

    return f"{one('same', 'no difference')}; {one('5 % more', 'slower')}"


if __name__ == "__main__":
    main()
