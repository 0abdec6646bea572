"""Spoken digits: log-mel features of one-second windows, varied in speed, time, pitch bands and tone."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgeq._errors import UsageError
from edgeq.datasets import features, fsdd
from edgeq.train._record import check_ranges
from edgeq.train.recipe import Recipe
from edgeq.train.task import Classification


@dataclass(frozen=True)
class Options:
    """Which recordings, and how the training part is varied.

    Official split: takes 0-4 test, the rest is for training. With `held_out` all of that speaker's recordings are the
    test split and no take of the other five is set aside for it.
    """

    name: str
    validation_takes: int  # the last ones of the training part; choices are made on them only
    held_out: str = ""  # a speaker
    digits: int = 10  # only those below; to see how a network is taught the others later
    speeds: tuple[float, ...] = (0.85, 0.92, 1.0, 1.08, 1.17)
    shift_frames: int = 8  # -n..n, the first or last frame is repeated
    mask_bands: int = 6  # one stripe of 0..n bands is set to the mean
    mask_frames: int = 8  # one of 0..n frames
    tilt: float = 0.02  # deviation of the steps of a random walk over the bands, added to all frames

    def __post_init__(self) -> None:
        check_ranges(
            {
                "validation_takes": (self.validation_takes, 1, 40),
                "digits": (self.digits, 2, 10),
                **{f"speeds[{i}]": (speed, 0.5, 2.0) for i, speed in enumerate(self.speeds)},
                "shift_frames": (self.shift_frames, 0, features.FRAMES - 1),
                "mask_bands": (self.mask_bands, 0, features.BANDS),
                "mask_frames": (self.mask_frames, 0, features.FRAMES),
                "tilt": (self.tilt, 0.0, 10.0),
            }
        )
        if not self.speeds:
            raise UsageError("speeds must name at least one, such as 1.0")
        if self.held_out and self.held_out not in fsdd.SPEAKERS:
            raise UsageError(f"held_out must be one of {', '.join(fsdd.SPEAKERS)}, got {self.held_out!r}")


class SpokenDigits(Classification):
    """Inputs are (n, speeds, 49, 40) float32 for training, (n, 49, 40) for evaluation."""

    def __init__(self, recipe: Recipe, recordings: fsdd.Recordings) -> None:
        options: Options = recipe.data
        if options.held_out:
            test = recordings.speaker == fsdd.SPEAKERS.index(options.held_out)
        else:
            test = recordings.take < fsdd.TEST_TAKES
        known = recordings.digit < options.digits
        validation = ~test & (recordings.take >= fsdd.TAKES - options.validation_takes)
        train = ~test & ~validation & known
        test, validation = test & known, validation & known
        waves = [recordings.waves[i] for i in np.flatnonzero(train)]
        varied = [_features([_at_speed(wave, speed) for wave in waves]) for speed in options.speeds]
        self._test = _part(recordings, test)
        super().__init__(
            recipe,
            torch.stack(varied, 1),
            torch.from_numpy(recordings.digit[train]),
            _part(recordings, validation),
        )

    def varied(self, items: Tensor, epoch: int, generator: torch.Generator) -> Tensor:
        options: Options = self.recipe.data
        count, (frames, bands) = len(items), self.inputs.shape[2:]
        speed = torch.randint(0, len(options.speeds), (count,), generator=generator)
        x = self.inputs[items, speed]
        n = options.shift_frames
        shift = torch.randint(-n, n + 1, (count, 1), generator=generator)
        source = (torch.arange(frames) + shift).clamp(0, frames - 1)
        x = x[torch.arange(count)[:, None], source]
        walk = torch.randn(count, 1, bands, generator=generator) * options.tilt
        x = x + walk.cumsum(2)
        x = x.masked_fill(_stripe(count, bands, options.mask_bands, generator)[:, None, :], 0.0)
        x = x.masked_fill(_stripe(count, frames, options.mask_frames, generator)[:, :, None], 0.0)
        return x.unsqueeze(-1)

    def plain(self, inputs: Tensor) -> Tensor:
        return inputs.unsqueeze(-1)

    def test_part(self) -> tuple[Tensor, Tensor]:
        return self._test


def make(recipe: Recipe) -> SpokenDigits:
    return SpokenDigits(recipe, fsdd.load())


def _part(recordings: fsdd.Recordings, chosen: np.ndarray[Any, Any]) -> tuple[Tensor, Tensor]:
    waves = [recordings.waves[i] for i in np.flatnonzero(chosen)]
    return _features(waves), torch.from_numpy(recordings.digit[chosen])


def _features(waves: list[np.ndarray[Any, Any]]) -> Tensor:
    """(n, 49, 40)."""
    return torch.from_numpy(features.log_mel(np.stack([features.window(wave) for wave in waves])))


def _at_speed(wave: np.ndarray[Any, Any], speed: float) -> np.ndarray[Any, Any]:
    """Played faster (> 1) or slower, by linear interpolation; the pitch moves too."""
    if speed == 1.0:
        return wave.astype(np.float32)
    times = np.arange(int(len(wave) / speed)) * speed
    slower: np.ndarray[Any, Any] = np.interp(times, np.arange(len(wave)), wave).astype(np.float32)
    return slower


def _stripe(count: int, length: int, widest: int, generator: torch.Generator) -> Tensor:
    """(count, length) bool: in each row one run of 0..widest, anywhere."""
    width = torch.randint(0, widest + 1, (count, 1), generator=generator)
    start = (torch.rand(count, 1, generator=generator) * (length - width + 1)).long()
    position = torch.arange(length)
    return (position >= start) & (position < start + width)
