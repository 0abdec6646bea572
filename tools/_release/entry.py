"""`zoo/NAME/about.toml`: what the figures do not say. All texts may use {seed} {epochs} {twin_epochs} {cpu_minutes}.

licence = "Apache-2.0"          of the weights
summary = "..."                 one or two sentences at the top of the card
bundled_items = 1000            how many test items `eval.npz` holds; 0: none
largest_gap = 3.0               points of accuracy below the float twin, or of errors above it, that the tests allow
notices = ["LICENSE.x"]         files beside about.toml that go into the package
[notes]                         sections of the card: heading = text
"""

import io
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeq import data
from edgeq.bench.tasks import pronunciation
from edgeq.card import Card
from edgeq.train import Trained


@dataclass(frozen=True)
class Entry:
    name: str
    folder: Path
    licence: str
    summary: str
    bundled_items: int
    largest_gap: float
    notices: list[str]
    notes: Mapping[str, str]

    def card(self, trained: Trained, twin: Trained) -> Card:
        facts = {
            "seed": trained.recipe.training.seed,
            "epochs": trained.result["epochs"],
            "twin_epochs": twin.result["epochs"],
            "cpu_minutes": f"{trained.result['cpu_s'] / 60:.0f}",
        }
        notes = {heading: text.format(**facts) for heading, text in self.notes.items()}
        return Card(self.name, self.licence, self.summary.format(**facts), notes)

    def files(self, test: data.Split | pronunciation.Words) -> dict[str, bytes]:
        """Notices, and the bundled items of the test split."""
        found = {name: (self.folder / name).read_bytes() for name in self.notices}
        if not self.bundled_items:
            return found
        part = test.head(self.bundled_items)
        split = npz(part) if isinstance(part, data.Split) else pronunciation.to_npz(part.entries)
        return {**found, data.SPLIT_FILE: split}


def read_entry(folder: Path) -> Entry:
    return Entry(folder.name, folder, **tomllib.loads((folder / "about.toml").read_text(encoding="utf-8")))


def npz(split: data.Split) -> bytes:
    """The bundled split; its bytes do not depend on the clock."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, x=split.x, y=split.y.astype(np.uint8))
    return buffer.getvalue()
