/* Many rows against a tile of 4-bit weights, with VNNI: the sums of a group and the totals stay in registers.
 *
 * Converting a sum and multiplying it by its scale is one operation. The sums begin at the bits of MAGIC, so that each
 * reads as the float MAGIC + sum, and fma(MAGIC + sum, scale, -MAGIC * scale) is sum * scale rounded once: MAGIC has
 * two bits and a scale eleven, so that their product is exact. That is what the definition says, except where a scale
 * is infinite. */
#include "v16.h"

#include "linear_i4i8.h"

enum { PANEL_STEP = EQ_LANES * EQ_STEP, ROWS = 6, PAIR = 2, UNROLL = 8, MOST_LINES = 8 };
#define MAGIC 12582912.0f                     /* 1.5 * 2^23 */
enum { MAGIC_BITS = 0x4b400000 };             /* of it as a float */
enum { MOST_FUSED = (1 << 22) / (15 * 128) }; /* inputs of a group: its sum stays within 2^22 */

INLINE __m512i broadcast(const uint8_t *p) {
  int32_t word;
  __builtin_memcpy(&word, p, sizeof word);
  return _mm512_set1_epi32(word);
}

/* What the next block needs, a few lines with each group of this one. */
typedef struct {
  const uint8_t *at, *end;
  uint32_t lines;
} ahead;

INLINE void fetch(ahead *a) {
  for (uint32_t i = 0; i < a->lines && a->at < a->end; i++, a->at += EQ_CACHE_LINE)
    _mm_prefetch((const void *)a->at, _MM_HINT_T1);
}

/* The lines of `rows` rows that the epilogue will write. */
INLINE void fetch_outputs(const eq_rows_i4 *x, uint32_t first, int rows, uint32_t output, int panels) {
  if (!x->out) return;
  const float *to = x->out + first * x->out_pitch + output;
  for (int i = 0; i < rows; i++)
    for (int j = 0; j < panels; j++) __builtin_prefetch(to + (size_t)i * x->out_pitch + j * EQ_LANES, 1);
}

/* One step: four inputs of `rows` rows x `panels` panels. */
INLINE void step(const uint8_t *x, size_t pitch, int rows, const int8_t *w, size_t panel, int panels,
                 __m512i sum[ROWS][PAIR]) {
  __m512i weights[PAIR];
  for (int j = 0; j < panels; j++) weights[j] = _mm512_load_si512(w + (size_t)j * panel);
  for (int i = 0; i < rows; i++) {
    const __m512i a = broadcast(x + (size_t)i * pitch);
    for (int j = 0; j < panels; j++) sum[i][j] = _mm512_dpbusd_epi32(sum[i][j], a, weights[j]);
  }
}

/* How the sum of a group becomes a float: in one operation, with the step of a block, or as the activations ask. */
typedef enum { FUSED, STEPS, SEPARATE } finish;

/* part of a group, whose sums are those of row `row` and sixteen outputs from `at` on */
INLINE __m512 separate(const eq_rows_i4 *x, size_t row, const eq_tile_i4 *t, size_t at, __m512i sum) {
  __m512 total = _mm512_cvtepi32_ps(sum);
  if (x->ones) total = _mm512_sub_ps(total, _mm512_mul_ps(_mm512_load_ps(t->zero + at), _mm512_set1_ps(x->ones[row])));
  const __m512 scale = _mm512_load_ps(t->scale + at);
  return _mm512_mul_ps(total, x->step ? _mm512_mul_ps(scale, _mm512_set1_ps(x->step[row])) : scale);
}

/* acc [rows][panels * EQ_LANES] of the rows from `first` on */
INLINE void block(const eq_rows_i4 *x, uint32_t first, int rows, const eq_tile_i4 *t, uint32_t panel0, int panels,
                  finish how, float *acc, size_t pitch, ahead *next) {
  const size_t panel = (size_t)t->steps * PANEL_STEP;
  const uint8_t *from = x->x + first * x->pitch;
  const int8_t *w = t->tile + panel0 * panel;
  acc += first * pitch + (size_t)panel0 * EQ_LANES;
  fetch_outputs(x, first, rows, panel0 * EQ_LANES, panels);
  __m512 y[ROWS][PAIR];
  for (int i = 0; i < rows; i++)
    for (int j = 0; j < panels; j++) y[i][j] = _mm512_setzero_ps();
  for (uint32_t piece = 0, left = t->steps; piece < t->pieces; piece++) {
    const size_t at = (size_t)piece * EQ_BLOCK + (size_t)panel0 * EQ_LANES;
    const uint32_t steps = left < t->piece_steps ? left : t->piece_steps;
    __m512i sum[ROWS][PAIR];
    for (int j = 0; j < panels; j++) {
      const __m512i start = _mm512_load_si512(t->start + at + j * EQ_LANES);
      for (int i = 0; i < rows; i++)
        sum[i][j] = how == FUSED ? _mm512_add_epi32(start, _mm512_set1_epi32(MAGIC_BITS)) : start;
    }
    fetch(next);
    uint32_t s = 0;
    for (; s + UNROLL <= steps; s += UNROLL, from += UNROLL * EQ_STEP, w += UNROLL * PANEL_STEP)
#pragma GCC unroll 8
      for (int u = 0; u < UNROLL; u++) step(from + u * EQ_STEP, x->pitch, rows, w + u * PANEL_STEP, panel, panels, sum);
    for (; s < steps; s++, from += EQ_STEP, w += PANEL_STEP) step(from, x->pitch, rows, w, panel, panels, sum);
    left -= steps;
    for (int j = 0; j < panels; j++) {
      const __m512 scale = _mm512_load_ps(t->scale + at + j * EQ_LANES);
      const __m512 magic = _mm512_mul_ps(scale, _mm512_set1_ps(-MAGIC));
      const size_t row = (size_t)first * t->pieces + piece;
      const float *own_step = how == STEPS ? x->step + row : (const float *)0;
      for (int i = 0; i < rows; i++) {
        __m512 part;
        if (how == FUSED)
          part = _mm512_fmadd_ps(_mm512_castsi512_ps(sum[i][j]), scale, magic);
        else if (how == STEPS)
          part = _mm512_mul_ps(_mm512_cvtepi32_ps(sum[i][j]),
                               _mm512_mul_ps(scale, _mm512_set1_ps(own_step[(size_t)i * t->pieces])));
        else
          part = separate(x, row + (size_t)i * t->pieces, t, at + (size_t)j * EQ_LANES, sum[i][j]);
        y[i][j] = _mm512_add_ps(y[i][j], part);
      }
    }
  }
  for (int i = 0; i < rows; i++)
    for (int j = 0; j < panels; j++) _mm512_storeu_ps(acc + (size_t)i * pitch + j * EQ_LANES, y[i][j]);
}

