#include "ref.h"

typedef enum { AT_LEAST, ABOVE, UNEQUAL } relation;

static bool holds(relation r, float x, float threshold) {
  return r == AT_LEAST ? x >= threshold : r == ABOVE ? x > threshold : x != threshold;
}

static void pack_plane(relation r, const float *x, size_t rows, uint32_t k, const float *threshold, uint8_t *out) {
  const size_t bytes = eq_row_bytes(k);
  for (size_t row = 0; row < rows; row++, x += k, out += bytes) {
    for (size_t i = 0; i < bytes; i++) out[i] = 0;
    for (uint32_t i = 0; i < k; i++)
      if (holds(r, x[i], threshold ? threshold[i] : 0.0f)) out[i / 8] = (uint8_t)(out[i / 8] | 1u << (i % 8));
  }
}

void eq_pack_b1_ref(const float *x, size_t rows, uint32_t k, const float *threshold, uint8_t *out) {
  pack_plane(AT_LEAST, x, rows, k, threshold, out);
}

void eq_pack_t2_ref(const float *x, size_t rows, uint32_t k, const float *threshold, uint8_t *out) {
  pack_plane(ABOVE, x, rows, k, threshold, out);
  pack_plane(UNEQUAL, x, rows, k, threshold, out + rows * eq_row_bytes(k));
}
