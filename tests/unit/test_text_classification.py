"""A package that classifies texts: its vocabulary, the user's own sentences, and the score."""

import io
from types import SimpleNamespace

import numpy as np
import pytest

from edgeq._errors import FormatError, NotFoundError, UnsupportedError, UsageError
from edgeq.bench import tasks
from edgeq.datasets import own_texts
from edgeq.text import format_vocabulary
from edgeq.tune import read_samples

CONFIG = {
    "task": "text-classification",
    "input": {"tokens": 6},
    "dataset": "sst2",
    "labels": ["negative", "positive"],
}
PIECES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "good", "bad", "film", "##s")


def opened(vocabulary: bytes = format_vocabulary(PIECES)):
    task = tasks.of(CONFIG)
    task.open(SimpleNamespace(read=lambda name: {"vocab.txt": vocabulary}[name]))
    return task


def own(tmp_path, raw: bytes):
    path = tmp_path / "mine.tsv"
    path.write_bytes(raw)
    return opened().own(path, CONFIG)


def test_own_sentences_become_ids_and_a_mask(tmp_path):
    texts = own(tmp_path, b"1\tGood films\n0\tbad bad bad bad bad bad\n")
    ids, mask = opened().inputs(texts, CONFIG)
    assert ids.tolist() == [[2, 4, 6, 7, 3, 0], [2, 5, 5, 5, 5, 3]] and ids.dtype == np.int64
    assert mask.tolist() == [[1, 1, 1, 1, 1, 0], [1] * 6] and len(texts.head(1)) == 1
    assert (texts.dataset, texts.split, texts.labels.tolist()) == ("mine", "own", [1, 0])


def test_the_score_is_the_share_of_labels_with_the_larger_logit(tmp_path):
    texts = own(tmp_path, b"1\tgood\n0\tbad\n1\tfilm\n")
    logits = np.array([[0, 1], [2, 1], [3, 0]], np.float32)
    net = SimpleNamespace(evaluate=lambda inputs, progress: SimpleNamespace(outputs=[logits], ticks=[5, 6, 7]))
    outcome = opened().evaluate(net, texts, CONFIG, lambda done, total: None)
    assert outcome.evaluation.accuracy.correct == 2 and outcome.evaluation.n == 3 and outcome.ticks == [5, 6, 7]


def test_timing_needs_no_sentence():
    net = SimpleNamespace(inputs=[SimpleNamespace(shape=(1, 6)), SimpleNamespace(shape=(1, 6))])
    ids, mask = opened().first(net, None, CONFIG)
    assert ids.shape == mask.shape == (1, 6) and ids.dtype == np.int64 and ids.min() >= 0 and ids.max() < len(PIECES)
    assert mask.all()


@pytest.mark.parametrize("raw", [b"good film\n", b"2\tgood\n", b"1\tgood\n1\n", b"1\t\xff\n"])
def test_lines_that_are_none_are_refused(tmp_path, raw):
    with pytest.raises(FormatError, match=r"mine\.tsv: (line|text|not UTF-8)"):
        own(tmp_path, raw)


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(NotFoundError, match="expected lines of label, tab and text"):
        opened().own(tmp_path / "none.tsv", CONFIG)
    with pytest.raises(UsageError, match="use --full or --data"):
        opened().bundled(None, "sst2")
    with pytest.raises(UsageError, match="imdb: no test split"):
        opened().full("imdb", CONFIG)
    with pytest.raises(FormatError, match="is missing; word pieces need it"):
        opened(b"a\nb\n")


@pytest.mark.parametrize("tokens", [None, 2, 5000, True, "40"])
def test_a_length_that_is_none_is_refused(tmp_path, tokens):
    path = tmp_path / "mine.tsv"
    path.write_bytes(b"1\tgood\n")
    with pytest.raises(FormatError, match='"tokens", 3 to 4096'):
        opened().own(path, {**CONFIG, "input": {"tokens": tokens}})


def read(tmp_path, name: str, raw: bytes):
    path = tmp_path / name
    path.write_bytes(raw)
    return own_texts.read(path, ("negative", "positive"))


def arrays(**named) -> bytes:
    file = io.BytesIO()
    np.savez(file, **named)
    return file.getvalue()


def test_tables_lines_and_arrays_of_texts_say_the_same(tmp_path):
    expected = own_texts.OwnTexts(["good, or not", "bad"], [1, 0])
    for name, raw in (
        ("a.csv", b'label,text\npositive,"good, or not"\n0,bad\n'),
        ("a.tsv", b"1\tgood, or not\nnegative\tbad\n"),
        ("a.npz", arrays(x=np.array(expected.texts), y=np.array([1, 0]))),
        ("b.npz", arrays(x=np.array(expected.texts), y=np.array(["positive", "negative"]))),
    ):
        assert read(tmp_path, name, raw) == expected
    bare = own_texts.OwnTexts(expected.texts, None)
    for name, raw in (
        ("b.csv", b'text\n"good, or not"\nbad\n'),
        ("b.txt", b"good, or not\n\nbad\n"),
        ("c.npz", arrays(x=np.array(expected.texts))),
    ):
        assert read(tmp_path, name, raw) == bare
    with pytest.raises(FormatError, match="no labels in it"):
        opened().own(tmp_path / "b.txt", CONFIG)


@pytest.mark.parametrize(
    ("name", "raw", "why"),
    [
        ("a.csv", b"label,texts\n1,good\n", "no column `text` in its header"),
        ("a.csv", b"text,label\ngood\n", "line 2: too few columns"),
        (
            "a.csv",
            b"text,label\ngood,great\n",
            "line 2: label 'great' is not known; expected one of negative, positive",
        ),
        ("a.csv", b"text,label\n ,1\n", "line 2: no text"),
        ("a.tsv", b"99999999999\tgood\n", "line 1: label"),
        ("a.npz", arrays(x=np.array([1.0])), "it must hold x, an array of strings"),
        ("a.npz", arrays(x=np.array(["good"]), y=np.array([1, 0])), "expected a label for each of 1 texts"),
        ("a.npz", arrays(x=np.array(["good"], object)), "not a plain array"),
    ],
)
def test_files_that_are_no_texts_are_refused(tmp_path, name, raw, why):
    with pytest.raises(FormatError, match=why):
        read(tmp_path, name, raw)


def package(config: dict) -> SimpleNamespace:
    vocabulary = {"vocab.txt": format_vocabulary(PIECES)}
    return SimpleNamespace(config=lambda: config, read=vocabulary.__getitem__, manifest=SimpleNamespace(name="mine"))


def test_a_model_learns_from_texts_with_labels_or_without(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("text,label\ngood films,positive\nbad,0\n")
    samples = read_samples(path, package(CONFIG))
    assert [array.tolist() for array in samples.inputs] == [
        [[2, 4, 6, 7, 3, 0], [2, 5, 3, 0, 0, 0]],
        [[1, 1, 1, 1, 1, 0], [1, 1, 1, 0, 0, 0]],
    ]
    assert samples.labels.tolist() == [1, 0] and samples.labels.dtype == np.int32 and samples.name == "mine.csv"
    path.write_text("text\ngood\n")
    assert read_samples(path, package(CONFIG)).labels is None


def test_a_model_without_classes_has_nothing_to_learn(tmp_path):
    with pytest.raises(UnsupportedError, match=r"mine: gives no scores of classes \(sentence-similarity\)"):
        read_samples(tmp_path / "mine.csv", package({**CONFIG, "task": "sentence-similarity"}))
