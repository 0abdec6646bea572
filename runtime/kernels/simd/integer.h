/* What is the same for every instruction set about int8 activations: copies, decoding, plain tiles, quantisers. The
 * compiler makes vectors of the loops. */
#include "core/half.h"
#include "core/integer.h"
#include "kernels/ref/ref.h"

/* ---- copies ---- */

static void shift(const int8_t *restrict x, size_t count, uint8_t offset, uint8_t *restrict to) {
  for (size_t i = 0; i < count; i++) to[i] = (uint8_t)((uint8_t)x[i] + offset);
}

static void split(const int8_t *restrict x, size_t count, uint8_t offset, uint8_t *restrict to) {
  for (size_t i = 0; i < count; i += 8)
    for (size_t j = 0; j < 4; j++) {
      to[i + j] = (uint8_t)((uint8_t)x[i + 2 * j] + offset);
      to[i + 4 + j] = (uint8_t)((uint8_t)x[i + 2 * j + 1] + offset);
    }
}

static int32_t sum_of(const int8_t *x, size_t count) {
  int32_t sum = 0;
  for (size_t i = 0; i < count; i++) sum += x[i];
  return sum;
}

/* Pieces of a size known to the compiler: no loop is left. */
static void sums_of(const int8_t *restrict x, size_t count, size_t piece, int32_t *restrict to) {
  for (; piece == EQ_CODES_BLOCK && count >= EQ_CODES_BLOCK; count -= EQ_CODES_BLOCK, x += EQ_CODES_BLOCK)
    *to++ = sum_of(x, EQ_CODES_BLOCK);
  for (size_t n; count; count -= n, x += n) *to++ = sum_of(x, n = count < piece ? count : piece);
}

/* ---- weights of one row ---- */

/* Eight bits as eight bytes of 0 or 1. */
INLINE uint64_t spread(uint8_t bits) {
  const uint64_t each = bits * UINT64_C(0x0101010101010101) & UINT64_C(0x8040201008040201);
  return (each + UINT64_C(0x7f7f7f7f7f7f7f7f)) >> 7 & UINT64_C(0x0101010101010101);
}

/* Bytes of 0 or 1 as masks. */
INLINE uint64_t filled(uint64_t bits) { return bits * 255; }

/* Eight values +-size or 0 from their sign (1: positive) and sizes; sizes of at most 128. */
INLINE uint64_t signed_bytes(uint64_t sign, uint64_t size) {
  const uint64_t minus = filled(sign ^ UINT64_C(0x0101010101010101));
  const uint64_t flipped =
      size ^ minus; /* ~size where negative, then + 1 byte by byte; a size of 0 is never negative */
  return flipped + (minus & UINT64_C(0x0101010101010101));
}

INLINE uint64_t eight_weights(const uint8_t *const plane[4], eq_weight_type type, size_t at, unsigned half) {
  const uint64_t ones = UINT64_C(0x0101010101010101), sign = spread(plane[0][at]);
  if (type == EQ_B1) return signed_bytes(sign, ones);
  if (type == EQ_T2) {
    const uint64_t nonzero = spread(plane[1][at]);
    return (sign & nonzero) | (filled(nonzero) & ~filled(sign));
  }
  uint64_t size = ones + spread(plane[1][at]);
  if (type != EQ_S2) size += 3 * size & filled(spread(plane[2][at]));
  if (type == EQ_S4) {
    size += 15 * size & filled(spread(plane[3][at]));
    const uint64_t lesser = size >> 1 & UINT64_C(0x7f7f7f7f7f7f7f7f);
    if (half == 2) { /* may be 0, which has no sign */
      const uint64_t minus = filled(sign ^ ones) & ((lesser + UINT64_C(0x7f7f7f7f7f7f7f7f)) >> 7 & ones) * 255;
      return (lesser ^ minus) + (minus & ones);
    }
    size -= lesser;
  }
  return signed_bytes(sign, size);
}

