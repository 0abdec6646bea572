"""One hostile package per rule of the format, each with the one error it must give.

Most of these manifests carry a good signature: the rules hold for a trusted maker's mistakes as well.
"""

import json
import os
import struct

import numpy as np
import pytest
from safetensors.numpy import save
from sample_package import (
    KEY,
    MAKER,
    STRANGER,
    lay_out,
    manifest_of,
    sample_files,
    spell,
    write_sample,
)

from edgeq._errors import FormatError, IntegrityError, NotFoundError, PackageError
from edgeq.package import verify_package, write_package

WEIGHTS = "model.safetensors"


@pytest.fixture
def demo(tmp_path):
    """A good package."""
    write_sample(tmp_path / "demo")
    return tmp_path / "demo"


def refused(folder, error, message, **terms):
    """verify_package raises exactly this, in one line."""
    with pytest.raises(PackageError) as caught:
        verify_package(folder, **({"trusted": [MAKER]} | terms))
    assert (caught.type, str(caught.value)) == (error, message)


def signed(folder, raw=None, **changes):
    """A package with the sample's files under any manifest, signed by MAKER."""
    files = sample_files()
    return lay_out(folder, files, spell(manifest_of(files, **changes)) if raw is None else raw)


# --- the signature

UNTRUSTED = (
    "edgeq.sig: not the signature of this edgeq.json by a trusted key (to trust its maker, put the public key into "
    "$EDGEQ_HOME/trusted; to use it all the same: --allow-unsigned)"
)


def test_no_signature(demo):
    (demo / "edgeq.sig").unlink()
    message = "not signed: edgeq.sig is missing (to use it all the same: --allow-unsigned)"
    refused(demo, IntegrityError, message)


@pytest.mark.parametrize("length", [0, 1, 63])
def test_short_signature_even_when_none_is_needed(demo, length):
    (demo / "edgeq.sig").write_bytes(b"\0" * length)
    refused(demo, IntegrityError, f"edgeq.sig: {length} bytes, expected 64", allow_unsigned=True)


def test_long_signature(demo):
    (demo / "edgeq.sig").write_bytes((demo / "edgeq.sig").read_bytes() + b"\0")
    refused(demo, FormatError, "edgeq.sig: 65 bytes, at most 64 are read")


def test_untrusted_key(tmp_path):
    write_sample(tmp_path / "demo", key=STRANGER)
    refused(tmp_path / "demo", IntegrityError, UNTRUSTED)


def test_nobody_trusted(demo):
    refused(demo, IntegrityError, UNTRUSTED, trusted=[])


@pytest.mark.parametrize("domain", [b"", b"edgeq-manifest-1", b"edgeq-delta-1\0", b"edgeq-manifest-2\0"])
def test_signature_of_another_domain(tmp_path, domain):
    files = sample_files()
    lay_out(tmp_path, files, spell(manifest_of(files)), domain=domain)
    refused(tmp_path, IntegrityError, UNTRUSTED)


def test_signature_of_another_package(demo, tmp_path):
    write_sample(tmp_path / "other", version=2)
    (demo / "edgeq.sig").write_bytes((tmp_path / "other" / "edgeq.sig").read_bytes())
    refused(demo, IntegrityError, UNTRUSTED)


def test_nothing_is_parsed_before_the_signature_holds(demo):
    (demo / "edgeq.json").write_bytes(b"not json")
    refused(demo, IntegrityError, UNTRUSTED)


# --- the manifest


def test_two_mebibytes_of_json(tmp_path):
    raw = spell({"format": "edgeq-manifest-1", "padding": "x" * (2 << 20)})
    signed(tmp_path, raw)
    refused(tmp_path, FormatError, f"edgeq.json: {len(raw)} bytes, at most 1048576 are read")


