"""Make the package of int4-minilm from the float checkpoint, and judge it on the local device.

    python tools/release_encoder.py zoo/int4-minilm -o OUT [--key KEY] [--version N]

Needs all-MiniLM-L6-v2 and the snippets of vaderSentiment: `edgeq.datasets` says how to get them.
1,500 snippets calibrate, 500 others judge: the vectors of the compiled file on the local device against the float
network's. The package is too large to be bundled; what it reached goes into `zoo/int4-minilm/expected.json`.
"""

import argparse
import json
import random
import sys
from pathlib import Path

from edgeq import adopt, hub, keys, sentences
from edgeq import compile as compiler
from edgeq.bench.tasks import similarity
from edgeq.datasets import pretrained, snippets
from edgeq.device import connect

SEED = 7
CALIBRATION, JUDGED = 1500, 500
TOKENS = 64
SHORTEST, LONGEST = 20, 220  # characters


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("entry", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True, help="the package folder; new or empty")
    parser.add_argument("--key", help="sign with this key of `edgeq keygen`, or this file")
    parser.add_argument("--version", type=int, default=1)
    options = parser.parse_args()
    checkpoint = pretrained.minilm()
    texts = sorted({text for text in snippets.load() if SHORTEST < len(text) < LONGEST})
    random.Random(SEED).shuffle(texts)
    done = sentences.quantised(
        checkpoint,
        texts[:CALIBRATION],
        others=texts[CALIBRATION : CALIBRATION + JUDGED],
        tokens=TOKENS,
        progress=lambda layer, step, steps: print(f"{step + 1}/{steps} {layer}", flush=True),
    )
    adopt.encoder(
        done,
        options.output,
        name=options.entry.name,
        licence="Apache-2.0",
        origin="sentence-transformers/all-MiniLM-L6-v2",
        checkpoint=checkpoint,
        version=options.version,
        key=keys.load_named(options.key),
    )
    package = hub.pull(options.output, allow_unsigned=options.key is None)
    artefact = compiler.build(package)
    samples = similarity.make().bundled(package, "snippets")
    with connect("local") as device:
        vectors = device.deploy(artefact.path).evaluate((samples.ids, samples.mask)).outputs[0]
    found = similarity.agreement(samples.vectors, vectors.reshape(len(samples), -1))
    content = sum(tensor.nbytes for tensor in package.tensors().values())
    expected = {
        "mean_cosine": round(found.mean_cosine, 4),
        "p5_cosine": round(found.p5_cosine, 4),
        "neighbours": {"kept": found.kept, "clear": found.clear},
        "sentences": {"calibration": CALIBRATION, "judged": len(samples)},
        "weights_bytes": len(package.read("model.safetensors")),
        "tensor_bytes": content,
        "artefact_bytes": artefact.size_bytes,
    }
    (options.entry / "expected.json").write_text(json.dumps(expected, indent=2) + "\n")
    print(json.dumps(expected))
    return 0


if __name__ == "__main__":
    sys.exit(main())