INLINE void planes_of_row(const eq_weights *w, size_t row, const uint8_t *plane[4]) {
  for (unsigned i = 0; i < 4; i++)
    plane[i] = (const uint8_t *)w->data + (i < eq_weight_planes(w->type) ? i : 0) * w->plane + row * w->row;
}

INLINE void decode_planes(const eq_weights *w, size_t row, uint32_t k, eq_weight_type type, unsigned half, int8_t *to) {
  const uint8_t *plane[4];
  planes_of_row(w, row, plane);
  for (uint32_t i = 0; i < k; i += 8) {
    const uint64_t eight = eight_weights(plane, type, i / 8, half);
    __builtin_memcpy(to + i, &eight, sizeof eight);
  }
}

static void decode_bytes(const int8_t *restrict from, uint32_t k, unsigned half, int8_t *restrict to) {
  for (uint32_t i = 0; i < k; i++) {
    const int8_t lesser = (int8_t)(from[i] >> 1);
    to[i] = half == 0 ? from[i] : half == 1 ? (int8_t)(from[i] - lesser) : lesser;
  }
}

__attribute__((unused)) static void decode(const eq_weights *w, size_t row, uint32_t k, unsigned half, int8_t *to) {
  switch (w->type) {
  case EQ_B1: decode_planes(w, row, k, EQ_B1, half, to); break;
  case EQ_T2: decode_planes(w, row, k, EQ_T2, half, to); break;
  case EQ_S2: decode_planes(w, row, k, EQ_S2, half, to); break;
  case EQ_S3: decode_planes(w, row, k, EQ_S3, half, to); break;
  case EQ_S4: decode_planes(w, row, k, EQ_S4, half, to); break;
  default: decode_bytes((const int8_t *)w->data + row * w->row, k, half, to); break;
  }
}

/* ---- tiles ---- */

__attribute__((unused)) static void tile_plain(const int8_t *rows, uint32_t outputs, uint32_t steps, uint8_t offset,
                                               int8_t *tile, int32_t *start) {
  for (uint32_t o = 0; o < EQ_BLOCK; o++) {
    const int8_t *from = rows + (size_t)o * steps * EQ_STEP;
    int8_t *to = tile + ((size_t)(o / EQ_LANES) * steps * EQ_LANES + o % EQ_LANES) * EQ_STEP;
    int32_t sum = 0;
    for (uint32_t s = 0; s < steps; s++, to += (size_t)EQ_LANES * EQ_STEP)
      if (o < outputs)
        __builtin_memcpy(to, from + (size_t)s * EQ_STEP, EQ_STEP);
      else
        __builtin_memset(to, 0, EQ_STEP);
    if (o < outputs)
      for (size_t i = 0; i < (size_t)steps * EQ_STEP; i++) sum += from[i];
    start[o] = -sum * offset;
  }
}

static void depthwise(const eq_byte_patches *p, uint32_t pixels, const int8_t *w, size_t w_pitch, uint32_t first,
                      uint32_t multiplier, bool more, uint32_t count, int32_t *acc, size_t pitch) {
  for (uint32_t i = 0; i < pixels; i++, acc += pitch) {
    int32_t *restrict sum = acc;
    for (uint32_t o = 0; o < count && !more; o++) sum[o] = 0;
    for (uint32_t t = 0; t < p->rows * p->taps; t++) {
      const int8_t *restrict x = (const int8_t *)p->x + i * p->pixel + t / p->taps * p->row + t % p->taps * p->tap;
      const int8_t *restrict tap = w + t * w_pitch;
      if (multiplier == 1)
        for (uint32_t o = 0; o < count; o++) sum[o] += x[first + o] * tap[o];
      else
        for (uint32_t o = 0; o < count; o++) sum[o] += x[(first + o) / multiplier] * tap[o];
    }
  }
}

/* ---- ternary weights ---- */

