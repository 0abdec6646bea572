"""Packages, keys and weights: the happy paths, and what holds for every package."""

import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_package import CREATED, KEY, MAKER, METRIC, STRANGER, manifest_of, sample_files, spell, write_sample

from edgeq import _json, _paths, keys
from edgeq._errors import FormatError, IntegrityError, NotFoundError, PackageError, UsageError
from edgeq._weights import read_tensors, write_tensors
from edgeq.package import VerifiedPackage, sign_folder, verify_package, write_package

TRUSTED = [MAKER]


@pytest.fixture
def demo(tmp_path):
    write_sample(tmp_path / "demo")
    return tmp_path / "demo"


# --- packages


def test_written_package_verifies_and_gives_back_what_was_put_in(demo):
    package = verify_package(demo, trusted=TRUSTED)
    assert package.signed_by == MAKER.label
    assert {name: package.read(name) for name in package.manifest.files} == sample_files()
    manifest = package.manifest
    assert (manifest.name, manifest.version, manifest.licence) == ("demo", 1, "Apache-2.0")
    assert (manifest.created, manifest.metrics) == (CREATED, (METRIC,))
    assert package.config()["scheme"] == "b1b1"
    assert package.tensors()["w"].shape == (64,)


def test_manifest_is_the_documented_bytes(demo):
    """Spelled and signed here without EdgeQ's own code."""
    raw = spell(manifest_of(sample_files()))
    assert (demo / "edgeq.json").read_bytes() == raw
    assert (demo / "edgeq.sig").read_bytes() == KEY.sign(b"edgeq-manifest-1\0" + raw)


def test_same_input_gives_the_same_package(demo, tmp_path):
    write_sample(tmp_path / "again")
    assert {p.name: p.read_bytes() for p in demo.iterdir()} == {
        p.name: p.read_bytes() for p in (tmp_path / "again").iterdir()
    }


def test_files_may_be_copied_from_elsewhere_and_lie_in_folders(tmp_path):
    (tmp_path / "model.pte").write_bytes(b"compiled")
    files: dict[str, bytes | Path] = {**sample_files(), "artefacts/model.pte": tmp_path / "model.pte"}
    write_package(tmp_path / "demo", files=files, name="demo", version=3, licence="MIT", key=KEY)
    assert verify_package(tmp_path / "demo", trusted=TRUSTED).read("artefacts/model.pte") == b"compiled"


def test_file_to_copy_that_is_missing(tmp_path):
    files = {**sample_files(), "x": tmp_path / "nothing"}
    with pytest.raises(PackageError, match=r"nothing: cannot be read: No such file or directory$"):
        write_package(tmp_path / "demo", files=files, name="demo", version=1, licence="MIT", key=KEY)
    assert list(tmp_path.iterdir()) == []


def test_created_is_now_in_utc_unless_given(tmp_path):
    before = datetime.now(UTC).replace(microsecond=0)
    manifest = write_package(tmp_path / "a", files=sample_files(), name="a", version=1, licence="MIT", key=None)
    assert before <= manifest.created <= datetime.now(UTC)


def test_existing_folder_is_left_alone(demo):
    with pytest.raises(PackageError, match=r"demo: exists already; choose a new folder or remove it first$"):
        write_sample(demo, version=2)
    assert verify_package(demo, trusted=TRUSTED).manifest.version == 1


def test_sign_folder_lists_what_lies_there_and_replaces_an_older_signature(demo):
    (demo / "extra").mkdir()
    (demo / "extra" / "notes.txt").write_text("hello")
    manifest = sign_folder(demo, name="demo", version=2, licence="Apache-2.0", key=KEY)
    package = verify_package(demo, trusted=TRUSTED)
    assert package.manifest == manifest
    assert set(manifest.files) == {*sample_files(), "extra/notes.txt"}
    sign_folder(demo, name="demo", version=3, licence="Apache-2.0", key=None)
    assert verify_package(demo, trusted=TRUSTED, allow_unsigned=True).signed_by is None


def test_sign_folder_refuses_links_and_unportable_names(demo):
    (demo / "link").symlink_to(demo / "README.md")
    with pytest.raises(FormatError, match=r"^link: a symbolic link"):
        sign_folder(demo, name="demo", version=2, licence="MIT", key=KEY)
    (demo / "link").unlink()
    (demo / "my notes.txt").write_text("")
    with pytest.raises(FormatError, match=r"path 'my notes.txt'"):
        sign_folder(demo, name="demo", version=2, licence="MIT", key=KEY)


def test_unsigned_package_is_marked(tmp_path):
    write_sample(tmp_path / "demo", key=None)
    assert not (tmp_path / "demo" / "edgeq.sig").exists()
    assert verify_package(tmp_path / "demo", allow_unsigned=True).signed_by is None


