"""Readers of published data sets and the sound front end, on files made here."""

import wave
from pathlib import Path

import numpy as np
import pytest

from edgeq._errors import FormatError, IntegrityError, NotFoundError
from edgeq.datasets import cifar10, features, fsdd, places

SHARED = Path(__file__).parents[2] / ".." / "shared" / "data"


def slow_log_mel(window: np.ndarray) -> np.ndarray:
    """The definition, written out frame by frame and filter by filter."""
    x = window.astype(np.float64) - window.mean()
    x *= 0.1 / np.sqrt((x**2).mean())
    hann = np.array([0.5 - 0.5 * np.cos(2 * np.pi * n / 256) for n in range(256)])
    low, high = (2595 * np.log10(1 + f / 700) for f in (60, 3900))
    corners = [700 * (10 ** ((low + (high - low) * i / 41) / 2595) - 1) for i in range(42)]
    out = np.zeros((49, 40))
    for t in range(49):
        spectrum = np.fft.fft(x[160 * t : 160 * t + 256] * hann)[:129]
        power = spectrum.real**2 + spectrum.imag**2 + 1e-6 * (hann**2).sum()
        for band in range(40):
            left, centre, right = corners[band : band + 3]
            energy = 0.0
            for k in range(129):
                f = k * 8000 / 256
                if left < f < right:
                    weight = (f - left) / (centre - left) if f <= centre else (right - f) / (right - centre)
                    energy += weight * power[k]
            out[t, band] = np.log(energy + 1e-6)
    return (out - out.mean()) / 4


def test_log_mel_is_its_definition():
    rng = np.random.default_rng(1)
    windows = np.stack([rng.normal(0, 900, 8000), 4000 * np.sin(np.arange(8000) * 0.7)]).astype(np.int16)
    got = features.log_mel(windows)
    assert got.shape == (2, 49, 40) and got.dtype == np.float32
    for one, want in zip(got, map(slow_log_mel, windows), strict=True):
        np.testing.assert_allclose(one, want, atol=1e-5)  # float32 at the end


def test_features_do_not_depend_on_the_level_and_survive_silence():
    rng = np.random.default_rng(2)
    loud = rng.normal(0, 3000, (1, 8000))
    np.testing.assert_allclose(features.log_mel(loud), features.log_mel(loud / 500), atol=1e-5)
    assert np.isfinite(features.log_mel(np.zeros((1, 8000), np.int16))).all()
    assert features.log_mel(np.zeros((0, 8000), np.int16)).shape == (0, 49, 40)
    with pytest.raises(ValueError, match="8000"):
        features.log_mel(np.zeros((1, 4000), np.int16))


