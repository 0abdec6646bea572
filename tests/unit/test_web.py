"""What a model's page is made of, and for which models there is none; the page itself runs in device_tests/wasm."""

import json
import re
from pathlib import Path

import pytest

from edgeq._errors import StoreError, UnsupportedError
from edgeq.compile import wasm, web

PTE = (Path(__file__).parents[1] / "micro/corpus/tiny.pte").read_bytes()
CONFIG = {
    "task": "image-classification",
    "input": {"shape": [8, 8, 1]},
    "labels": ["one", "</script><script>alert(1)</script>"],
    "preprocessing": {"scale": 1.0, "mean": [0.0], "std": [1.0]},
}


@pytest.fixture
def package(monkeypatch):
    """The JavaScript package with modules that nobody had to build."""
    monkeypatch.setattr(wasm, "modules", lambda: {name: b"\0asm" for name in wasm.MODULES})


def test_the_page_holds_everything_and_the_package_lies_beside_it(package, tmp_path):
    made = web.export(PTE, tmp_path / "web", "net", CONFIG, version="3")
    assert set(made.files) == {
        "index.html",
        "net.pte",
        *(f"edgeq/{file}" for file in ("README.md", "index.d.ts", "index.js", "package.json", *wasm.MODULES)),
    }
    assert (made.folder / "net.pte").read_bytes() == PTE
    page = (made.folder / "index.html").read_text()
    told = json.loads(re.search(r'id="model">(.*?)</script>', page, re.DOTALL)[1])
    assert (told["name"], told["version"], told["labels"]) == ("net", "3", CONFIG["labels"])
    assert not re.search(r"@[A-Z]+@", page)
    assert page.count("</script>") == 2  # no label ends an element
    assert not re.search(r'(src|href)="(?!data:)', page)  # nothing from elsewhere


def test_every_file_that_the_package_names_is_in_it(package):
    files = wasm.package()
    assert set(json.loads(files["package.json"])["files"]) <= set(files)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": "text-classification"}, 'no page for the task "text-classification"'),
        ({"input": {"shape": [8, 8, 2]}}, r"pictures of 1 or 3 channels, the input is \[8, 8, 2\]"),
        ({"input": {}}, r"the input is \[\]"),
        ({"task": "audio-classification"}, "the page computes log-mel features"),
    ],
)
def test_models_that_no_page_fits_are_refused(package, tmp_path, change, message):
    with pytest.raises(UnsupportedError, match=message):
        web.export(PTE, tmp_path / "web", "net", {**CONFIG, **change})
    assert not (tmp_path / "web").exists()


def test_a_folder_that_cannot_be_written_is_said(package, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        web.export(PTE, tmp_path / "file", "net", CONFIG)


def test_without_a_compiler_it_says_what_to_install(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(
        UnsupportedError, match="clang, which makes WebAssembly, is not installed: apt-get install clang"
    ):
        wasm.modules()