__attribute__((unused)) static void expand_t2_plain(const eq_packed_t2 *from, int8_t *tile) {
  enum { PANEL = EQ_LANES * EQ_STEP, STEPS = 4 };
  const size_t steps = (size_t)from->words * STEPS, panel_bytes = steps * PANEL;
  const uint8_t *restrict codes = from->codes;
  int8_t *restrict first = tile, *restrict second = tile + panel_bytes, *restrict third = tile + 2 * panel_bytes,
                   *restrict fourth = tile + 3 * panel_bytes;
  for (size_t i = 0; i < panel_bytes; i++) {
    first[i] = (int8_t)((codes[i] & 3) - 1);
    second[i] = (int8_t)((codes[i] >> 2 & 3) - 1);
    third[i] = (int8_t)((codes[i] >> 4 & 3) - 1);
    fourth[i] = (int8_t)((codes[i] >> 6) - 1);
  }
}

/* ---- 4-bit weights ---- */

/* Scales, and zeros where they are fractions, of `outputs` outputs: [pieces][EQ_BLOCK]. */
__attribute__((unused)) static void scales_i4(const eq_weights_i4 *w, uint32_t k, uint32_t first, uint32_t outputs,
                                              const eq_tile_i4 *to) {
  const uint32_t groups = (k - 1) / w->group + 1, piece = to->piece_steps * EQ_STEP;
  for (uint32_t p = 0; p < to->pieces; p++)
    for (uint32_t o = 0; o < outputs; o++) {
      const size_t at = (size_t)(first + o) * groups + (to->pieces == 1 ? 0 : (uint64_t)p * piece / w->group);
      to->scale[(size_t)p * EQ_BLOCK + o] = eq_half(w->scale[at]);
      if (w->zero_kind == EQ_ZERO_F16) to->zero[(size_t)p * EQ_BLOCK + o] = eq_half(((const uint16_t *)w->zero)[at]);
    }
}

INLINE int32_t zero_of(const eq_weights_i4 *w, uint32_t groups, size_t row, uint32_t g) {
  if (w->zero_kind == EQ_ZERO_EIGHT) return 8;
  if (w->zero_kind == EQ_ZERO_F16) return 0;
  return ((const uint8_t *)w->zero)[row * (groups / 2 + groups % 2) + g / 2] >> (4 * (g % 2)) & 15;
}

__attribute__((unused)) static void tile_i4_plain(const eq_weights_i4 *w, uint32_t k, uint32_t first, uint32_t outputs,
                                                  uint8_t offset, const eq_tile_i4 *to) {
  const uint32_t groups = (k - 1) / w->group + 1, piece = to->piece_steps * EQ_STEP;
  const size_t bytes = eq_row_bytes(4 * k);
  for (uint32_t o = 0; o < outputs; o++) {
    const uint8_t *codes = w->codes + (first + o) * bytes;
    int8_t *lane = to->tile + ((size_t)(o / EQ_LANES) * to->steps * EQ_LANES + o % EQ_LANES) * EQ_STEP;
    for (uint32_t p = 0; p < to->pieces; p++) {
      const uint32_t begin = p * to->piece_steps,
                     end = to->steps - begin < to->piece_steps ? to->steps : begin + to->piece_steps;
      const int32_t zero =
          zero_of(w, groups, first + o, to->pieces == 1 ? 0 : (uint32_t)((uint64_t)p * piece / w->group));
      int32_t sum = 0;
      for (uint32_t s = begin; s < end; s++)
        for (uint32_t i = 0; i < EQ_STEP; i++) {
          const size_t at = (size_t)s / 2 * EQ_STEP + i;
          const int32_t value = at < bytes ? (codes[at] >> (4 * (s % 2)) & 15) - zero : 0;
          lane[(size_t)s * EQ_LANES * EQ_STEP + i] = (int8_t)value;
          sum += value;
        }
      to->start[(size_t)p * EQ_BLOCK + o] = -sum * offset;
    }
  }
  scales_i4(w, k, first, outputs, to);
}

