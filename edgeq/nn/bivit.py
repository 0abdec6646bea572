"""Layers of BiViT: linear with centred binary weights, attention of bits, and the two-layer perceptron.

Zero stays zero in every sign, as in the authors' code. That matters: the input of `proj` is a sum of signs over the
kept keys, an integer that is 0 for every fifth element or so. Sums are formed in the authors' order, signs times scaled
weights, because the next layer takes the sign of results near 0, and GELU's underflow is just as sharp.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from edgeq._errors import UsageError
from edgeq.schemes import centred, signs, softmax_aware

INITIAL_RANGE = 0.015  # latents under a learnt scale start uniformly in +-this
Rule = Literal["sab", "baseline"]


class BivitLinear(nn.Module):
    """(..., I) -> (..., O): alpha[o] (sign(W - rowmean) . x)[o] + bias[o], where x may be signs too.

    A learnt alpha starts as zeros and takes the rows' mean |W| at the first forward, so that latents may be loaded
    from a float network in between.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        binary_input: bool,
        learnt_scale: bool,
        quantised: bool = True,
    ) -> None:
        super().__init__()
        self.binary_input, self.quantised = binary_input, quantised
        limit = INITIAL_RANGE if quantised and learnt_scale else in_features**-0.5
        self.weight = nn.Parameter(torch.empty(out_features, in_features).uniform_(-limit, limit))  # (O, I) latents
        self.bias = nn.Parameter(torch.zeros(out_features))  # (O,)
        self.alpha = nn.Parameter(torch.zeros(out_features)) if quantised and learnt_scale else None  # (O,)

    def scale(self) -> Tensor:
        """(O,): alpha."""
        if self.alpha is None:
            return centred.row_scale(self.weight)
        if self.alpha.detach().sum() == 0:
            with torch.no_grad():
                self.alpha.copy_(centred.row_scale(self.weight))
        return self.alpha

    def forward(self, x: Tensor) -> Tensor:
        if not self.quantised:
            return nn.functional.linear(x, self.weight, self.bias)
        x = signs.attention_operand(x).values if self.binary_input else x
        return nn.functional.linear(x, centred.weights(self.weight, self.scale())) + self.bias


class BivitAttention(nn.Module):
    """(B, N, dim) -> (B, N, dim); q, k, v are signs, the attention matrix is 0 or 1 without a scale.

    rule     "sab": softmax-aware, learnt scales; "baseline": the sign of the logit, scales are means
    dropout  on the logits, before they become bits
    """

    def __init__(
        self, dim: int, heads: int, *, rule: Rule = "sab", dropout: float = 0.0, quantised: bool = True
    ) -> None:
        super().__init__()
        if heads < 1 or dim % heads:
            raise UsageError(f"heads: must divide dim {dim}, got {heads}")
        self.heads, self.rule, self.dropout, self.quantised = heads, rule, dropout, quantised
        learnt = rule == "sab"
        self.qkv = BivitLinear(dim, 3 * dim, binary_input=True, learnt_scale=learnt, quantised=quantised)
        self.proj = BivitLinear(dim, dim, binary_input=True, learnt_scale=learnt, quantised=quantised)

    def forward(self, x: Tensor) -> Tensor:
        b, n, dim = x.shape
        d = dim // self.heads
        qkv = self.qkv(x).reshape(b, n, 3, self.heads, d).permute(2, 0, 3, 1, 4)  # (3, B, heads, N, d)
        q, k, v = signs.attention_operand(qkv).values if self.quantised else qkv
        logits = nn.functional.dropout((q @ k.transpose(-2, -1)) * d**-0.5, self.dropout, self.training)
        context = self._attention(logits) @ v
        out: Tensor = self.proj(context.transpose(1, 2).reshape(b, n, dim))
        return out

    def _attention(self, logits: Tensor) -> Tensor:
        """(B, heads, N, N)."""
        if not self.quantised:
            return logits.softmax(-1)
        return softmax_aware.bits(logits) if self.rule == "sab" else signs.attention_bit(logits).values


class BivitMlp(nn.Module):
    """(..., dim) -> (..., dim): fc1, exact GELU, fc2.

    With binary input a value below about -5.5 counts as 0, not -1: there GELU returns -0.0 in float32.
    """

    def __init__(
        self, dim: int, hidden: int, *, binary_input: bool, learnt_scale: bool, quantised: bool = True
    ) -> None:
        super().__init__()
        self.fc1 = BivitLinear(dim, hidden, binary_input=binary_input, learnt_scale=learnt_scale, quantised=quantised)
        self.fc2 = BivitLinear(hidden, dim, binary_input=binary_input, learnt_scale=learnt_scale, quantised=quantised)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fc2(nn.functional.gelu(self.fc1(x)))
        return y
