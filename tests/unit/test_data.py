"""Evaluation data: what is read, what is refused, and that a known set is known by its bytes."""

import gzip
import io
import struct
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edgeq import data
from edgeq._errors import FormatError, IntegrityError, NotFoundError, UsageError
from edgeq.datasets import places

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
X = np.arange(3 * 4 * 4, dtype=np.uint8).reshape(3, 4, 4)
Y = np.array([2, 0, 1])


class Package:
    def __init__(self, raw: bytes) -> None:
        self.raw = raw

    def read(self, name: str) -> bytes:
        assert name == "eval.npz"
        return self.raw


def npz(**arrays: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.savez_compressed(out, **arrays)
    return out.getvalue()


def idx(array: np.ndarray) -> bytes:
    return bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def test_a_bundled_split_is_read(tmp_path: Path) -> None:
    split = data.load_split(Package(npz(x=X, y=Y.astype(np.uint8))), dataset="tiny")
    assert (split.dataset, split.split, len(split)) == ("tiny", "bundled", 3)
    assert np.array_equal(split.x, X) and split.y.tolist() == [2, 0, 1]
    assert len(split.head(2)) == 2 and split.head(None) is split and split.head(9) is split


def npy(header: str, body: bytes = b"") -> bytes:
    head = header.encode().ljust(118) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + body


def archive(**members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        for name, body in members.items():
            file.writestr(f"{name}.npy", body)
    return out.getvalue()


GOOD_Y = npy("{'descr': '|u1', 'fortran_order': False, 'shape': (1,)}", b"\0")


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"PK not a zip", "not an .npz"),
        (npz(x=X), "no array 'y'"),
        (npz(x=X.astype(np.float64), y=Y), "holds float64, expected integers or float32"),
        (npz(x=X, y=Y[:2]), r"got x uint8 \(3, 4, 4\) and y \(2,\)"),
        (npz(x=X[0], y=Y), "x must be n pictures"),
        (npz(x=X.astype(np.int16), y=Y), "got x int16"),
        (npz(x=np.array([{"a": 1}], dtype=object), y=Y), "holds object"),
        (archive(x=b"junk", y=GOOD_Y), "x.npy is not a .npy array"),
        (
            archive(x=npy("{'descr': '|u1', 'fortran_order': False, 'shape': (99999, 99999)}"), y=GOOD_Y),
            r"declares shape \(99999, 99999\)",
        ),
        (
            archive(x=npy("{'descr': '|u1', 'fortran_order': False, 'shape': (1, 2, 2)}", b"abc"), y=GOOD_Y),
            "declares 4 bytes of data, has 3",
        ),
        (
            archive(x=npy("{'descr': '|u1', 'fortran_order': False, 'shape': (1, 1, 2)}", b"abc"), y=GOOD_Y),
            "declares 2 bytes of data, has more",
        ),
        (
            archive(x=npy("{'descr': '|u1', 'fortran_order': False, 'shape': (-1, -2, 1)}", b"ab"), y=GOOD_Y),
            r"declares shape \(-1, -2, 1\)",
        ),
        (archive(x=bytes(data.MAX_SPLIT_BYTES + 1), y=GOOD_Y), "unpacks to 67108865 bytes"),
    ],
)
def test_a_hostile_split_is_refused(raw: bytes, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        data.load_split(Package(raw), dataset="tiny")


def test_idx_plain_and_compressed(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(idx(X))
    (tmp_path / "packed.gz").write_bytes(gzip.compress(idx(X)))
    assert np.array_equal(data.read_idx(tmp_path / "plain"), X)
    assert np.array_equal(data.read_idx(tmp_path / "packed.gz"), X)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "starts with , expected 000008"),
        (b"\0\0\x0d\x01" + bytes(8), "starts with 00000d01"),
        (b"\0\0\x08\x09" + bytes(40), "1 to 4 dimensions"),
        (b"\0\0\x08\x03" + bytes(5), r"shape \(\) is missing"),
        (b"\0\0\x08\x02" + b"\xff" * 8, "larger than"),
        (idx(X)[:-1], r"needs 48 bytes, the file holds 47"),
        (idx(X) + b"\0", r"needs 48 bytes, the file holds more"),
    ],
)
def test_a_hostile_idx_is_refused(tmp_path: Path, raw: bytes, message: str) -> None:
    (tmp_path / "file").write_bytes(raw)
    with pytest.raises(FormatError, match=message):
        data.read_idx(tmp_path / "file")


def test_a_broken_gzip_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cut.gz").write_bytes(gzip.compress(idx(X))[:-12])
    (tmp_path / "not.gz").write_bytes(idx(X))
    for name in ("cut.gz", "not.gz"):
        with pytest.raises(FormatError, match="cannot be read"):
            data.read_idx(tmp_path / name)
    with pytest.raises(NotFoundError):
        data.read_idx(tmp_path / "none.gz")


def test_own_data_keeps_its_own_name(tmp_path: Path) -> None:
    (tmp_path / "mine.npz").write_bytes(npz(x_test=X, y_test=Y))
    split = data.from_path(tmp_path / "mine.npz")
    assert (split.dataset, split.split) == ("mine", "user")
    with pytest.raises(NotFoundError, match="no t10k-images"):
        data.from_path(tmp_path)
    with pytest.raises(NotFoundError, match="no such file"):
        data.from_path(tmp_path / "none.npz")