/* y + the group's total in float: of a row's piece `of`, of EQ_LANES outputs `at`. */
__attribute__((unused)) INLINE v16 add_group(v16 y, int32_t total[EQ_LANES], const eq_rows_i4 *x, size_t of,
                                             const eq_tile_i4 *t, size_t at) {
  for (int j = 0; j < EQ_LANES; j++) total[j] += t->start[at + (size_t)j];
  v16 part = v16_of_i32(total);
  if (x->ones) part = v16_sub(part, v16_mul(v16_load(t->zero + at), v16_set(x->ones[of])));
  const v16 scale = v16_load(t->scale + at);
  return v16_add(y, v16_mul(part, x->step ? v16_mul(scale, v16_set(x->step[of])) : scale));
}

/* ---- quantisers ---- */

INLINE void fold(float *restrict lows, float *restrict highs, int half) {
  for (int j = 0; j < half; j++) {
    lows[j] = lows[j] < lows[j + half] ? lows[j] : lows[j + half];
    highs[j] = highs[j] > highs[j + half] ? highs[j] : highs[j + half];
  }
}

INLINE float largest(float of[EQ_LANES]) {
#pragma GCC unroll 4
  for (int half = EQ_LANES / 2; half; half /= 2)
    for (int j = 0; j < half; j++) of[j] = of[j] > of[j + half] ? of[j] : of[j + half];
  return of[0];
}

/* NaN is passed over. */
/* Several chains of minima and maxima, lest each waits for the one before. a < b ? a : b: NaN in a gives b. */
static void range(const float *x, size_t count, float clip, float *least, float *most) {
  enum { CHAINS = 4 };
  v16 low[CHAINS], high[CHAINS];
  for (int c = 0; c < CHAINS; c++) low[c] = v16_set(__builtin_inff()), high[c] = v16_set(-__builtin_inff());
  size_t i = 0;
  for (; i + CHAINS * EQ_LANES <= count; i += CHAINS * EQ_LANES)
    for (int c = 0; c < CHAINS; c++) {
      const v16 v = v16_load(x + i + (size_t)c * EQ_LANES);
      low[c] = v16_min(v, low[c]);
      high[c] = v16_max(v, high[c]);
    }
  for (; i + EQ_LANES <= count; i += EQ_LANES) {
    low[0] = v16_min(v16_load(x + i), low[0]);
    high[0] = v16_max(v16_load(x + i), high[0]);
  }
  for (int c = 1; c < CHAINS; c++) low[0] = v16_min(low[c], low[0]), high[0] = v16_max(high[c], high[0]);
  float lows[EQ_LANES], highs[EQ_LANES];
  v16_store(lows, low[0]);
  v16_store(highs, high[0]);
  for (int j = 0; i < count; i++, j++) {
    lows[j] = x[i] < lows[j] ? x[i] : lows[j];
    highs[j] = x[i] > highs[j] ? x[i] : highs[j];
  }
  fold(lows, highs, 8);
  fold(lows, highs, 4);
  fold(lows, highs, 2);
  fold(lows, highs, 1);
  *least = lows[0];
  *most = highs[0];
  if (!(clip > 0.0f) || *least > *most) return; /* clipping keeps the order; without numbers there is no range */
  *least = *least > clip ? clip : *least < -clip ? -clip : *least;
  *most = *most > clip ? clip : *most < -clip ? -clip : *most;
}

/* Clipping before the scale; NaN stays. */
INLINE v16 clipped(v16 x, float clip) {
  if (!(clip > 0.0f)) return x;
  const v16 limit = v16_set(clip), minus = v16_set(-clip);
  return v16_max(minus, v16_min(limit, x)); /* the second where the first does not win: NaN in x stays */
}

