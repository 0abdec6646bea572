"""The public names: all there, each importable, none of them heavy to import."""

import subprocess
import sys

import pytest

import edgeq

HEAVY = ("torch", "numpy", "executorch", "streamlit", "huggingface_hub")


@pytest.mark.parametrize("name", edgeq.__all__)
def test_public_name_exists(name):
    assert getattr(edgeq, name) is not None


def test_exceptions_all_descend_from_one():
    for name in edgeq.__all__:
        if name.endswith("Error"):
            assert issubclass(getattr(edgeq, name), edgeq.EdgeQError)


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'qompile'"):
        _ = edgeq.qompile  # type: ignore[attr-defined]


def test_importing_edgeq_imports_nothing_heavy():
    code = f"import sys, edgeq; print([m for m in {HEAVY!r} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_every_exception_is_public():
    from edgeq import _errors

    raised = {name for name, value in vars(_errors).items() if isinstance(value, type) and name.endswith("Error")}
    assert raised <= set(edgeq.__all__)
