/* What an instruction set supplies: the inner loops. Everything around them (checks, scratch, padding, borders, blocks,
 * threads, residual views) is written once in core/.
 *
 * Lanes are output channels. Weights are re-tiled into blocks of EQ_BLOCK outputs whose inner layout belongs to the
 * instruction set; a binary block takes EQ_BLOCK * 4 bytes per step of 32 bits, a float block EQ_BLOCK floats per step.
 */
#ifndef EQ_CORE_KERNELS_H
#define EQ_CORE_KERNELS_H

#include "edgeq/attention.h"
#include "edgeq/tokens.h"
#include "edgeq/types.h"

enum {
  EQ_LANES = 16,  /* granularity of everything that runs over channels */
  EQ_BLOCK = 64,  /* outputs of a weight block */
  EQ_STRIP = 7,   /* pixels that kernels like to take at once */
  EQ_PIXELS = 63, /* most pixels that are accumulated before their epilogue runs */
};

/* Memory that the epilogue will touch: `lines` cache lines for EQ_BLOCK outputs of a pixel. Fetched while a kernel
 * counts. */
typedef struct {
  uintptr_t at;
  size_t pixel, block; /* bytes from pixel to pixel, and from one EQ_BLOCK outputs to the next */
  uint32_t lines, blocks;
} eq_hint;
enum { EQ_HINTS = 2, EQ_CACHE_LINE = 64 };

/* Where the patches of neighbouring output pixels lie: `rows` runs of `words` 32-bit words each. */
typedef struct {
  const uint8_t *x;
  size_t pixel, row; /* bytes from patch to patch, and from kernel row to kernel row */
  uint32_t rows, words;
  uint32_t first, steps; /* the step of the weight block that meets the first word; steps in the block */
  int32_t k;             /* true bits of a patch: result = k - 2 * popcount(x ^ w) */
  const int32_t *totals; /* [places][EQ_BLOCK] instead of k, where patches at borders have totals of their own, */
  const uint32_t *place; /* [pixels] each at its place; both or none */
  bool folded;           /* both operands are in the form of fold_tile and fold_patches */
  size_t nonzero;        /* ternary: bytes from a patch's signs to its non-zero bits, and how many of those are 1: */
  const int32_t *ones;   /* [pixels], result = ones - 2 * popcount(nonzero & (x ^ w)) */
  eq_hint hint[EQ_HINTS];
} eq_bit_patches;

/* Outputs straight from the counts of a block: y = result * scale + bias, as in eq_epilogue. */
typedef struct {
  const float *scale, *bias; /* [outputs], NULL: none */
  int32_t *acc;              /* the results themselves; each of the outputs may be NULL */
  float *out;
  uint8_t *bits;                /* bit = (y >= 0) */
  size_t out_pitch, bits_pitch; /* out_pitch: of acc, too */
  uint32_t bits_zero;           /* zero bytes to write behind the bits of each pixel */
} eq_bit_output;
enum { EQ_MOST_OUTPUT_BITS = 1 << 24 }; /* of a patch: below, results are whole floats */

/* The same for floats: `rows` runs of `taps` taps of `channels` floats. */
typedef struct {
  const float *x;
  size_t pixel, row, tap; /* floats from patch to patch, kernel row to kernel row, tap to tap */
  uint32_t rows, taps, channels;
} eq_float_patches;

/* Finished accumulators on their way out: pixels x channels; every pitch in elements.
 * The channel parameters and gain may be read up to a multiple of EQ_LANES; all else has exactly `channels`. */
typedef struct {
  uint32_t pixels, channels;
  const int32_t *acc_i32; /* one of the two */
  const float *acc_f32;
  size_t acc_pitch;
  const float *scale, *bias, *pos, *neg, *shift, *bias2; /* [channels], neutral where the caller gave none */
  const float *row_scale, *row_shift;                    /* [pixels or 1], NULL where the caller gave none */
  size_t row_pitch;                                      /* 0: the same for all pixels */
  const float *shift_weight;                             /* [channels] */
  bool affine;                                           /* is there a gain, scale2 or bias2? */
  bool only_planes;                                      /* out_t2 straight from the activation, and nothing else? */
  const float *gain;                                     /* [pixels or 1][channels] */
  size_t gain_pitch;                                     /* 0: the same for all pixels */
  eq_act act;
  unsigned residuals;
  const float *residual[2];
  size_t residual_pitch[2];
  int32_t *out_acc; /* outputs, NULL where not wanted */
  float *out;
  uint8_t *out_bits;
  uint8_t *out_t2[2];
  int8_t *out_i8;
  eq_grid grid;
  float *row_sum;        /* [channels, padded] running sum over the pixels */
  float *first, *second; /* the same of y before the bias, and of its square; both or none */
  size_t out_pitch, bits_pitch;
  uint32_t bits_zero; /* zero bytes to write behind the bits and planes of each pixel */
} eq_stage;

