/* Powers of two tiled ahead, with VNNI: their values are looked up by VPERMB.
 *
 * It takes the lower six bits of a byte for one of 64 entries, and whatever the others are. Both codes of s2 and s3 are
 * in these bits; each has a table of its own, and nothing is shifted or masked. Of s4 the second code is shifted down.
 * Looked up values are unsigned, w + middle; middle * (sum of x) is taken back. The two halves of s4 are added into the
 * same sum. */
#include "packed_shift.h"
#include "core/tiles_shift.h"
#include "v16.h"

enum { PANEL_STEP = EQ_LANES * EQ_STEP, PAIRS = EQ_BLOCK / EQ_LANES / 2, MOST_HALVES = 2 };
enum { ROWS = 8, CHAINS = 2, AHEAD = 2048 /* bytes that are fetched before they are read */ };

/* Values of the two codes of a byte, by halves. */
typedef struct {
  __m512i of[2][MOST_HALVES];
} tables;

/* type: EQ_S4, or one of the others, whose codes mean the same. */
INLINE void set_tables(tables *t, eq_weight_type type, int place, unsigned half, int32_t middle) {
  int8_t each[16];
  for (uint32_t code = 0; code < sizeof each; code++) each[code] = (int8_t)(eq_shift_weight(code, type, half) + middle);
  t->of[0][place] = t->of[1][place] = _mm512_broadcast_i32x4(_mm_loadu_si128((const void *)each));
  if (type == EQ_S4) return;
  const uint64_t ones = UINT64_C(0x0101010101010101);
  const __m512i eighths =
      _mm512_mullo_epi64(_mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0), _mm512_set1_epi64((int64_t)ones));
  t->of[1][place] = _mm512_permutexvar_epi8(eighths, t->of[0][place]);
}

INLINE __m512i second_codes(__m512i both, eq_weight_type type) {
  return type == EQ_S4 ? _mm512_srli_epi16(both, 4) : both;
}

/* VPDPBUSD written out: around the intrinsic gcc 12 copies sums. */
INLINE __m512i dot(__m512i sum, __m512i weights, __m512i x) {
  __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(weights), "v"(x));
  return sum;
}

INLINE __m512i four_inputs(const uint8_t *x) {
  int32_t word;
  __builtin_memcpy(&word, x, sizeof word);
  return _mm512_set1_epi32(word);
}

typedef struct {
  const uint8_t *x;
  size_t x_pitch;
  const int32_t *sums;
  const eq_packed_shift *w;
  tables values;
  int32_t middle; /* of all halves together */
  int32_t *acc;
  size_t pitch;
} product;

/* `rows` rows, `pairs` pairs of panels; steps take turns with `chains` sums, lest one waits for the one before. */
INLINE void dots(const product *p, uint32_t first, int rows, int pair, int pairs, int chains, eq_weight_type type,
                 int halves) {
  const uint8_t *x = p->x + first * p->x_pitch, *codes = p->w->codes + pair * PANEL_STEP;
  __m512i sum[ROWS][CHAINS][2 * PAIRS];
#pragma GCC unroll 8
  for (int r = 0; r < rows; r++)
    for (int c = 0; c < chains; c++)
      for (int i = 0; i < 2 * pairs; i++) sum[r][c][i] = _mm512_setzero_si512();
  for (uint32_t step = 0; step < p->w->steps; step += (uint32_t)chains)
    for (int c = 0; c < chains; c++, codes += EQ_I4_STEP, x += EQ_STEP) {
      __m512i w[2 * PAIRS][MOST_HALVES];
      if (rows <= EQ_FEW_ROWS && type == EQ_S4 && halves == 1)
        __builtin_prefetch(p->w->ones + (step + (uint32_t)c) * PANEL_STEP);
      for (int j = 0; j < pairs; j++) {
        const __m512i both = _mm512_load_si512(codes + j * PANEL_STEP), second = second_codes(both, type);
        if (rows <= EQ_FEW_ROWS) __builtin_prefetch(codes + j * PANEL_STEP + AHEAD);
        for (int h = 0; h < halves; h++) {
          w[2 * j][h] = _mm512_permutexvar_epi8(both, p->values.of[0][h]);
          w[2 * j + 1][h] = _mm512_permutexvar_epi8(second, p->values.of[1][h]);
        }
      }
#pragma GCC unroll 8
      for (int r = 0; r < rows; r++) {
        const __m512i a = four_inputs(x + (size_t)r * p->x_pitch);
        for (int h = 0; h < halves; h++)
          for (int i = 0; i < 2 * pairs; i++) sum[r][c][i] = dot(sum[r][c][i], w[i][h], a);
      }
    }
  int32_t *acc = p->acc + first * p->pitch + pair * 2 * EQ_LANES;
#pragma GCC unroll 8
  for (int r = 0; r < rows; r++, acc += p->pitch) {
    const __m512i taken = _mm512_set1_epi32(p->middle * p->sums[first + (uint32_t)r]);
    for (int i = 0; i < 2 * pairs; i++) {
      __m512i total = sum[r][0][i];
      for (int c = 1; c < chains; c++) total = _mm512_add_epi32(total, sum[r][c][i]);
      _mm512_storeu_si512(acc + i * EQ_LANES, _mm512_sub_epi32(total, taken));
    }
  }
}

