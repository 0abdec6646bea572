"""The only binding to the C core: operators over numpy arrays, one to one with `runtime/include/edgeq/ops.h`.

Arrays are C-contiguous; nothing is converted silently: a wrong dtype, layout or size raises UsageError before C
sees a pointer. The library is `edgeq/_lib/libedgeq.so`, or the file that EDGEQ_LIBRARY names; EDGEQ_ISA picks the
instruction set.
"""

from ._arrays import F32, I8, I32, U8, row_bytes
from ._library import ISA_NAMES, isa, select_isa, usable_isas
from .attention import (
    KEEP_KINDS,
    PROBABILITY_KINDS,
    Attention,
    Context,
    Keep,
    Probability,
    attention_b1,
    attention_i8,
)
from .binary import conv2d_b1b1, conv2d_b1t2, linear_b1b1, linear_b1t2, linear_b1u1, linear_t2b1, pack_b1, pack_t2
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
from .tokens import Normalised, embedding_b1, embedding_i4, embedding_i8, embedding_t2, layer_norm
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
    "KEEP_KINDS",
    "OUTPUTS",
    "PROBABILITY_KINDS",
    "QUANT_KINDS",
    "RESIDUAL_MODES",
    "U8",
    "WEIGHT_PLANES",
    "Act",
    "Attention",
    "CodesKind",
    "Context",
    "Conv2d",
    "Epilogue",
    "Grid",
    "Keep",
    "Normalised",
    "Output",
    "Outputs",
    "Probability",
    "Quant",
    "QuantKind",
    "Residual",
    "ResidualMode",
    "Weights",
    "WeightsI4",
    "attention_b1",
    "attention_i8",
    "conv2d_b1b1",
    "conv2d_b1t2",
    "conv2d_i8",
    "conv2d_i8f32",
    "embedding_b1",
    "embedding_i4",
    "embedding_i8",
    "embedding_t2",
    "epilogue_i32",
    "isa",
    "layer_norm",
    "linear_b1b1",
    "linear_b1t2",
    "linear_b1u1",
    "linear_i4f32",
    "linear_i4i8",
    "linear_i8",
    "linear_i8f32",
    "linear_t2b1",
    "mean_hw",
    "pack_b1",
    "pack_t2",
    "quantise_i8",
    "row_bytes",
    "select_isa",
    "usable_isas",
]
