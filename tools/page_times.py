"""How long the dashboard's pages take on a large store: python tools/page_times.py [--runs 100000] [--store FILE]

The store is made when FILE is not there (20 models on 5 devices, each run with 20 timings and its operators; 120 MB for
100,000 runs). Every page is drawn in this process by Streamlit without a browser, in a session of its own, then again.
Importing Streamlit is not counted. Fails when a page takes longer than 2 s of wall time. The load is printed beside.
"""

import argparse
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

from edgeq.bench import host
from edgeq.results import Store, Value

ROOT = Path(__file__).parents[1]
PAGES = ("overview", "compare", "run", "live", "finetune", "zoo")
MODELS, KINDS = 20, ("host", "phone", "board", "mcu", "browser")
MOST_S = 2.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--store", type=Path, default=ROOT / ".cache" / "page_times.db")
    chosen = parser.parse_args()
    if not chosen.store.is_file():
        fill(chosen.store, chosen.runs)
    os.environ["EDGEQ_DB"] = str(chosen.store)
    with Store.open(chosen.store, readonly=True) as store:
        count = store.select("SELECT count(*) AS n FROM run")[0]["n"]
    print(f"{count:,} runs, {chosen.store.stat().st_size / 1e6:.0f} MB; {host.load_warning() or 'an idle machine'}")
    draw("zoo")  # imports
    slow = [name for name in PAGES if max(draw(name, say=True)) > MOST_S]
    if slow:
        print(f"over {MOST_S:g} s: {', '.join(slow)}")
    return 1 if slow else 0


def fill(path: Path, runs: int) -> None:
    """The sample run of the tests, of many models on many devices, repeated."""
    sys.path.insert(0, str(ROOT / "tests" / "dashboard"))
    from sample_runs import LAPTOP, another, copy_runs

    path.parent.mkdir(parents=True, exist_ok=True)
    with Store.open(path) as store:
        for i in range(MODELS * len(KINDS)):
            model, kind = divmod(i, len(KINDS))
            ms = 1.0 + model + kind
            store.add_run(
                another(
                    model=f"net-{model}",
                    byte=model,
                    device=replace(LAPTOP, name=f"device-{kind}", kind=KINDS[kind]),
                    samples_ns=range(1_400_000, 1_600_000, 10_000),
                    values=[Value("latency_p50", ms, "ms", "measured", "clock", n=20, low=ms - 0.1, high=ms + 0.1)],
                )
            )
    copy_runs(path, max(0, runs // (MODELS * len(KINDS)) - 1))


def draw(name: str, *, say: bool = False) -> tuple[float, float]:
    """Wall seconds of the first and of the second drawing."""
    from streamlit.testing.v1 import AppTest

    page = AppTest.from_string(f"from edgeq.dashboard.app import show\nshow({name!r})", default_timeout=300)
    if name == "run":
        page.query_params["run"] = "1"
    found = []
    for _ in range(2):
        wall, cpu = time.perf_counter(), time.process_time()
        page.run()
        found.append((time.perf_counter() - wall, time.process_time() - cpu))
        if page.exception:
            raise SystemExit(f"{name}: {page.exception[0].value}")
    if say:
        first, again = (f"{wall:.2f} s (processor {cpu:.2f} s)" for wall, cpu in found)
        print(f"{name:9} first {first}, again {again}", flush=True)
    return found[0][0], found[1][0]


if __name__ == "__main__":
    raise SystemExit(main())
