"""The only binding to the C core: operators over numpy arrays, one to one with `runtime/include/edgeq/ops.h`.

Arrays are C-contiguous; nothing is converted silently: a wrong dtype, layout or size raises UsageError before C
sees a pointer. The library is `edgeq/_lib/libedgeq.so`, or the file that EDGEQ_LIBRARY names; EDGEQ_ISA picks the
instruction set.
"""

from ._arrays import F32, I8, I32, U8, row_bytes
from ._library import ISA_NAMES, isa, select_isa, usable_isas
from .binary import conv2d_b1b1, linear_b1b1, pack_b1, pack_t2
from .floating import conv2d_i8f32, linear_i4f32, linear_i8f32
from .glue import epilogue_i32, mean_hw
from .integer import (
    CODES_KINDS,
    F16,
    WEIGHT_PLANES,
    CodesKind,
    Weights,
    WeightsI4,
    conv2d_i8,
    linear_i4i8,
    linear_i8,
    quantise_i8,
)
from .types import (
    ACTS,
    OUTPUTS,
    QUANT_KINDS,
    RESIDUAL_MODES,
    Act,
    Conv2d,
    Epilogue,
    Grid,
    Output,
    Outputs,
    Quant,
    QuantKind,
    Residual,
    ResidualMode,
)

__all__ = [
    "ACTS",
    "CODES_KINDS",
    "F16",
    "F32",
    "I8",
    "I32",
    "ISA_NAMES",
    "OUTPUTS",
    "QUANT_KINDS",
    "RESIDUAL_MODES",
    "U8",
    "WEIGHT_PLANES",
    "Act",
    "CodesKind",
    "Conv2d",
    "Epilogue",
    "Grid",
    "Output",
    "Outputs",
    "Quant",
    "QuantKind",
    "Residual",
    "ResidualMode",
    "Weights",
    "WeightsI4",
    "conv2d_b1b1",
    "conv2d_i8",
    "conv2d_i8f32",
    "epilogue_i32",
    "isa",
    "linear_b1b1",
    "linear_i4f32",
    "linear_i4i8",
    "linear_i8",
    "linear_i8f32",
    "mean_hw",
    "pack_b1",
    "pack_t2",
    "quantise_i8",
    "row_bytes",
    "select_isa",
    "usable_isas",
]
