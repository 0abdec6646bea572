"""INT4 MiniLM is not bundled: made again from its float checkpoint, it is as good as it was released."""

import importlib
import json
import sys
from pathlib import Path

import pytest

from edgeq._errors import NotFoundError
from edgeq.datasets import pretrained, snippets

ROOT = Path(__file__).parents[2]
EXPECTED = json.loads((ROOT / "zoo" / "int4-minilm" / "expected.json").read_text())


def test_what_was_released_meets_its_bars():
    kept, clear = EXPECTED["neighbours"]["kept"], EXPECTED["neighbours"]["clear"]
    assert EXPECTED["mean_cosine"] >= 0.990 and kept >= 0.96 * clear
    assert EXPECTED["weights_bytes"] <= 1.07 * EXPECTED["tensor_bytes"]


@pytest.mark.long
def test_made_again_it_agrees_with_the_float_network(tmp_path, monkeypatch):
    try:
        pretrained.minilm(), snippets.load()
    except NotFoundError as error:
        pytest.skip(f"INT4 MiniLM is not made again here: {error}")
    monkeypatch.syspath_prepend(ROOT / "tools")
    entry = tmp_path / "int4-minilm"
    entry.mkdir()
    monkeypatch.setattr(sys, "argv", ["release_encoder.py", str(entry), "-o", str(tmp_path / "package")])
    assert importlib.import_module("release_encoder").main() == 0
    found = json.loads((entry / "expected.json").read_text())
    assert found["mean_cosine"] == pytest.approx(EXPECTED["mean_cosine"], abs=1e-3)
    assert found["neighbours"]["kept"] >= 0.96 * found["neighbours"]["clear"]
