"""GPTQ, versions 1 and 2, with and without act-order (`desc_act`): 2, 4 or 8 bits.

Version 1 stores zero - 1, subtracted from whole 32-bit words, so a zero of 0 has borrowed from its neighbour.
"""

import torch
from torch import Tensor

from edgeq._errors import FormatError
from edgeq.importers.words import WORD, permutation, unpack_columns, unpack_rows
from edgeq.schemes.grouped import GroupedWeight


def decode(
    qweight: Tensor,
    qzeros: Tensor,
    scales: Tensor,
    *,
    g_idx: Tensor | None = None,
    bias: Tensor | None = None,
    bits: int = 4,
    version: int = 1,
    symmetric: bool = False,
) -> GroupedWeight:
    """One layer.

    qweight    (i * bits / 32, o) int32: words along the input
    qzeros     (G, o * bits / 32) int32: words along the output
    scales     (G, o) float16
    g_idx      (i,) group of each input; absent: contiguous groups
    symmetric  what the configuration says; the zeros must agree
    raises     FormatError for tensors that do not fit each other
    """
    codes = unpack_rows(qweight, bits, "qweight").T  # (o, i)
    outputs, inputs = codes.shape
    if scales.dim() != 2 or scales.shape[1] != outputs:
        raise FormatError(f"scales: expected (groups, {outputs}), got {tuple(scales.shape)}")
    groups = scales.shape[0]
    if version == 1:
        ones = sum(1 << shift for shift in range(0, WORD, bits))
        qzeros = (qzeros.to(torch.int64) + ones) & (2**WORD - 1)
    elif version != 2:
        raise FormatError(f"checkpoint_format: GPTQ has versions 1 and 2, got {version}")
    zero = unpack_columns(qzeros, bits, "qzeros").T
    if zero.shape != (outputs, groups):
        raise FormatError(f"qzeros: zeros for {tuple(zero.T.shape)}, expected {(groups, outputs)}")
    if symmetric and not bool((zero == 2 ** (bits - 1)).all()):
        raise FormatError(f"qzeros: symmetric weights have zero {2 ** (bits - 1)} throughout; is the version right?")
    perm = permutation(g_idx, inputs, groups)
    return GroupedWeight(
        bits=bits,
        codes=codes.contiguous() if perm is None else codes[:, perm],
        scale=scales.T.float(),
        zero=zero.float(),
        perm=perm,
        bias=None if bias is None else bias.float(),
        stored_scale=scales.dtype,
    )
