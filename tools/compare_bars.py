"""How often `edgeq compare` is right: python tools/compare_bars.py [--repeats 100] [--rounds 16] [--fresh]

Two programs of linear layers run on this machine, 60 layers and 63: the first against itself, and against the one
that does 5 % more. Wanted, on a machine that does nothing else: "no difference" in 95 of 100, "slower" in 90 of 100.
Programs and log are kept in .cache/compare_bars: every repeat is a line of log.jsonl, the ratios of its rounds.
Interrupted, the same command goes on where it was, --fresh begins anew; running counts and the load are printed.
"""

import argparse
import json
import os
import shutil
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from edgeq.bench import compare, comparison, host
from edgeq.compile import compile_module
from edgeq.device import SentOnce, connect

FOLDER = Path(__file__).parents[1] / ".cache" / "compare_bars"
LAYERS, MORE, WIDTH = 60, 63, 128
KINDS = {"same": "no difference", "5 % more": "slower"}


def network(layers: int) -> nn.Module:
    """Layers of equal cost."""
    return nn.Sequential(*[part for _ in range(layers) for part in (nn.Linear(WIDTH, WIDTH), nn.ReLU())]).eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=compare.ROUNDS)
    parser.add_argument("--fresh", action="store_true")
    chosen = parser.parse_args()
    if chosen.fresh:
        shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True, exist_ok=True)
    paths = [program(layers) for layers in (LAYERS, MORE)]
    kept = FOLDER / "log.jsonl"
    print(host.load_warning() or "the machine is otherwise idle", flush=True)
    done = [json.loads(line) for line in kept.read_text().splitlines()] if kept.is_file() else []
    with connect("local") as device, kept.open("a") as log:
        once = SentOnce(device)
        for i in range(len(done), chosen.repeats):
            begun, rounds = time.monotonic(), {}
            for kind, second in zip(KINDS, paths, strict=True):
                loaders = [_loader(path) for path in (paths[0], second)]
                rounds[kind], _ = compare.in_turn(once, loaders, chosen.rounds, _quiet, seed=i)
            done.append({"seconds": time.monotonic() - begun, "load": os.getloadavg()[0], **rounds})
            log.write(json.dumps(done[-1]) + "\n")
            log.flush()
            if (i + 1) % 5 == 0:
                print(_said(done), flush=True)
    print(_said(done))


def program(layers: int) -> Path:
    """Compiled once: half a minute of processor time."""
    path = FOLDER / f"linear{layers}.pte"
    if not path.is_file():
        torch.manual_seed(0)
        compile_module(network(layers), (torch.randn(1, WIDTH),), name=path.stem, folder=FOLDER)
    return path


def _loader(path: Path) -> compare.Loader:
    return lambda device: compare.program_of(device, path)


def _quiet(stage: str, done: int = 0, total: int = 0, /) -> None:
    pass


def _said(done: list[dict[str, list[float]]]) -> str:
    def one(kind: str, verdict: str) -> str:
        ratios = [comparison.paired(repeat[kind]) for repeat in done]
        count = sum(ratio.verdict == verdict for ratio in ratios)
        low, middle, high = np.quantile([ratio.value for ratio in ratios], (0.05, 0.5, 0.95))
        return f'{kind}: "{verdict}" {count} of {len(ratios)}, ratio {middle:.4f} ({low:.4f} to {high:.4f})'

    each_s, load = (float(np.median([repeat[key] for repeat in done])) for key in ("seconds", "load"))
    counts = "; ".join(one(kind, verdict) for kind, verdict in KINDS.items())
    return f"{counts}; {each_s / 2:.1f} s a comparison, load {load:.1f}"


if __name__ == "__main__":
    main()
