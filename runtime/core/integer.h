/* What an instruction set supplies for int8 activations; the rest is in conv2d_i8.c, linear_i4i8.c and quantise_i8.c.
 *
 * Activations are copied once, each with `offset` added (modulo 256), so that a set whose product takes unsigned bytes
 * gets them; tiles carry what takes the offset back. A tile holds the weights of EQ_BLOCK outputs as int8:
 * [EQ_BLOCK / EQ_LANES][steps][EQ_LANES][4], a step being four inputs. */
#ifndef EQ_CORE_INTEGER_H
#define EQ_CORE_INTEGER_H

#include "edgeq/integer.h"
#include "kernels.h"
#include "weights.h"

enum { EQ_STEP = 4, EQ_FEW_ROWS = 4, EQ_CHUNK = 128 }; /* inputs of a step; rows for dot(); padding of rows for dot() */

/* Where the patches of neighbouring output pixels lie: rows x taps runs of `steps` steps, in bytes. */
typedef struct {
  const uint8_t *x;
  size_t pixel, row, tap;
  uint32_t rows, taps, steps;
} eq_byte_patches;

/* 4-bit weights of EQ_BLOCK outputs, made ready: int8 tile of code - zero (zero kind F16: of the code), its steps in
 * the order even inputs of eight, odd inputs of eight. Pieces are groups, or blocks of 32 where each has its own step.
 */
typedef struct {
  int8_t *tile;   /* [EQ_BLOCK / EQ_LANES][steps][EQ_LANES][4] */
  int32_t *start; /* [pieces][EQ_BLOCK] takes the offset back */
  float *scale;   /* [pieces][EQ_BLOCK] */
  float *zero;    /* [pieces][EQ_BLOCK], F16 only */
  uint32_t steps, pieces, piece_steps;
} eq_tile_i4;

/* The same outputs as they are kept between calls (core/tiles_i4.c): two panels of an eq_tile_i4 in a byte, the first
 * in the low nibble, so that they take the room of the codes. Zeros are bytes; of kind F16 they are f16, and the bytes
 * are 0. */
typedef struct {
  const uint8_t *codes;      /* [steps][EQ_BLOCK / EQ_LANES / 2][EQ_LANES][4] */
  const uint8_t *zero;       /* [groups][EQ_BLOCK] */
  const uint16_t *scale;     /* [groups][EQ_BLOCK], f16 */
  const uint16_t *half_zero; /* [groups][EQ_BLOCK], f16, F16 only */
  uint32_t steps, groups, group_steps;
  bool eights;  /* all zeros are 8 */
  bool finite;  /* all scales are */
  size_t bytes; /* of all of it, from codes on */
} eq_packed_i4;
enum { EQ_I4_STEP = EQ_BLOCK / 2 * EQ_STEP }; /* bytes of codes of a step */
enum { EQ_MOST_PIECE_STEPS = 1 << 14 };       /* of dot_packed_i4: 16 * 15 * 128 * inputs stays below 2^31 */

/* Ternary weights of EQ_BLOCK outputs as they are kept between calls (core/tiles_t2.h). */
typedef struct {
  const uint8_t *codes; /* [4 words][EQ_LANES][4], in a byte two bits of each of EQ_BLOCK / EQ_LANES panels: w + 1 */
  const int32_t *sums;  /* [EQ_BLOCK] of an output's weights */
  uint32_t words;       /* sixteen inputs, four steps each */
} eq_packed_t2;

/* Powers of two of EQ_BLOCK outputs as they are kept between calls (core/tiles_shift.h). */
typedef struct {
  const uint8_t *codes; /* [steps][EQ_BLOCK / EQ_LANES / 2][EQ_LANES][4], two panels in a byte as of eq_packed_i4 */
  const int32_t *sums;  /* [EQ_BLOCK] of an output's weights */
  uint32_t steps;
  eq_weight_type type;
  unsigned halves;     /* s4: 2, or 1 where weights of +128 count 127 and `ones` the rest */
  const uint8_t *ones; /* [chunks][rounds][EQ_BLOCK][4], see core/tiles_shift.h */
  uint32_t rounds;
} eq_packed_shift;

/* Rows of activations for 4-bit weights. */
typedef struct {
  const uint8_t *x; /* [m][pitch], offset, in the order of a tile's steps */
  size_t pitch;
  const float *step;    /* [m][pieces], or NULL */
  const float *ones;    /* [m][pieces] sums of the activations, F16 zeros only */
  const int32_t *sums;  /* [m][pieces] the same, dot_packed_i4 only */
  const uint8_t *ahead; /* what will be read after this product: to be fetched meanwhile */
  size_t ahead_bytes;   /* 0: nothing */
  const float *out;     /* [m][out_pitch] what the epilogue will write: to be fetched meanwhile; NULL: nothing */
  size_t out_pitch;
} eq_rows_i4;