/* 3x3 average with stride 2 (types.h) of `pixels` neighbouring outputs (y, x)... of one row. */
typedef struct {
  const float *image; /* [h][w][c], already at the first channel wanted */
  uint32_t h, w, c;
  uint32_t y, x, pixels, channels;
} eq_pool;

/* One head of attention over signs, its keys and values turned (core/attention_b1.c). Bits past the last key and the
 * last channel are 0. */
typedef struct {
  uint32_t words, keys;                           /* 64-bit words of a query's channels; keys, a multiple of 64 */
  uint32_t key_words, channels;                   /* words over the keys; channels, a multiple of 64 */
  const uint64_t *key_signs, *key_nonzero;        /* [words][keys] */
  const uint64_t *value_negative, *value_nonzero; /* [key_words][channels] */
} eq_bit_head;
enum { EQ_HIDDEN = -(1 << 30) }; /* added to the score of a key that is not seen */
/* Memory for one query. */
typedef struct {
  int32_t *dots;       /* [keys] */
  float *exponentials; /* [keys] */
  uint64_t *kept;      /* [key_words] */
} eq_bit_room;

/* One head of attention over floats. */
typedef struct {
  uint32_t d, used, keys;       /* keys: `used` and padding to EQ_LANES */
  const float *keys_by_channel; /* [d][keys], 0 past `used` */
  const float *values;          /* [used][pitch], pitch: d and padding to EQ_LANES */
  size_t pitch;
  const float *seen; /* [keys] 1 or 0 */
  bool all;          /* every key is seen, and there is no padding */
  float step;
} eq_float_head;
enum { EQ_QUERIES = 4 }; /* that share a read of the keys */

