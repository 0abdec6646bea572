"""AWQ, version "gemm", 4 bits: outputs are packed, and interleaved within a word."""

import torch
from torch import Tensor

from edgeq._errors import FormatError
from edgeq.importers.words import unpack_words
from edgeq.schemes.grouped import GroupedWeight

_OUTPUT_OF_NIBBLE = torch.tensor([0, 2, 4, 6, 1, 3, 5, 7])


def decode(qweight: Tensor, qzeros: Tensor, scales: Tensor, *, bias: Tensor | None = None) -> GroupedWeight:
    """One layer.

    qweight  (i, o / 8) int32; qzeros (G, o / 8) int32; scales (G, o) float16
    raises   FormatError for tensors that do not fit each other
    """
    codes, zero = (_outputs(words, name).T for words, name in ((qweight, "qweight"), (qzeros, "qzeros")))
    if scales.T.shape != zero.shape or zero.shape[0] != codes.shape[0]:
        raise FormatError(
            f"scales {tuple(scales.shape)}, zeros {tuple(zero.T.shape)} and {codes.shape[0]} outputs differ"
        )
    return GroupedWeight(
        bits=4,
        codes=codes.contiguous(),
        scale=scales.T.float(),
        zero=zero.float(),
        bias=None if bias is None else bias.float(),
        stored_scale=scales.dtype,
    )


def _outputs(words: Tensor, name: str) -> Tensor:
    nibbles = unpack_words(words, 4, name)
    return nibbles[..., _OUTPUT_OF_NIBBLE.argsort()].flatten(1).to(torch.uint8)