GOOD = spell(manifest_of(sample_files())).decode()


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ("", "not JSON: Expecting value at byte 0"),
        ("[]", "a JSON list, expected an object"),
        ('{"format":"edgeq-manifest-1"', "not JSON: Expecting ',' delimiter at byte 28"),
        ('{"format":"edgeq-manifest-1","format":"x"}', "key 'format' is given twice"),
        (GOOD.replace('"size":', '"size":1,"size":', 1), "key 'size' is given twice"),
        ('{"format":NaN}', "NaN is not JSON"),
        ('{"format":"edgeq-manifest-2"}', "format 'edgeq-manifest-2', this EdgeQ reads 'edgeq-manifest-1'"),
        ("{}", "format None, this EdgeQ reads 'edgeq-manifest-1'"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
        (GOOD.replace(",", ", ", 1), "not canonical JSON (sorted keys, no blanks, ASCII)"),
        (GOOD + "\n", "not canonical JSON (sorted keys, no blanks, ASCII)"),
        (GOOD.replace("demo", "d\\u0065mo"), "not canonical JSON (sorted keys, no blanks, ASCII)"),
        (GOOD.replace("91.5", "91.50"), "not canonical JSON (sorted keys, no blanks, ASCII)"),
        (GOOD.replace("91.5", "1e999"), "holds a number out of range or is nested too deeply"),
    ],
)
def test_manifest_that_is_not_one(tmp_path, raw, message):
    signed(tmp_path, raw.encode())
    refused(tmp_path, FormatError, f"edgeq.json: {message}")


def test_manifest_that_is_not_text(tmp_path):
    signed(tmp_path, b'{"format":"\xff"}')
    refused(tmp_path, FormatError, "edgeq.json: byte 11 is not UTF-8")


def test_number_of_ten_thousand_digits(tmp_path):
    signed(tmp_path, GOOD.replace('"version":1', '"version":' + "9" * 10_000).encode())
    with pytest.raises(FormatError, match=r"^edgeq\.json: Exceeds the limit \(4300 digits\)"):
        verify_package(tmp_path, trusted=[MAKER])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"extra": 1}, "key 'extra' is unknown"),
        ({"name": ""}, "name '': use letters, digits, dots, dashes and underscores"),
        ({"name": "../demo"}, "name '../demo': use letters, digits, dots, dashes and underscores"),
        ({"name": ["demo"]}, "name ['demo']: use letters, digits, dots, dashes and underscores"),
        ({"version": 0}, "version 0: expected an integer from 1 to 2147483647"),
        ({"version": True}, "version True: expected an integer from 1 to 2147483647"),
        ({"version": 1.0}, "version 1.0: expected an integer from 1 to 2147483647"),
        ({"version": 1 << 31}, "version 2147483648: expected an integer from 1 to 2147483647"),
        ({"licence": "\x1b[31m"}, "licence '\\x1b[31m': expected an SPDX expression"),
        ({"created": "yesterday"}, "created 'yesterday': expected UTC such as 2030-01-31T23:59:59Z"),
        ({"created": "2026-1-2T3:4:5Z"}, "created '2026-1-2T3:4:5Z': expected UTC such as 2030-01-31T23:59:59Z"),
        ({"created": 5}, "created 5: expected UTC such as 2030-01-31T23:59:59Z"),
        ({"files": []}, "files: expected an object of at most 1024 entries"),
        ({"files": {}}, "lists no config.json"),
        ({"metrics": {}}, "metrics: expected a list"),
        ({"metrics": [{"name": "a"}]}, "metrics[0]: expected an object with name, value, unit and source"),
    ],
)
def test_wrong_field(tmp_path, changes, message):
    signed(tmp_path, **changes)
    refused(tmp_path, FormatError, f"edgeq.json: {message}")


def test_missing_field(tmp_path):
    doc = manifest_of(sample_files())
    del doc["licence"]
    signed(tmp_path, spell(doc))
    refused(tmp_path, FormatError, "edgeq.json: key 'licence' is missing")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"value": True}, "value True is not a number"),
        ({"value": "91"}, "value '91' is not a number"),
        ({"source": "guessed"}, "source 'guessed' is not one of measured, simulated, estimated"),
        ({"unit": None}, "name and unit must be text"),
        ({"device": "\x1b]0;owned\x07"}, "'device' holds unprintable characters"),
        ({"device": ["a"]}, "'device' is not a plain value"),
    ],
)
def test_wrong_metric(tmp_path, change, message):
    metric = {"name": "accuracy", "value": 1, "unit": "percent", "source": "measured"} | change
    signed(tmp_path, metrics=[metric])
    refused(tmp_path, FormatError, f"edgeq.json: metrics[0]: {message}")


# --- the files it lists


@pytest.mark.parametrize(
    "path",
    ["../x", "a/../../x", "/etc/passwd", "..", "a\\b", "..\\x", "C:x", "C:/x", "//host/x"],
)
def test_path_out_of_the_package(tmp_path, path):
    signed(tmp_path, files=listing(path))
    refused(tmp_path, FormatError, f"edgeq.json: path {path!r} leads out of the package")


