"""Sound to features: what a speech network is trained on and what a device computes before it runs the network.

A window of one second at 8 kHz, made quiet and loud recordings alike (mean 0, RMS 0.1), becomes 49 frames of 40
log-mel energies: Hann 256, hop 160, triangular filters from 60 to 3900 Hz on the HTK mel scale, log, the mean of the
window subtracted, divided by 4. A floor of the power that white noise of deviation 1e-3 would add replaces such noise,
so that digital silence is no special case and the same window always gives the same features.
"""

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

RATE_HZ = 8000
SAMPLES = 8000
FRAMES, BANDS = 49, 40
_FRAME, _HOP = 256, 160
_LOWEST_HZ, _HIGHEST_HZ = 60.0, 3900.0
_RMS, _NOISE, _SMALLEST, _SCALE = 0.1, 1e-3, 1e-6, 4.0


def window(wave: Array) -> Array:
    """The middle second of a recording at 8 kHz; a shorter one gets zeros on both sides.

    wave    (n,) of any type
    return  (8000,) of the same type
    """
    excess = len(wave) - SAMPLES
    if excess >= 0:
        return wave[excess // 2 : excess // 2 + SAMPLES]
    before = -excess // 2
    return np.pad(wave, (before, -excess - before))


def log_mel(windows: Array) -> np.ndarray[Any, np.dtype[np.float32]]:
    """(n, 8000) windows of any scale, int16 or float -> (n, 49, 40) float32."""
    if windows.ndim != 2 or windows.shape[1] != SAMPLES:
        raise ValueError(f"windows must be (n, {SAMPLES}), got {windows.shape}")
    parts = [_log_mel(windows[start : start + 256]) for start in range(0, len(windows), 256)]
    return np.concatenate(parts) if parts else np.zeros((0, FRAMES, BANDS), np.float32)


def _log_mel(windows: Array) -> np.ndarray[Any, np.dtype[np.float32]]:
    x = windows.astype(np.float64)
    x -= x.mean(1, keepdims=True)
    x *= _RMS / np.maximum(np.sqrt((x * x).mean(1, keepdims=True)), 1e-12)
    frames = np.lib.stride_tricks.sliding_window_view(x, _FRAME, axis=1)[:, ::_HOP]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_FRAME) / _FRAME)
    power = np.abs(np.fft.rfft(frames * hann)) ** 2 + _NOISE**2 * (hann * hann).sum()
    mel = np.log(power @ _filters() + _SMALLEST)
    features: np.ndarray[Any, np.dtype[np.float32]] = ((mel - mel.mean((1, 2), keepdims=True)) / _SCALE).astype(
        np.float32
    )
    return features


def _filters() -> Array:
    """(129, 40): triangles with their corners at equal distances in mel = 2595 log10(1 + f / 700)."""
    low, high = (2595 * np.log10(1 + f / 700) for f in (_LOWEST_HZ, _HIGHEST_HZ))
    corners = 700 * (10 ** (np.linspace(low, high, BANDS + 2) / 2595) - 1)
    bins = np.arange(_FRAME // 2 + 1)[:, None] * (RATE_HZ / _FRAME)
    rising = (bins - corners[:-2]) / (corners[1:-1] - corners[:-2])
    falling = (corners[2:] - bins) / (corners[2:] - corners[1:-1])
    return np.maximum(0, np.minimum(rising, falling))
