"""Zoo models on a phone behind adb that computes with this machine's processor."""

import pytest
from zoo_models import MODELS, assert_deploys, assert_equal, outputs_on

pytestmark = pytest.mark.long


@pytest.mark.parametrize("name", MODELS)
def test_the_outputs_are_those_of_this_machine(phones, name):
    assert_equal(outputs_on(f"adb:{phones().serial}", name), outputs_on("local", name), exact=True)


def test_deploy_measures_and_stores(phones, capsys):
    assert_deploys(f"adb:{phones().serial}", "pokebnn-fashion", capsys)
