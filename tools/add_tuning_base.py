"""Add to a package what its network was like on training data, so that devices can learn without forgetting.

    python tools/add_tuning_base.py PACKAGE --data train.npz -o NEW --key KEY

train.npz holds x and y as `edgeq finetune --data` takes them; for texts SST-2's train.tsv, a .csv, ... NEW is the same
package with `tuning.safetensors`, its version one higher; model.safetensors stays byte for byte, and so do all deltas'
base ids. `--only N` takes N samples. `--start`: learn too where `zeroqat` begins (clipping bounds and equivalent
scales; networks of int8 convolutions, on as many as 256 of the samples).
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from edgeq import keys, models
from edgeq.compile.layout import BASE_FILE, parse_parts
from edgeq.compile.start import Start
from edgeq.compile.start_learning import coded_of, learn_start
from edgeq.compile.tunable import layout_of
from edgeq.compile.tuning_base import measure_base
from edgeq.package import verify_package, write_package
from edgeq.tune import Samples, read_samples


def _start(network: nn.Module, known: Samples) -> Start | None:
    """None where no bounds and scales are better than those of the codes themselves."""
    example = tuple(torch.from_numpy(x[:1]) for x in known.inputs)
    coded = coded_of(network, layout_of(network, example, parse_parts("latents:all")))
    found = learn_start(network, known.inputs[0][:256], coded, epochs=10)
    print(f"start: mean squared difference {found.before:.3g} -> {found.after:.3g} of the outputs' variance")
    return found.start if found.after < found.before else None


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("package", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", type=int, default=2000)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--key", type=Path)
    parser.add_argument("--start", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    package = verify_package(options.package, allow_unsigned=True)
    samples = read_samples(options.data, package)
    if samples.labels is None:
        parser.error(f"{options.data}: no labels y in it")
    network = models.from_package(package.config(), package.tensors())
    rows = np.random.default_rng(1).permutation(len(samples))[: options.only]
    known = samples.part(rows)
    assert known.labels is not None
    layout, base = measure_base(network, known.inputs, known.labels.astype(np.int64))
    if options.start:
        base = replace(base, start=_start(network, known))
    manifest = package.manifest
    files = {name: package.read(name) for name in manifest.files} | {BASE_FILE: base.to_bytes(layout)}
    key = None if options.key is None else keys.load_private(options.key)
    about = {"name": manifest.name, "version": manifest.version + 1, "licence": manifest.licence}
    write_package(options.output, files=files, metrics=manifest.metrics, key=key, **about)
    told = "" if base.start is None else ", a start for zeroqat"
    print(f"{options.output}: {manifest.name} {manifest.version + 1}, base statistics of {base.n0} samples{told}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
