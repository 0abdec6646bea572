"""The protocol's C side, compiled here, against Python's own libraries and against the Python side."""

import ctypes
import hashlib
import random
import shutil
import struct
import subprocess
import zlib
from pathlib import Path

import pytest

from edgeq.device import frames

PROTO = Path(__file__).parents[2] / "runtime" / "proto"
CORE = ("wire.c", "frame.c", "sha256.c", "agent.c", "agent_store.c", "agent_engine.c", "agent_measure.c")
WARNINGS = ("-std=c11", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Wdouble-promotion", "-Werror")
MORE, FRAME, TOO_LONG, BAD_CRC = range(4)
CAPACITY = 1000

compiler = shutil.which("cc") or shutil.which("gcc")
pytestmark = pytest.mark.skipif(compiler is None, reason="no C compiler")


class CFrame(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_uint8),
        ("seq", ctypes.c_uint16),
        ("length", ctypes.c_uint32),
        ("crc", ctypes.c_uint32),
        ("payload", ctypes.POINTER(ctypes.c_uint8)),
    )


def build(folder, name, sources, *options):
    out = folder / name
    subprocess.run([compiler, *WARNINGS, *options, *(PROTO / s for s in sources), "-o", out], check=True)
    return out


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    path = build(tmp_path_factory.mktemp("proto"), "proto.so", CORE, "-O2", "-ffreestanding", "-shared", "-fPIC")
    lib = ctypes.CDLL(str(path))
    lib.eq_crc32.restype = ctypes.c_uint32
    lib.eq_crc32.argtypes = (ctypes.c_uint32, ctypes.c_char_p, ctypes.c_size_t)
    lib.eq_frame_seal.restype = ctypes.c_size_t
    lib.eq_frame_seal.argtypes = (ctypes.c_char_p, ctypes.c_uint8, ctypes.c_uint16, ctypes.c_uint32)
    return lib


class CParser:
    """The C parser with the Python one's face; events are (type, seq, payload), "too long" or "bad crc"."""

    def __init__(self, lib, capacity):
        self.lib = lib
        self.state = ctypes.create_string_buffer(256)
        self.payload = ctypes.create_string_buffer(capacity + 13)  # whole frames
        lib.eq_parser_init(self.state, self.payload, ctypes.c_uint32(capacity))

    def feed(self, data):
        events, frame, used = [], CFrame(), ctypes.c_size_t()
        while data:
            result = self.lib.eq_parser_feed(
                self.state, data, ctypes.c_size_t(len(data)), ctypes.byref(used), ctypes.byref(frame)
            )
            if result == FRAME:
                events.append((frame.type, frame.seq, ctypes.string_at(frame.payload, frame.length)))
            elif result != MORE:
                events.append({TOO_LONG: "too long", BAD_CRC: "bad crc"}[result])
            data = data[used.value :]
        return events


def test_crc_is_zlibs(library):
    rng = random.Random(1)
    for length in (0, 1, 7, 255, 4096):
        data = rng.randbytes(length)
        assert library.eq_crc32(0, data, length) == zlib.crc32(data)
        assert library.eq_crc32(zlib.crc32(b"before"), data, length) == zlib.crc32(b"before" + data)


def test_sha256_is_hashlibs(library):
    rng = random.Random(2)
    for length in [*range(130), 1000, 65537]:
        data = rng.randbytes(length)
        state, digest = ctypes.create_string_buffer(256), ctypes.create_string_buffer(32)
        library.eq_sha256_init(state)
        cut = rng.randint(0, length)
        for part in (data[:cut], data[cut:]):
            library.eq_sha256_update(state, part, ctypes.c_size_t(len(part)))
        library.eq_sha256_final(state, digest)
        assert digest.raw == hashlib.sha256(data).digest(), length


def test_both_sides_seal_the_same_frame(library):
    for number, seq, payload in ((1, 1, b""), (0xFF, 0xFFFF, b"\xa5\x5a" * 50), (0x11, 258, bytes(300))):
        frame = ctypes.create_string_buffer(len(payload) + 13)
        ctypes.memmove(ctypes.addressof(frame) + 9, payload, len(payload))
        assert library.eq_frame_seal(frame, number, seq, len(payload)) == len(frame)
        assert frame.raw == frames.seal(number, seq, payload)


def pieces(rng, data):
    """The data cut at random places, byte by byte now and then."""
    while data:
        n = rng.choice((1, 2, 5, len(data)))
        yield data[:n]
        data = data[n:]


def test_both_parsers_find_every_frame_between_garbage(library):
    rng = random.Random(3)
    for _ in range(50):
        wanted = [(rng.randrange(256), rng.randrange(1 << 16), rng.randbytes(rng.randrange(40))) for _ in range(5)]
        stream = b""
        for frame in wanted:
            # garbage without a magic, but perhaps with its first byte last
            stream += rng.randbytes(rng.randrange(20)).replace(b"\xa5", b"") + rng.choice((b"", b"\xa5", b"\xa5\xa5"))
            stream += frames.seal(*frame)
        c, python, found = CParser(library, CAPACITY), frames.Parser(CAPACITY), []
        c_events = [event for piece in pieces(rng, stream) for event in c.feed(piece)]
        for piece in pieces(rng, stream):
            python.feed(piece)
            while frame := python.next():
                assert frame.sound
                found.append((frame.number, frame.seq, frame.payload))
        assert c_events == wanted
        assert found == wanted


def test_c_parser_goes_on_after_damage(library):
    good = frames.seal(1, 9, b"payload")
    flipped = bytearray(good)
    flipped[10] ^= 4
    oversize = frames.protocol().magic + struct.pack("<BHI", 1, 9, CAPACITY + 1)
    parser = CParser(library, CAPACITY)
    assert parser.feed(bytes(flipped) + good) == ["bad crc", (1, 9, b"payload")]
    assert parser.feed(oversize + b"junk" + good) == ["too long", (1, 9, b"payload")]


def test_python_parser_goes_on_after_damage():
    good = frames.seal(1, 9, b"payload")
    flipped = bytearray(good)
    flipped[10] ^= 4
    oversize = frames.protocol().magic + struct.pack("<BHI", 1, 9, CAPACITY + 1)
    parser = frames.Parser(CAPACITY)
    parser.feed(bytes(flipped) + oversize + good)
    first, second = parser.next(), parser.next()
    assert first is not None and not first.sound
    assert second == frames.Frame(1, 9, b"payload")
    assert parser.next() is None


@pytest.fixture(scope="module")
def fuzz_agent(tmp_path_factory):
    sanitize = ("-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    return build(tmp_path_factory.mktemp("fuzz"), "fuzz_agent", (*CORE, "fuzz_agent.c"), *sanitize)


@pytest.mark.parametrize("seed", [1, 2])
def test_agent_survives_hostile_frames(fuzz_agent, seed):
    """`make fuzz-agent` runs many more."""
    done = subprocess.run([fuzz_agent, "10000", str(seed)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("10000 frames")
