#include "check.h"
#include "edgeq/glue.h"

typedef struct {
  uint32_t begin, end;
} half;

/* The two halves of an extent share its middle; there is one half of an extent of 1. */
static half half_of(uint32_t extent, uint32_t i) {
  return i ? (half){extent / 2, extent} : (half){0, extent / 2 + extent % 2};
}

static uint32_t halves(uint32_t extent) { return extent > 1 ? 2 : 1; }

/* Sum of [rows][columns] of an image; one of floats and codes is given. */
static void add(const float *floats, const int8_t *codes, uint32_t w, uint32_t c, half rows, half columns, float *sum) {
  for (uint32_t i = 0; i < c; i++) sum[i] = 0.0f;
  for (uint32_t y = rows.begin; y < rows.end; y++)
    for (uint32_t x = columns.begin; x < columns.end; x++) {
      const size_t pixel = ((size_t)y * w + x) * c;
      if (codes)
        for (uint32_t i = 0; i < c; i++) sum[i] += (float)codes[pixel + i];
      else
        for (uint32_t i = 0; i < c; i++) sum[i] += floats[pixel + i];
    }
}

eq_status eq_mean_quarters(const float *x, const int8_t *codes, float inv_step, uint32_t n, uint32_t h, uint32_t w,
                           uint32_t c, float *out) {
  if (!x == !codes || !out) return EQ_BAD_ARGUMENT;
  if (!eq_extent_ok(n, h, w, c) || c > INT32_MAX / 4 || !eq_extent_ok(n, 4 * c, 1, 1)) return EQ_BAD_SHAPE;
  const size_t image = (size_t)h * w * c;
  for (uint32_t i = 0; i < n; i++)
    for (uint32_t top = 0; top < halves(h); top++)
      for (uint32_t left = 0; left < halves(w); left++, out += c) {
        const half rows = half_of(h, top), columns = half_of(w, left);
        add(x ? x + i * image : x, codes ? codes + i * image : codes, w, c, rows, columns, out);
        const float factor = 1.0f / (float)((rows.end - rows.begin) * (columns.end - columns.begin));
        for (uint32_t j = 0; j < c; j++) out[j] = codes ? out[j] * factor / inv_step : out[j] * factor;
      }
  return EQ_OK;
}
