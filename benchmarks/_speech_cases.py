"""Speech: a voice that the base never heard, plain and through another microphone; few digits enrolled; a new digit."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import numpy as np

from edgeq import release
from edgeq._errors import NotFoundError
from edgeq.datasets import features, fsdd, shifts
from edgeq.train import load_trained
from edgeq.tune import Samples

from ._adaptation import Array, Case, Predict, Setting, Subject, asked_for, backpropagate
from .harness import Options

WORDS, DRAWS, STEPS = 25, 3, 200
NEW, NEW_WORDS = 9, 10
KNOWN = 5  # digits below it are enrolled where few are
FRESH = 10  # draws from here on are those of `_limits`


def speech(options: Options) -> Iterator[Case]:
    """Every speaker, plain and with another microphone."""
    yield from _speakers(options, [("plain", 10), ("microphone", 10)])


def few_words(options: Options) -> Iterator[Case]:
    """Only the digits 0 to 4 are enrolled, by half the words; all ten are asked."""
    yield from _speakers(options, [("microphone", KNOWN), ("plain", KNOWN)])


def fresh(options: Options) -> Iterator[Case]:
    """The other microphone, all digits and half of them enrolled, draws that no choice has seen."""
    yield from _speakers(options, [("microphone", 10), ("microphone", KNOWN)], FRESH)


def _speakers(options: Options, enrolled: Sequence[tuple[str, int]], since: int = 0) -> Iterator[Case]:
    recordings = fsdd.load()
    windows = np.stack([features.window(wave) for wave in recordings.waves])
    plain = features.log_mel(windows)[..., None]
    for speaker in fsdd.SPEAKERS[:2] if options.quick else fsdd.SPEAKERS:
        own = recordings.speaker == fsdd.SPEAKERS.index(speaker)
        others = np.flatnonzero(~own & (recordings.take < fsdd.TAKES - 5))
        mine = np.flatnonzero(own)
        file = _run("EDGEQ_LOSO", "the output folder of tools/leave_one_speaker_out.py") / speaker / "model.safetensors"

        @cache
        def subject(file: Path = file, others: Array = others) -> Subject:
            return Subject.of(release.pack(load_trained(file))[0], plain[others], recordings.digit[others])

        y = recordings.digit[mine]
        for task, digits in enrolled:
            if not asked_for(options.only, task, "denseshift-kws"):
                continue
            x = plain[mine]
            if task == "microphone":
                x = features.log_mel(shifts.other_microphone(windows[mine]))[..., None]
            for draw in range(1 if options.quick else DRAWS):
                first, rest = enrolment(y, since + draw)
                first = first[y[first] < digits]

                def ceiling(
                    setting: Setting, file: Path = file, x: Array = x, y: Array = y, first: Array = first
                ) -> Predict:
                    return backpropagate(load_trained(file).model, x[first], y[first], setting, steps=STEPS, seed=1)

                parts = {} if digits == 10 else {"seen": y[rest] < digits, "unseen": y[rest] >= digits}
                yield Case(
                    f"{'fresh, denseshift-kws' if since else 'speech'}, {task}"
                    + ("" if digits == 10 else f", digits 0 to {digits - 1} enrolled"),
                    speaker,
                    subject,
                    Samples((x[first],), y[first].astype(np.int32), task),
                    x[rest],
                    y[rest],
                    draw,
                    parts,
                    ceiling,
                    home=(plain[mine][rest], y[rest]),
                )


def enrolment(y: Array, draw: int) -> tuple[Array, Array]:
    """WORDS recordings, two or three of each digit, and the others."""
    rng = np.random.default_rng(7000 + draw)
    first: list[int] = []
    for digit in range(10):
        count = WORDS // 10 + ((digit + 5 * draw) % 10 < WORDS % 10)
        first += rng.permutation(np.flatnonzero(y == digit))[:count].tolist()
    return rng.permutation(first), np.setdiff1d(np.arange(len(y)), first)


def new_digit(options: Options) -> Iterator[Case]:
    """A base that knows nine digits is given ten words of the tenth."""
    run = _run("EDGEQ_NINE", "a run of denseshift-kws with classes = 9 and digits = 9")
    recordings = fsdd.load()
    x = features.log_mel(np.stack([features.window(wave) for wave in recordings.waves]))[..., None]
    trained = (recordings.take >= fsdd.TEST_TAKES) & (recordings.take < fsdd.TAKES - 5)
    old = np.flatnonzero(trained & (recordings.digit < NEW))

    @cache
    def subject() -> Subject:
        network, _ = release.pack(load_trained(run / "model.safetensors"))
        return Subject.of(network, x[old], recordings.digit[old], classes=NEW + 1)

    tested = np.flatnonzero(recordings.take < fsdd.TEST_TAKES)
    y = recordings.digit[tested]
    for draw in range(1 if options.quick else DRAWS):
        rows = np.random.default_rng(3000 + draw).permutation(np.flatnonzero(trained & (recordings.digit == NEW)))
        samples = Samples((x[rows[:NEW_WORDS]],), np.full(NEW_WORDS, NEW, np.int32), "nine")
        parts = {"old": y < NEW, "new": y == NEW}
        yield Case("a new digit", f"draw {draw}", subject, samples, x[tested], y, draw, parts)


def _run(variable: str, what: str) -> Path:
    where = os.environ.get(variable)
    if not where or not Path(where).is_dir():
        raise NotFoundError(f"set {variable} to {what}")
    return Path(where)
