"""One run over files, to be killed: killed_run.py FOLDER SEED."""

import sys
from pathlib import Path

from toy import Toy, data

from edgeq._native import tune
from edgeq.tune.journal import Journal


def main() -> None:
    toy = Toy()
    x, y = toy.sample(60, 1, "turn")
    chosen = tune.settings("t1", flags=("unguarded",), steps=60, batch=16, evaluate_every=5, seed=int(sys.argv[2]))
    tuner = tune.Tuner(toy.model(), data(x, y), chosen)
    print("running", flush=True)
    report = tune.converse(tuner, toy.forward(x), Journal(Path(sys.argv[1])))
    if report.outcome != "committed":
        sys.exit(f"{report.outcome}: {report.status}")


if __name__ == "__main__":
    main()
