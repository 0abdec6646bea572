"""`benchmarks` is run from the checkout and never installed; its test needs to find it."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2]))
