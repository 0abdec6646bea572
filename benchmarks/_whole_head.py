"""The control of the specification's tables: the steps of the `head` tier on every sample, the last state kept.

The product's `head` holds a fifth of the samples back (ten at least) to tell whether it helps. What that costs with few
samples is the difference between the two.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn

from ._adaptation import Array, Case, hidden

RATE, BIAS_RATE, BATCH = 0.1, 0.01, 64  # `finetune_closed_form.md` 8.2


def whole_head(case: Case) -> Array:
    """Logits of the test part, (n, classes): Adam in units of the head's codes, cosine, over the base's last hidden."""
    subject = case.subject()
    model = subject.tune_model()
    x, y = torch.from_numpy(hidden(subject, case.learn_from.inputs)), torch.from_numpy(_labels(case))
    unit, spread = torch.from_numpy(model.head_scale)[:, None], model.head_sigma
    codes = nn.Parameter(torch.from_numpy(model.head_weight) / unit)
    bias = nn.Parameter(torch.from_numpy(model.head_bias) / spread)
    optimiser = torch.optim.Adam([{"params": codes, "lr": RATE}, {"params": bias, "lr": BIAS_RATE}], betas=(0.9, 0.99))
    steps = 500 if len(x) < 100 else 1500
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda t: 0.5 * (1 + math.cos(math.pi * t / steps)))
    generator = torch.Generator().manual_seed(case.draw)
    for _ in range(steps):
        rows = torch.randint(0, len(x), (min(BATCH, len(x)),), generator=generator)
        optimiser.zero_grad()
        nn.functional.cross_entropy(x[rows] @ (codes * unit).T + bias * spread, y[rows]).backward()
        optimiser.step()
        schedule.step()
    with torch.no_grad():
        logits: Array = (torch.from_numpy(hidden(subject, case.test)) @ (codes * unit).T + bias * spread).numpy()
    return logits


def _labels(case: Case) -> Array:
    return np.asarray(case.learn_from.labels, np.int64)