@pytest.mark.parametrize("length", [1, 7999, 8000, 8001, 18262])
def test_the_window_is_the_middle_second(length):
    samples = np.arange(1, length + 1, dtype=np.int16)
    got = features.window(samples)
    assert got.shape == (8000,) and got.dtype == np.int16
    start = max(0, (length - 8000) // 2)
    np.testing.assert_array_equal(got[got != 0], samples[start : start + 8000])
    left, right = (got != 0).argmax(), (got[::-1] != 0).argmax()
    assert abs(int(left) - int(right)) <= 1


def test_recordings_of_the_shared_copy():
    if not (SHARED / "fsdd").is_dir():
        pytest.skip("no shared copy of FSDD here")
    found = fsdd.load(SHARED / "fsdd")
    assert len(found.waves) == 3000 and (found.take < fsdd.TEST_TAKES).sum() == 300
    assert np.bincount(found.speaker).tolist() == [500] * 6 and np.bincount(found.digit).tolist() == [300] * 10
    assert (found.digit[0], fsdd.SPEAKERS[found.speaker[0]], len(found.waves[0])) == (0, "george", 2384)


def test_recordings_that_are_not_the_published_ones_are_refused(tmp_path, monkeypatch):
    with pytest.raises(NotFoundError, match=r"neither recordings/ nor fsdd.npz in it; git clone"):
        fsdd.load(tmp_path)
    monkeypatch.setenv("EDGEQ_DATA", str(tmp_path))
    monkeypatch.setenv("EDGEQ_HOME", str(tmp_path))
    with pytest.raises(NotFoundError, match=r"git clone .*free-spoken-digit-dataset and set EDGEQ_DATA"):
        fsdd.load()
    np.savez(tmp_path / "fsdd.npz", wave=np.zeros(9, np.int16), offset=np.arange(4))
    with pytest.raises(FormatError, match="not the packed FSDD"):
        fsdd.load(tmp_path)
    np.savez(tmp_path / "fsdd.npz", wave=np.zeros(9, np.int16), offset=np.zeros(3001, np.int64))
    with pytest.raises(IntegrityError, match="not the published recordings"):
        fsdd.load(tmp_path)
    (tmp_path / "fsdd.npz").write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(FormatError, match=r"fsdd\.npz"):
        fsdd.load(tmp_path)
    recordings = tmp_path / "recordings"
    recordings.mkdir()
    with pytest.raises(NotFoundError, match=r"0_george_0.wav: no such recording"):
        fsdd.load(tmp_path)
    (recordings / "0_george_0.wav").write_bytes(b"RIFF")
    with pytest.raises(FormatError, match="not a wav file"):
        fsdd.load(tmp_path)
    with wave.open(str(recordings / "0_george_0.wav"), "wb") as file:
        file.setparams((2, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(8))
    with pytest.raises(FormatError, match="one channel of 16 bits at 8000 Hz"):
        fsdd.load(tmp_path)


def test_cifar10_binary_version(tmp_path):
    rng = np.random.default_rng(3)
    records = rng.integers(0, 256, (10_000, 3073)).astype(np.uint8)
    records[:, 0] %= 10
    records.tofile(tmp_path / "test_batch.bin")
    x, y = cifar10.load("cifar10", "test", tmp_path)
    assert x.shape == (10_000, 32, 32, 3) and y.dtype == np.int64
    assert x[7, 3, 5].tolist() == [records[7, 1 + plane * 1024 + 3 * 32 + 5] for plane in range(3)]
    assert y[7] == records[7, 0]
    with pytest.raises(NotFoundError, match=r"no data_batch_1.bin in it; get cifar-10-binary"):
        cifar10.load("cifar10", "train", tmp_path)
    (tmp_path / "test_batch.bin").write_bytes(bytes(5))
    with pytest.raises(FormatError, match="5 bytes, expected 30730000"):
        cifar10.load("cifar10", "test", tmp_path)


def test_cifar10_copy_as_jpeg_is_refused_when_damaged(tmp_path):
    pytest.importorskip("PIL")
    with pytest.raises(NotFoundError, match=r"0000.jpg: no such picture; git clone"):
        cifar10.load("cifar10-jpeg", "test", tmp_path)
    some = {"jpeg": np.zeros(40, np.uint8), "label": np.zeros(4, np.uint8)}
    for change, text in [
        ({}, "offset"),
        ({"offset": np.arange(4)}, "4 offsets for 4 labels"),
        ({"offset": np.arange(5), "label": np.full(4, 10)}, "labels of 0..9"),
        ({"offset": np.arange(5)}, "4 pictures for test, expected 10000"),
        ({"offset": np.zeros(10_001, int), "label": np.zeros(10_000, np.uint8)}, "a picture is no JPEG"),
    ]:
        np.savez(tmp_path / "test.npz", **{**some, **change})
        with pytest.raises(FormatError, match=text):
            cifar10.load("cifar10-jpeg", "test", tmp_path)


def test_a_folder_may_write_an_underscore(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEQ_DATA", str(tmp_path))
    (tmp_path / "some_set").mkdir()
    assert places.folder("some-set", "") == tmp_path / "some_set"
