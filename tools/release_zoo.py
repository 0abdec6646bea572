"""Make a zoo entry from a finished training run and its float twin: package, card, expectations.

    python tools/release_zoo.py zoo/NAME --run OUT --twin OUT --key KEY --version N

The network is packed, compiled and put on the local device; the whole test set is read there once. What came out goes
into the manifest and the card, and as expectations into `expected.json`, which the tests compare with. What only a
person can say of the entry lies in `zoo/NAME/about.toml` (see `_release.entry`).
"""

import argparse
import hashlib
import json
import sys
import tempfile
from pathlib import Path

import torch
from _release.entry import read_entry
from _release.figures import figures, quality, twin_quality
from _release.local import on_the_local_device

from edgeq import keys, release
from edgeq.text import VOCABULARY, format_vocabulary, read_vocabulary
from edgeq.train import load_trained


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("entry", type=Path)
    parser.add_argument("--run", type=Path, required=True, help="folder that `edgeq train` wrote")
    parser.add_argument("--twin", type=Path, required=True, help="the same for the float twin")
    parser.add_argument("--key", type=Path, required=True)
    parser.add_argument("--version", type=int, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    trained = load_trained(options.run / "model.safetensors")
    twin = load_trained(options.twin / "model.safetensors")
    about = read_entry(options.entry)
    words = options.run / VOCABULARY
    extra = {VOCABULARY: format_vocabulary(read_vocabulary(words))} if words.is_file() else {}
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / "draft"
        release.release(trained, draft, version=options.version, key=None, extra=extra)
        measured = on_the_local_device(draft)
    metrics = figures(trained, twin, measured)
    manifest = release.release(
        trained,
        options.entry / "package",
        version=options.version,
        key=keys.load_private(options.key),
        metrics=metrics,
        card=about.card(trained, twin),
        extra={**extra, **about.files(measured.samples)},
    )
    bundled = about.bundled_items
    full, twins = quality(measured.evaluation), twin_quality(twin)
    part = quality(measured.head(bundled)) if bundled else None
    expected = {
        "accuracy": {"full": full["accuracy"], "bundled": part and part["accuracy"]},
        "figures": {"full": full, "bundled": part, "twin": twins},
        "items": {"full": len(measured.samples), "bundled": bundled},
        "predictions_sha256": hashlib.sha256(measured.predictions[: bundled or None].tobytes()).hexdigest(),
        "artefact_bytes": measured.artefact.size_bytes,
        "twin_accuracy": twins["accuracy"],
        "largest_gap": about.largest_gap,
    }
    (options.entry / "expected.json").write_text(json.dumps(expected, indent=2) + "\n")
    told = ", ".join(f"{name} {value:.2f} % (twin {twins.get(name, '-')} %)" for name, value in full.items())
    print(f"{manifest.name} {manifest.version}: {told}, {options.entry / 'package'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
