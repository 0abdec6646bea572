/* The kernels of one instruction set, gathered; the binary product may be that of a finer set.
 * What follows it are members that not every set has. */
#include "declare.h"

#define EQ_TABLE(binary_product, ternary_product, ...)                                                                 \
  {.pack_b1 = EQ_NAME(eq_pack_b1),                                                                                     \
   .pack_t2 = EQ_NAME(eq_pack_t2),                                                                                     \
   .tile_b1 = EQ_NAME(eq_tile_b1),                                                                                     \
   .accumulate_b1 = (binary_product),                                                                                  \
   .accumulate_t2 = (ternary_product),                                                                                 \
   .count_ones = EQ_NAME(eq_count_ones),                                                                               \
   .dot_t2 = EQ_NAME(eq_dot_t2),                                                                                       \
   .dot_b1 = EQ_NAME(eq_dot_b1),                                                                                       \
   .accumulate_f32 = EQ_NAME(eq_accumulate_f32),                                                                       \
   .accumulate_depthwise = EQ_NAME(eq_accumulate_depthwise),                                                           \
   .quantise = EQ_NAME(eq_quantise),                                                                                   \
   .dot_i8 = EQ_NAME(eq_dot_i8),                                                                                       \
   .dot_i4 = EQ_NAME(eq_dot_i4),                                                                                       \
   .dot_f32 = EQ_NAME(eq_dot_f32),                                                                                     \
   .shrink = EQ_NAME(eq_shrink),                                                                                       \
   .pool = EQ_NAME(eq_pool),                                                                                           \
   .epilogue = EQ_NAME(eq_epilogue),                                                                                   \
   .attend_b1 = EQ_NAME(eq_attend_b1),                                                                                 \
   .attend_f32 = EQ_NAME(eq_attend_f32),                                                                               \
   .expand = EQ_NAME(eq_expand),                                                                                       \
   .layer_norm = EQ_NAME(eq_layer_norm),                                                                               \
   __VA_ARGS__}
