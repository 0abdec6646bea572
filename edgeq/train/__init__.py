"""Training from a recipe: `run(recipe_path, out_dir)`."""

from edgeq.train.recipe import Recipe, read_recipe
from edgeq.train.trainer import Progress, TrainResult, run

__all__ = ["Progress", "Recipe", "TrainResult", "read_recipe", "run"]
