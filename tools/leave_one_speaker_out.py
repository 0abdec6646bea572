"""Train a spoken-digits recipe once per speaker, without that speaker, and test on all of his recordings.

    python tools/leave_one_speaker_out.py zoo/denseshift-kws/recipe.toml -o OUT [--epochs N] [--twin]

Prints one line a speaker and the mean: how a network does on a voice that it has never heard. Folds already finished
in OUT are read, not trained again.
"""

import argparse
import json
import re
from pathlib import Path

from edgeq.datasets.fsdd import SPEAKERS
from edgeq.train import run


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("recipe", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--epochs", type=int, help="instead of the recipe's")
    parser.add_argument("--twin", action="store_true")
    options = parser.parse_args()
    accuracies = {}
    for speaker in SPEAKERS:
        folder = options.output / speaker
        folder.mkdir(parents=True, exist_ok=True)
        recipe = folder / "recipe.toml"
        recipe.write_text(fold(options.recipe.read_text(), speaker, options.epochs))
        result = folder / "result.json"
        if not result.is_file():
            figures = run(recipe, folder, twin=options.twin).facts()
            result.write_text(json.dumps(figures))
        accuracies[speaker] = json.loads(result.read_text())["test_accuracy"]
        print(f"{speaker:10} {100 * accuracies[speaker]:6.2f} %", flush=True)
    print(f"{'mean':10} {100 * sum(accuracies.values()) / len(accuracies):6.2f} %")
    return 0


def fold(recipe: str, speaker: str, epochs: int | None) -> str:
    """The recipe without one speaker; another number of epochs is decay from the end of the warm-up on."""
    recipe = recipe.replace('name = "fsdd"\n', f'name = "fsdd"\nheld_out = "{speaker}"\n')
    if epochs is not None:
        match = re.search(r"^warmup_epochs = (.*)$", recipe, re.M)
        warmup = float(match.group(1)) if match else 0.0
        recipe = re.sub(r"^epochs = .*$", f"epochs = {epochs}", recipe, flags=re.M)
        recipe = re.sub(r"^decay_epochs = .*$", f"decay_epochs = {epochs - warmup}", recipe, flags=re.M)
    return recipe


if __name__ == "__main__":
    raise SystemExit(main())
