/* Rows against packed powers of two with AVX2: unsigned values, w + 8, times signed activations. A pair of products is
 * 2 * 16 * 128 at most, so that eight of them add up in 16 bits. A weight of s4 is the sum of two such, one of which is
 * 0: +-2^S where S is below 4, and 16 times +-2^(S - 4). */
#include "packed_shift.h"

enum { MIDDLE = 8, UPPER = 16, SAFE_STEPS = 8, ROWS = 4, PARTS = 2 };

typedef struct {
  const uint8_t *x;
  size_t x_pitch;
  const int32_t *sums;
  const eq_packed_shift *w;
  __m256i table[PARTS];
  int32_t *acc;
  size_t pitch;
} product;

/* totals of `rows` rows and the two panels of eight outputs: + `steps` steps, at most SAFE_STEPS */
INLINE void add_steps(const product *p, const uint8_t *x, const uint8_t *codes, uint32_t steps, int rows, int parts,
                      eq_weight_type type, __m256i total[ROWS][2]) {
  __m256i sum[ROWS][2][PARTS];
  for (int r = 0; r < rows; r++)
    for (int i = 0; i < 2 * parts; i++) sum[r][i % 2][i / 2] = _mm256_setzero_si256();
  for (uint32_t s = 0; s < steps; s++, codes += EQ_I4_STEP, x += EQ_STEP) {
    __m256i code[2], w[2][PARTS];
    shift_codes(_mm256_load_si256((const void *)codes), type, code);
    for (int i = 0; i < 2 * parts; i++) w[i % 2][i / 2] = _mm256_shuffle_epi8(p->table[i / 2], code[i % 2]);
    for (int r = 0; r < rows; r++) {
      const __m256i a = shift_inputs(x + (size_t)r * p->x_pitch);
      for (int i = 0; i < 2 * parts; i++) {
        __m256i *to = &sum[r][i % 2][i / 2];
        *to = _mm256_add_epi16(*to, _mm256_maddubs_epi16(w[i % 2][i / 2], a));
      }
    }
  }
  for (int r = 0; r < rows; r++)
    for (int i = 0; i < 2 * parts; i++)
      total[r][i % 2] = _mm256_add_epi32(total[r][i % 2],
                                         _mm256_madd_epi16(sum[r][i % 2][i / 2], _mm256_set1_epi16(i < 2 ? 1 : UPPER)));
}

/* Eight outputs from `output` on, and those EQ_LANES behind. */
INLINE void dots(const product *p, uint32_t first, int rows, uint32_t output, eq_weight_type type) {
  const int parts = type == EQ_S4 ? 2 : 1;
  const uint8_t *x = p->x + first * p->x_pitch;
  const uint8_t *codes = p->w->codes + output / (2 * EQ_LANES) * SHIFT_PANEL_STEP + output % EQ_LANES * EQ_STEP;
  __m256i total[ROWS][2];
  for (int r = 0; r < rows; r++) total[r][0] = total[r][1] = _mm256_setzero_si256();
  uint32_t left = p->w->steps;
  for (; left >= SAFE_STEPS; left -= SAFE_STEPS, x += SAFE_STEPS * EQ_STEP, codes += SAFE_STEPS * EQ_I4_STEP)
    add_steps(p, x, codes, SAFE_STEPS, rows, parts, type, total);
  if (left) add_steps(p, x, codes, left, rows, parts, type, total);
  for (int r = 0; r < rows; r++)
    for (int panel = 0; panel < 2; panel++) {
      const int32_t middle = parts == 1 ? MIDDLE : MIDDLE + UPPER * MIDDLE;
      int32_t *to = p->acc + (first + (size_t)r) * p->pitch + output + (size_t)panel * EQ_LANES;
      const __m256i taken = _mm256_set1_epi32(middle * p->sums[first + (uint32_t)r]);
      _mm256_storeu_si256((void *)to, _mm256_sub_epi32(total[r][panel], taken));
    }
}

INLINE void all_outputs(const product *p, uint32_t first, int rows, eq_weight_type type) {
  for (uint32_t pair = 0; pair < EQ_BLOCK; pair += 2 * EQ_LANES)
    for (uint32_t at = 0; at < EQ_LANES; at += SHIFT_LANES) dots(p, first, rows, pair + at, type);
}

static void whole(const product *p, uint32_t rows) {
  uint32_t first = 0;
  for (; first + ROWS <= rows; first += ROWS) all_outputs(p, first, ROWS, EQ_S3);
  for (; first + 2 <= rows; first += 2) all_outputs(p, first, 2, EQ_S3);
  if (first < rows) all_outputs(p, first, 1, EQ_S3);
}

static void in_parts(const product *p, uint32_t rows) {
  uint32_t first = 0;
  for (; first + 2 <= rows; first += 2) all_outputs(p, first, 2, EQ_S4);
  if (first < rows) all_outputs(p, first, 1, EQ_S4);
}

void eq_dot_packed_shift_avx2(const uint8_t *x, size_t x_pitch, const int32_t *sums, uint32_t rows,
                              const eq_packed_shift *w, int32_t *acc, size_t pitch) {
  product p = {.x = x, .x_pitch = x_pitch, .sums = sums, .w = w, .acc = acc, .pitch = pitch};
  int8_t lower[16], upper[16];
  for (uint32_t code = 0; code < 16; code++) {
    const int32_t weight = eq_shift_weight(code, w->type, 1) + eq_shift_weight(code, w->type, 2);
    const bool wide = weight % UPPER == 0;
    lower[code] = (int8_t)(MIDDLE + (wide ? 0 : weight));
    upper[code] = (int8_t)(MIDDLE + (wide ? weight / UPPER : 0));
  }
  p.table[0] = shift_table(lower);
  p.table[1] = shift_table(upper);
  (w->type == EQ_S4 ? in_parts : whole)(&p, rows);
}

INLINE void expand(const eq_packed_shift *from, eq_weight_type type, unsigned half, int8_t *tile) {
  const size_t panel_bytes = (size_t)from->steps * SHIFT_PANEL_STEP;
  int8_t values[16];
  for (uint32_t code = 0; code < 16; code++) values[code] = (int8_t)eq_shift_weight(code, type, half);
  const __m256i table = shift_table(values);
  for (uint32_t pair = 0; pair < EQ_BLOCK / EQ_LANES; pair += 2) {
    const uint8_t *codes = from->codes + pair / 2 * SHIFT_PANEL_STEP;
    int8_t *to = tile + pair * panel_bytes;
    for (uint32_t step = 0; step < from->steps; step++, codes += EQ_I4_STEP, to += SHIFT_PANEL_STEP)
      for (int at = 0; at < SHIFT_PANEL_STEP; at += SHIFT_LANES * EQ_STEP) {
        __m256i code[2];
        shift_codes(_mm256_load_si256((const void *)(codes + at)), type, code);
        _mm256_store_si256((void *)(to + at), _mm256_shuffle_epi8(table, code[0]));
        _mm256_store_si256((void *)(to + panel_bytes + at), _mm256_shuffle_epi8(table, code[1]));
      }
  }
}

void eq_expand_shift_avx2(const eq_packed_shift *from, unsigned half, int8_t *tile) {
  if (from->type == EQ_S4)
    expand(from, EQ_S4, half, tile);
  else
    expand(from, EQ_S3, half, tile);
}
