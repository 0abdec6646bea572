"""A live run is killed with SIGKILL at random moments; it ends in the bytes of a run that was left alone."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PATIENCE_S = 300


def start(folder: Path) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    command = [sys.executable, str(HERE / "killed_run.py"), str(folder), "1"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "running\n"
    return process


def finish(folder: Path) -> tuple[float, bytes]:
    process, began = start(folder), time.monotonic()
    assert process.wait(PATIENCE_S) == 0
    process.stdout.close()
    return time.monotonic() - began, (folder / "delta").read_bytes()


@pytest.mark.parametrize("kills", [4, pytest.param(200, marks=pytest.mark.long)])
def test_kill_9_at_any_moment_changes_no_byte(tmp_path, kills):
    lasted, whole = finish(tmp_path / "whole")
    rng, done = random.Random(kills), 0
    while done < kills:
        folder = tmp_path / f"cut{done}"
        for _ in range(5):  # then it may end
            process = start(folder)
            try:
                process.wait(lasted * rng.random())
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                done += 1
            process.stdout.close()
            if process.wait(PATIENCE_S) == 0:
                break
        else:
            finish(folder)
        assert (folder / "delta").read_bytes() == whole