typedef struct {
  void (*pack_b1)(const float *x, size_t rows, uint32_t k, const float *threshold, uint8_t *out);
  void (*pack_t2)(const float *x, size_t rows, uint32_t k, const float *threshold, uint8_t *out);

  /* w [outputs][bytes], outputs <= EQ_BLOCK, 4 * steps >= bytes; missing outputs and bytes become 0 */
  void (*tile_b1)(const uint8_t *w, size_t bytes, uint32_t outputs, uint32_t steps, void *tile);
  /* acc [pixels][pitch]; lanes past `outputs` may be overwritten up to EQ_BLOCK */
  void (*accumulate_b1)(const eq_bit_patches *p, uint32_t pixels, const void *tile, uint32_t outputs, int32_t *acc,
                        size_t pitch);
  void (*accumulate_t2)(const eq_bit_patches *p, uint32_t pixels, const void *tile, uint32_t outputs, int32_t *acc,
                        size_t pitch);
  void (*count_ones)(const eq_bit_patches *p, uint32_t pixels, int32_t *ones); /* of the non-zero bits */
  /* accumulate and epilogue in one, fewer than EQ_MOST_OUTPUT_BITS bits, from `output_steps` on. NULL: there is none.
   */
  void (*output_b1)(const eq_bit_patches *p, uint32_t pixels, const void *tile, uint32_t outputs,
                    const eq_bit_output *to);
  void (*output_t2)(const eq_bit_patches *p, uint32_t pixels, const void *tile, uint32_t outputs,
                    const eq_bit_output *to);
  uint32_t output_steps;
  /* Another form of both operands of b1 that needs fewer instructions: the tile in its place, and the patches, the
   * first of which is number `first` at `to`. NULL: the set has none, or the tile stays as it is. */
  void (*fold_tile)(void *tile, uint32_t steps);
  void (*fold_patches)(const eq_bit_patches *p, uint32_t first, uint32_t pixels, uint32_t *to);
  struct {
    uint32_t words, multiple;     /* of a step of a pixel; of steps */
    uint32_t pixels;              /* that are folded together */
    uint32_t outputs, most_steps; /* outputs from which, and steps to which it pays */
  } fold;
  /* one patch against canonical weights [outputs][bytes]: acc[o] = k - 2 * popcount(x ^ w[o]); bytes a multiple of 4 */
  void (*dot_b1)(const uint8_t *x, const uint8_t *w, size_t bytes, uint32_t outputs, int32_t k, int32_t *acc);
  void (*dot_t2)(const uint8_t *x, const uint8_t *nonzero, const uint8_t *w, size_t bytes, uint32_t outputs,
                 int32_t *acc);

  /* tile [EQ_BLOCK / EQ_LANES][steps][EQ_LANES]; acc [pixels][pitch], lanes padded to EQ_LANES */
  void (*accumulate_f32)(const eq_float_patches *p, uint32_t pixels, const float *tile, uint32_t outputs, float *acc,
                         size_t pitch);
  /* one input channel a group: output first + i reads channel (first + i) / multiplier; x may be read 16 floats on */
  void (*accumulate_depthwise)(const eq_float_patches *p, uint32_t pixels, const float *tile, uint32_t first,
                               uint32_t multiplier, uint32_t outputs, float *acc, size_t pitch);
  void (*quantise)(const eq_quant *q, const float *x, const float *scale, const float *step, size_t count, float *out);
  /* x [k padded with zeros to EQ_LANES], w [outputs][row of k] */
  void (*dot_i8)(const float *x, const uint8_t *w, uint32_t k, uint32_t outputs, float *acc);
  void (*dot_i4)(const float *x, const uint8_t *w, uint32_t k, uint32_t outputs, float *acc);
  void (*dot_f32)(const float *x, const uint8_t *w, uint32_t k, uint32_t outputs, float *acc);

  /* mean of `g` consecutive channels; r [pixels][r_pitch] -> out [pixels][out_pitch] */
  void (*shrink)(const float *r, size_t r_pitch, uint32_t g, uint32_t pixels, uint32_t channels, float *out,
                 size_t out_pitch);
  void (*pool)(const eq_pool *p, float *out, size_t out_pitch);
  void (*epilogue)(const eq_stage *s);

  /* sums [channels]; hidden [keys] 0 or EQ_HIDDEN, seen [keys] 1 or 0 alike */
  void (*attend_b1)(const eq_bit_head *h, const eq_keep *keep, const uint64_t *q, const uint64_t *q_nonzero,
                    const int32_t *hidden, const float *seen, const eq_bit_room *room, int32_t *sums);
  /* q [queries][q_pitch] -> out [queries][out_pitch], d floats each; scores [EQ_QUERIES][keys]: room to work in */
  void (*attend_f32)(const eq_float_head *h, const float *q, size_t q_pitch, uint32_t queries, float *scores,
                     float *out, size_t out_pitch);
  /* out[i] = scale where sign is 1, else -scale; 0 where nonzero, if given, is 0 */
  void (*expand)(const uint8_t *sign, const uint8_t *nonzero, uint32_t k, float scale, float *out);
  void (*layer_norm)(const eq_norm *op, size_t begin, size_t end); /* rows [begin, end) */
} eq_kernels;

/* Into the second-level cache. Forced inline, because gcc takes a function that only prefetches for one without effect.
 */
__attribute__((always_inline)) static inline void eq_prefetch(const eq_hint hint[EQ_HINTS], uint32_t pixel,
                                                              uint32_t pixels) {
  for (int h = 0; h < EQ_HINTS; h++) {
    if (!hint[h].lines) continue;
    uintptr_t at = hint[h].at + pixel * hint[h].pixel;
    for (uint32_t i = 0; i < pixels; i++, at += hint[h].pixel)
      for (uint32_t line = 0; line < hint[h].lines; line++)
        __builtin_prefetch((const void *)(at + line * EQ_CACHE_LINE), 0, 2);
  }
}

extern const eq_kernels eq_kernels_avx2, eq_kernels_avx512, eq_kernels_neon, eq_kernels_neon_dotprod;

#endif
