"""Arguments for the operators over planes, tokens and plain floats, one set each."""

from collections.abc import Callable

import torch
from torch import Tensor

from edgeq import ops
from edgeq.ops import Act, Keep, Probability, Want

K, OUT, T = 12, 5, 4  # inputs, outputs, tokens


def signs(*shape: int) -> Tensor:
    """One plane: (..., row) uint8."""
    return ops.pack_sign(torch.randn(*shape), None)


def planes(*shape: int) -> Tensor:
    """(2, ..., row) uint8, zeros among them."""
    return ops.pack_t2(torch.randn(*shape).round(), None)


def params() -> Tensor:
    return ops.stack_params(torch.rand(OUT), torch.randn(OUT))


def shift_weights(bits: int) -> Tensor:
    return torch.randint(0, 16, (bits, OUT, 3, 3, 1), dtype=torch.uint8)


def linear_shifts(bits: int) -> tuple:
    return linear_floats(torch.stack([signs(OUT, K) for _ in range(bits)]))


def conv_floats(weight: Tensor) -> tuple:
    tail = (None, int(Act.RELU), params(), None, None, None, int(Want.MAP | Want.MEAN))
    return torch.randn(1, 6, 5, 4), weight, 2, 1, 1, *tail


def linear_floats(weight: Tensor) -> tuple:
    return torch.randn(3, K), weight, None, int(Act.NONE), params(), None, None, None, int(Want.MAP | Want.BITS)


def linear_planes(x: Tensor, weight: Tensor) -> tuple:
    return x, weight, K, int(Act.GELU), params(), torch.randn(3, OUT), None, int(Want.MAP | Want.T2)


def attention_signs() -> tuple:
    q, k, v = (planes(1, T, K) for _ in range(3))
    mask = torch.tensor([[1, 1, 1, 0]], dtype=torch.uint8)
    steps, want = torch.tensor([0.1, 0.5, 2.0]), int(Want.MAP | Want.T2)
    return q, k, v, K, 2, int(Keep.SOFTMAX), 0, steps, None, mask, None, 0, want


def attention_codes() -> tuple:
    q, k, v = (torch.randint(-8, 8, (1, T, K), dtype=torch.int8) for _ in range(3))
    return q, k, v, 2, int(Probability.STEP), 15, 0, torch.tensor([0.05, 0.1, 0.1]), None, None, 1


def attention_floats() -> tuple:
    return torch.randn(2, 4, 3 * 16), 2, 0.35, torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]], dtype=torch.uint8)


def ids() -> Tensor:
    return torch.tensor([[0, 2, 1]])


CASES: dict[str, Callable[[], tuple]] = {
    "attention_b1": attention_signs,
    "attention_i8": attention_codes,
    "attention_f32": attention_floats,
    "conv2d_b1t2": lambda: (
        *(planes(1, 6, 5, 4), signs(OUT, 3, 3, 4), 4, 2, 1, 1, int(Act.RELU)),
        *(params(), None, None, int(Want.MAP | Want.T2)),
    ),
    "conv2d_b1u1": lambda: (
        *(signs(1, 6, 5, 4), signs(OUT, 3, 3, 4), 4, 2, 1, 1, int(Act.RELU)),
        *(params(), None, None, int(Want.MAP | Want.T2)),
    ),
    "conv2d_t2b1": lambda: (
        *(signs(1, 6, 5, 4), planes(OUT, 3, 3, 4), 4, 2, 1, 1, int(Act.NONE)),
        *(params(), torch.randn(1, 3, 3, OUT), None, int(Want.MAP | Want.BITS | Want.MEAN)),
    ),
    "conv2d_f32f32": lambda: conv_floats(torch.randn(OUT, 3, 3, 4)),
    "conv2d_s2f32": lambda: conv_floats(shift_weights(2)),
    "conv2d_s3f32": lambda: conv_floats(shift_weights(3)),
    "conv2d_s4f32": lambda: conv_floats(shift_weights(4)),
    "embedding_b1": lambda: (ids(), signs(3, K), torch.rand(3), K),
    "embedding_t2": lambda: (ids(), planes(3, K), torch.rand(3), K),
    "embedding_i8": lambda: (ids(), torch.randint(-127, 128, (3, K), dtype=torch.int8), torch.rand(3)),
    "embedding_i4": lambda: (
        *(ids(), torch.randint(0, 256, (3, 16), dtype=torch.uint8), torch.rand(3, 1).half(), None),
        *(32, 32),
    ),
    "layer_norm": lambda: (
        *(torch.randn(2, K), torch.randn(2, K), torch.rand(K), torch.randn(K), 1e-12),
        *(None, int(Want.MAP | Want.T2)),
    ),
    "layer_norm_tuned": lambda: (
        *(torch.randn(2, 2 * K + 1), 1, 0.5, torch.randn(2, 3, K), torch.tensor([[1, 1, 0]] * 2, dtype=torch.uint8)),
        *(torch.randn(2, 3, K), torch.rand(K), torch.randn(K), 1e-12, None, int(Want.MAP | Want.T2 | Want.MOMENTS)),
    ),
    "linear_b1f32": lambda: linear_floats(signs(OUT, K)[None]),
    "linear_t2f32": lambda: linear_floats(planes(OUT, K)),
    "linear_s2f32": lambda: linear_shifts(2),
    "linear_s3f32": lambda: linear_shifts(3),
    "linear_s4f32": lambda: linear_shifts(4),
    "linear_f32f32": lambda: linear_floats(torch.randn(OUT, K)),
    "linear_b1t2": lambda: linear_planes(planes(3, K), signs(OUT, K)),
    "linear_b1u1": lambda: linear_planes(signs(3, K), signs(OUT, K)),
    "linear_t2b1": lambda: linear_planes(signs(3, K), planes(OUT, K)),
    "pack_t2": lambda: (torch.randn(2, 3, 40), torch.randn(40)),
}
