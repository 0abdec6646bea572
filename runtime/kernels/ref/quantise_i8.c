#include "ref.h"

typedef struct {
  float least, most;
} range;

/* Of values clipped to [-clip, clip]; NaN is passed over. */
static float clipped(float x, float clip) {
  if (!(clip > 0.0f)) return x;
  x = x > clip ? clip : x;
  return x < -clip ? -clip : x;
}

static range range_of(const float *x, size_t count, float clip) {
  range r = {__builtin_inff(), -__builtin_inff()};
  for (size_t i = 0; i < count; i++) {
    const float v = clipped(x[i], clip);
    r.least = v < r.least ? v : r.least;
    r.most = v > r.most ? v : r.most;
  }
  return r;
}

/* Returns the step. */
static float symmetric(const float *x, size_t count, range r, float clip, int8_t *codes) {
  const float most = -r.least > r.most ? -r.least : r.most, inverse = 127.0f * (1.0f / most);
  if (!(most >= EQ_LEAST_MAXIMUM)) {
    for (size_t i = 0; i < count; i++) codes[i] = 0;
    return 0.0f;
  }
  for (size_t i = 0; i < count; i++) codes[i] = eq_ref_code(clipped(x[i], clip) * inverse, -127, 127);
  return most / 127.0f;
}

static float asymmetric(const float *x, size_t count, range r, float clip, int8_t *codes, float *shift) {
  const float width = (r.most - r.least) + 1e-8f, step = width / 255.0f;
  for (size_t i = 0; i < count; i++) {
    const float t = (clipped(x[i], clip) - r.least) / width * 255.0f;
    codes[i] = (int8_t)(eq_round_even(t > 0.0f ? t < 255.0f ? t : 255.0f : 0.0f) - 128.0f);
  }
  *shift = r.least + 128.0f * step;
  return step;
}

void eq_quantise_i8_ref(const eq_codes *q, const float *x, size_t rows, uint32_t k, int8_t *codes, float *step,
                        float *shift) {
  if (q->kind == EQ_CODES_STATIC) {
    for (size_t i = 0; i < rows * k; i++) codes[i] = eq_ref_code(x[i] * q->grid.inv_step, q->grid.low, q->grid.high);
    return;
  }
  const bool block = q->kind == EQ_CODES_BLOCK32_SYM;
  const bool tensor = q->kind == EQ_CODES_TENSOR_SYM || q->kind == EQ_CODES_TENSOR_ASYM;
  const range all = tensor ? range_of(x, rows * k, q->clip) : (range){0};
  for (size_t row = 0; row < rows; row++, x += k, codes += k)
    for (uint32_t begin = 0; begin < k; begin += block ? EQ_CODES_BLOCK : k) {
      const uint32_t count = block && k - begin > EQ_CODES_BLOCK ? EQ_CODES_BLOCK : k - begin;
      const range r = tensor ? all : range_of(x + begin, count, q->clip);
      if (q->kind == EQ_CODES_ROW_ASYM || q->kind == EQ_CODES_TENSOR_ASYM)
        *step++ = asymmetric(x + begin, count, r, q->clip, codes + begin, shift++);
      else
        *step++ = symmetric(x + begin, count, r, q->clip, codes + begin);
    }
}
