"""SST-2 at sentence level: 6 920 / 872 / 1 821 sentences of movie reviews with a positive (1) or negative (0) label.

Socher et al., EMNLP 2013; whole sentences without the neutral ones, not the 67 349 phrases of GLUE. No licence is
stated for the sentences, so EdgeQ ships none of them.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgeq._errors import FormatError, IntegrityError, NotFoundError
from edgeq.datasets import places

NAME = "sst2"
LABELS = ("negative", "positive")
HOW = "put train.tsv, dev.tsv and test.tsv (label, tab, sentence; YJiangcm/SST-2-sentiment-analysis on GitHub) there"
LARGEST_BYTES = 16 << 20

Part = Literal["train", "validation", "test"]

_FILES: dict[Part, tuple[str, str]] = {
    "train": ("train.tsv", "5b56af66a194e685c0fbde5f58c4355ab00f5485a29bfcae1085b4b9f8b1a6c3"),
    "validation": ("dev.tsv", "c9ddb67ce3068540c5bb6562e1f34788302dd06d570e6ca0d5e61f7d5ef2bfad"),
    "test": ("test.tsv", "5e133ae65857bb44629508a8924531a1e4dd2d64f2a831507803512b4bb49043"),
}


@dataclass(frozen=True)
class Sentence:
    text: str
    label: int  # 0 negative, 1 positive


def load(part: Part, directory: Path | None = None) -> list[Sentence]:
    """The sentences of a part in the order of its file.

    directory  holds the three files; None: `sst2` where data sets lie
    raises     NotFoundError with the way to get them, IntegrityError for other files, FormatError
    """
    name, sha256 = _FILES[part]
    path = (directory or places.folder(NAME, HOW)) / name
    try:
        with open(path, "rb") as stream:
            raw = stream.read(LARGEST_BYTES + 1)
    except OSError:
        raise NotFoundError(f"{path}: no such file; {HOW}") from None
    if (digest := hashlib.sha256(raw).hexdigest()) != sha256:
        raise IntegrityError(f"{path}: not the published file: sha256 {digest[:12]}...")
    return parse(raw.decode("utf-8"), name)


def parse(text: str, where: str) -> list[Sentence]:
    """Lines "label, tab, sentence". Raises FormatError naming the line that is none."""
    sentences = []
    for number, line in enumerate(text.removesuffix("\n").split("\n"), 1):
        label, tab, sentence = line.partition("\t")
        if label not in ("0", "1") or not tab or not sentence.strip():
            raise FormatError(f"{where}: line {number}: expected 0 or 1, a tab and a sentence, got {line[:40]!r}")
        sentences.append(Sentence(sentence, int(label)))
    return sentences