def test_own_data_may_be_the_input_itself(tmp_path: Path) -> None:
    features = np.random.default_rng(0).normal(size=(len(Y), 5, 4)).astype(np.float32)
    (tmp_path / "mine.npz").write_bytes(npz(x=features, y=Y))
    split = data.from_path(tmp_path / "mine.npz")
    assert np.array_equal(data.preprocess(split.x, {"preprocessing": {"mean": [3.0]}}), features[..., None])
    (tmp_path / "wide.npz").write_bytes(npz(x=features.astype(np.float64), y=Y))
    with pytest.raises(FormatError, match="holds float64, expected integers or float32"):
        data.from_path(tmp_path / "wide.npz")


def test_other_pictures_are_not_fashion_mnist(tmp_path: Path) -> None:
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(idx(X))
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(Y.astype(np.uint8))))
    assert data.from_path(tmp_path).dataset == tmp_path.name
    with pytest.raises(IntegrityError, match=r"images are not those of the fashion-mnist test set.*--data"):
        data.full_test_set("fashion-mnist", tmp_path)
    with pytest.raises(UsageError, match="no data set 'mnist'"):
        data.full_test_set("mnist")
    with pytest.raises(NotFoundError, match=r"neither an .npz"):
        data.full_test_set("fashion-mnist", tmp_path / "none")


def test_absent_data_names_every_way_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_module(name: str) -> None:
        raise ImportError("no such package", name=name)

    monkeypatch.setattr(places, "DEBIAN_ROOT", tmp_path)
    monkeypatch.delenv("EDGEQ_DATA", raising=False)
    monkeypatch.setattr(data, "import_module", no_module)
    with pytest.raises(NotFoundError, match=r"apt-get install dataset-fashion-mnist.*--data FOLDER.*Hub"):
        data.full_test_set("fashion-mnist")


def test_the_hubs_copy_counts_only_if_it_hashes_like_the_original(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The download and its two readers are stood in for; what they give must be decoded, then compared."""

    class Table:
        def to_pydict(self) -> dict[str, list[object]]:
            return {"image": [{"bytes": bytes(16)}] * 3, "label": [1, 2, 3]}

    class Picture:
        def __init__(self, file: io.BytesIO) -> None:
            self.raw = file.read()

        def convert(self, mode: str) -> np.ndarray:
            return np.frombuffer(self.raw, np.uint8).reshape(4, 4)

    stubs = {
        "pyarrow.parquet": SimpleNamespace(read_table=lambda file: Table()),
        "PIL.Image": SimpleNamespace(open=Picture),
    }
    asked = []
    monkeypatch.delenv("EDGEQ_DATA", raising=False)
    monkeypatch.setattr(places, "DEBIAN_ROOT", tmp_path)
    monkeypatch.setattr(data, "import_module", stubs.__getitem__)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *args, **options: asked.append((args, options)))
    with pytest.raises(IntegrityError, match=r"zalando-datasets/fashion_mnist: the images are not those"):
        data.full_test_set("fashion-mnist")
    assert asked[0][1]["repo_type"] == "dataset"


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="Debian package dataset-fashion-mnist is not installed")
def test_the_debian_copy_is_fashion_mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    split = data.full_test_set("fashion-mnist", DEBIAN)
    assert split.x.shape == (10_000, 28, 28) and np.bincount(split.y).tolist() == [1000] * 10
    assert data.from_path(DEBIAN).dataset == "fashion-mnist"
    monkeypatch.setenv("EDGEQ_DATA", str(tmp_path))
    np.savez(tmp_path / "copy.npz", x=split.x, y=split.y)
    assert data.full_test_set("fashion-mnist", tmp_path / "copy.npz").dataset == "fashion-mnist"
    assert data.from_path(tmp_path / "copy.npz").split == "test"


def test_preprocess_is_the_stated_formula() -> None:
    config = {"preprocessing": {"layout": "NHWC", "scale": 1 / 255, "mean": [0.286], "std": [0.353]}}
    out = data.preprocess(X, config)
    assert out.shape == (3, 4, 4, 1) and out.dtype == np.float32
    exact = (X[..., None].astype(np.float64) / 255 - 0.286) / 0.353
    assert np.abs(out - exact).max() <= 4 * np.finfo(np.float32).eps * np.abs(exact).max()  # three roundings
    rgb = data.preprocess(np.stack([X] * 3, -1), {"preprocessing": {"mean": [0, 0, 1], "std": [1, 2, 1]}})
    assert rgb[0, 0, 1].tolist() == pytest.approx([1 / 255, 0.5 / 255, 1 / 255 - 1])


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (None, "no object named preprocessing"),
        ({"layout": "NCHW"}, "only NHWC"),
        ({"std": [0.0]}, "std must be positive"),
        ({"mean": [1, 2]}, "mean must be a number or 1 of them"),
        ({"scale": "1/255"}, "scale must be a number"),
        ({"scale": float("inf")}, "scale is not finite"),
        ({"mean": [True]}, "mean must be a number"),
    ],
)
def test_a_wrong_rule_is_named(rule: object, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        data.preprocess(X, {"preprocessing": rule})


def test_floats_become_the_nearest_bytes_and_come_back():
    config = {"preprocessing": {"layout": "NHWC", "scale": 0.05, "mean": [6.4], "std": [1.0]}}
    x = np.array([[[-7.0, -1.03, 0.0], [0.98, 6.35, 9.0]]], np.float32)
    codes = data.as_bytes(x, config)
    assert codes.tolist() == [[[0, 107, 128], [148, 255, 255]]]
    assert np.array_equal(data.as_bytes(data.preprocess(codes, config)[..., 0], config), codes)