def test_untrusted_signature_counts_as_none(tmp_path):
    write_sample(tmp_path / "demo", key=STRANGER)
    assert verify_package(tmp_path / "demo", trusted=TRUSTED, allow_unsigned=True).signed_by is None


def test_copy_is_whole_and_its_own(demo, tmp_path):
    copy = verify_package(demo, trusted=TRUSTED).copy_to(tmp_path / "copy")
    shutil.rmtree(demo)
    assert verify_package(copy.path, trusted=TRUSTED) == copy
    assert copy.tensors().keys() == {"scale", "w"}


def test_package_that_is_not_there(tmp_path):
    with pytest.raises(NotFoundError, match=r"nothing: no such folder$"):
        verify_package(tmp_path / "nothing")


def test_places_that_cannot_be_used(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PackageError, match=r"file/demo: cannot be written: Not a directory$"):
        write_sample(tmp_path / "file" / "demo")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(PackageError, match=r"loop/edgeq\.json: cannot be read: Too many levels of symbolic links$"):
        verify_package(tmp_path / "loop")


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """Every file of a package, and a folder to write damaged ones into."""
    folder = tmp_path_factory.mktemp("property") / "demo"
    write_sample(folder)
    return folder, {path.name: path.read_bytes() for path in folder.iterdir()}


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_flipped_byte_in_any_file_is_refused(original, data):
    folder, files = original
    name = data.draw(st.sampled_from(sorted(files)))
    at = data.draw(st.integers(0, len(files[name]) - 1))
    flip = data.draw(st.integers(1, 255))
    damaged = bytearray(files[name])
    damaged[at] ^= flip
    (folder / name).write_bytes(damaged)
    try:
        with pytest.raises(IntegrityError):
            verify_package(folder, trusted=TRUSTED)
    finally:
        (folder / name).write_bytes(files[name])
    assert isinstance(verify_package(folder, trusted=TRUSTED), VerifiedPackage)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=400))
def test_any_manifest_at_all_gives_an_error_of_ours(original, raw):
    folder, files = original
    (folder / "edgeq.json").write_bytes(raw)
    (folder / "edgeq.sig").write_bytes(KEY.sign(b"edgeq-manifest-1\0" + raw))
    try:
        with pytest.raises(FormatError):
            verify_package(folder, trusted=TRUSTED)
    finally:
        for name in ("edgeq.json", "edgeq.sig"):
            (folder / name).write_bytes(files[name])


# --- JSON

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.text(), PLAIN, max_size=3))
def test_canonical_spelling_survives_reading(value):
    raw = _json.canonical(value)
    assert _json.canonical(_json.parse(raw, "x")) == raw
    assert raw == spell(value)


# --- keys


def test_keygen_makes_a_key_that_is_trusted_here(tmp_path):
    pair = keys.keygen("me")
    assert pair.private == _paths.keys() / "me.key"
    assert pair.private.stat().st_mode & 0o777 == 0o600
    assert pair.key in keys.load_trusted()
    write_sample(tmp_path / "demo", key=keys.load_private(pair.private))
    assert verify_package(tmp_path / "demo").signed_by == f"me ({pair.key.fingerprint})"


def test_zoo_key_is_shipped():
    (zoo,) = (key for key in keys.load_trusted() if key.name == "edgeq-zoo")
    assert len(zoo.raw) == 32


def test_key_is_never_overwritten(tmp_path):
    keys.keygen("me", folder=tmp_path)
    with pytest.raises(PackageError, match=r"me\.key: exists already; a key is never overwritten"):
        keys.keygen("me", folder=tmp_path)
    (tmp_path / "me.key").unlink()
    with pytest.raises(PackageError, match=r"me\.pub: exists already"):
        keys.keygen("me", folder=tmp_path)


@pytest.mark.parametrize("name", ["", "../me", "a b", ".hidden", "x" * 65])
def test_key_name_must_be_a_file_name(name):
    with pytest.raises(UsageError, match="use up to 64 letters"):
        keys.keygen(name)


def test_private_key_that_others_can_read_is_refused(tmp_path):
    private = keys.keygen("me", folder=tmp_path).private
    private.chmod(0o640)
    with pytest.raises(PackageError, match=r"mode 0640 lets others read this private key; run: chmod 600 "):
        keys.load_private(private)


def test_files_that_are_not_keys(tmp_path):
    path = tmp_path / "x.key"
    with pytest.raises(NotFoundError, match=r"no such key$"):
        keys.load_private(path)
    with pytest.raises(PackageError, match=r"cannot be read: Is a directory$"):
        keys.load_public(tmp_path)
    path.write_text("hello")
    path.chmod(0o600)
    with pytest.raises(FormatError, match=r"not a PEM private key without a password$"):
        keys.load_private(path)
    with pytest.raises(FormatError, match=r"not a PEM public key$"):
        keys.load_public(path)