@pytest.mark.parametrize("path", ["", ".", "a//b", "a/", "a/./b", "x" * 101, "a b", "a\nb", "ä", "a\0b", "a.", "*"])
def test_path_that_not_every_system_can_hold(tmp_path, path):
    signed(tmp_path, files=listing(path))
    refused(tmp_path, FormatError, f"edgeq.json: path {path!r}: use letters, digits and . _ + - in names of up to 100")


@pytest.mark.parametrize("path", ["edgeq.json", "edgeq.sig", "EdgeQ.JSON"])
def test_manifest_that_lists_itself(tmp_path, path):
    signed(tmp_path, files=listing(path))
    refused(tmp_path, FormatError, f"edgeq.json: lists {path!r}, which cannot vouch for itself")


@pytest.mark.parametrize(
    ("path", "other"),
    [
        ("config.json", "Config.json"),
        ("readme.md", "README.md"),
        ("a/b", "A/c"),
        ("config.json/x", "config.json"),
    ],
)
def test_listed_twice_by_case_or_kind(tmp_path, path, other):
    signed(tmp_path, files=listing(path, other))
    with pytest.raises(FormatError, match=r"^edgeq\.json: '.*' and '.*' cannot stand side by side everywhere$"):
        verify_package(tmp_path, trusted=[MAKER])


def listing(*paths):
    files = manifest_of(sample_files())["files"]
    return files | {path: files["config.json"] for path in paths}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (None, "expected sha256 and size, nothing else"),
        ({"sha256": "0" * 64}, "expected sha256 and size, nothing else"),
        ({"sha256": "0" * 64, "size": 1, "url": "x"}, "expected sha256 and size, nothing else"),
        ({"sha256": "0" * 63, "size": 1}, f"sha256 {'0' * 63!r}: expected 64 hex digits, lower case"),
        ({"sha256": "A" * 64, "size": 1}, f"sha256 {'A' * 64!r}: expected 64 hex digits, lower case"),
        ({"sha256": "0" * 64, "size": -1}, "size -1: expected a number of bytes"),
        ({"sha256": "0" * 64, "size": 1.0}, "size 1.0: expected a number of bytes"),
        ({"sha256": "0" * 64, "size": True}, "size True: expected a number of bytes"),
    ],
)
def test_wrong_entry(tmp_path, entry, message):
    signed(tmp_path, files=manifest_of(sample_files())["files"] | {"extra.bin": entry})
    refused(tmp_path, FormatError, f"edgeq.json: extra.bin: {message}")


def test_more_files_than_anyone_needs(tmp_path):
    entry = {"sha256": "0" * 64, "size": 0}
    signed(tmp_path, files=listing() | {f"f{i}": entry for i in range(1022)})
    refused(tmp_path, FormatError, "edgeq.json: files: expected an object of at most 1024 entries")


def test_more_bytes_than_anyone_needs(tmp_path):
    files = listing()
    size = sum(entry["size"] for entry in files.values())
    signed(tmp_path, files=files | {"big": {"sha256": "0" * 64, "size": 4 << 30}})
    message = f"edgeq.json: files of {size + (4 << 30)} bytes in all, at most 4294967296 are read"
    refused(tmp_path, FormatError, message)


def test_listed_file_that_is_missing(demo):
    (demo / WEIGHTS).unlink()
    refused(demo, NotFoundError, f"model.safetensors: missing from {demo}")


def test_unlisted_file_is_ignored_and_cannot_be_read(demo):
    (demo / "run.py").write_text("boom")
    package = verify_package(demo, trusted=[MAKER])
    with pytest.raises(NotFoundError, match=r"^run\.py: not listed in "):
        package.read("run.py")


def test_longer_shorter_and_changed_file(demo):
    good = (demo / WEIGHTS).read_bytes()
    for bad in (good + b"\0", good[:-1], b""):
        (demo / WEIGHTS).write_bytes(bad)
        refused(demo, IntegrityError, f"model.safetensors: {len(bad)} bytes, signed {len(good)}")
    (demo / WEIGHTS).write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(
        IntegrityError, match=r"^model\.safetensors: damaged or altered: sha256 [0-9a-f]{12}\.\.\., signed "
    ):
        verify_package(demo, trusted=[MAKER])


def test_swapped_files_of_equal_size(tmp_path):
    files = sample_files() | {"a.bin": b"one", "b.bin": b"two"}
    write_sample(tmp_path / "demo", files=files)
    (tmp_path / "demo" / "a.bin").write_bytes(files["b.bin"])
    (tmp_path / "demo" / "b.bin").write_bytes(files["a.bin"])
    with pytest.raises(IntegrityError, match=r"^a\.bin: damaged or altered: sha256 "):
        verify_package(tmp_path / "demo", trusted=[MAKER])


