"""A package that writes phonemes: words in and out of files, the loop over tokens, and the error rates."""

from types import SimpleNamespace

import numpy as np
import pytest

from edgeq._errors import FormatError, NotFoundError, UsageError
from edgeq.bench import tasks
from edgeq.bench.tasks.pronunciation import Words, to_npz
from edgeq.datasets.cmudict import Entry
from edgeq.device.records import Loaded, Run, TensorSpec
from edgeq.device.sequence import SequenceNet
from edgeq.text import SYMBOLS, Spelling, format_vocabulary

CONFIG = {"task": "text2text-generation", "input": {"source": 8, "target": 5}, "dataset": "cmudict"}
ENTRIES = [Entry("aba", (("AA", "B", "AA"),)), Entry("b", (("B",), ("B", "IY")))]
SPELLING = Spelling()


def opened(vocabulary: bytes = format_vocabulary(SYMBOLS)):
    task = tasks.of(CONFIG)
    task.open(SimpleNamespace(read=lambda name: {"vocab.txt": vocabulary}[name]))
    return task


class Speller:
    """Stands for the device: says AA for an a and B for a b, one letter at each position, then the end."""

    def __init__(self) -> None:
        self.letters: list[int] = []
        self.asked: list[tuple[int, int]] = []
        agent = SimpleNamespace(room=lambda *_, **__: 4096, info=SimpleNamespace(max_payload=4096))
        loaded = self.loaded(("i64", (1, 8)), ("i64", (1, 8)))
        self.encode = SimpleNamespace(run=self.begin, loaded=loaded, _agent=agent)
        self.decode = SimpleNamespace(run=self.step, outputs=(TensorSpec("f32", (1, 1, len(SYMBOLS))),))

    @staticmethod
    def loaded(*inputs):
        return Loaded(1, 0, 10, 20, 30, tuple(TensorSpec(*spec) for spec in inputs), ())

    def begin(self, ids, mask):
        self.letters = [int(i) for i in ids[mask == 1]][:-1]
        return Run((), 100)

    def step(self, token, position):
        at = int(position[0])
        self.asked.append((int(token[0, 0]), at))
        letter = SYMBOLS[self.letters[at]] if at < len(self.letters) else ""
        wanted = SPELLING.ids[{"a": "AA", "b": "B", "": "</s>"}[letter]]
        return Run((np.eye(len(SYMBOLS), dtype=np.float32)[wanted][None, None],), 7)

    def net(self, longest: int = 5) -> SequenceNet:
        return SequenceNet(self.encode, self.decode, start=SPELLING.start, end=SPELLING.end, longest=longest)


def test_one_execution_writes_a_word_and_takes_the_time_of_all_its_steps():
    speller = Speller()
    inputs = opened().inputs(Words(ENTRIES[:1], "x", "test"), CONFIG)
    run = speller.net().run(*inputs)
    assert SPELLING.decode(run.outputs[0][0].tolist()) == ["AA", "B", "AA"] and run.ticks == 100 + 4 * 7
    aa, b = SPELLING.ids["AA"], SPELLING.ids["B"]
    assert speller.asked == [(SPELLING.start, 0), (aa, 1), (b, 2), (aa, 3)]
    assert speller.net(longest=2).run(*inputs).outputs[0].tolist() == [[aa, b]]


def test_words_are_judged_by_phonemes():
    outcome = opened().evaluate(Speller().net(), Words(ENTRIES, "cmudict", "test"), CONFIG, lambda done, total: None)
    assert list(outcome.ticks) == [128, 114] and outcome.evaluation.n == 2
    figures = {figure.name: figure.value for figure in outcome.evaluation.figures}
    assert figures == {
        "phoneme_error_rate": 0,
        "word_error_rate": 0,
        "phoneme_error_rate_any": 0,
        "word_error_rate_any": 0,
    }
    other = [Entry("ab", (("AA", "AA", "AA"), ("AA",)))]
    figures = opened().evaluate(Speller().net(), Words(other, "x", "test"), CONFIG, lambda done, total: None)
    assert [f.value for f in figures.evaluation.figures] == pytest.approx([200 / 3, 100, 100, 100])


def test_ids_outside_the_vocabulary_are_refused_before_anything_is_sent():
    speller = Speller()
    ids, mask = opened().inputs(Words(ENTRIES, "x", "test"), CONFIG)
    for bad in (-1, len(SYMBOLS)):
        ids[1, 0] = bad
        with pytest.raises(UsageError, match=f"id {bad} is not in a vocabulary of 69"):
            speller.net().evaluate((ids, mask))
    assert not speller.asked
    with pytest.raises(UsageError, match="abababab: 8 letters; this network reads at most 7"):
        opened().inputs(Words([Entry("abababab", ())], "x", "own"), CONFIG)


def test_a_bundled_split_keeps_words_and_pronunciations():
    package = SimpleNamespace(read=lambda name: {"eval.npz": to_npz(ENTRIES)}[name])
    words = opened().bundled(package, "cmudict")
    assert list(words.entries) == ENTRIES and len(words.head(1)) == 1


def npz(**arrays) -> bytes:
    import io

    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


@pytest.mark.parametrize(
    "raw",
    [
        b"no zip",
        npz(words=np.array(["a"])),
        npz(words=np.array([1]), pronunciations=np.array(["AA"])),
        npz(words=np.array(["a", "b"]), pronunciations=np.array(["AA"])),
        npz(words=np.array(["a", "a"]), pronunciations=np.array(["AA", "AH"])),
        npz(words=np.array(["a"]), pronunciations=np.array(["XX"])),
        npz(words=np.array(["a"], object), pronunciations=np.array(["AA"])),
        npz(words=np.array([], str), pronunciations=np.array([], str)),
    ],
)
def test_a_hostile_split_is_refused(raw):
    with pytest.raises(FormatError, match=r"eval\.npz"):
        opened().bundled(SimpleNamespace(read=lambda name: raw), "cmudict")


def test_own_words_come_from_lines_of_the_dictionary(tmp_path):
    path = tmp_path / "mine.dict"
    path.write_text("aba AA1 B AA0\nb B\nb(2) B IY1\n")
    words = opened().own(path, CONFIG)
    assert [*words.entries] == ENTRIES and words.dataset == "mine"
    path.write_bytes(b"\xff")
    with pytest.raises(FormatError, match="not UTF-8"):
        opened().own(path, CONFIG)
    path.write_text("a QQ\n")
    with pytest.raises(FormatError, match=r"mine\.dict: line 1"):
        opened().own(path, CONFIG)
    with pytest.raises(NotFoundError, match="a word and its phonemes"):
        opened().own(tmp_path / "none", CONFIG)
    with pytest.raises(UsageError, match="librispeech: no test split"):
        opened().full("librispeech", CONFIG)


@pytest.mark.parametrize("given", [None, {}, {"source": 8}, {"source": 8, "target": 1}, {"source": 5000, "target": 8}])
def test_lengths_that_are_none_are_refused(given):
    with pytest.raises(FormatError, match='"source" and "target"'):
        opened().inputs(Words(ENTRIES, "x", "test"), {**CONFIG, "input": given})


def test_timing_needs_no_word():
    ids, mask = opened().first(None, None, {**CONFIG, "input": {"source": 21, "target": 20}})
    assert int(mask.sum()) == len("pronunciation") + 1 and ids.shape == (1, 21)