def test_keys_of_another_kind(tmp_path):
    from cryptography.hazmat.primitives import serialization as ser
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    key, path = X25519PrivateKey.generate(), tmp_path / "x"
    path.touch(mode=0o600)
    path.write_bytes(key.private_bytes(ser.Encoding.PEM, ser.PrivateFormat.PKCS8, ser.NoEncryption()))
    with pytest.raises(FormatError, match=r"expected an Ed25519 private key$"):
        keys.load_private(path)
    path.write_bytes(key.public_key().public_bytes(ser.Encoding.PEM, ser.PublicFormat.SubjectPublicKeyInfo))
    with pytest.raises(FormatError, match=r"expected an Ed25519 public key$"):
        keys.load_public(path)


def test_trust_accepts_a_key_once_under_one_name(tmp_path):
    theirs = keys.keygen("them", folder=tmp_path)
    assert keys.trust(theirs.public) == keys.trust(theirs.public) == theirs.key
    assert keys.trust(theirs.public, name="friend").name == "friend"
    other = keys.keygen("other", folder=tmp_path)
    with pytest.raises(PackageError, match=r"friend\.pub: already holds another key \([0-9a-f]{16}\)"):
        keys.trust(other.public, name="friend")


def test_domain_separates_signatures():
    signature = keys.sign(KEY, "edgeq-delta-1", b"data")
    assert len(signature) == keys.SIGNATURE_BYTES
    assert keys.signer(TRUSTED, "edgeq-delta-1", b"data", signature) == MAKER
    assert keys.signer(TRUSTED, "edgeq-manifest-1", b"data", signature) is None
    assert keys.signer([], "edgeq-delta-1", b"data", signature) is None


def test_openssl_accepts_the_signature(tmp_path, demo):
    """The independent implementation: `cryptography` does not share its command line's code path."""
    if (openssl := shutil.which("openssl")) is None:
        pytest.skip("no openssl command on this machine")
    pair = keys.keygen("me", folder=tmp_path)
    (tmp_path / "message").write_bytes(b"edgeq-manifest-1\0" + (demo / "edgeq.json").read_bytes())
    signature = keys.sign(keys.load_private(pair.private), "edgeq-manifest-1", (demo / "edgeq.json").read_bytes())
    (tmp_path / "signature").write_bytes(signature)
    command = [openssl, "pkeyutl", "-verify", "-pubin", "-inkey", pair.public, "-rawin"]
    command += ["-in", tmp_path / "message", "-sigfile", tmp_path / "signature"]
    subprocess.run(command, check=True, capture_output=True)


# --- weights


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "uint8", "int16", "int32", "int64"])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3, 4)])
def test_tensors_survive(dtype, shape):
    array = np.arange(np.prod(shape, dtype=int), dtype=dtype).reshape(shape)
    back = read_tensors(write_tensors({"b": array, "a": array}))
    assert list(back) == ["a", "b"]
    assert back["a"].dtype == array.dtype and back["a"].shape == shape
    assert np.array_equal(back["a"], array)
    assert back["a"].flags.writeable


def test_strided_tensors_are_stored_by_value():
    array = np.arange(12, dtype=np.int32).reshape(3, 4).T[::2]
    assert np.array_equal(read_tensors(write_tensors({"a": array}))["a"], array)


def test_writer_refuses_other_types_and_values():
    with pytest.raises(FormatError, match=r'^tensor "a": type float64 is not stored; use F32 '):
        write_tensors({"a": np.zeros(1)})
    with pytest.raises(FormatError, match=r'^tensors: tensor "a": 1 of 1 values are NaN or infinite, first at 0$'):
        write_tensors({"a": np.array([np.nan], np.float32)})


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 207), st.binary(min_size=1, max_size=4))
def test_any_damage_to_weights_is_an_error_of_ours_or_other_numbers(at, noise):
    data = bytearray(sample_files()["model.safetensors"])
    assert len(data) == 208
    data[at : at + len(noise)] = noise
    try:
        tensors = read_tensors(bytes(data))
    except FormatError as error:
        assert "\n" not in str(error)
    else:
        assert all(np.all(np.isfinite(array)) for array in tensors.values())


# --- places


def test_home_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("EDGEQ_HOME", str(tmp_path))
    assert _paths.home() == tmp_path
    assert {p.parent for p in (_paths.cache(), _paths.data(), _paths.keys(), _paths.trusted(), _paths.store())} == {
        tmp_path
    }
    monkeypatch.delenv("EDGEQ_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))
    assert _paths.home().name == "edgeq"