def test_links(demo, tmp_path):
    """A link is refused even if it leads to the right bytes; a folder in between must not be one either."""
    (demo / WEIGHTS).rename(tmp_path / "elsewhere")
    (demo / WEIGHTS).symlink_to(tmp_path / "elsewhere")
    refused(demo, FormatError, "model.safetensors: a symbolic link; a package holds plain files only")

    write_sample(tmp_path / "deep", files=sample_files() | {"sub/deep/x.bin": b"x"})
    (tmp_path / "deep" / "sub").rename(tmp_path / "sub")
    (tmp_path / "deep" / "sub").symlink_to(tmp_path / "sub")
    refused(tmp_path / "deep", FormatError, "sub: a symbolic link; a package holds plain files only")


@pytest.mark.parametrize("sidecar", ["edgeq.json", "edgeq.sig"])
def test_sidecar_that_is_a_link_to_an_endless_file(demo, sidecar):
    (demo / sidecar).unlink()
    (demo / sidecar).symlink_to("/dev/zero")
    refused(demo, FormatError, f"{sidecar}: a symbolic link; a package holds plain files only")


def test_pipe_and_folder_in_place_of_a_file(demo):
    (demo / WEIGHTS).unlink()
    os.mkfifo(demo / WEIGHTS)
    refused(demo, FormatError, "model.safetensors: not a plain file")
    (demo / WEIGHTS).unlink()
    (demo / WEIGHTS).mkdir()
    refused(demo, FormatError, "model.safetensors: not a plain file")


def test_older_version_than_asked_for(demo):
    refused(demo, IntegrityError, "demo: version 1 is older than the version 2 asked for", minimum_version=2)
    assert verify_package(demo, trusted=[MAKER], minimum_version=1).manifest.version == 1


@pytest.mark.parametrize("name", ["config.json", WEIGHTS])
def test_file_that_changes_after_the_verification(demo, name):
    package = verify_package(demo, trusted=[MAKER])
    good = (demo / name).read_bytes()
    (demo / name).write_bytes(good[:-2] + bytes([good[-2] ^ 1]) + good[-1:])
    for use in (lambda: package.read(name), lambda: package.copy_to(demo.parent / "copy")):
        with pytest.raises(IntegrityError, match=rf"^{name}: damaged or altered: sha256 "):
            use()
    assert not (demo.parent / "copy").exists()


def test_manifest_that_changes_before_the_copy(demo):
    package = verify_package(demo, trusted=[MAKER])
    (demo / "edgeq.json").write_bytes((demo / "edgeq.json").read_bytes().replace(b'"version":1', b'"version":9'))
    with pytest.raises(IntegrityError, match=r"^edgeq\.json: changed after it was verified$"):
        package.copy_to(demo.parent / "copy")


# --- what is in the files, under a good signature


def containing(folder, name, data):
    files = sample_files() | {name: data}
    return verify_package(lay_out(folder, files, spell(manifest_of(files))), trusted=[MAKER])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not JSON: Expecting value at byte 0"),
        (b"[1]", "a JSON list, expected an object"),
        (b'{"a":1,"a":2}', "key 'a' is given twice"),
        (b'{"a":Infinity}', "Infinity is not JSON"),
        (b'{"a":' * 50_000, "nested too deeply"),
        (b" " * (1 << 20) + b"{}", "1048578 bytes, at most 1048576 are read"),
    ],
)
def test_config(tmp_path, data, message):
    with pytest.raises(FormatError) as caught:
        containing(tmp_path, "config.json", data).config()
    assert str(caught.value) == f"config.json: {message}"


