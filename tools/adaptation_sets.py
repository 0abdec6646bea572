"""Files to try `edgeq finetune` with: a speaker's words, shifted pictures, a class.

    python tools/adaptation_sets.py speaker george -o george [--words 25] [--microphone]
    python tools/adaptation_sets.py pictures dim -o dim [--count 350]
    python tools/adaptation_sets.py class 9 -o nine [--count 10]

Writes OUT-learn.npz and OUT-test.npz, each with x and y. Speech: log-mel features of FSDD recordings for networks like
denseshift-kws; of a bundled model that knows all speakers hold one out first: tools/leave_one_speaker_out.py. Pictures
and classes: Fashion-MNIST; to learn from of the training part, to test with of the test part.
"""

import argparse
from pathlib import Path

import numpy as np

from edgeq import data
from edgeq._errors import NotFoundError
from edgeq.datasets import features, fsdd, places, shifts

TESTED = 1000


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("kind", choices=("speaker", "pictures", "class"))
    parser.add_argument("which", help=f"{', '.join(fsdd.SPEAKERS)}; {', '.join(shifts.PICTURES)}; 0 to 9")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--words", type=int, default=25)
    parser.add_argument("--count", type=int, default=350)
    parser.add_argument("--microphone", action="store_true", help="speech as by another microphone")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    if options.kind == "speaker":
        parts = speaker(options.which, options.words, options.microphone, rng)
    elif options.kind == "pictures":
        parts = pictures(options.which, options.count, rng)
    else:
        parts = one_class(int(options.which), options.count, rng)
    for name, (x, y) in zip(("learn", "test"), parts, strict=True):
        path = options.output.with_name(f"{options.output.name}-{name}.npz")
        np.savez_compressed(path, x=x, y=y.astype(np.int32))
        print(f"{path}: {len(x)} samples")
    return 0


Part = tuple[np.ndarray, np.ndarray]


def speaker(name: str, words: int, microphone: bool, rng: np.random.Generator) -> tuple[Part, Part]:
    recordings = fsdd.load()
    own = np.flatnonzero(recordings.speaker == fsdd.SPEAKERS.index(name))
    windows = np.stack([features.window(recordings.waves[i]) for i in own])
    x = features.log_mel(shifts.other_microphone(windows) if microphone else windows)[..., None]
    order, y = rng.permutation(len(own)), recordings.digit[own]
    first, rest = order[:words], order[words:]
    return (x[first], y[first]), (x[rest], y[rest])


def pictures(kind: str, count: int, rng: np.random.Generator) -> tuple[Part, Part]:
    (x, y), (test_x, test_y) = fashion("train"), fashion("t10k")
    rows, tested = rng.permutation(len(x))[:count], rng.permutation(len(test_x))[:TESTED]
    shift = shifts.PICTURES[kind]
    return (shift(x[rows]), y[rows]), (shift(test_x[tested]), test_y[tested])


def one_class(label: int, count: int, rng: np.random.Generator) -> tuple[Part, Part]:
    (x, y), (test_x, test_y) = fashion("train"), fashion("t10k")
    rows, tested = rng.permutation(np.flatnonzero(y == label))[:count], rng.permutation(len(test_x))[:TESTED]
    return (x[rows], y[rows]), (test_x[tested], test_y[tested])


def fashion(part: str) -> Part:
    """Pictures (n, 28, 28) uint8 and labels of "train" or "t10k"."""
    for folder in places.folders("fashion-mnist"):
        if (images := folder / f"{part}-images-idx3-ubyte.gz").is_file():
            return data.read_idx(images), data.read_idx(folder / f"{part}-labels-idx1-ubyte.gz").astype(np.int64)
    raise NotFoundError("fashion-mnist: apt-get install dataset-fashion-mnist, or set EDGEQ_DATA")


if __name__ == "__main__":
    raise SystemExit(main())
