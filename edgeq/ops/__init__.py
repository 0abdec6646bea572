"""EdgeQ's operators for PyTorch and ExecuTorch: `edgeq::<op>_<weight type><activation type>`.

Importing this package registers them. Activations are NHWC and contiguous; binary activations are `uint8` rows packed
along the channels, lowest bit first (`runtime/include/edgeq` is the definition of every value).
"""

from .attention import Keep, Probability, attention_b1, attention_f32, attention_i8
from .binary import conv2d_b1b1, conv2d_b1b1_fused, linear_b1b1, pack_sign
from .floating import (
    conv2d_f32f32,
    conv2d_s2f32,
    conv2d_s3f32,
    conv2d_s4f32,
    linear_b1f32,
    linear_f32f32,
    linear_t2f32,
)
from .glue import epilogue, mean_hw
from .integer import (
    Codes,
    conv2d_b1i8,
    conv2d_i8i8,
    conv2d_s2i8,
    conv2d_s3i8,
    conv2d_s4i8,
    conv2d_t2i8,
    linear_b1i8,
    linear_i4i8,
    linear_i8i8,
    linear_s2i8,
    linear_s3i8,
    linear_s4i8,
    linear_t2i8,
    quantise_i8,
    quantise_rows_i8,
)
from .params import Act, Quant, Want, pack_steps, row_bytes, stack_params
from .planes import conv2d_b1t2, linear_b1t2, linear_b1u1, linear_t2b1, pack_t2
from .tokens import embedding_b1, embedding_i4, embedding_i8, embedding_t2, layer_norm
from .uniform import conv2d_i8f32, conv2d_i8f32_fused, linear_i4f32, linear_i8f32, squeeze_excite_i4f32

__all__ = [
    "Act",
    "Codes",
    "Keep",
    "Probability",
    "Quant",
    "Want",
    "attention_b1",
    "attention_f32",
    "attention_i8",
    "conv2d_b1b1",
    "conv2d_b1b1_fused",
    "conv2d_b1i8",
    "conv2d_b1t2",
    "conv2d_f32f32",
    "conv2d_i8f32",
    "conv2d_i8f32_fused",
    "conv2d_i8i8",
    "conv2d_s2f32",
    "conv2d_s2i8",
    "conv2d_s3f32",
    "conv2d_s3i8",
    "conv2d_s4f32",
    "conv2d_s4i8",
    "conv2d_t2i8",
    "embedding_b1",
    "embedding_i4",
    "embedding_i8",
    "embedding_t2",
    "epilogue",
    "layer_norm",
    "linear_b1b1",
    "linear_b1f32",
    "linear_b1i8",
    "linear_b1t2",
    "linear_b1u1",
    "linear_f32f32",
    "linear_i4f32",
    "linear_i4i8",
    "linear_i8f32",
    "linear_i8i8",
    "linear_s2i8",
    "linear_s3i8",
    "linear_s4i8",
    "linear_t2b1",
    "linear_t2f32",
    "linear_t2i8",
    "mean_hw",
    "pack_sign",
    "pack_steps",
    "pack_t2",
    "quantise_i8",
    "quantise_rows_i8",
    "row_bytes",
    "squeeze_excite_i4f32",
    "stack_params",
]
