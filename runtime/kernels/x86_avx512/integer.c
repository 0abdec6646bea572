/* int8 activations with VNNI: 16 outputs of four inputs in a register, four activations broadcast to all of them. */
#include "v16.h"

#include "integer.h"
#include "kernels/simd/integer.h"
#include "kernels/x86_amx/integer.h"
#include "linear_i4i8.h"
#include "packed_shift.h"
#include "packed_t2.h"
#include "transpose.h"

enum { PANELS = EQ_BLOCK / EQ_LANES, OFFSET = 128, PANEL_STEP = EQ_LANES * EQ_STEP };

/* ---- sums of activations: products with ones ---- */

INLINE __mmask64 first_bytes(size_t n) { return n >= 64 ? ~(__mmask64)0 : ((__mmask64)1 << n) - 1; }

static void sums(const int8_t *x, size_t count, size_t piece, int32_t *to) {
  if (piece < 64) {
    sums_of(x, count, piece, to);
    return;
  }
  const __m512i ones = _mm512_set1_epi8(1);
  for (size_t n; count; count -= n, x += n) {
    n = count < piece ? count : piece;
    __m512i sum = _mm512_setzero_si512();
    for (size_t i = 0; i < n; i += 64)
      sum = _mm512_dpbusd_epi32(sum, ones, _mm512_maskz_loadu_epi8(first_bytes(n - i), x + i));
    *to++ = _mm512_reduce_add_epi32(sum);
  }
}

/* ---- decoding: bits as masks ---- */

/* Rows are whole 64-bit words, or one of 8, 16 or 32 bits. */
INLINE __mmask64 mask_of(const uint8_t *plane, size_t at, size_t row) {
  uint64_t bits = 0;
  if (row >= sizeof bits)
    __builtin_memcpy(&bits, plane + at, sizeof bits);
  else if (row == 4)
    __builtin_memcpy(&bits, plane, 4);
  else if (row == 2)
    __builtin_memcpy(&bits, plane, 2);
  else
    bits = plane[0];
  return bits;
}

/* 64 weights; half as decode() has it. */
INLINE __m512i weights64(const uint8_t *const plane[4], eq_weight_type type, size_t at, size_t row, unsigned half) {
  const __m512i one = _mm512_set1_epi8(1), zero = _mm512_setzero_si512();
  const __mmask64 sign = mask_of(plane[0], at, row);
  if (type == EQ_B1) return _mm512_mask_mov_epi8(_mm512_set1_epi8(-1), sign, one);
  const __mmask64 second = mask_of(plane[1], at, row);
  if (type == EQ_T2) return _mm512_mask_mov_epi8(_mm512_maskz_set1_epi8(second, -1), sign & second, one);
  __m512i size = _mm512_mask_mov_epi8(one, second, _mm512_set1_epi8(2));
  if (type != EQ_S2) size = _mm512_mask_mov_epi8(size, mask_of(plane[2], at, row), _mm512_slli_epi16(size, 2));
  if (type == EQ_S4) {
    size = _mm512_mask_mov_epi8(size, mask_of(plane[3], at, row), _mm512_slli_epi16(size, 4));
    const __m512i lesser = _mm512_and_si512(_mm512_srli_epi16(size, 1), _mm512_set1_epi8(127));
    size = half == 2 ? lesser : _mm512_sub_epi8(size, lesser);
  }
  return _mm512_mask_sub_epi8(size, ~sign, zero, size);
}

INLINE void decode64(const eq_weights *w, size_t row, uint32_t k, eq_weight_type type, unsigned half, int8_t *to) {
  const uint8_t *plane[4];
  planes_of_row(w, row, plane);
  for (uint32_t i = 0; i < k; i += 64) _mm512_storeu_si512(to + i, weights64(plane, type, i / 8, w->row, half));
}

static void decode_avx512(const eq_weights *w, size_t row, uint32_t k, unsigned half, int8_t *to) {
  switch (w->type) {
  case EQ_B1: decode64(w, row, k, EQ_B1, half, to); break;
  case EQ_T2: decode64(w, row, k, EQ_T2, half, to); break;
  case EQ_S2: decode64(w, row, k, EQ_S2, half, to); break;
  case EQ_S3: decode64(w, row, k, EQ_S3, half, to); break;
  case EQ_S4: decode64(w, row, k, EQ_S4, half, to); break;
  default: decode_bytes((const int8_t *)w->data + row * w->row, k, half, to); break;
  }
}

