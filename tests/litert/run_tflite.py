"""Runs `.tflite` files with the TFLite runtime of whichever environment this is; needs edgeq.litert alone.

`python run_tflite.py FOLDER`: for each NAME.tflite there, NAME.npz has inputs METHOD.x0, METHOD.x1, ... in the order of
the calls; writes NAME.out.npz with METHOD.y0, ..., or NAME.error with why the file is refused.
"""

import sys
from pathlib import Path

import numpy as np

from edgeq import litert
from edgeq._errors import EdgeQError


def main(folder: Path) -> None:
    for path in sorted(folder.glob("*.tflite")):
        try:
            program = litert.Program(path.read_bytes())
            with np.load(path.with_suffix(".npz")) as given:
                results = {}
                for method in program.methods:
                    inputs = [given[f"{method}.x{i}"] for i in range(len(program.inputs(method)))]
                    results |= {f"{method}.y{i}": y for i, y in enumerate(program.run(method, inputs))}
            np.savez(path.with_suffix(".out.npz"), **results)
        except EdgeQError as error:
            path.with_suffix(".error").write_text(str(error))
    print(litert.runtime().__name__, np.__version__)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
