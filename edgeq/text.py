"""Text to ids and back, with nothing but the standard library: BERT's word pieces, and spelling to phonemes.

A vocabulary is a UTF-8 file with one entry a line; the id of an entry is its line number, from 0. It belongs to a
package and is read as hostile: size, encoding, count, length of entries, doubles and control characters are checked.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

from edgeq._errors import FormatError, NotFoundError

VOCABULARY = "vocab.txt"  # in a package and beside trained weights
LARGEST_VOCABULARY_BYTES = 4 << 20
MOST_ENTRIES = 1 << 17
LONGEST_ENTRY = 200  # characters
LONGEST_WORD = 100  # letters; a longer word is [UNK], as in BERT
LARGEST_TEXT = 1 << 16  # characters that `WordPieces.encode` looks at; no network here reads so much

PAD, UNKNOWN, FIRST, LAST = "[PAD]", "[UNK]", "[CLS]", "[SEP]"

_PHONEMES = "AA AE AH AO AW AY B CH D DH EH ER EY F G HH IH IY JH K L M N NG OW OY P R S SH T TH UH UW V W Y Z ZH"
PHONEMES = tuple(_PHONEMES.split(" "))  # of the CMU dictionary, without stress
GRAPHEMES = ("'", *"abcdefghijklmnopqrstuvwxyz")
PAD_SYMBOL, START_SYMBOL, END_SYMBOL = "<pad>", "<s>", "</s>"
SYMBOLS = (PAD_SYMBOL, START_SYMBOL, END_SYMBOL, *GRAPHEMES, *PHONEMES)


def read_vocabulary(path: Path) -> tuple[str, ...]:
    """The entries of a vocabulary file in the order of their ids.

    raises  NotFoundError, or FormatError naming the line that breaks a rule
    """
    try:
        with open(path, "rb") as stream:
            raw = stream.read(LARGEST_VOCABULARY_BYTES + 1)
    except FileNotFoundError:
        raise NotFoundError(f"{path}: no such vocabulary") from None
    except OSError as error:
        raise FormatError(f"{path}: not readable: {error}") from error
    return parse_vocabulary(raw, str(path))


def parse_vocabulary(raw: bytes, where: str) -> tuple[str, ...]:
    """The entries in the bytes of a vocabulary file. Raises FormatError naming the line that breaks a rule."""
    if len(raw) > LARGEST_VOCABULARY_BYTES:
        raise FormatError(f"{where}: larger than {LARGEST_VOCABULARY_BYTES} bytes, not a vocabulary")
    try:
        lines = raw.decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise FormatError(f"{where}: not UTF-8 at byte {error.start}") from error
    if lines and not lines[-1]:
        lines.pop()
    if not 0 < len(lines) <= MOST_ENTRIES:
        raise FormatError(f"{where}: {len(lines)} entries; a vocabulary has 1 to {MOST_ENTRIES}")
    seen: dict[str, int] = {}
    for number, entry in enumerate(lines, 1):
        if not 0 < len(entry) <= LONGEST_ENTRY:
            raise FormatError(f"{where}: line {number} has {len(entry)} characters, expected 1 to {LONGEST_ENTRY}")
        if any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in entry):
            raise FormatError(f"{where}: line {number} holds a control character")
        if (first := seen.setdefault(entry, number)) != number:
            raise FormatError(f"{where}: line {number} repeats line {first}")
    return tuple(lines)


def format_vocabulary(entries: Iterable[str]) -> bytes:
    """The bytes of a vocabulary file."""
    return "".join(f"{entry}\n" for entry in entries).encode("utf-8")


class WordPieces:
    """BERT's uncased tokenizer: lower case, no accents, punctuation apart, longest piece first, [CLS] ... [SEP]."""

    def __init__(self, vocabulary: Sequence[str]) -> None:
        self.ids = {piece: number for number, piece in enumerate(vocabulary)}
        for needed in (PAD, UNKNOWN, FIRST, LAST):
            if needed not in self.ids:
                raise FormatError(f"vocabulary: {needed} is missing; word pieces need it")
        self._longest_piece = max(map(len, self.ids))

    @property
    def padding(self) -> int:
        return self.ids[PAD]

    def pieces(self, text: str) -> list[str]:
        """The word pieces of a text, without [CLS] and [SEP]."""
        return [piece for word in basic_words(text[:LARGEST_TEXT]) for piece in self._split(word)]

    def encode(self, text: str, length: int) -> list[int]:
        """At most `length` ids: [CLS], the first pieces of the text, [SEP]."""
        inner = [self.ids[piece] for piece in self.pieces(text)[: length - 2]]
        return [self.ids[FIRST], *inner, self.ids[LAST]]

    def _split(self, word: str) -> list[str]:
        if len(word) > LONGEST_WORD:
            return [UNKNOWN]
        pieces: list[str] = []
        start = 0
        while start < len(word):
            prefix = "##" if start else ""
            for end in range(min(len(word), start + self._longest_piece), start, -1):
                if prefix + word[start:end] in self.ids:
                    break
            else:
                return [UNKNOWN]
            pieces.append(prefix + word[start:end])
            start = end
        return pieces


