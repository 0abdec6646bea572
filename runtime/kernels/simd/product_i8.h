/* Products of bytes for the sets whose registers hold a part of EQ_LANES outputs. The including file says how:
 * PRODUCT_PIXELS  pixels at once;  OFFSET  of the activations
 * sum16           the sums of EQ_LANES outputs
 * sum16_begin, sum16_add (four activations, EQ_LANES x 4 weights), sum16_store (the totals) */
#include "integer.h"
#include "packed_i4.h"

enum { PANEL_STEP = EQ_LANES * EQ_STEP };

INLINE void product_block(const eq_byte_patches *p, const uint8_t *x, int pixels, const int8_t *w, const int32_t *start,
                          bool more, int32_t *acc, size_t pitch) {
  sum16 sum[PRODUCT_PIXELS];
  for (int i = 0; i < pixels; i++) sum16_begin(&sum[i]);
  for (uint32_t row = 0; row < p->rows; row++)
    for (uint32_t tap = 0; tap < p->taps; tap++) {
      const uint8_t *from = x + row * p->row + tap * p->tap;
      for (uint32_t s = 0; s < p->steps; s++, from += EQ_STEP, w += PANEL_STEP)
        for (int i = 0; i < pixels; i++) sum16_add(&sum[i], from + (size_t)i * p->pixel, w);
    }
  for (int i = 0; i < pixels; i++, acc += pitch) {
    int32_t total[EQ_LANES];
    sum16_store(&sum[i], total);
    for (int j = 0; j < EQ_LANES; j++) acc[j] = total[j] + start[j] + (more ? acc[j] : 0);
  }
}

static void product(const eq_byte_patches *p, uint32_t pixels, const int8_t *w, const int32_t *start, bool more,
                    uint32_t outputs, int32_t *acc, size_t pitch) {
  const size_t panel = (size_t)p->rows * p->taps * p->steps * PANEL_STEP;
  for (uint32_t o = 0; o < outputs; o += EQ_LANES, w += panel) {
    uint32_t i = 0;
    for (; i + PRODUCT_PIXELS <= pixels; i += PRODUCT_PIXELS)
      product_block(p, p->x + i * p->pixel, PRODUCT_PIXELS, w, start + o, more, acc + i * pitch + o, pitch);
    for (; i + 2 <= pixels; i += 2)
      product_block(p, p->x + i * p->pixel, 2, w, start + o, more, acc + i * pitch + o, pitch);
    if (i < pixels) product_block(p, p->x + i * p->pixel, 1, w, start + o, more, acc + i * pitch + o, pitch);
  }
}

INLINE void groups_block(const eq_rows_i4 *x, uint32_t first, int rows, const eq_tile_i4 *t, uint32_t o, float *acc,
                         size_t pitch) {
  v16 y[PRODUCT_PIXELS];
  for (int i = 0; i < rows; i++) y[i] = v16_set(0.0f);
  const uint8_t *from = x->x + first * x->pitch;
  const int8_t *w = t->tile + (size_t)o * t->steps * EQ_STEP;
  for (uint32_t piece = 0, left = t->steps; piece < t->pieces; piece++) {
    const size_t at = (size_t)piece * EQ_BLOCK + o;
    const uint32_t steps = left < t->piece_steps ? left : t->piece_steps;
    sum16 sum[PRODUCT_PIXELS];
    for (int i = 0; i < rows; i++) sum16_begin(&sum[i]);
    for (uint32_t s = 0; s < steps; s++, from += EQ_STEP, w += PANEL_STEP)
      for (int i = 0; i < rows; i++) sum16_add(&sum[i], from + (size_t)i * x->pitch, w);
    left -= steps;
    for (int i = 0; i < rows; i++) {
      const size_t of = (size_t)(first + (uint32_t)i) * t->pieces + piece;
      int32_t total[EQ_LANES];
      sum16_store(&sum[i], total);
      y[i] = add_group(y[i], total, x, of, t, at);
    }
  }
  for (int i = 0; i < rows; i++) v16_store(acc + (first + (uint32_t)i) * pitch + o, y[i]);
}

static void product_i4(const eq_rows_i4 *x, uint32_t rows, const eq_tile_i4 *t, uint32_t outputs, float *acc,
                       size_t pitch) {
  for (uint32_t o = 0; o < outputs; o += EQ_LANES) {
    uint32_t i = 0;
    for (; i + PRODUCT_PIXELS <= rows; i += PRODUCT_PIXELS) groups_block(x, i, PRODUCT_PIXELS, t, o, acc, pitch);
    for (; i + 2 <= rows; i += 2) groups_block(x, i, 2, t, o, acc, pitch);
    if (i < rows) groups_block(x, i, 1, t, o, acc, pitch);
  }
}

static void tile(const int8_t *rows, uint32_t outputs, uint32_t steps, int8_t *to, int32_t *start) {
  tile_plain(rows, outputs, steps, OFFSET, to, start);
}

static void tile_i4(const eq_weights_i4 *w, uint32_t k, uint32_t first, uint32_t outputs, const eq_tile_i4 *to) {
  tile_i4_plain(w, k, first, outputs, OFFSET, to);
}

/* Packed codes -> two panels of a tile and their starts. */
INLINE void expand_pair(const eq_packed_i4 *from, const eq_tile_i4 *to, uint32_t o) {
  static const uint8_t offsets[EQ_STEP] = {OFFSET, OFFSET, OFFSET, OFFSET};
  const uint8_t *codes = from->codes + (size_t)o / 2 * EQ_STEP;
  int8_t *w[2] = {to->tile + (size_t)o * to->steps * EQ_STEP, to->tile + (size_t)(o + EQ_LANES) * to->steps * EQ_STEP};
  for (uint32_t piece = 0, left = to->steps; piece < to->pieces; piece++) {
    const uint32_t steps = left < to->piece_steps ? left : to->piece_steps;
    const uint8_t *each = from->zero + (size_t)(piece * to->piece_steps / from->group_steps) * EQ_BLOCK + o;
    uint8_t zero[2][PANEL_STEP];
    for (int i = 0; i < PANEL_STEP; i++) {
      zero[0][i] = each[i / EQ_STEP];
      zero[1][i] = each[EQ_LANES + i / EQ_STEP];
    }
    sum16 sum[2];
    for (int p = 0; p < 2; p++) sum16_begin(&sum[p]);
    for (uint32_t s = 0; s < steps; s++, codes += EQ_I4_STEP) {
      for (int i = 0; i < PANEL_STEP; i++) {
        w[0][i] = (int8_t)((codes[i] & 15) - zero[0][i]);
        w[1][i] = (int8_t)((codes[i] >> 4) - zero[1][i]);
      }
      for (int p = 0; p < 2; p++) {
        sum16_add(&sum[p], offsets, w[p]);
        w[p] += PANEL_STEP;
      }
    }
    for (uint32_t p = 0; p < 2; p++) {
      int32_t total[EQ_LANES];
      sum16_store(&sum[p], total);
      for (uint32_t i = 0; i < EQ_LANES; i++) to->start[(size_t)piece * EQ_BLOCK + o + p * EQ_LANES + i] = -total[i];
    }
    left -= steps;
  }
}

static void expand_i4(const eq_packed_i4 *from, const eq_tile_i4 *to) {
  expand_scales(from, to);
  for (uint32_t o = 0; o < EQ_BLOCK; o += 2 * EQ_LANES) expand_pair(from, to, o);
}