INLINE void all_pairs(const product *p, uint32_t first, int rows, int pairs, int chains, eq_weight_type type,
                      int halves) {
  for (int pair = 0; pair < PAIRS; pair += pairs) dots(p, first, rows, pair, pairs, chains, type, halves);
}

/* Runs of nearly the same number of rows. */
INLINE void all_rows(const product *p, uint32_t rows, eq_weight_type type, int halves) {
  const uint32_t runs = (rows + ROWS - 1) / ROWS;
  for (uint32_t i = 0, first = 0, count; i < runs; i++, first += count) {
    count = (rows - first + runs - i - 1) / (runs - i);
    switch (count) {
    case 1: all_pairs(p, first, 1, PAIRS, CHAINS, type, halves); break;
    case 2: all_pairs(p, first, 2, PAIRS, 1, type, halves); break;
    case 3: all_pairs(p, first, 3, PAIRS, 1, type, halves); break;
    case 4: all_pairs(p, first, 4, PAIRS, 1, type, halves); break;
    case 5: all_pairs(p, first, 5, 1, 1, type, halves); break;
    case 6: all_pairs(p, first, 6, 1, 1, type, halves); break;
    case 7: all_pairs(p, first, 7, 1, 1, type, halves); break;
    default: all_pairs(p, first, 8, 1, 1, type, halves); break;
    }
  }
}

static void whole(product *p, uint32_t rows) {
  p->middle = 8;
  set_tables(&p->values, EQ_S3, 0, 0, p->middle);
  all_rows(p, rows, EQ_S3, 1);
}

static void whole_s4(product *p, uint32_t rows) {
  p->middle = 128;
  set_tables(&p->values, EQ_S4, 0, 0, p->middle);
  all_rows(p, rows, EQ_S4, 1);
}

static void halved_s4(product *p, uint32_t rows) {
  p->middle = 2 * 64;
  for (int i = 0; i < MOST_HALVES; i++) set_tables(&p->values, EQ_S4, i, 1 + (unsigned)i, p->middle / 2);
  all_rows(p, rows, EQ_S4, MOST_HALVES);
}

void eq_dot_packed_shift_avx512(const uint8_t *x, size_t x_pitch, const int32_t *sums, uint32_t rows,
                                const eq_packed_shift *w, int32_t *acc, size_t pitch) {
  product p = {.x = x, .x_pitch = x_pitch, .sums = sums, .w = w, .acc = acc, .pitch = pitch};
  (w->type != EQ_S4 ? whole : w->halves == 1 ? whole_s4 : halved_s4)(&p, rows);
}

