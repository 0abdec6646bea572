"""Worlds that a network was not trained for: another microphone, turned, inverted, dim or noisy pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def other_microphone(windows: Array, *, emphasis: float = 0.9, snr_db: float = 15.0, seed: int = 7) -> Array:
    """(n, samples) of any scale: x[t] - emphasis x[t - 1], and white noise so far below the signal's own power."""
    x = windows.astype(np.float64)
    x[:, 1:] -= emphasis * windows[:, :-1]
    noise = np.random.default_rng(seed).standard_normal(x.shape)
    heard: Array = x + noise * np.sqrt((x * x).mean(1, keepdims=True) * 10 ** (-snr_db / 10))
    return heard


def dim(x: Array, *, gain: float = 0.3, brightness: float = 0.55) -> Array:
    """(n, h, w) bytes: less contrast, lifted."""
    return _bytes(gain * x + 255 * brightness)


def inverted(x: Array) -> Array:
    return _bytes(255.0 - x)


def noisy(x: Array, *, deviation: float = 0.3, seed: int = 7) -> Array:
    return _bytes(x + 255 * deviation * np.random.default_rng(seed).standard_normal(x.shape))


def rotated(x: Array, *, degrees: float = 35.0) -> Array:
    """(n, h, w) bytes turned about their middle, bilinear, 0 outside."""
    h, w = x.shape[1:3]
    angle = np.deg2rad(degrees)
    rows, columns = np.mgrid[:h, :w].astype(np.float64)
    rows, columns = rows - (h - 1) / 2, columns - (w - 1) / 2
    source_r = np.cos(angle) * rows + np.sin(angle) * columns + (h - 1) / 2
    source_c = -np.sin(angle) * rows + np.cos(angle) * columns + (w - 1) / 2
    padded = np.pad(x.astype(np.float64), ((0, 0), (1, 1), (1, 1)))
    r, c = (np.clip(s, -1, limit) + 1 for s, limit in ((source_r, h - 1e-6), (source_c, w - 1e-6)))
    top, left = np.floor(r).astype(int), np.floor(c).astype(int)
    down, right = r - top, c - left
    found = (1 - down) * (1 - right) * padded[:, top, left] + (1 - down) * right * padded[:, top, left + 1]
    found += down * (1 - right) * padded[:, top + 1, left] + down * right * padded[:, top + 1, left + 1]
    return _bytes(found)


PICTURES: Mapping[str, Callable[[Array], Array]] = {
    "dim": dim,
    "rotated": rotated,
    "inverted": inverted,
    "noisy": noisy,
}


def _bytes(x: Array) -> Array:
    pictures: Array = np.rint(x).clip(0, 255).astype(np.uint8)
    return pictures