INLINE void all_rows(const eq_rows_i4 *x, uint32_t rows, const eq_tile_i4 *t, uint32_t panel0, int panels, finish how,
                     float *acc, size_t pitch, ahead *next) {
  uint32_t i = 0;
  for (; i + ROWS <= rows; i += ROWS) block(x, i, ROWS, t, panel0, panels, how, acc, pitch, next);
  for (; i + 5 <= rows; i += 5) block(x, i, 5, t, panel0, panels, how, acc, pitch, next);
  for (; i + 4 <= rows; i += 4) block(x, i, 4, t, panel0, panels, how, acc, pitch, next);
  for (; i + 2 <= rows; i += 2) block(x, i, 2, t, panel0, panels, how, acc, pitch, next);
  for (; i < rows; i++) block(x, i, 1, t, panel0, panels, how, acc, pitch, next);
}

INLINE void all_panels(const eq_rows_i4 *x, uint32_t rows, const eq_tile_i4 *t, uint32_t panels, finish how, float *acc,
                       size_t pitch, ahead *next) {
  uint32_t panel0 = 0;
  for (; panel0 + PAIR <= panels; panel0 += PAIR) all_rows(x, rows, t, panel0, PAIR, how, acc, pitch, next);
  if (panel0 < panels) all_rows(x, rows, t, panel0, 1, how, acc, pitch, next);
}

/* Is MAGIC + sum exact, and MAGIC * scale finite, in all of them? */
static bool can_fuse(const eq_rows_i4 *x, const eq_tile_i4 *t, uint32_t panels) {
  if (x->ones || x->step || t->piece_steps * EQ_STEP > MOST_FUSED) return false;
  const __m512i exponent = _mm512_set1_epi32(0x7f800000);
  __mmask16 infinite = 0;
  for (uint32_t piece = 0; piece < t->pieces; piece++)
    for (uint32_t j = 0; j < panels; j++) {
      const __m512i scale = _mm512_load_si512(t->scale + (size_t)piece * EQ_BLOCK + j * EQ_LANES);
      infinite |= _mm512_cmpeq_epi32_mask(_mm512_and_si512(scale, exponent), exponent);
    }
  return !infinite;
}

void eq_accumulate_i4_avx512(const eq_rows_i4 *x, uint32_t rows, const eq_tile_i4 *t, uint32_t outputs, float *acc,
                             size_t pitch) {
  const uint32_t panels = (outputs + EQ_LANES - 1) / EQ_LANES;
  const size_t groups = (size_t)((panels + 1) / PAIR) * (rows / ROWS + 1) * t->pieces;
  const size_t lines = x->ahead_bytes / EQ_CACHE_LINE / groups + 1;
  ahead next = {x->ahead, x->ahead + x->ahead_bytes, (uint32_t)(lines < MOST_LINES ? lines : MOST_LINES)};
  if (can_fuse(x, t, panels))
    all_panels(x, rows, t, panels, FUSED, acc, pitch, &next);
  else if (x->step && !x->ones)
    all_panels(x, rows, t, panels, STEPS, acc, pitch, &next);
  else
    all_panels(x, rows, t, panels, SEPARATE, acc, pitch, &next);
}

void eq_scale_sums_avx512(const eq_rows_i4 *x, uint32_t rows, const eq_tile_i4 *t, uint32_t outputs, float *acc,
                          size_t pitch) {
  for (uint32_t i = 0; i < rows; i++)
    for (uint32_t o = 0; o < outputs; o += EQ_LANES) {
      float *at = acc + i * pitch + o;
      const __m512 part = separate(x, i, t, o, _mm512_loadu_si512(at));
      _mm512_storeu_ps(at, _mm512_add_ps(_mm512_setzero_ps(), part)); /* -0 becomes 0, as in a sum of groups */
    }
}
