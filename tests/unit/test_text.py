"""Vocabularies from hostile files, word pieces as BERT splits them, spelling and edit distance."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeq._errors import FormatError, NotFoundError
from edgeq.text import (
    LARGEST_VOCABULARY_BYTES,
    SYMBOLS,
    Spelling,
    WordPieces,
    basic_words,
    edit_distance,
    format_vocabulary,
    parse_vocabulary,
    read_vocabulary,
    without_stress,
)

PIECES = (
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "un",
    "##aff",
    "##able",
    "great",
    "!",
    "a",
    "##b",
    "##a",
    "n",
    "'",
    "t",
    "can",
)


def test_a_vocabulary_survives_its_file(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_bytes(format_vocabulary(SYMBOLS))
    assert read_vocabulary(path) == SYMBOLS and len(SYMBOLS) == 69


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "0 entries"),
        (b"a\n\nb\n", "line 2 has 0 characters"),
        (b"a\nb\na\n", "line 3 repeats line 1"),
        (b"a\n" + b"x" * 300, "line 2 has 300 characters"),
        (b"a\nb\x00\n", "line 2 holds a control character"),
        (b"a\r\nb\r\n", "line 1 holds a control character"),
        ("a\nb\u2028\n".encode(), "line 2 holds a control character"),
        (b"a\n\xff\xfe\n", "not UTF-8 at byte 2"),
        (b"a\n" * (LARGEST_VOCABULARY_BYTES // 2 + 1), "larger than"),
        (b"".join(b"%d\n" % i for i in range(140_000)), "140000 entries"),
    ],
)
def test_a_hostile_vocabulary_is_refused_by_line(raw, message):
    with pytest.raises(FormatError, match=message):
        parse_vocabulary(raw, "vocab.txt")


def test_a_missing_vocabulary_is_named(tmp_path):
    with pytest.raises(NotFoundError, match=r"vocab\.txt: no such vocabulary"):
        read_vocabulary(tmp_path / "vocab.txt")


def test_the_longest_piece_comes_first_and_the_unknown_word_is_one_token():
    tokenizer = WordPieces(PIECES)
    assert tokenizer.pieces("Unaffable GREAT!") == ["un", "##aff", "##able", "great", "!"]
    assert tokenizer.pieces("aab greatx") == ["a", "##a", "##b", "[UNK]"]
    assert tokenizer.pieces("can't") == ["can", "'", "t"] and tokenizer.pieces("a" * 101) == ["[UNK]"]
    assert tokenizer.encode("great ! great", 4) == [2, 7, 8, 3] and tokenizer.encode("", 4) == [2, 3]


def test_words_lose_case_accents_and_control_characters_and_chinese_stands_alone():
    assert basic_words("Caf\u00e9\u00a0na\u00efve\x07 x\u4e2d\u6587y $5") == [
        "cafe",
        "naive",
        "x",
        "\u4e2d",
        "\u6587",
        "y",
        "$",
        "5",
    ]


@given(st.text(max_size=200))
def test_any_text_becomes_ids_of_the_vocabulary(text):
    ids = WordPieces(PIECES).encode(text, 12)
    assert len(ids) <= 12 and ids[0] == 2 and ids[-1] == 3 and all(0 <= i < len(PIECES) for i in ids)


@pytest.mark.parametrize("kind", [WordPieces, Spelling])
def test_a_vocabulary_without_its_special_entries_is_refused(kind):
    with pytest.raises(FormatError, match="is missing"):
        kind(("a", "b"))


def test_spelling_goes_to_ids_and_phonemes_come_back():
    spelling = Spelling()
    ids = spelling.encode("It's!")
    assert [spelling.symbols[i] for i in ids] == ["i", "t", "'", "s", "</s>"]
    phonemes = ["IH", "T", "S"]
    coded = spelling.encode_phonemes(phonemes)
    assert spelling.decode([spelling.start, *coded, spelling.end, coded[0]]) == phonemes
    with pytest.raises(FormatError, match="'QQ' is not in the vocabulary"):
        spelling.encode_phonemes(["QQ"])
    assert without_stress("AH0") == "AH"


@given(st.text("abc", max_size=8), st.text("abc", max_size=8), st.text("abc", max_size=8))
def test_edit_distance_is_a_metric(a, b, c):
    assert edit_distance(a, b) == edit_distance(b, a) and (edit_distance(a, b) == 0) == (a == b)
    assert edit_distance(a, c) <= edit_distance(a, b) + edit_distance(b, c)
    assert edit_distance(a, "") == len(a)


def test_edit_distance_of_a_textbook_pair():
    assert edit_distance("kitten", "sitting") == 3
