"""Makes the programs that the tests deploy: `python programs.py FOLDER`.

Of each: NAME.pte and NAME.npz with its inputs x0, x1, ... and the outputs y0, y1, ... that PyTorch gives.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir import to_edge_transform_and_lower
from torch import Tensor, nn

from edgeq import ops
from edgeq.ops import Act, Quant, Want

torch.manual_seed(0)
torch.set_num_threads(1)


class Float(nn.Module):
    """A float net for XNNPACK."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3, padding=1)
        self.head = nn.Linear(8 * 14 * 14, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(nn.functional.max_pool2d(self.conv(x), 2)).flatten(1))


class Mixed(nn.Module):
    """Several inputs and outputs of different types."""

    def forward(self, x: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        return x * 2 + k.to(torch.float32), k + 1


def rows(n: int, k: int) -> Tensor:
    """Random packed rows of k bits."""
    return ops.pack_sign(torch.randn(n, k), None)


def positive(*shape: int) -> Tensor:
    return torch.rand(*shape) + 0.5


class Operators(nn.Module):
    """Every edgeq:: operator once or more, with all that an epilogue can do."""

    def __init__(self) -> None:
        super().__init__()
        c, o = 40, 24
        bit_rows = {"w1": (o, 3, 3, c), "w_group": (c, 3, 3, c // 5), "w_depth": (c, 3, 3, 1), "w_fc": (7, c)}
        tensors = {
            "threshold": torch.randn(c),
            "dprelu": torch.randn(7, o),
            "plain": torch.randn(2, o),
            "affine": torch.randn(4, o),
            "w8": torch.randint(-127, 128, (o, 3, 3, c), dtype=torch.int8),
            "w8_depth": torch.randint(-127, 128, (c, 3, 3, 1), dtype=torch.int8),
            "w8_fc": torch.randint(-127, 128, (o, c), dtype=torch.int8),
            "w4_fc": torch.randint(0, 256, (o, ops.row_bytes(4 * c)), dtype=torch.uint8),
            "steps": ops.pack_steps(positive(c)),
            "params_c": torch.randn(2, c),
            "se_codes": torch.randint(
                0, 256, (6 * ops.row_bytes(4 * c) + o * ops.row_bytes(4 * 6),), dtype=torch.uint8
            ),
            "se_params": torch.cat(
                [
                    *ops.pack_steps(positive(c)),
                    torch.randn(2 * 6),
                    *ops.pack_steps(positive(6)),
                    torch.randn(2 * o),
                ]
            ),
        }
        tensors |= {
            name: rows(int(np.prod(shape[:-1])), shape[-1]).view(*shape[:-1], -1) for name, shape in bit_rows.items()
        }
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor)

    def forward(self, x: Tensor, block: Tensor) -> tuple[Tensor, ...]:
        bits = ops.pack_sign(x, self.threshold)
        acc = ops.conv2d_b1b1(bits, self.w1, 40, 2, 1)
        mean = ops.mean_hw(x)
        gain = ops.squeeze_excite_i4f32(mean, self.se_codes, self.se_params, 6, Quant.SYM4, Quant.POS4)
        fused = ops.conv2d_b1b1_fused(bits, self.w1, 40, 2, 1, Act.DPRELU, self.dprelu, x, block, gain, int(Want.ALL))
        only_bits = ops.conv2d_b1b1_fused(
            bits, self.w1, 40, 1, 1, Act.RELU, self.plain, None, None, None, int(Want.BITS)
        )
        conv8 = (x, self.w8, self.steps, int(Quant.SYM8), 2, 0, 1, int(Act.RELU), self.affine)
        fused8 = ops.conv2d_i8f32_fused(*conv8, int(Want.MAP | Want.MEAN))
        depth8 = ops.conv2d_i8f32(x, self.w8_depth, None, int(Quant.NONE), 1, 1, 40, int(Act.NONE), self.params_c)
        return (
            bits,
            acc,
            ops.conv2d_b1b1(bits, self.w_group, 40, 1, 5),
            ops.conv2d_b1b1(bits, self.w_depth, 40, 1, 40),
            *fused,
            only_bits[1],
            ops.epilogue(acc, Act.HSIGMOID, self.affine, x, block, gain),
            ops.linear_b1b1(ops.pack_sign(mean, None), self.w_fc, 40),
            ops.conv2d_i8f32(*conv8),
            fused8[0],
            fused8[2],
            depth8,
            ops.linear_i8f32(mean, self.w8_fc, self.steps, int(Quant.POS4), int(Act.NONE), self.plain),
            ops.linear_i4f32(mean, self.w4_fc, self.steps, int(Quant.SYM4), int(Act.HSIGMOID), self.affine),
            gain,
        )


def save(folder: Path, name: str, module: nn.Module, *inputs: Tensor, delegate: bool = False) -> None:
    with torch.no_grad():
        outputs = module(*inputs)
        program = torch.export.export(module.eval(), inputs, strict=False)
        edge = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()] if delegate else [])
        (folder / f"{name}.pte").write_bytes(edge.to_executorch().buffer)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    arrays = {f"x{i}": x.numpy() for i, x in enumerate(inputs)} | {f"y{i}": y.numpy() for i, y in enumerate(outputs)}
    np.savez(folder / f"{name}.npz", **arrays)


def main() -> None:
    folder = Path(sys.argv[1])
    save(folder, "float", Float().eval(), torch.randn(1, 1, 28, 28), delegate=True)
    save(folder, "mixed", Mixed(), torch.randn(2, 3), torch.arange(6).reshape(2, 3))
    save(folder, "operators", Operators(), torch.randn(2, 9, 11, 40), torch.randn(2, 5, 6, 12))


if __name__ == "__main__":
    main()
