/* The operators, and what several of them have in common. Schemas: edgeq/ops; each does what its namesake of
 * ports/executorch does. */
#ifndef EDGEQ_LITERT_OPERATORS_H
#define EDGEQ_LITERT_OPERATORS_H

#include "call.h"

typedef struct {
  const char *name; /* the custom code of a .tflite: "edgeq." and the operator */
  eql_operator run;
} eql_entry;

/* One table for each file of operators; ends with a NULL name. */
extern const eql_entry eql_attention_operators[], eql_binary_operators[], eql_glue_operators[], eql_integer_operators[],
    eql_plane_operators[], eql_token_operators[], eql_uniform_operators[];

/* Every operator, in order; NULL after the last. */
const eql_entry *eql_entry_at(size_t index);
/* NULL: no such operator. */
const eql_entry *eql_find(const char *name);

enum { EQL_MAP = 1, EQL_BITS = 2, EQL_MEAN = 4, EQL_CODES = 8, EQL_T2 = 16, EQL_ALL = 31, EQL_MOMENTS = 32 };
enum { EQL_MOST_STRIDE = 1 << 16 };

/* Reads act and params: float [R][channels], rows scale, bias, then (act DPRELU) pos, neg, shift, then optionally
 * scale2, bias2. shifted: one more row at the end, shift_weight. */
void eql_take_activation(eql_call *c, uint32_t channels, bool shifted, eq_epilogue *e);
/* Reads rows, act, params, skip, skip_step and grid as the integer operators have them; h, w: the output's image. */
void eql_take_integer(eql_call *c, uint32_t rows, uint32_t h, uint32_t w, uint32_t channels, eq_epilogue *e);
/* skip (float or, with codes, int8; step may be NULL) of that many elements becomes residual 0. */
void eql_set_skip(eql_call *c, const eql_tensor *skip, const eql_tensor *step, bool codes, uint32_t rows, uint32_t h,
                  uint32_t w, uint32_t channels, eq_epilogue *e);
/* A grid of output codes from its three floats. */
eq_grid eql_grid(eql_call *c, const eql_tensor *grid);
/* Reads local (residual 0, missing channels are 0), block (residual 1, channels repeat) and gain. */
void eql_take_residuals(eql_call *c, uint32_t images, uint32_t channels, eq_epilogue *e);

/* Quantisers by number: 0 none, 1 signed 4 bit, 2 unsigned 4 bit, 3 signed 8 bit; steps [2][channels], s and 1 / s. */
enum { EQL_QUANTS = 4 };
eq_quant eql_quant(uint32_t number, const float *steps, uint32_t channels);
/* Reads steps (or None) and the number. */
eq_quant eql_take_quant(eql_call *c, uint32_t channels);

/* Output channels that `params`, two arguments further on, tell; 0 when they do not. A depthwise row of bits may hold
 * up to 63 channels more. */
uint32_t eql_peek_channels(const eql_call *c);

/* Reads w (whose codes they are), scale, zero and group of 4-bit weights in groups along k (0: the integer that
 * follows) and their rows. True: all of them are constants, or the call computes. */
bool eql_take_weights_i4(eql_call *c, uint32_t k, uint32_t *rows, eq_weights_i4 *weights, const eql_tensor **w);

/* The wanted of map, bits or ternary planes, mean and codes of an image's output. */
void eql_take_image_outs(eql_call *c, const eq_conv2d *op, uint32_t want, eq_epilogue *e);
/* The wanted of map, bits or planes and codes: the extents of x from `from` on, o in place of the last. */
void eql_take_row_outs(eql_call *c, const eql_tensor *x, uint32_t from, uint32_t o, uint32_t want, eq_epilogue *e);

/* The tuned twin of a fused convolution (edgeq/ops/_tuned.py): ac (float [1 or n][width]), start and sigma in front of
 * its arguments; n and o are known when e->tuning is set; moments, float [n][2][o], behind its results if they are
 * wanted. */
typedef struct {
  const eql_tensor *ac;
  uint32_t start;
  eq_tuning tuning;
} eql_tuned;
void eql_take_tuned(eql_call *c, eql_tuned *t);
void eql_set_tuned(eql_call *c, eql_tuned *t, uint32_t want, uint32_t n, uint32_t o, eq_epilogue *e);

/* Images [n][h][w] of so many channels under kernels [o][kh][kw]; padding and output are yet to come. */
eq_conv2d eql_geometry(const uint32_t *image, const uint32_t *kernel, uint32_t channels, uint32_t stride,
                       uint32_t groups);
/* out_h, out_w with `padding` zeros on every side; false when the kernel is larger. */
bool eql_padded(eql_call *c, eq_conv2d *op, uint32_t padding);
/* Multiply-adds of a convolution for each channel that a kernel reads. */
static inline uint64_t eql_taps(const eq_conv2d *op) {
  return (uint64_t)op->n * op->out_h * op->out_w * op->o * op->kh * op->kw;
}

/* A convolution of bits. */
typedef struct {
  const eql_tensor *x, *w;
  eq_conv2d op;
} eql_bit_conv;
/* Reads x u8 [n][h][w][row] and w u8 [o][kh][kw][row], of two planes with [2] in front, channels, stride, padding
 * (same: there is none, the output has the image's size), groups. False after a fault. */
bool eql_take_bit_conv(eql_call *c, uint32_t x_planes, uint32_t w_planes, bool same, eql_bit_conv *v);

static inline bool eql_one_row(const eql_tensor *t, uint32_t k) { return !t || t->count == k; }

#endif
