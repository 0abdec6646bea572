/* Shared vocabulary of the core: status codes, shapes, epilogues, threads.
 *
 * Freestanding C11. Nothing here allocates; the caller owns every buffer. Types in names: b1 = +-1 (1 bit),
 * t2 = -1, 0, +1 (2 planes),
 * s2 s3 s4 = +-2^S (sign plane, then the bits of S), i4 = 4-bit code, i8 = int8, f32 = float; an operator names the
 * weight type, then the activation type.
 *
 * Numbers. Integer accumulators are exact. Float results are defined operation by operation (single precision,
 * round to nearest, no fused multiply-add, order of every sum stated), so that every instruction set gives the
 * same bits. */
#ifndef EDGEQ_TYPES_H
#define EDGEQ_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

typedef enum {
  EQ_OK = 0,
  EQ_BAD_ARGUMENT, /* a pointer or parameter that the operator does not allow */
  EQ_BAD_SHAPE,    /* extents that do not fit together, or products past 2^31 */
  EQ_NO_SCRATCH,   /* scratch missing or too small */
} eq_status;

/* One line of English, never NULL. */
const char *eq_status_text(eq_status status);

/* Bytes of one packed row of k bits: 1, 2, 4, or a multiple of 8 (32 bits and less stay one natural word). */
static inline size_t eq_row_bytes(uint32_t k) {
  return k <= 8 ? 1 : k <= 16 ? 2 : k <= 32 ? 4 : ((size_t)k + 63) / 64 * 8;
}

/* Work sharing, given by the caller. run() must call task(arg, begin, end, worker) so that every index of [0, count)
 * is covered exactly once, worker < workers, no two concurrent calls with the same worker, and return when all are
 * done. NULL means: on the calling thread. */
typedef void (*eq_task)(void *arg, size_t begin, size_t end, unsigned worker);
typedef struct {
  unsigned workers;
  void (*run)(void *context, eq_task task, void *arg, size_t count);
  void *context;
} eq_threads;

/* A 2-d convolution over NHWC. Weights [o][kh][kw][row], row = the c / groups input channels of one tap.
 * Padding is by true zeros: a tap outside the image contributes nothing. */
typedef struct {
  uint32_t n, h, w, c; /* input */
  uint32_t o, kh, kw;  /* output channels, kernel */
  uint32_t stride_h, stride_w;
  uint32_t pad_top, pad_left; /* taps before the first pixel; what lies past the end follows from out_h, out_w */
  uint32_t out_h, out_w;
  uint32_t groups; /* divides c and o */
} eq_conv2d;

/* Fills out_h, out_w, pad_top, pad_left by TensorFlow's SAME rule: out = ceil(n / s), the odd zero at the end. */
void eq_conv2d_same(eq_conv2d *op);
/* The same for VALID: no padding, incomplete windows dropped. */
void eq_conv2d_valid(eq_conv2d *op);

/* out[m][o] = epilogue(sum over k of x[m][k] * w[o][k]) */
typedef struct {
  uint32_t m, k, o;
} eq_linear;

typedef enum {
  EQ_ACT_NONE = 0,
  EQ_ACT_RELU,     /* max(y, 0) */
  EQ_ACT_DPRELU,   /* (y >= 0 ? pos : neg) * y - shift, per channel; the input shift is folded into bias */
  EQ_ACT_HSIGMOID, /* min(max(y + 3, 0), 6) / 6 */
  EQ_ACT_GELU,     /* y * (1 + erf(y / sqrt 2)) / 2, operation by operation as in core/functions.h */
} eq_act;

/* How a residual tensor of another shape is brought to the shape of the output (PokeBNN radd, specification of the
 * paper's code). First channels, then space:
 *   c > o         mean of runs of g = c / o consecutive channels: ((r0 + r1) + r2) ... then / g
 *   c < o, TILE   channel i is r[i mod c], o must be a multiple of c
 *   c < o, PAD    channels past c are 0
 *   h, w          as the output; or, when ceil(h / 2), ceil(w / 2) is the output's: 3x3 average, stride 2, SAME, the
 * nine taps added in row-major order from 0, missing taps left out, sum * (1/9 rounded to float)
 * Codes instead of floats, of the output's own shape only: element = (float)code * step. */
