/* The 8-bit peer that binary networks are measured against: our own, tuned with SXTB16 and SMLAD where the core has
 * them, not CMSIS-NN. */
#ifndef TESTS_MICRO_INT8_H
#define TESTS_MICRO_INT8_H

#include <stddef.h>
#include <stdint.h>

/* SAME windows, one image. x [h][w][c], w [o][k][k][c], out [h / stride][w / stride][o], rounded up; c a multiple of 4,
 * o of 2. Scratch: 4 k k c bytes */
typedef struct {
  uint32_t h, w, c, o, k, stride;
} int8_conv;
void int8_conv_sums(const int8_conv *op, const int8_t *x, const int8_t *w, int32_t *out, void *scratch);
/* out = clamp((sum + bias[o]) * multiplier[o] >> 31, 0, 127) */
void int8_conv_run(const int8_conv *op, const int8_t *x, const int8_t *w, const int32_t *bias,
                   const int32_t *multiplier, int8_t *out, void *scratch);

/* out[rows] = w [rows][k] x; k a multiple of 4, rows of 2; scratch 2 k bytes */
void int8_matrix(const int8_t *x, const int8_t *w, uint32_t rows, uint32_t k, int32_t *out, void *scratch);

#endif
