"""One small call of every operator: arguments by the schema's order, the first tensor being the input."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from edgeq import ops
from edgeq.ops import row_bytes

G = torch.Generator().manual_seed(0)
PLANES = {"b1": 1, "t2": 2, "s2": 2, "s3": 3, "s4": 4}


def floats(*shape: int) -> Tensor:
    return torch.randn(shape, generator=G)


def codes(*shape: int) -> Tensor:
    return torch.randint(-127, 128, shape, generator=G).to(torch.int8)


def bits(k: int, *lead: int) -> Tensor:
    """Rows of k random bits; what is behind them is 0."""
    row = row_bytes(k)
    used = torch.arange(8 * row) < k
    drawn = torch.randint(0, 2, (*lead, 8 * row), generator=G) * used
    return (drawn.reshape(*lead, row, 8) << torch.arange(8)).sum(-1).to(torch.uint8)


def planes(kind: str, k: int, *lead: int) -> Tensor:
    """Weights of a type of bits, planes outermost; of ternary ones the sign is 0 where the value is."""
    found = torch.stack([bits(k, *lead) for _ in range(PLANES[kind])])
    if kind == "t2":
        found[0] &= found[1]
    return found


GRID = torch.tensor([8.0, -100.0, 90.0])


def _cases() -> dict[str, tuple[Any, ...]]:
    params, dprelu = floats(2, 12), floats(7, 12)
    tail = (None, 0, params, floats(3, 12), None, GRID, 11)
    image = (None, 1, params, None, None, GRID, 13)
    found: dict[str, tuple[Any, ...]] = {
        "pack_sign": (floats(3, 20), floats(20)),
        "pack_t2": (floats(2, 3, 20), None),
        "conv2d_b1b1": (bits(16, 1, 5, 4), bits(16, 12, 3, 3), 16, 2, 1),
        "conv2d_b1b1_fused": (
            *(bits(16, 1, 4, 4), bits(16, 12, 3, 3), 16, 1, 1, 2, dprelu),
            *(floats(1, 4, 4, 12), floats(1, 8, 8, 6), floats(1, 12), 7),
        ),
        "linear_b1b1": (bits(70, 3), bits(70, 12), 70),
        "epilogue": (torch.arange(36, dtype=torch.int32).reshape(1, 3, 1, 12), 1, params, None, None, None),
        "mean_hw": (floats(2, 3, 4, 5),),
        "quantise_i8": (floats(3, 7), GRID),
        "quantise_rows_i8": (floats(3, 40), 2, 2.5),
        "conv2d_b1t2": (planes("t2", 16, 1, 5, 4), bits(16, 12, 3, 3), 16, 1, 1, 1, 0, params, None, GRID, 29),
        "conv2d_b1u1": (bits(16, 1, 5, 4), bits(16, 12, 3, 3), 16, 2, 1, 1, 1, params, None, None, 5),
        "conv2d_t2b1": (bits(16, 1, 5, 4), planes("t2", 16, 12, 3, 3), 16, 1, 1, 1, 0, params, None, GRID, 29),
        "linear_b1t2": (planes("t2", 40, 3), bits(40, 12), 40, 0, params, floats(3, 12), GRID, 11),
        "linear_b1u1": (bits(40, 3), bits(40, 12), 40, 4, params, None, None, 17),
        "linear_t2b1": (bits(40, 3), planes("t2", 40, 12), 40, 0, params, None, None, 3),
        "attention_b1": (
            *(planes("t2", 16, 1, 5), planes("t2", 16, 1, 6), planes("t2", 16, 1, 6), 16, 2, 2, 0),
            *(torch.tensor([0.3, 0.1, 0.5]), floats(16), torch.ones(1, 6, dtype=torch.uint8), None, 0, 17),
        ),
        "attention_i8": (
            *(codes(1, 4, 16), codes(1, 6, 16), codes(1, 6, 16), 2, 1, 255, 1, torch.tensor([0.001, 0.02, 1.0])),
            *(None, torch.tensor([5]), 1),
        ),
        "attention_f32": (floats(1, 5, 24), 2, 0.5, torch.tensor([[1, 1, 0, 1, 1]], dtype=torch.uint8)),
        "embedding_b1": (torch.tensor([[0, 6]]), bits(20, 7), floats(7), 20),
        "embedding_t2": (torch.tensor([3, 6]), planes("t2", 20, 7), floats(7), 20),
        "embedding_i8": (torch.tensor([[5], [1]]), codes(7, 20), floats(7)),
        "embedding_i4": (torch.tensor([2, 0]), bits(4 * 64, 7), floats(7, 2).half(), bits(8, 7), 32, 64),
        "layer_norm": (floats(2, 3, 20), floats(2, 3, 20), floats(20), floats(20), 1e-5, floats(20), 17),
        "layer_norm_tuned": (
            *(floats(2, 50) / 4, 3, 0.5, floats(2, 3, 20), torch.tensor([[1, 0, 1], [1, 1, 0]], dtype=torch.uint8)),
            *(floats(2, 3, 20), floats(20), floats(20), 1e-5, floats(20), 17 | ops.Want.MOMENTS),
        ),
        "conv2d_i8f32": (floats(1, 6, 5, 4), codes(12, 3, 3, 2), None, 0, 1, 0, 2, 1, params),
        "conv2d_i8f32_fused": (floats(1, 6, 5, 4), codes(12, 3, 3, 4), floats(2, 4).abs(), 3, 2, 1, 1, 1, params, 7),
        "linear_i8f32": (floats(3, 20), codes(12, 20), floats(2, 20).abs(), 1, 0, params),
        "linear_i4f32": (floats(3, 20), bits(80, 12), None, 0, 3, params),
        "squeeze_excite_i4f32": (
            *(floats(2, 8), torch.cat([bits(32, 4).flatten(), bits(16, 12).flatten()])),
            *(floats(2 * 8 + 2 * 4 + 2 * 4 + 2 * 12).abs(), 4, 2, 2),
        ),
        "linear_i4i8": (codes(3, 64), bits(4 * 64, 12), floats(12, 2).half(), floats(12, 2).half(), 32, None, *tail),
        "conv2d_i4i8": (
            *(codes(1, 5, 4, 32), 3, 2, bits(4 * 192, 12), floats(12, 6).half(), bits(24, 12)[:, :3].contiguous()),
            *(32, 2, 1, *image),
        ),
        "linear_i8i8": (codes(3, 20), codes(12, 20), *tail),
        "linear_f32f32": (floats(3, 20), floats(12, 20), *tail),
        "conv2d_i8i8": (codes(1, 5, 4, 6), codes(12, 3, 2, 6), 1, 1, 1, *image),
        "conv2d_f32f32": (floats(1, 5, 4, 6), floats(12, 3, 2, 6), 2, 1, 1, *image),
    }
    rows = floats(2, 3).abs()
    shifted = (rows, 0, floats(3, 12), codes(3, 12), torch.tensor([0.1]), None, 17)
    for kind in PLANES:
        found[f"linear_{kind}i8"] = (codes(3, 20), planes(kind, 20, 12), *(shifted if kind == "t2" else tail))
        depthwise = kind == "s3"
        w = planes(kind, 12, 3, 2) if depthwise else planes(kind, 6, 12, 3, 2)
        x = codes(1, 5, 4, 12 if depthwise else 6)
        found[f"conv2d_{kind}i8"] = (x, w, 1, 1, 12 if depthwise else 1, *image)
        found[f"linear_{kind}f32"] = (floats(3, 20), planes(kind, 20, 12), *tail)
        if kind not in ("b1", "t2"):
            found[f"conv2d_{kind}f32"] = (floats(1, 5, 4, 6), planes(kind, 6, 12, 3, 2), 1, 1, 1, *image)
    for name in ("b1b1_fused", "i8f32_fused", "s2i8", "s3i8", "s4i8", "i8i8", "s2f32", "s3f32", "s4f32", "f32f32"):
        *given, want = found[f"conv2d_{name}"]
        twin = f"conv2d_{name.removesuffix('_fused')}_tuned"
        found[twin] = (floats(1, 30) / 4, 3, 0.5, *given, want | ops.Want.MOMENTS)
    found["fake_quantise"] = (floats(3, 12), floats(2, 12).abs() + 1, ops.Quant.SYM4)
    found["latent_codes"] = (floats(3, 40) * 4, ops.Latent.POWERS, 8)
    found["mean_patches"] = (codes(2, 5, 4, 6), 3, 2, 2, 1)
    found["mean_quarters"] = (codes(2, 5, 1, 6), torch.tensor([8.0, -100.0, 90.0]))
    return found


CASES = _cases()


class Call(nn.Module):
    """One operator whose tensors but the first are constants."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.op = getattr(ops, name)
        self.arguments: list[Any] = []
        for i, value in enumerate(CASES[name]):
            if isinstance(value, Tensor) and i > 0:
                self.register_buffer(f"a{i}", value)
            self.arguments.append(f"a{i}" if isinstance(value, Tensor) else value)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        given = [self.get_buffer(a) if isinstance(a, str) else a for a in self.arguments[1:]]
        results = self.op(x, *given)
        return tuple(y for y in (results if isinstance(results, tuple) else (results,)) if y.numel())