static void tile(const int8_t *rows, uint32_t outputs, uint32_t steps, int8_t *to, int32_t *start) {
  const size_t bytes = (size_t)steps * EQ_STEP;
  const __m512i offset = _mm512_set1_epi8((char)OFFSET);
  for (uint32_t panel = 0; panel < PANELS; panel++, rows += EQ_LANES * bytes) {
    const uint32_t first = panel * EQ_LANES, left = outputs > first ? outputs - first : 0;
    __m512i sum = _mm512_setzero_si512();
    for (uint32_t step = 0; step < steps; step += 16) {
      const __mmask64 mask = first_bytes(bytes - (size_t)step * EQ_STEP);
      __m512i r[16];
      for (uint32_t i = 0; i < 16; i++)
        r[i] = i < left ? _mm512_maskz_loadu_epi8(mask, rows + i * bytes + (size_t)step * EQ_STEP)
                        : _mm512_setzero_si512();
      transpose16(r);
      for (uint32_t i = 0; i < 16 && step + i < steps; i++, to += PANEL_STEP) {
        _mm512_store_si512(to, r[i]);
        sum = _mm512_dpbusd_epi32(sum, offset, r[i]);
      }
    }
    _mm512_store_si512(start + first, _mm512_sub_epi32(_mm512_setzero_si512(), sum));
  }
}

/* ---- products ---- */

INLINE __m512i broadcast(const uint8_t *p) {
  int32_t word;
  __builtin_memcpy(&word, p, sizeof word);
  return _mm512_set1_epi32(word);
}

/* Four inputs of `pixels` pixels, `pixel` bytes apart. */
INLINE void step(const uint8_t *x, size_t pixel, int pixels, int panels, const int8_t *w, size_t panel,
                 __m512i sum[][PANELS]) {
  __m512i weights[PANELS];
  for (int j = 0; j < panels; j++) weights[j] = _mm512_load_si512(w + (size_t)j * panel);
  for (int i = 0; i < pixels; i++) {
    const __m512i a = broadcast(x + (size_t)i * pixel);
    for (int j = 0; j < panels; j++) sum[i][j] = _mm512_dpbusd_epi32(sum[i][j], a, weights[j]);
  }
}

/* One pixel has two sums of each output, lest each product waits for the one before. */
INLINE void block(const eq_byte_patches *p, const uint8_t *x, int pixels, int panels, const int8_t *w, size_t panel,
                  const int32_t *start, bool more, int32_t *acc, size_t pitch) {
  __m512i sum[12][PANELS], other[1][PANELS];
  for (int j = 0; j < panels; j++) other[0][j] = _mm512_setzero_si512();
  for (int i = 0; i < pixels; i++)
    for (int j = 0; j < panels; j++) {
      sum[i][j] = _mm512_load_si512(start + j * EQ_LANES);
      if (more) sum[i][j] = _mm512_add_epi32(sum[i][j], _mm512_loadu_si512(acc + (size_t)i * pitch + j * EQ_LANES));
    }
  for (uint32_t row = 0; row < p->rows; row++)
    for (uint32_t tap = 0; tap < p->taps; tap++) {
      const uint8_t *from = x + row * p->row + tap * p->tap;
      uint32_t s = 0;
      for (; pixels == 1 && s + 2 <= p->steps; s += 2, from += 2 * EQ_STEP, w += 2 * PANEL_STEP) {
        step(from, 0, 1, panels, w, panel, sum);
        step(from + EQ_STEP, 0, 1, panels, w + PANEL_STEP, panel, other);
      }
      for (; s < p->steps; s++, from += EQ_STEP, w += PANEL_STEP) step(from, p->pixel, pixels, panels, w, panel, sum);
    }
  for (int j = 0; j < panels && pixels == 1; j++) sum[0][j] = _mm512_add_epi32(sum[0][j], other[0][j]);
  for (int i = 0; i < pixels; i++)
    for (int j = 0; j < panels; j++) _mm512_storeu_si512(acc + (size_t)i * pitch + (size_t)j * EQ_LANES, sum[i][j]);
}

