/* Many rows of int8 activations with AMX: TDPBUSD multiplies up to 16 pixels x 64 inputs with 64 inputs x 16 outputs.
 *
 * Sixteen steps of a panel as AVX-512 has them are such a matrix of weights as they lie, and so are neighbouring pixels
 * of activations. Two of each stand against each other, so that four loads feed four products:
 *
 *   tmm0 - tmm3  sums [2 x 16 pixels][2 x 16 outputs]     tmm4, tmm5  pixels     tmm6, tmm7  weights
 *
 * Runs of steps that are no multiple of sixteen end with narrower matrices, in a second pass. */
#include <immintrin.h>

#include "integer.h"
#include "kernels/x86_avx512/integer.h"
#include "kernels/x86_avx512/linear_i4i8.h"

enum {
  ROWS = 16,   /* of a matrix */
  PIXELS = 32, /* at once */
  FEWEST = 8,  /* pixels; below them filling and emptying matrices outweighs the products */
  PANEL_STEP = EQ_LANES * EQ_STEP
};

/* The operand of LDTILECFG. */
typedef struct {
  uint8_t palette, start_row, reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
} tile_shapes;

/* The intrinsics of gcc do not say that they read and write memory. */
static inline void settle(void) { __asm__ volatile("" ::: "memory"); }

/* pixels: 1 to PIXELS; steps: 1 to ROWS, of four inputs. */
static void set_shapes(uint32_t pixels, uint32_t steps) {
  tile_shapes s = {.palette = 1};
  for (uint32_t half = 0; half < 2; half++) {
    const uint32_t left = pixels > half * ROWS ? pixels - half * ROWS : 0, rows = left < ROWS ? left : ROWS;
    for (uint32_t i = 0; i < 2 && rows; i++) {
      s.rows[2 * half + i] = (uint8_t)rows;
      s.row_bytes[2 * half + i] = PANEL_STEP;
    }
    s.rows[4 + half] = (uint8_t)rows;
    s.row_bytes[4 + half] = (uint16_t)(rows ? steps * EQ_STEP : 0);
    s.rows[6 + half] = (uint8_t)steps;
    s.row_bytes[6 + half] = PANEL_STEP;
  }
  settle();
  _tile_loadconfig(&s);
}

/* Steps [first, first + count) of every run, `deep` at once, added to acc [pixels][2 panels]. */
static inline void block(const eq_byte_patches *p, const uint8_t *x, bool both, const int8_t *w, uint32_t first,
                         uint32_t count, uint32_t deep, int32_t *acc, size_t pitch) {
  const size_t panel = (size_t)p->rows * p->taps * p->steps * PANEL_STEP, row = pitch * sizeof *acc;
  int32_t *const other = acc + ROWS * pitch;
  _tile_loadd(0, acc, row);
  _tile_loadd(1, acc + EQ_LANES, row);
  if (both) {
    _tile_loadd(2, other, row);
    _tile_loadd(3, other + EQ_LANES, row);
  }
  for (uint32_t of = 0; of < p->rows; of++)
    for (uint32_t tap = 0; tap < p->taps; tap++, w += (size_t)p->steps * PANEL_STEP)
      for (uint32_t s = first; s < first + count; s += deep) {
        const uint8_t *from = x + of * p->row + tap * p->tap + (size_t)s * EQ_STEP;
        const int8_t *weights = w + (size_t)s * PANEL_STEP;
        _tile_loadd(6, weights, PANEL_STEP);
        _tile_loadd(7, weights + panel, PANEL_STEP);
        _tile_loadd(4, from, p->pixel);
        _tile_dpbusd(0, 4, 6);
        _tile_dpbusd(1, 4, 7);
        if (!both) continue;
        _tile_loadd(5, from + ROWS * p->pixel, p->pixel);
        _tile_dpbusd(2, 5, 6);
        _tile_dpbusd(3, 5, 7);
      }
  _tile_stored(0, acc, row);
  _tile_stored(1, acc + EQ_LANES, row);
  if (both) {
    _tile_stored(2, other, row);
    _tile_stored(3, other + EQ_LANES, row);
  }
}

/* The same for all pixels and panels; tiles have whole pairs of panels, and so have the rows of acc. */
static void pass(const eq_byte_patches *p, uint32_t pixels, const int8_t *w, uint32_t panels, uint32_t first,
                 uint32_t count, uint32_t deep, int32_t *acc, size_t pitch) {
  const size_t panel = (size_t)p->rows * p->taps * p->steps * PANEL_STEP;
  for (uint32_t i = 0; i < pixels; i += PIXELS) {
    const uint32_t at_once = pixels - i < PIXELS ? pixels - i : PIXELS;
    if (i == 0 || at_once < PIXELS) set_shapes(at_once, deep);
    for (uint32_t j = 0; j < panels; j += 2)
      block(p, p->x + i * p->pixel, at_once > ROWS, w + j * panel, first, count, deep, acc + i * pitch + j * EQ_LANES,
            pitch);
  }
}

void eq_accumulate_amx(const eq_byte_patches *p, uint32_t pixels, const int8_t *w, const int32_t *start, bool more,
                       uint32_t outputs, int32_t *acc, size_t pitch) {
  if (pixels < FEWEST || p->steps < ROWS) {
    eq_accumulate_avx512(p, pixels, w, start, more, outputs, acc, pitch);
    return;
  }
  const uint32_t panels = (outputs + EQ_LANES - 1) / EQ_LANES, whole = p->steps / ROWS * ROWS;
  for (uint32_t i = 0; i < pixels; i++)
    for (uint32_t j = 0; j < (panels + 1) / 2 * 2; j++) {
      int32_t *to = acc + i * pitch + j * EQ_LANES;
      __m512i sum = _mm512_loadu_si512(start + j * EQ_LANES);
      if (more) sum = _mm512_add_epi32(sum, _mm512_loadu_si512(to));
      _mm512_storeu_si512(to, sum);
    }
  pass(p, pixels, w, panels, 0, whole, ROWS, acc, pitch);
  if (whole < p->steps) pass(p, pixels, w, panels, whole, p->steps - whole, p->steps - whole, acc, pitch);
  _tile_release();
  settle();
}

void eq_accumulate_i4_amx(const eq_rows_i4 *x, uint32_t rows, const eq_tile_i4 *t, uint32_t outputs, float *acc,
                          size_t pitch) {
  if (t->pieces != 1) { /* the sums of a group are needed in registers */
    eq_accumulate_i4_avx512(x, rows, t, outputs, acc, pitch);
    return;
  }
  const eq_byte_patches p = {.x = x->x, .pixel = x->pitch, .rows = 1, .taps = 1, .steps = t->steps};
  eq_accumulate_amx(&p, rows, t->tile, t->start, false, outputs, (int32_t *)acc, pitch);
  eq_scale_sums_avx512(x, rows, t, outputs, acc, pitch);
}