static void codes(const float *x, size_t count, float clip, float scale, int32_t low, int32_t high, int8_t *to) {
  const v16 s = v16_set(scale), lowest = v16_set((float)low), highest = v16_set((float)high);
  size_t i = 0;
  for (; i + EQ_LANES <= count; i += EQ_LANES) {
    const v16 v = v16_mul(clipped(v16_load(x + i), clip), s);
    v16_store_i8(to + i, v16_min(v16_max(v, lowest), highest));
  }
  if (i == count) return;
  const uint32_t rest = (uint32_t)(count - i);
  const v16 v = v16_mul(clipped(v16_load_n(x + i, rest), clip), s);
  v16_store_i8_n(to + i, v16_min(v16_max(v, lowest), highest), rest);
}

/* Steps of blocks by the largest of each, sixteen blocks at a time. */
static void codes_of_blocks(const float *x, size_t blocks, float clip, int8_t *to, float *step) {
  for (size_t first = 0; first < blocks; first += EQ_LANES) {
    const size_t count = blocks - first < EQ_LANES ? blocks - first : EQ_LANES;
    float most[EQ_LANES] = {0}, scale[EQ_LANES], steps[EQ_LANES];
    const float *from = x + first * EQ_CODES_BLOCK;
    for (size_t b = 0; b < count; b++, from += EQ_CODES_BLOCK) {
      const v16 zero = v16_set(0.0f);
      float each[EQ_LANES];
      v16_store(each, v16_max(v16_abs(v16_load(from + EQ_LANES)), v16_max(v16_abs(v16_load(from)), zero)));
      most[b] = largest(each);
    }
    for (int b = 0; b < EQ_LANES; b++) {
      if (clip > 0.0f && most[b] > clip) most[b] = clip;
      scale[b] = 127.0f * (1.0f / most[b]);
      steps[b] = most[b] >= EQ_LEAST_MAXIMUM ? most[b] / 127.0f : 0.0f;
    }
    from = x + first * EQ_CODES_BLOCK;
    for (size_t b = 0; b < count; b++, from += EQ_CODES_BLOCK, to += EQ_CODES_BLOCK) {
      *step++ = steps[b];
      if (most[b] >= EQ_LEAST_MAXIMUM)
        codes(from, EQ_CODES_BLOCK, clip, scale[b], -127, 127, to);
      else
        __builtin_memset(to, 0, EQ_CODES_BLOCK);
    }
  }
}

static void codes_between(const float *x, size_t count, float clip, float least, float width, int8_t *to) {
  const v16 low = v16_set(least), w = v16_set(width), most = v16_set(255.0f), middle = v16_set(128.0f);
  for (size_t i = 0; i < count; i += EQ_LANES) {
    const uint32_t n = count - i < EQ_LANES ? (uint32_t)(count - i) : EQ_LANES;
    const v16 v = clipped(n == EQ_LANES ? v16_load(x + i) : v16_load_n(x + i, n), clip);
    const v16 t = v16_mul(v16_div(v16_sub(v, low), w), most);
    const v16 code = v16_sub(v16_round_even(v16_min(v16_max(t, v16_set(0.0f)), most)), middle);
    if (n == EQ_LANES)
      v16_store_i8(to + i, code);
    else
      v16_store_i8_n(to + i, code, n);
  }
}

/* The table of a set that calls its functions so. */
#define EQ_INTEGER_TABLE(holds_halves, ...)                                                                            \
  {.offset = OFFSET,                                                                                                   \
   .narrow = (holds_halves),                                                                                           \
   .shift = shift,                                                                                                     \
   .split = split,                                                                                                     \
   .sums = sums_of,                                                                                                    \
   .decode = decode,                                                                                                   \
   .tile = tile,                                                                                                       \
   .accumulate = product,                                                                                              \
   .depthwise = depthwise,                                                                                             \
   .tile_i4 = tile_i4,                                                                                                 \
   .accumulate_i4 = product_i4,                                                                                        \
   .expand_i4 = expand_i4,                                                                                             \
   .range = range,                                                                                                     \
   .codes = codes,                                                                                                     \
   .codes_between = codes_between,                                                                                     \
   .codes_of_blocks = codes_of_blocks,                                                                                 \
   __VA_ARGS__}
