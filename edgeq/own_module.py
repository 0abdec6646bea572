"""Your own torch module to INT4 and on to a compiled file: a function in a Python file, and inputs in an .npz."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgeq import _own_code
from edgeq._errors import FormatError, NotFoundError, UsageError
from edgeq.compile import Artefact, compile_module
from edgeq.ptq import quantize
from edgeq.ptq.network import Batches, Tell

CALIBRATION_BATCH = 16


def load(source: str) -> nn.Module:
    """What FILE.py:FUNCTION returns. The file is the user's own program and is executed.

    raises  NotFoundError, UsageError when it fails or gives no module
    """
    function = _own_code.load(source)
    try:
        module = function()
    except Exception as error:  # whatever the user's program raises
        raise UsageError(f"{source}: {type(error).__name__}: {error}") from error
    if not isinstance(module, nn.Module):
        raise UsageError(f"{source}: expected a torch module, got {type(module).__name__}")
    return module.eval()


def read_inputs(path: Path) -> tuple[Tensor, ...]:
    """The arrays of an .npz in the order of the file, one per argument of the network, items along the first axis.

    raises  NotFoundError, FormatError for other files, UsageError for arrays of different lengths
    """
    if not path.is_file():
        raise NotFoundError(f"{path}: no such file")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = tuple(torch.from_numpy(np.ascontiguousarray(file[name])) for name in file.files)
    except (ValueError, TypeError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise FormatError(f"{path}: not an .npz file of numbers: {error}") from None
    if not arrays or any(array.dim() == 0 or len(array) != len(arrays[0]) for array in arrays) or not len(arrays[0]):
        raise UsageError(f"{path}: expected one array per argument of the network, all with the same number of items")
    return arrays


def quantise(
    source: str,
    inputs: Path,
    output: Path,
    *,
    progress: Callable[[str], None] | None = None,
    tell: Tell | None = None,
    **options: Any,
) -> Artefact:
    """Load, quantise, and compile for one item at a time.

    output   the .pte file
    options  of `edgeq.ptq.quantize`
    raises   UsageError and what `load`, `read_inputs`, `quantize` and `compile_module` raise
    """
    if output.suffix != ".pte" or not output.resolve().parent.is_dir():
        raise UsageError(f"{output}: expected a file NAME.pte in a folder that exists")
    arrays = read_inputs(inputs)
    module = load(source)
    batches: Batches = [
        tuple(array[start : start + CALIBRATION_BATCH] for array in arrays)
        for start in range(0, len(arrays[0]), CALIBRATION_BATCH)
    ]
    try:
        quantised = quantize(module, calibration=batches, progress=tell, **options)
    except (RuntimeError, TypeError) as error:  # what torch raises for inputs that do not fit
        raise UsageError(f"{source}: does not run on {inputs}: {error}") from error
    if progress:
        progress("compiling")
    example = tuple(array[:1] for array in arrays)
    return compile_module(quantised, example, name=output.stem, folder=output.resolve().parent)
