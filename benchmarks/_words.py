"""The specification's small network for spoken digits: a ternary MLP 576-128-64-10 that never heard the speaker.

A word is 24 frames of 24 mel bands, whatever its length, without its level (`finetune_closed_form.md` 8.3). 25 words of
the speaker to learn from, the other 475 to test, six speakers by 3 draws, plain and through another microphone.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from edgeq.datasets import fsdd, shifts
from edgeq.tune import Samples

from . import _digits
from ._adaptation import Array, Case, Subject
from ._speech_cases import enrolment

WORLDS = ("plain", "microphone")
SPEAKERS = range(len(fsdd.SPEAKERS))
SIDE, RATE_HZ, FRAME, HOP, BINS = 24, 8000, 200, 80, 256
LOWEST_HZ, HIGHEST_HZ = 100.0, 3900.0


def words_case(speaker: int, world: str, draw: int) -> Case:
    x, y, own = heard(world), recordings().digit, recordings().speaker == speaker
    x, y = x[own], y[own]
    first, rest = enrolment(y, draw)
    samples = Samples((x[first],), y[first].astype(np.int32), world)
    group = f"{fsdd.SPEAKERS[speaker]}, draw {draw}"
    return Case(
        f"words, {world}",
        group,
        lambda: subject(speaker),
        samples,
        x[rest],
        y[rest],
        draw,
        known=lambda: others(speaker),
    )


@cache
def subject(speaker: int) -> Subject:
    return Subject.of(_digits.DigitsNet(trained(speaker)), *others(speaker))


@cache
def trained(speaker: int) -> _digits.Latents:
    return _digits.train("words", "tern", 0, others(speaker))


def others(speaker: int) -> _digits.Part:
    """Every word of the other speakers, plain."""
    rows = recordings().speaker != speaker
    return heard("plain")[rows], recordings().digit[rows]


@cache
def recordings() -> fsdd.Recordings:
    return fsdd.load()


@cache
def heard(world: str) -> Array:
    """(3000, 24, 24, 1) float32."""
    waves = [wave[None].astype(np.float64) / 32768 for wave in recordings().waves]
    if world == "microphone":
        waves = [shifts.other_microphone(wave, seed=i) for i, wave in enumerate(waves)]
    return np.stack([_frames(wave[0]) for wave in waves])[..., None]


def _frames(wave: Array) -> Array:
    """(n,) -> (24, 24) float32: log-mel energies, stretched to 24 frames, mean 0, deviation a half."""
    windows = np.lib.stride_tricks.sliding_window_view(wave, FRAME)[::HOP] * np.hanning(FRAME)
    energies = np.log(np.abs(np.fft.rfft(windows, BINS)) ** 2 @ _filters().T + 1e-6)
    places = np.linspace(0, len(energies) - 1, SIDE)
    mel = np.stack([np.interp(places, np.arange(len(energies)), band) for band in energies.T], 1)
    frames: Array = (0.5 * (mel - mel.mean()) / (mel.std() + 1e-3)).astype(np.float32)
    return frames


@cache
def _filters() -> Array:
    """(24, 129): triangles with corners at equal distances in mel = 2595 log10(1 + f / 700)."""
    low, high = (2595 * np.log10(1 + f / 700) for f in (LOWEST_HZ, HIGHEST_HZ))
    corners = 700 * (10 ** (np.linspace(low, high, SIDE + 2) / 2595) - 1)
    f = np.arange(BINS // 2 + 1) * RATE_HZ / BINS
    rise = (f - corners[:-2, None]) / (corners[1:-1] - corners[:-2])[:, None]
    fall = (corners[2:, None] - f) / (corners[2:] - corners[1:-1])[:, None]
    return np.maximum(0, np.minimum(rise, fall))