typedef struct {
  uint8_t offset;
  bool narrow; /* tiles may hold +-64 at most: wider weights come in halves */

  /* to[i] = x[i] + offset */
  void (*shift)(const int8_t *x, size_t count, uint8_t offset, uint8_t *to);
  /* The same, count a multiple of 8, each eight in the order 0 2 4 6 1 3 5 7. */
  void (*split)(const int8_t *x, size_t count, uint8_t offset, uint8_t *to);
  /* Of each `piece` of x; the last one may be shorter. */
  void (*sums)(const int8_t *x, size_t count, size_t piece, int32_t *to);
  /* k weights of one row; half 0: the whole, 1 and 2: two parts of it that add up, each within +-64. Up to 63 bytes
   * behind may be overwritten. */
  void (*decode)(const eq_weights *w, size_t row, uint32_t k, unsigned half, int8_t *to);
  /* rows [outputs][steps][4] -> a tile; start[EQ_BLOCK] = -offset * sum of the weights */
  void (*tile)(const int8_t *rows, uint32_t outputs, uint32_t steps, int8_t *tile, int32_t *start);
  /* acc [pixels][pitch] = start + products, or with `more` acc + start + products; lanes past `outputs` may be
   * overwritten up to EQ_BLOCK */
  void (*accumulate)(const eq_byte_patches *p, uint32_t pixels, const int8_t *tile, const int32_t *start, bool more,
                     uint32_t outputs, int32_t *acc, size_t pitch);
  /* The same for weights of -1, 0 and 1. NULL: no better than accumulate(). */
  void (*accumulate_ones)(const eq_byte_patches *p, uint32_t pixels, const int8_t *tile, const int32_t *start,
                          bool more, uint32_t outputs, int32_t *acc, size_t pitch);
  /* One input channel a group: w [rows * taps][count], acc [pixels][pitch], output first + i reads channel (first + i)
   * / multiplier; more: added to acc. */
  void (*depthwise)(const eq_byte_patches *p, uint32_t pixels, const int8_t *w, size_t w_pitch, uint32_t first,
                    uint32_t multiplier, bool more, uint32_t count, int32_t *acc, size_t pitch);
  /* At most EQ_FEW_ROWS rows of plain activations x [m][x_pitch], padded with zeros to EQ_CHUNK, against canonical
   * weights; sums [m]: of each row. NULL: the set has no such product. */
  void (*dot)(const int8_t *x, size_t x_pitch, const int32_t *sums, uint32_t m, const eq_weights *w, size_t first,
              uint32_t outputs, uint32_t k, int32_t *acc, size_t pitch);

  /* 4-bit weights: first output, outputs <= EQ_BLOCK -> the arrays of an eq_tile_i4 */
  void (*tile_i4)(const eq_weights_i4 *w, uint32_t k, uint32_t first, uint32_t outputs, const eq_tile_i4 *to);
  void (*accumulate_i4)(const eq_rows_i4 *x, uint32_t rows, const eq_tile_i4 *w, uint32_t outputs, float *acc,
                        size_t pitch);

  /* One row against canonical codes, pieces of 32, whole zeros. x: each 128 inputs as 64 even ones, then 64 odd ones,
   * padded with zeros; step NULL or [pieces]; sums [pieces] of x. The arrays of `scratch` are overwritten. NULL: the
   * set has no such product. */
  void (*dot_i4)(const int8_t *x, const float *step, const int32_t *sums, const eq_weights_i4 *w, uint32_t k,
                 uint32_t first, uint32_t outputs, const eq_tile_i4 *scratch, float *acc);

  /* all arrays of an eq_tile_i4 of EQ_BLOCK outputs; `to` says which pieces */
  void (*expand_i4)(const eq_packed_i4 *from, const eq_tile_i4 *to);
  /* Any number of rows against packed weights: x without offset in the order of a tile's steps, pieces of at most
   * EQ_MOST_PIECE_STEPS; acc [rows][pitch], EQ_BLOCK each. NULL: the set has no such product. */
  void (*dot_packed_i4)(const eq_rows_i4 *x, uint32_t rows, const eq_packed_i4 *w, uint32_t pieces,
                        uint32_t piece_steps, float *acc, size_t pitch);

  /* -> a tile, of 4 * words steps */
  void (*expand_t2)(const eq_packed_t2 *from, int8_t *tile);
  /* Any number of rows of plain activations x [rows][x_pitch], whole words, at most EQ_T2_MOST_DOTS inputs, against
   * packed weights; sums [rows] of x; acc [rows][pitch], EQ_BLOCK each. NULL: the set has no such product. */
  void (*dot_packed_t2)(const uint8_t *x, size_t x_pitch, const int32_t *sums, uint32_t rows, const eq_packed_t2 *w,
                        int32_t *acc, size_t pitch);

  /* -> a tile of `half` of the weights, as decode() has it. NULL: powers of two have no tiles in this set. */
  void (*expand_shift)(const eq_packed_shift *from, unsigned half, int8_t *tile);
  /* Any number of rows of plain activations x [rows][x_pitch], whole steps, against packed weights; sums [rows] of x;
   * acc [rows][pitch], EQ_BLOCK each. There if expand_shift is. */
  void (*dot_packed_shift)(const uint8_t *x, size_t x_pitch, const int32_t *sums, uint32_t rows,
                           const eq_packed_shift *w, int32_t *acc, size_t pitch);
  /* acc + the activations, plain or with offset, that w->ones names. NULL: w->halves is 2 for s4. */
  void (*add_ones)(const uint8_t *x, size_t x_pitch, bool plain, uint32_t rows, const eq_packed_shift *w, int32_t *acc,
                   size_t pitch);

  void (*range)(const float *x, size_t count, float clip, float *least, float *most);
  /* min(max(rint(clipped x * scale), low), high) */
  void (*codes)(const float *x, size_t count, float clip, float scale, int32_t low, int32_t high, int8_t *to);
  /* rint((clipped x - least) / width * 255) - 128 */
  void (*codes_between)(const float *x, size_t count, float clip, float least, float width, int8_t *to);
  /* Whole blocks of EQ_CODES_BLOCK, each by its own largest value, and their steps. */
  void (*codes_of_blocks)(const float *x, size_t blocks, float clip, int8_t *to, float *step);
} eq_integer_kernels;

extern const eq_integer_kernels eq_integer_avx2, eq_integer_avx_vnni, eq_integer_avx512, eq_integer_amx,
    eq_integer_neon, eq_integer_neon_dotprod, eq_integer_neon_i8mm;

/* Those of the set in use; NULL: the reference. */
const eq_integer_kernels *eq_integer_current(void);

#endif
