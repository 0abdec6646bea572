"""Zoo models as `.tflite` on a phone behind adb that computes with this machine's processor."""

import pytest
from zoo_models import assert_deploys, assert_equal, outputs_on

pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is not installed: pip install 'edgeq[litert]'")
pytestmark = pytest.mark.long


@pytest.mark.parametrize("name", ["pokebnn-fashion", "ternary-bart-g2p"])  # one keeps what decode writes
def test_the_outputs_are_those_of_the_pte(phones, name):
    assert_equal(outputs_on(f"adb:{phones().serial}", name, "litert"), outputs_on("local", name), exact=True)


def test_a_phone_gets_litert_once(phones, capsys):
    phone = phones()
    assert_deploys(f"adb:{phone.serial}", "pokebnn-fashion", capsys, "litert")
    (library,) = phone.folder.rglob("libLiteRt.so")
    (operators,) = phone.folder.rglob("libedgeq_litert.so")
    assert library.parent == operators.parent and library.parents[1].name == "litert"
    before = library.stat().st_mtime_ns
    assert_deploys(f"adb:{phone.serial}", "pokebnn-fashion", capsys, "litert")
    assert library.stat().st_mtime_ns == before