typedef enum { EQ_RES_PAD = 0, EQ_RES_TILE } eq_residual_mode;
typedef struct {
  const float *data; /* [n][h][w][c], NULL: no residual, or codes */
  uint32_t h, w, c;
  eq_residual_mode mode;
  const int8_t *codes; /* [n][h][w][c], with data NULL */
  float step;
} eq_residual;

/* Where signed codes lie on the axis: value = code / inv_step, codes low to high, -128 <= low <= high <= 127. */
typedef struct {
  float inv_step;
  int32_t low, high;
} eq_grid;

/* What a tunable program adds: corrections of scale and bias, which are nothing at 0, and what they act on.
 *   scale'[o] = scale[o] * exp(a[o])    bias'[o] = bias[o] + sigma * c[o]    (eq_exp of core/functions.h)
 * moments: mean over the image of y before the residuals, and mean squared deviation from it. With t = y - bias', sums
 * of t and of t * t as those of out_mean, each times the factor of out_mean: m and s; then m + bias', max(s - m * m, 0)
 */
typedef struct {
  const float *a, *c; /* [rows][o], `pitch` floats from row to row */
  size_t pitch;
  uint32_t rows; /* 1: the same for all images, or n */
  float sigma;
  float *moments; /* [n][2][o], NULL: not wanted */
} eq_tuning;

/* What happens to an accumulator. In this order, each step skipped where its pointer is NULL; n is the image, of a
 * linear operator the row:
 *   y = (float)acc * scale[o], or with row_scale (float)acc * (row_scale[n] * scale[o])
 *   y = y + row_shift[n] * shift_weight[o];   y = y + bias[o]
 *   y = y + residual[0]; y = y + residual[1]
 *   y = act(y)
 *   y = y * (gain[n][o] * scale2[o]) + bias2[o]      (either factor may be absent; the product is taken first)
 * and is stored wherever an output pointer is given. Absent scale = 1 is not multiplied, absent bias is not added. */
typedef struct {
  const float *scale, *bias; /* [o] */
  const float *row_scale;    /* [n] */
  const float *row_shift;    /* [n], needs shift_weight: what a zero point of the activations brings */
  const float *shift_weight; /* [o] */
  eq_residual residual[2];
  eq_act act;
  const float *pos, *neg, *shift; /* [o], EQ_ACT_DPRELU only */
  const float *gain;              /* [n][o] */
  const float *scale2, *bias2;    /* [o] */
  int32_t *out_acc;               /* [n][out_h][out_w][o] the raw accumulator (integer operators only) */
  float *out;                     /* [n][out_h][out_w][o] */
  uint8_t *out_bits;              /* [n][out_h][out_w][eq_row_bytes(o)], bit = (y >= 0) */
  uint8_t *out_t2;                /* [2][n][out_h][out_w][eq_row_bytes(o)] planes (y > 0) and (y != 0) */
  int8_t *out_i8;                 /* [n][out_h][out_w][o] min(max(rint(y * grid.inv_step), low), high), NaN: low */
  eq_grid grid;                   /* of out_i8 */
  float *out_mean;                /* [n][o] mean over the image: each row of pixels summed left to right from 0, the row
                                     sums added top to bottom from 0, times (1 / (out_h * out_w)) rounded to float */
  const eq_tuning *tuning;        /* NULL: none; needs scale and bias, takes no row_scale */
} eq_epilogue;

/* Fake quantisation of a float activation, per input channel (PokeBNN section 2). q / s is computed as q * step.
 *   SYM  q = floor(clip(x * s, -top, top) + 0.5)      POS  q = clip(floor(x * s), 0, top)      value = q * step */
typedef enum { EQ_QUANT_NONE = 0, EQ_QUANT_SYM, EQ_QUANT_POS } eq_quant_kind;
typedef struct {
  eq_quant_kind kind;
  float top;                 /* 2^(p-1) - 1 or 2^p - 1 */
  const float *scale, *step; /* [c] s and 1 / s; NULL for EQ_QUANT_NONE */
} eq_quant;

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
