"""Arguments with which every operator over integers can be called."""

import torch

from edgeq import ops
from edgeq.ops import Codes, Want

PLANES = {"b1": 1, "t2": 2, "s2": 2, "s3": 3, "s4": 4}


def _codes(*shape: int) -> torch.Tensor:
    return torch.randint(-128, 128, shape, dtype=torch.int8)


def _params(o: int) -> torch.Tensor:
    return ops.stack_params(torch.rand(o) * 0.01, torch.randn(o))


def conv2d(weights: str):
    w = _codes(9, 3, 3, 5) if weights == "i8" else torch.randint(0, 32, (PLANES[weights], 9, 3, 3, 1)).byte()
    step, grid = torch.tensor([0.1]), torch.tensor([2.0, -127, 127])
    want = int(Want.ALL | Want.CODES)
    return _codes(2, 6, 5, 5), w, 2, 1, 1, None, 1, _params(9), _codes(2, 3, 3, 9), step, grid, want


def tuned(arguments: tuple) -> tuple:
    """What the tuned twin of a convolution to at most 12 channels takes instead: a row of ac for each image."""
    *arguments, want = arguments
    return torch.randn(len(arguments[0]), 31) * 0.1, 7, 0.5, *arguments, int(want | Want.MOMENTS)


def conv2d_f32(weights: str):
    w = torch.randn(9, 3, 3, 5) if weights == "f32" else torch.randint(0, 32, (PLANES[weights], 9, 3, 3, 1)).byte()
    return torch.randn(2, 6, 5, 5), w, 2, 1, 1, None, 1, _params(9), torch.randn(2, 3, 3, 9), None, None, 7


def linear(weights: str):
    w = _codes(9, 40) if weights == "i8" else torch.randint(0, 256, (PLANES[weights], 9, 8)).byte()
    want = int(Want.MAP | Want.T2)
    return _codes(2, 3, 40), w, torch.rand(1, 6), 4, _params(9), torch.randn(2, 3, 9), None, None, want


def linear_i4():
    codes, scale = torch.randint(0, 256, (9, 32)).byte(), torch.rand(9, 2).half()
    return _codes(3, 64), codes, scale, None, 32, None, torch.rand(1, 3), 0, _params(9), None, None, None, 1


def conv2d_i4():
    codes, scale = torch.randint(0, 256, (9, 144)).byte(), torch.rand(9, 9).half()
    image, zero = (_codes(2, 6, 5, 32), 3, 3), torch.rand(9, 9).half()
    return *image, codes, scale, zero, 32, 2, 1, None, 1, _params(9), _codes(2, 3, 3, 9), torch.tensor([0.1]), None, 7


CASES = {
    **{f"conv2d_{weights}i8": (lambda weights=weights: conv2d(weights)) for weights in (*PLANES, "i8")},
    **{f"linear_{weights}i8": (lambda weights=weights: linear(weights)) for weights in (*PLANES, "i8")},
    **{f"conv2d_{w}i8_tuned": (lambda w=w: tuned(conv2d(w))) for w in ("s2", "s3", "s4", "i8")},
    **{f"conv2d_{w}f32_tuned": (lambda w=w: tuned(conv2d_f32(w))) for w in ("s2", "s3", "s4", "f32")},
    "linear_i4i8": linear_i4,
    "conv2d_i4i8": conv2d_i4,
    "quantise_i8": lambda: (torch.randn(2, 3, 40), torch.tensor([10.0, -127, 127])),
    "quantise_rows_i8": lambda: (torch.randn(2, 3, 40), int(Codes.ROW_ASYM), 0.0),
}
