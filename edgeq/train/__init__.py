"""Training from a recipe: `run(recipe_path, out_dir)`; what it wrote is read by `load_trained(path)`."""

from edgeq.train.recipe import Recipe, read_recipe
from edgeq.train.trainer import Progress, TrainResult, run
from edgeq.train.weights import Trained, load_trained

__all__ = ["Progress", "Recipe", "TrainResult", "Trained", "load_trained", "read_recipe", "run"]