def tensor_file(header, body=b""):
    """A safetensors file with any header: an object, or its text."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def u8(start, end, shape=None):
    return {"dtype": "U8", "shape": [end - start] if shape is None else shape, "data_offsets": [start, end]}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "0 bytes, a safetensors file has at least 8"),
        (struct.pack("<Q", 100), "header ends at byte 108, file has 8"),
        (struct.pack("<Q", (1 << 63) + 5), "header of 9223372036854775813 bytes, at most 1048576 are read"),
        (tensor_file(b" " * ((1 << 20) + 1)), "header of 1048577 bytes, at most 1048576 are read"),
        (tensor_file(b"{"), "header: not JSON: Expecting property name enclosed in double quotes at byte 1"),
        (tensor_file(b"[]"), "header: a JSON list, expected an object"),
        (tensor_file(b'{"w":{},"w":{}}'), "header: key 'w' is given twice"),
        (tensor_file({"w": 5}), 'tensor "w": type null is not read; use F32 F16 I8 U8 I16 I32 I64'),
        (
            tensor_file({"w": u8(0, 8) | {"dtype": "F64", "shape": [1]}}, bytes(8)),
            'tensor "w": type "F64" is not read; use F32 F16 I8 U8 I16 I32 I64',
        ),
        (
            tensor_file({"w": u8(0, 2) | {"dtype": "BF16", "shape": [1]}}, bytes(2)),
            'tensor "w": type "BF16" is not read; use F32 F16 I8 U8 I16 I32 I64',
        ),
        (tensor_file({"\x1b[2J": u8(0, 1)}, b"x"), "tensor name '\\x1b[2J' holds unprintable characters"),
        (
            save({"w": np.array([1, np.nan, np.inf], np.float32)}),
            'tensor "w": 2 of 3 values are NaN or infinite, first at 1',
        ),
        (
            save({"w": np.array([[1, 2], [-np.inf, 4]], np.float16)}),
            'tensor "w": 1 of 4 values are NaN or infinite, first at 2',
        ),
    ],
)
def test_weights(tmp_path, data, message):
    with pytest.raises(FormatError) as caught:
        containing(tmp_path, WEIGHTS, data).tensors()
    assert str(caught.value) == f"model.safetensors: {message}"


@pytest.mark.parametrize(
    "data",
    [
        tensor_file({"a": u8(0, 4), "b": u8(2, 6)}, bytes(6)),  # overlap
        tensor_file({"a": u8(0, 2), "b": u8(4, 6)}, bytes(6)),  # hole
        tensor_file({"a": u8(0, 4)}, bytes(6)),  # bytes left over
        tensor_file({"a": u8(0, 4)}, bytes(2)),  # bytes missing
        tensor_file({"a": u8(0, 4, [5])}, bytes(4)),  # shape of another size
        tensor_file({"a": u8(0, 4, [1 << 32, 1 << 32, 4])}, bytes(4)),  # product overflows 64 bits
        tensor_file({"a": u8(0, 4, [-4])}, bytes(4)),
        tensor_file({"a": u8(4, 0, [4])}, bytes(4)),
        tensor_file({"a": u8(0, 4) | {"data_offsets": [0, 4, 8]}}, bytes(4)),
        tensor_file({"a": u8(0, 4) | {"data_offsets": [0, 1 << 70]}}, bytes(4)),
        tensor_file({"__metadata__": {"a": 5}, "a": u8(0, 4)}, bytes(4)),
    ],
)
def test_weights_whose_layout_the_safetensors_library_refuses(tmp_path, data):
    with pytest.raises(FormatError, match=r"^model\.safetensors: [^\n]+$"):
        containing(tmp_path, WEIGHTS, data).tensors()


# --- and none of it can be made with our own tools


@pytest.mark.parametrize(
    ("files", "changes", "message"),
    [
        ({"../x": b""}, {}, "edgeq.json: path '../x' leads out of the package"),
        ({"edgeq.sig": b""}, {}, "edgeq.json: lists 'edgeq.sig', which cannot vouch for itself"),
        ({"config.json": b"[]"}, {}, "config.json: a JSON list, expected an object"),
        ({WEIGHTS: b""}, {}, "model.safetensors: 0 bytes, a safetensors file has at least 8"),
        ({}, {"version": 0}, "edgeq.json: version 0: expected an integer from 1 to 2147483647"),
        ({}, {"name": "a/b"}, "edgeq.json: name 'a/b': use letters, digits, dots, dashes and underscores"),
        (
            {},
            {"metrics": [{"name": "a" * (2 << 20), "value": 1, "unit": "", "source": "measured"}]},
            "edgeq.json: 2097641 bytes, at most 1048576 are read",
        ),
        (
            {},
            {"metrics": [{"name": "a", "value": float("nan"), "unit": "", "source": "measured"}]},
            "edgeq.json: metrics hold what JSON cannot spell (NaN, infinity or no plain value)",
        ),
    ],
)
def test_writer_refuses_what_the_reader_would(tmp_path, files, changes, message):
    terms = {"name": "demo", "version": 1, "licence": "MIT", "key": KEY} | changes
    with pytest.raises(FormatError) as caught:
        write_package(tmp_path / "demo", files=sample_files() | files, **terms)
    assert str(caught.value) == message
    assert list(tmp_path.iterdir()) == []
