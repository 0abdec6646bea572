import pytest

from edgeq import _native as native


@pytest.fixture(autouse=True)
def best_isa():
    """Leave the instruction set as it was, whatever a test selects."""
    before = native.isa()
    yield
    native.select_isa(before)
