"""Zoo models on a board behind ssh that is an emulated 64-bit Arm processor."""

import shutil

import pytest
from zoo_models import MODELS, assert_deploys, assert_equal, outputs_on

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not shutil.which("qemu-aarch64"), reason="no qemu-aarch64: apt-get install qemu-user"),
]


@pytest.mark.parametrize("name", MODELS)
def test_a_model_deploys_and_gives_what_it_gives_here(board, name, capsys):
    url = board.url("?runner=qemu-aarch64&arch=aarch64")
    assert_equal(outputs_on(url, name), outputs_on("local", name), exact=False)
    assert_deploys(url, name, capsys)
