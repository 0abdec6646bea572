/* Residuals of another shape: mean of neighbouring channels, 3x3 average with stride 2. */
#include "core/window.h"
#include "declare.h"

static float mean_of_run(const float *run, uint32_t g) {
  float sum = run[0];
  for (uint32_t i = 1; i < g; i++) sum += run[i];
  return sum / (float)g;
}

void EQ_NAME(eq_shrink)(const float *r, size_t r_pitch, uint32_t g, uint32_t pixels, uint32_t channels, float *out,
                        size_t out_pitch) {
  for (uint32_t p = 0; p < pixels; p++, r += r_pitch, out += out_pitch) {
    uint32_t c = 0;
    if (g == 4) /* / 4 and / 2 are exact as * 0.25 and * 0.5 */
      for (; c + EQ_LANES <= channels; c += EQ_LANES)
        v16_store(out + c, v16_mul(v16_sum_fours(r + 4 * (size_t)c), v16_set(0.25f)));
    if (g == 2)
      for (; c + EQ_LANES <= channels; c += EQ_LANES)
        v16_store(out + c, v16_mul(v16_sum_twos(r + 2 * (size_t)c), v16_set(0.5f)));
    for (; c < channels; c++) out[c] = mean_of_run(r + (size_t)c * g, g);
  }
}

/* The mean over `taps` pixels; a missing tap is left out, the divisor stays 9. */
INLINE void average(const float *const tap[9], uint32_t taps, uint32_t channels, float *out) {
  const v16 ninth = v16_set(1.0f / 9.0f);
  for (uint32_t c = 0; c < channels; c += EQ_LANES) {
    const uint32_t lanes = channels - c < EQ_LANES ? channels - c : EQ_LANES;
    v16 sum = v16_set(0.0f);
    for (uint32_t t = 0; t < taps; t++)
      sum = v16_add(sum, lanes == EQ_LANES ? v16_load(tap[t] + c) : v16_load_n(tap[t] + c, lanes));
    v16_store(out + c, v16_mul(sum, ninth));
  }
}

void EQ_NAME(eq_pool)(const eq_pool *p, float *out, size_t out_pitch) {
  const eq_taps v = eq_taps_inside(p->y, 2, 3, p->h % 2, p->h);
  for (uint32_t i = 0; i < p->pixels; i++, out += out_pitch) {
    const eq_taps h = eq_taps_inside(p->x + i, 2, 3, p->w % 2, p->w);
    const float *tap[9];
    uint32_t taps = 0;
    for (uint32_t ky = v.begin; ky < v.end; ky++)
      for (uint32_t kx = h.begin; kx < h.end; kx++) {
        const size_t y = (size_t)2 * p->y + ky - p->h % 2, x = (size_t)2 * (p->x + i) + kx - p->w % 2;
        tap[taps++] = p->image + (y * p->w + x) * p->c;
      }
    if (taps == 9)
      average(tap, 9, p->channels, out);
    else
      average(tap, taps, p->channels, out);
  }
}
