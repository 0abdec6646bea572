#include "core/half.h"
#include "ref.h"

static int32_t nibble(const uint8_t *row, uint32_t i) { return row[i / 2] >> (4 * (i % 2)) & 15; }

float eq_part_i4_ref(int32_t sum, int32_t ones, const eq_weights_i4 *w, size_t row, uint32_t g, uint32_t groups,
                     float step) {
  const float scale = eq_half(w->scale[row * groups + g]) * step;
  if (w->zero_kind == EQ_ZERO_F16)
    return ((float)sum - eq_half(((const uint16_t *)w->zero)[row * groups + g]) * (float)ones) * scale;
  const uint8_t *zeros = (const uint8_t *)w->zero + row * (groups / 2 + groups % 2);
  const int32_t zero = w->zero_kind == EQ_ZERO_U4 ? nibble(zeros, g) : 8;
  return (float)(sum - zero * ones) * scale;
}

/* The inputs [begin, end) of one output, all of one group. */
static float part(const int8_t *x, const uint8_t *codes, uint32_t begin, uint32_t end, const eq_weights_i4 *w,
                  size_t row, uint32_t g, uint32_t groups, float step) {
  int32_t sum = 0, ones = 0;
  for (uint32_t i = begin; i < end; i++) {
    sum += nibble(codes, i) * x[i];
    ones += x[i];
  }
  return eq_part_i4_ref(sum, ones, w, row, g, groups, step);
}

void eq_linear_i4i8_ref(const eq_linear *op, const int8_t *x, const float *block_step, const eq_weights_i4 *w,
                        const eq_epilogue *e, float *row) {
  const eq_ref_sink sink = {e, op->m, 1, 1, op->o, row};
  const uint32_t groups = (op->k - 1) / w->group + 1, blocks = (op->k - 1) / EQ_CODES_BLOCK + 1;
  const uint32_t piece = block_step ? EQ_CODES_BLOCK : w->group;
  const size_t bytes = eq_row_bytes(4 * op->k);
  for (uint32_t m = 0; m < op->m; m++)
    for (uint32_t o = 0; o < op->o; o++) {
      float acc = 0.0f;
      for (uint32_t begin = 0; begin < op->k; begin += piece) {
        const uint32_t end = op->k - begin < piece ? op->k : begin + piece;
        const float step = block_step ? block_step[(size_t)m * blocks + begin / EQ_CODES_BLOCK] : 1.0f;
        acc += part(x + (size_t)m * op->k, w->codes + o * bytes, begin, end, w, o, begin / w->group, groups, step);
      }
      eq_ref_put(&sink, m, 0, 0, o, acc);
    }
}
