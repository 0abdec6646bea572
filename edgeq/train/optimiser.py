"""The optimiser of a recipe and its learning rate at every step."""

import math
from fnmatch import fnmatchcase

import torch
from torch import nn

from edgeq.train.recipe import TrainingRecipe


def optimiser(model: nn.Module, recipe: TrainingRecipe) -> torch.optim.Optimizer:
    """One parameter group for every factor in `rates`; the first pattern that a name matches counts, 0 freezes."""
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        factor = next((f for pattern, f in recipe.rates.items() if fnmatchcase(name, pattern)), 1.0)
        if factor:
            groups.setdefault(factor, []).append(parameter)
        else:
            parameter.requires_grad_(False)
    kind = torch.optim.AdamW if recipe.optimiser == "adamw" else torch.optim.Adam
    return kind(
        [{"params": parameters, "factor": factor} for factor, parameters in groups.items()],
        lr=recipe.learning_rate,
        betas=(recipe.beta1, recipe.beta2),
        weight_decay=recipe.weight_decay,
        fused=True,
    )


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = rate * group["factor"]


def learning_rate(recipe: TrainingRecipe, step: int, per_epoch: int) -> float:
    """Linear warm-up from 0, constant, linear or cosine decay to 0; perhaps a second decay after a restart."""
    warmup, decay, highest = recipe.warmup_epochs * per_epoch, recipe.decay_epochs * per_epoch, recipe.learning_rate
    to_go = recipe.epochs * per_epoch - step
    if to_go <= 0:
        decay, highest = float(recipe.restart_epochs * per_epoch), recipe.restart * recipe.learning_rate
        to_go += recipe.restart_epochs * per_epoch
    left = min(1.0, to_go / max(decay, 1.0))
    if recipe.decay == "cosine":
        left = 0.5 - 0.5 * math.cos(math.pi * left)
    return highest * min((step + 1) / max(warmup, 1.0), left)
