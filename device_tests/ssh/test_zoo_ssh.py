"""Zoo models on a board behind ssh that is an emulated 64-bit Arm processor."""

import shutil

import pytest
from zoo_models import MODELS, assert_deploys, assert_equal, outputs_on

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not shutil.which("qemu-aarch64"), reason="no qemu-aarch64: apt-get install qemu-user"),
]


@pytest.mark.parametrize("name", MODELS)
def test_the_outputs_are_those_of_this_machine(board, name):
    assert_equal(
        outputs_on(board.url("?runner=qemu-aarch64&arch=aarch64"), name), outputs_on("local", name), exact=False
    )


def test_deploy_measures_and_stores(board, capsys):
    assert_deploys(board.url("?runner=qemu-aarch64&arch=aarch64"), "pokebnn-fashion", capsys)