INLINE void all_pixels(const eq_byte_patches *p, uint32_t pixels, int most, int panels, const int8_t *w,
                       const int32_t *start, bool more, int32_t *acc, size_t pitch) {
  const size_t panel = (size_t)p->rows * p->taps * p->steps * PANEL_STEP;
  uint32_t i = 0;
  for (; i + (uint32_t)most <= pixels; i += (uint32_t)most)
    block(p, p->x + i * p->pixel, most, panels, w, panel, start, more, acc + i * pitch, pitch);
  for (; i + 4 <= pixels; i += 4)
    block(p, p->x + i * p->pixel, 4, panels, w, panel, start, more, acc + i * pitch, pitch);
  for (; i + 2 <= pixels; i += 2)
    block(p, p->x + i * p->pixel, 2, panels, w, panel, start, more, acc + i * pitch, pitch);
  for (; i < pixels; i++) block(p, p->x + i * p->pixel, 1, panels, w, panel, start, more, acc + i * pitch, pitch);
}

void eq_accumulate_avx512(const eq_byte_patches *p, uint32_t pixels, const int8_t *w, const int32_t *start, bool more,
                          uint32_t outputs, int32_t *acc, size_t pitch) {
  switch ((outputs + EQ_LANES - 1) / EQ_LANES) {
  case 1: all_pixels(p, pixels, 12, 1, w, start, more, acc, pitch); break;
  case 2: all_pixels(p, pixels, 12, 2, w, start, more, acc, pitch); break;
  case 3: all_pixels(p, pixels, 8, 3, w, start, more, acc, pitch); break;
  default: all_pixels(p, pixels, 6, 4, w, start, more, acc, pitch); break;
  }
}

/* ---- few rows against canonical weights: 64 inputs at once, no tile ----
 * Weights become unsigned by adding `middle`, and middle * (sum of x) is taken back. */

INLINE __m512i unsigned64(const uint8_t *const plane[4], const eq_weights *w, eq_weight_type type, uint32_t i,
                          uint32_t k, unsigned half) {
  if (type == EQ_I8) {
    return _mm512_xor_si512(_mm512_maskz_loadu_epi8(first_bytes(k - i), plane[0] + i), _mm512_set1_epi8((char)128));
  }
  const size_t at = i / 8;
  const __mmask64 sign = mask_of(plane[0], at, w->row);
  if (type == EQ_B1) return _mm512_maskz_set1_epi8(sign, 2);
  if (type == EQ_T2) {
    const __mmask64 nonzero = mask_of(plane[1], at, w->row);
    return _mm512_mask_mov_epi8(_mm512_maskz_set1_epi8(~nonzero, 1), sign & nonzero, _mm512_set1_epi8(2));
  }
  const int8_t middle = type == EQ_S2 ? 2 : type == EQ_S3 ? 8 : 64;
  return _mm512_add_epi8(weights64(plane, type, at, w->row, half), _mm512_set1_epi8(middle));
}

INLINE int32_t middle_of(eq_weight_type type) {
  return type == EQ_B1 || type == EQ_T2 ? 1 : type == EQ_S2 ? 2 : type == EQ_S3 ? 8 : type == EQ_S4 ? 2 * 64 : 128;
}

/* `rows` outputs x `m` rows of x, together at most 16. */
INLINE void dots(const int8_t *x, size_t x_pitch, const int32_t *sums, uint32_t m, const eq_weights *w, size_t first,
                 uint32_t rows, uint32_t k, eq_weight_type type, int32_t *acc, size_t pitch) {
  __m512i sum[16];
  const uint8_t *plane[16][4];
  for (int r = 0; r < 16; r++) sum[r] = _mm512_setzero_si512();
  for (uint32_t r = 0; r < rows; r++) planes_of_row(w, first + r, plane[r]);
  for (uint32_t i = 0; i < k; i += 64) {
    __m512i a[EQ_FEW_ROWS];
    for (uint32_t j = 0; j < m; j++) a[j] = _mm512_loadu_si512(x + j * x_pitch + i);
    for (uint32_t r = 0; r < rows; r++) {
      const __m512i weights = unsigned64(plane[r], w, type, i, k, 1);
      for (uint32_t j = 0; j < m; j++) sum[r * m + j] = _mm512_dpbusd_epi32(sum[r * m + j], weights, a[j]);
      if (type != EQ_S4) continue;
      const __m512i other = unsigned64(plane[r], w, type, i, k, 2);
      for (uint32_t j = 0; j < m; j++) sum[r * m + j] = _mm512_dpbusd_epi32(sum[r * m + j], other, a[j]);
    }
  }
  int32_t total[16];
  _mm512_storeu_si512(total, sums16(sum));
  for (uint32_t r = 0; r < rows; r++)
    for (uint32_t j = 0; j < m; j++) acc[j * pitch + r] = total[r * m + j] - middle_of(type) * sums[j];
}

