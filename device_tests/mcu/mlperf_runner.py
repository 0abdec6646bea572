"""The conversation of the MLPerf Tiny runner, as a script: what it sends, and what it reads out of the answers."""

import re
import struct
import time

READY = "m-ready"
CHUNK = 31  # data bytes of a `db` line, as the runner sends them
ENERGY_CHUNK = 26  # with a power manager attached
_NAME = re.compile(r"^m-name-dut-\[([^]]+)]$")
_RESULTS = re.compile(r"^m-results-\[([^]]*)]$")
_LAP = re.compile(r"^m-lap-us-(\d+)$")


class Runner:
    """Talks to a device through read(seconds) -> bytes and write(bytes)."""

    def __init__(self, read, write, *, patience_s=120.0):
        self._read, self._write, self._patience_s = read, write, patience_s
        self._rest = b""

    def answer(self):
        """The lines up to and without the next m-ready."""
        lines, deadline = [], time.monotonic() + self._patience_s
        while True:
            while b"\r\n" not in self._rest:
                self._rest += self._read(max(0.0, deadline - time.monotonic()))
            line, _, self._rest = self._rest.partition(b"\r\n")
            if line.decode() == READY:
                return lines
            lines.append(line.decode())

    def ask(self, command):
        """Send one command; its answer."""
        self._write(command.encode() + b"%")
        return self.answer()

    def name(self):
        (line,) = self.ask("name")
        return _NAME.match(line)[1]

    def model(self):
        lines = self.ask("profile")
        assert lines[0] == "m-profile-[ULPMark for tinyML Firmware V0.0.1]"
        return lines[1].removeprefix("m-model-[").removesuffix("]")

    def load(self, data, chunk=CHUNK):
        """Send an input in lines as the runner cuts them."""
        assert self.ask(f"db load {len(data)}") == [f"m-[Expecting {len(data)} bytes]"]
        for at in range(0, len(data), chunk):
            lines = self.ask(f"db {data[at : at + chunk].hex()}")
            assert lines == (["m-load-done"] if at + chunk >= len(data) else []), lines

    def infer(self, runs, warmup=0):
        """Results, and microseconds between the two time stamps."""
        lines = self.ask(f"infer {runs} {warmup}")
        assert lines[:3] == [f"m-warmup-start-{warmup}", "m-warmup-done", f"m-infer-start-{runs}"], lines
        start, end = (int(_LAP.match(line)[1]) for line in lines[3:5])
        assert lines[5] == "m-infer-done"
        return results(lines[6]), end - start

    def infer_between_edges(self, runs, warmup=0):
        """Energy mode: results alone, for the time stamps are edges of a pin."""
        lines = self.ask(f"infer {runs} {warmup}")
        before = [f"m-warmup-start-{warmup}", "m-warmup-done", f"m-infer-start-{runs}", "m-infer-done"]
        assert lines[:-1] == before, lines
        return results(lines[-1])

    def classify(self, arrays):
        """The greatest result of each array's inference: the runner's accuracy mode."""
        found = []
        for array in arrays:
            self.load(array.tobytes())
            scores, _ = self.infer(1)
            found.append(scores.index(max(scores)))
        return found


def results(line):
    """The numbers of a results line."""
    return [float(text) for text in _RESULTS.match(line)[1].split(",")]


def floats(*values):
    """float32 bytes as a device expects them."""
    return struct.pack(f"<{len(values)}f", *values)
