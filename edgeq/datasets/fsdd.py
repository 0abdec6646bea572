"""Free Spoken Digit Dataset: 3000 recordings of the digits, six speakers, 8 kHz; Z. Jackson et al., CC BY-SA 4.0.

Read from a clone of github.com/Jakobovski/free-spoken-digit-dataset (its folder `recordings`), or from `fsdd.npz`, the
same samples in one array. The official test split is the takes 0 to 4 of every digit and speaker.
"""

import hashlib
import wave
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from edgeq._errors import FormatError, IntegrityError, NotFoundError
from edgeq.datasets import places

NAME = "fsdd"
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
TAKES = 50  # of every digit and speaker
TEST_TAKES = 5  # the first ones
ATTRIBUTION = "Free Spoken Digit Dataset, Z. Jackson et al., CC BY-SA 4.0"
WAYS = (
    "git clone https://github.com/Jakobovski/free-spoken-digit-dataset and set EDGEQ_DATA to a folder "
    "whose `fsdd` is that clone"
)
_SHA256 = "f4e8c0733ae8099842dd914bb4eef83339d3f9c5a947c9fef870a33b97512a11"  # of all samples, little-endian

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Recordings:
    """All recordings, ordered by take, speaker, digit."""

    waves: list[Array]  # int16, each of its own length
    digit: Array  # (3000,) int64
    speaker: Array  # (3000,) int64, into SPEAKERS
    take: Array  # (3000,) int64, 0..49


def load(folder: Path | None = None) -> Recordings:
    """The recordings in a folder: `recordings/*.wav`, or `fsdd.npz`; None: where data sets lie.

    raises  NotFoundError saying how to get them, FormatError, IntegrityError for other samples than the published ones
    """
    folder = folder or places.folder(NAME, WAYS)
    order = [(take, speaker, digit) for take in range(TAKES) for speaker in range(len(SPEAKERS)) for digit in range(10)]
    if (folder / "recordings").is_dir():
        waves = [_read_wav(folder / "recordings" / f"{d}_{SPEAKERS[s]}_{t}.wav") for t, s, d in order]
    elif (folder / "fsdd.npz").is_file():
        waves = _read_npz(folder / "fsdd.npz")
    else:
        raise NotFoundError(f"{folder}: neither recordings/ nor fsdd.npz in it; {WAYS}")
    found = hashlib.sha256()
    for samples in waves:
        found.update(samples.astype("<i2").tobytes())
    if found.hexdigest() != _SHA256:
        raise IntegrityError(f"{folder}: not the published recordings: sha256 {found.hexdigest()[:12]}...")
    take, speaker, digit = np.array(order, np.int64).T
    return Recordings(waves, digit, speaker, take)


def _read_wav(path: Path) -> Array:
    try:
        with wave.open(str(path), "rb") as file:
            if (file.getnchannels(), file.getsampwidth(), file.getframerate()) != (1, 2, 8000):
                raise FormatError(f"{path}: expected one channel of 16 bits at 8000 Hz")
            return np.frombuffer(file.readframes(10 * 8000), "<i2").astype(np.int16)
    except FileNotFoundError:
        raise NotFoundError(f"{path}: no such recording; {WAYS}") from None
    except (wave.Error, EOFError) as error:
        raise FormatError(f"{path}: not a wav file: {error}") from None


def _read_npz(path: Path) -> list[Array]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            samples, offset = archive["wave"], archive["offset"]
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise FormatError(f"{path}: {str(error)[:120]}") from None
    if samples.dtype != np.int16 or samples.ndim != 1 or offset.shape != (TAKES * len(SPEAKERS) * 10 + 1,):
        raise FormatError(f"{path}: wave {samples.dtype} {samples.shape}, offset {offset.shape}: not the packed FSDD")
    return [samples[start:stop] for start, stop in pairwise(offset)]