INLINE void all_dots(const int8_t *x, size_t x_pitch, const int32_t *sums, uint32_t m, const eq_weights *w,
                     size_t first, uint32_t outputs, uint32_t k, eq_weight_type type, int32_t *acc, size_t pitch) {
  const uint32_t rows = 16 / m;
  uint32_t o = 0;
  for (; o + rows <= outputs; o += rows) dots(x, x_pitch, sums, m, w, first + o, rows, k, type, acc + o, pitch);
  for (; o < outputs; o++) dots(x, x_pitch, sums, m, w, first + o, 1, k, type, acc + o, pitch);
}

INLINE void dot_type(const int8_t *x, size_t x_pitch, const int32_t *sums, uint32_t m, const eq_weights *w,
                     size_t first, uint32_t outputs, uint32_t k, eq_weight_type type, int32_t *acc, size_t pitch) {
  switch (m) {
  case 1: all_dots(x, x_pitch, sums, 1, w, first, outputs, k, type, acc, pitch); break;
  case 2: all_dots(x, x_pitch, sums, 2, w, first, outputs, k, type, acc, pitch); break;
  case 3: all_dots(x, x_pitch, sums, 3, w, first, outputs, k, type, acc, pitch); break;
  default: all_dots(x, x_pitch, sums, 4, w, first, outputs, k, type, acc, pitch); break;
  }
}

static void dot(const int8_t *x, size_t x_pitch, const int32_t *sums, uint32_t m, const eq_weights *w, size_t first,
                uint32_t outputs, uint32_t k, int32_t *acc, size_t pitch) {
  switch (w->type) {
  case EQ_B1: dot_type(x, x_pitch, sums, m, w, first, outputs, k, EQ_B1, acc, pitch); break;
  case EQ_T2: dot_type(x, x_pitch, sums, m, w, first, outputs, k, EQ_T2, acc, pitch); break;
  case EQ_S2: dot_type(x, x_pitch, sums, m, w, first, outputs, k, EQ_S2, acc, pitch); break;
  case EQ_S3: dot_type(x, x_pitch, sums, m, w, first, outputs, k, EQ_S3, acc, pitch); break;
  case EQ_S4: dot_type(x, x_pitch, sums, m, w, first, outputs, k, EQ_S4, acc, pitch); break;
  default: dot_type(x, x_pitch, sums, m, w, first, outputs, k, EQ_I8, acc, pitch); break;
  }
}

/* AMX differs in products of many rows only. */
#define TABLE(product, product_i4)                                                                                     \
  {.offset = OFFSET,                                                                                                   \
   .shift = shift,                                                                                                     \
   .split = split,                                                                                                     \
   .sums = sums,                                                                                                       \
   .decode = decode_avx512,                                                                                            \
   .tile = tile,                                                                                                       \
   .accumulate = product,                                                                                              \
   .depthwise = depthwise,                                                                                             \
   .dot = dot,                                                                                                         \
   .tile_i4 = eq_tile_i4_avx512,                                                                                       \
   .accumulate_i4 = product_i4,                                                                                        \
   .dot_i4 = eq_dot_i4i8_avx512,                                                                                       \
   .expand_i4 = eq_expand_i4_avx512,                                                                                   \
   .dot_packed_i4 = eq_dot_packed_i4_avx512,                                                                           \
   .expand_t2 = expand_t2_plain,                                                                                       \
   .dot_packed_t2 = eq_dot_packed_t2_avx512,                                                                           \
   .expand_shift = eq_expand_shift_avx512,                                                                             \
   .dot_packed_shift = eq_dot_packed_shift_avx512,                                                                     \
   .add_ones = eq_add_ones_avx512,                                                                                     \
   .range = range,                                                                                                     \
   .codes = codes,                                                                                                     \
   .codes_between = codes_between,                                                                                     \
   .codes_of_blocks = codes_of_blocks}
const eq_integer_kernels eq_integer_avx512 = TABLE(eq_accumulate_avx512, eq_accumulate_i4_avx512);
const eq_integer_kernels eq_integer_amx = TABLE(eq_accumulate_amx, eq_accumulate_i4_amx);
