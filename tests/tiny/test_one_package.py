"""One promise: a signed package verifies, a changed one does not."""

import pytest
from sample_package import MAKER, sample_files, write_sample


def test_a_package_verifies_until_it_is_changed(tmp_path):
    from edgeq._errors import IntegrityError
    from edgeq.package import verify_package

    write_sample(tmp_path / "demo")
    assert verify_package(tmp_path / "demo", trusted=[MAKER]).read("README.md") == sample_files()["README.md"]
    (tmp_path / "demo" / "README.md").write_text("changed")
    with pytest.raises(IntegrityError):
        verify_package(tmp_path / "demo", trusted=[MAKER])