def basic_words(text: str) -> list[str]:
    """Lower-case words and single punctuation marks of a text, accents removed."""
    letters: list[str] = []
    for c in unicodedata.normalize("NFD", text.lower()):
        category = unicodedata.category(c)
        if c.isspace():
            letters.append(" ")
        elif category == "Mn" or category.startswith("C"):  # accents, control characters, unassigned
            continue
        elif _is_punctuation(c, category) or _is_cjk(ord(c)):
            letters.append(f" {c} ")
        else:
            letters.append(c)
    return "".join(letters).split()


def _is_punctuation(c: str, category: str) -> bool:
    return category.startswith("P") or (c.isascii() and not c.isalnum() and not c.isspace())


def _is_cjk(code: int) -> bool:
    """Chinese characters stand alone in BERT's vocabulary."""
    ranges = ((0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F))
    return any(low <= code <= high for low, high in ranges)


class Spelling:
    """Words to ids and ids to phonemes, over one vocabulary that holds both."""

    def __init__(self, vocabulary: Sequence[str] = SYMBOLS) -> None:
        self.symbols = tuple(vocabulary)
        self.ids = {symbol: number for number, symbol in enumerate(self.symbols)}
        for needed in (PAD_SYMBOL, START_SYMBOL, END_SYMBOL):
            if needed not in self.ids:
                raise FormatError(f"vocabulary: {needed} is missing; spelling to phonemes needs it")
        self.padding, self.start, self.end = (self.ids[s] for s in (PAD_SYMBOL, START_SYMBOL, END_SYMBOL))

    def encode(self, word: str) -> list[int]:
        """Letters of a word, then the end symbol; what is no letter of the vocabulary is left out."""
        return [*(self.ids[letter] for letter in word.lower() if letter in self.ids), self.end]

    def encode_phonemes(self, phonemes: Iterable[str]) -> list[int]:
        """Raises FormatError for a phoneme that the vocabulary lacks."""
        try:
            return [self.ids[phoneme] for phoneme in phonemes]
        except KeyError as error:
            raise FormatError(f"phoneme {error} is not in the vocabulary") from None

    def decode(self, ids: Iterable[int]) -> list[str]:
        """Phonemes up to the first end symbol."""
        out: list[str] = []
        for number in ids:
            if number == self.end:
                break
            if number not in (self.padding, self.start):
                out.append(self.symbols[number])
        return out


def edit_distance(one: Sequence[object], two: Sequence[object]) -> int:
    """Fewest insertions, deletions and substitutions that turn one sequence into the other."""
    row = list(range(len(two) + 1))
    for i, a in enumerate(one, 1):
        diagonal, row[0] = row[0], i
        for j, b in enumerate(two, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (a != b))
    return row[-1]


_STRESS = re.compile(r"[0-9]")


def without_stress(phoneme: str) -> str:
    """ "AH0" -> "AH"."""
    return _STRESS.sub("", phoneme)