INLINE void expand(const eq_packed_shift *from, eq_weight_type type, unsigned half, int8_t *tile) {
  const size_t panel_bytes = (size_t)from->steps * PANEL_STEP;
  tables values;
  set_tables(&values, type, 0, half, 0);
  for (int pair = 0; pair < PAIRS; pair++) {
    const uint8_t *codes = from->codes + pair * PANEL_STEP;
    int8_t *to = tile + (size_t)pair * 2 * panel_bytes;
    for (uint32_t step = 0; step < from->steps; step++, codes += EQ_I4_STEP, to += PANEL_STEP) {
      const __m512i both = _mm512_load_si512(codes);
      _mm512_store_si512(to, _mm512_permutexvar_epi8(both, values.of[0][0]));
      _mm512_store_si512(to + panel_bytes, _mm512_permutexvar_epi8(second_codes(both, type), values.of[1][0]));
    }
  }
}

void eq_expand_shift_avx512(const eq_packed_shift *from, unsigned half, int8_t *tile) {
  if (from->type == EQ_S4)
    expand(from, EQ_S4, half, tile);
  else
    expand(from, EQ_S3, half, tile);
}

/* ---- inputs that are added once more ---- */

INLINE void ones_of_rows(const uint8_t *x, size_t x_pitch, bool plain, int rows, const eq_packed_shift *w, int32_t *acc,
                         size_t pitch) {
  enum { PANELS = 2 * PAIRS };
  const __m512i one = _mm512_set1_epi8(1);
  const __mmask64 chunk_mask = ~(__mmask64)0 >> 1; /* EQ_SHIFT_NONE finds 0 */
  const uint32_t chunks = eq_shift_chunks(w->steps);
  const uint8_t *ones = w->ones;
  __m512i sum[EQ_FEW_ROWS][PANELS];
  for (int r = 0; r < rows; r++)
    for (int i = 0; i < PANELS; i++) sum[r][i] = _mm512_loadu_si512(acc + (size_t)r * pitch + i * EQ_LANES);
  for (uint32_t chunk = 0; chunk < chunks; chunk++, x += EQ_SHIFT_CHUNK) {
    __m512i inputs[EQ_FEW_ROWS];
    for (int r = 0; r < rows; r++) inputs[r] = _mm512_maskz_loadu_epi8(chunk_mask, x + (size_t)r * x_pitch);
    for (uint32_t round = 0; round < w->rounds; round++)
      for (int i = 0; i < PANELS; i++, ones += PANEL_STEP) {
        const __m512i places = _mm512_load_si512(ones);
        if (rows == 1) __builtin_prefetch(ones + AHEAD);
        for (int r = 0; r < rows; r++) {
          const __m512i named = _mm512_permutexvar_epi8(places, inputs[r]);
          sum[r][i] = plain ? dot(sum[r][i], one, named) : dot(sum[r][i], named, one);
        }
      }
  }
  for (int r = 0; r < rows; r++)
    for (int i = 0; i < PANELS; i++) _mm512_storeu_si512(acc + (size_t)r * pitch + i * EQ_LANES, sum[r][i]);
}

INLINE void ones_of_all(const uint8_t *x, size_t x_pitch, bool plain, uint32_t rows, const eq_packed_shift *w,
                        int32_t *acc, size_t pitch) {
  for (; rows >= EQ_FEW_ROWS; rows -= EQ_FEW_ROWS, x += EQ_FEW_ROWS * x_pitch, acc += EQ_FEW_ROWS * pitch)
    ones_of_rows(x, x_pitch, plain, EQ_FEW_ROWS, w, acc, pitch);
  for (; rows; rows--, x += x_pitch, acc += pitch) ones_of_rows(x, x_pitch, plain, 1, w, acc, pitch);
}

void eq_add_ones_avx512(const uint8_t *x, size_t x_pitch, bool plain, uint32_t rows, const eq_packed_shift *w,
                        int32_t *acc, size_t pitch) {
  if (plain)
    ones_of_all(x, x_pitch, true, rows, w, acc, pitch);
  else
    ones_of_all(x, x_pitch, false, rows, w, acc, pitch);
}
