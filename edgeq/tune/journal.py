"""The four areas that a tuning run keeps between its steps, as files in one folder. A run that was killed goes on."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from edgeq import _paths
from edgeq._native.tune_types import AREAS

_REMOVED = ".removed"  # of a folder that is about to go


class Journal:
    """Areas by name; what was written stays after a crash, in order, once `flush` came back.

    folder  made when something is written
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def of(cls, key: str) -> Journal:
        return cls(_paths.home() / "tuning" / key)

    def exists(self) -> bool:
        return self.folder.is_dir()

    def read(self, area: str, offset: int, size: int) -> bytes:
        try:
            with self._path(area).open("rb") as file:
                file.seek(offset)
                return file.read(size)
        except FileNotFoundError:
            return b""

    def write(self, area: str, offset: int, data: bytes) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path(area), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            view = memoryview(data)
            while view:
                done = os.pwrite(descriptor, view, offset)
                view, offset = view[done:], offset + done
        finally:
            os.close(descriptor)

    def erase(self, area: str) -> None:
        self._path(area).unlink(missing_ok=True)

    def flush(self, area: str) -> None:
        path = self._path(area)
        for place in (path, self.folder):
            if place.exists():
                _sync(place)

    def whole(self, area: str) -> bytes:
        """All of an area."""
        path = self._path(area)
        return path.read_bytes() if path.exists() else b""

    def remove(self) -> None:
        """After the last step: nothing to go on from. All areas go at once, lest an ended run has lost its delta."""
        gone = self.folder.with_name(self.folder.name + _REMOVED)
        shutil.rmtree(gone, ignore_errors=True)
        with contextlib.suppress(FileNotFoundError):
            self.folder.rename(gone)
            _sync(gone.parent)
        shutil.rmtree(gone, ignore_errors=True)

    def _path(self, area: str) -> Path:
        assert area in AREAS, area
        return self.folder / area


def _sync(place: Path) -> None:
    descriptor = os.open(place, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
