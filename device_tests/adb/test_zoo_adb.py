"""Zoo models on a phone behind adb that computes with this machine's processor."""

import pytest
from zoo_models import MODELS, assert_deploys, assert_equal, outputs_on

pytestmark = pytest.mark.long


@pytest.mark.parametrize("name", MODELS)
def test_a_model_deploys_and_gives_what_it_gives_here(phones, name, capsys):
    url = f"adb:{phones().serial}"
    assert_equal(outputs_on(url, name), outputs_on("local", name), exact=True)
    assert_deploys(url, name, capsys)
