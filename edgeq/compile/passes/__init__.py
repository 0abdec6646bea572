"""Graph passes over an exported program, one per file.

They run in the order of `PASSES` and change no value of the result.
"""

from .fuse_epilogue import fuse_epilogue
from .keep_bits import keep_bits

PASSES = (fuse_epilogue, keep_bits)

__all__ = ["PASSES", "fuse_epilogue", "keep_bits"]
