/* Rows against packed powers of two with AVX-VNNI: unsigned values, w + middle, times signed activations. The two
 * halves of s4 are added into the same sum. */
#include "packed_shift.h"
#include "kernels/x86_avx2/packed_shift.h"

enum { ROWS = 4, VECTORS = EQ_BLOCK / 2 / SHIFT_LANES, MOST_HALVES = 2 };

typedef struct {
  const uint8_t *x;
  size_t x_pitch;
  const int32_t *sums;
  const eq_packed_shift *w;
  __m256i table[MOST_HALVES];
  int32_t middle; /* of all halves together */
  int32_t *acc;
  size_t pitch;
} product;

/* `vectors` times eight outputs of two panels each, from `at` on, which are enough that no sum waits for itself. */
INLINE void dots(const product *p, uint32_t first, int rows, int at, int vectors, eq_weight_type type) {
  const int halves = type == EQ_S4 ? 2 : 1;
  const uint8_t *x = p->x + first * p->x_pitch, *codes = p->w->codes + at * SHIFT_LANES * EQ_STEP;
  __m256i sum[ROWS][VECTORS][2];
  for (int r = 0; r < rows; r++)
    for (int v = 0; v < vectors; v++)
      sum[r][v][0] = sum[r][v][1] = _mm256_set1_epi32(-p->middle * p->sums[first + (uint32_t)r]);
  for (uint32_t step = 0; step < p->w->steps; step++, codes += EQ_I4_STEP, x += EQ_STEP)
    for (int v = 0; v < vectors; v++) {
      __m256i code[2];
      shift_codes(_mm256_load_si256((const void *)(codes + v * SHIFT_LANES * EQ_STEP)), type, code);
      for (int h = 0; h < halves; h++)
        for (int panel = 0; panel < 2; panel++) {
          const __m256i w = _mm256_shuffle_epi8(p->table[h], code[panel]);
          for (int r = 0; r < rows; r++)
            sum[r][v][panel] = _mm256_dpbusd_avx_epi32(sum[r][v][panel], w, shift_inputs(x + (size_t)r * p->x_pitch));
        }
    }
  for (int r = 0; r < rows; r++)
    for (int v = 0; v < vectors; v++) {
      const int output = (at + v) / 2 * 2 * EQ_LANES + (at + v) % 2 * SHIFT_LANES;
      int32_t *to = p->acc + (first + (size_t)r) * p->pitch + output;
      for (int panel = 0; panel < 2; panel++) _mm256_storeu_si256((void *)(to + panel * EQ_LANES), sum[r][v][panel]);
    }
}

INLINE void all_outputs(const product *p, uint32_t first, int rows, int vectors, eq_weight_type type) {
  for (int at = 0; at < VECTORS; at += vectors) dots(p, first, rows, at, vectors, type);
}

INLINE void all_rows(const product *p, uint32_t rows, eq_weight_type type) {
  uint32_t first = 0;
  for (; type != EQ_S4 && first + ROWS <= rows; first += ROWS) all_outputs(p, first, ROWS, 1, type);
  for (; first + 2 <= rows; first += 2) all_outputs(p, first, 2, 2, type);
  if (first < rows) all_outputs(p, first, 1, VECTORS, type);
}

static void whole(const product *p, uint32_t rows) { all_rows(p, rows, EQ_S3); }
static void halved(const product *p, uint32_t rows) { all_rows(p, rows, EQ_S4); }

void eq_dot_packed_shift_avx_vnni(const uint8_t *x, size_t x_pitch, const int32_t *sums, uint32_t rows,
                                  const eq_packed_shift *w, int32_t *acc, size_t pitch) {
  const unsigned halves = w->type == EQ_S4 ? 2 : 1;
  const int32_t middle = halves == 1 ? 8 : 64;
  product p = {.x = x, .x_pitch = x_pitch, .sums = sums, .w = w, .acc = acc, .pitch = pitch};
  for (unsigned h = 0; h < halves; h++) {
    int8_t values[16];
    for (uint32_t code = 0; code < 16; code++)
      values[code] = (int8_t)(eq_shift_weight(code, w->type, halves == 1 ? 0 : h + 1) + middle);
    p.table[h] = shift_table(values);
    p.middle += middle;
  }
  (halves == 1 ? whole : halved)(&p, rows);
}
