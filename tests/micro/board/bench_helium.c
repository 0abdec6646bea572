/* Instructions of inner products on a Cortex-M55: a 256 x 256 matrix and a vector of int8, weights of 2, 4 and 8 bits
 * by Helium. They tell what a kernel would cost; those of the runtime are in kernels/mcu. NAME TICKS ROUNDS */
#include "board.h"
#include "kernels/mcu/helium.h"

enum { N = 256, ROUNDS = 8 };

static uint32_t state = 1;
static uint8_t draw(void) {
  state = state * 1664525u + 1013904223u;
  return (uint8_t)(state >> 24);
}

static _Alignas(16) int8_t x[N], codes[N][N];
static _Alignas(16) uint8_t up[N][N / 8], down[N][N / 8], fours[N][N / 2];
static int32_t got[N];

/* Four rows share the loads of x; 4 * 16 products in 9 instructions and a loop's. */
static __attribute__((noinline)) void bytes(void) {
  for (int o = 0; o < N; o += 4) {
    const int8_t *w = codes[o];
    int32_t sums[4] = {0};
    for (int k = 0; k < N; k += 16) {
      const int8x16_t v = vldrbq_s8(x + k);
      _Pragma("GCC unroll 4") for (int r = 0; r < 4; r++) sums[r] = vmladavaq_s8(sums[r], vldrbq_s8(w + r * N + k), v);
    }
    _Pragma("GCC unroll 4") for (int r = 0; r < 4; r++) got[o + r] = sums[r];
  }
}

/* The bits of a plane are the predicate of sixteen lanes. */
static __attribute__((noinline)) void ternary(void) {
  for (int o = 0; o < N; o++) {
    const uint16_t *plus = (const void *)up[o], *minus = (const void *)down[o];
    int32_t more = 0, less = 0;
    for (int k = 0; k < N; k += 16) {
      const int8x16_t v = vldrbq_s8(x + k);
      more = vaddvaq_p_s8(more, v, *plus++);
      less = vaddvaq_p_s8(less, v, *minus++);
    }
    got[o] = more - less;
  }
}

/* Two codes a byte: even inputs meet the low ones, odd inputs the high ones; 8 is taken off all of them at the end. */
static __attribute__((noinline)) void nibbles(void) {
  int32_t eights = 0;
  for (int k = 0; k < N; k += 16) eights = vaddvaq_s8(eights, vldrbq_s8(x + k));
  for (int o = 0; o < N; o += 2) {
    int32_t sums[2] = {0};
    for (int k = 0; k < N; k += 32) {
      const int8x16x2_t v = vld2q_s8(x + k);
      _Pragma("GCC unroll 2") for (int r = 0; r < 2; r++) {
        const uint8x16_t two = vldrbq_u8(fours[o + r] + k / 2);
        sums[r] = vmladavaq_s8(sums[r], vreinterpretq_s8_u8(vandq_u8(two, vdupq_n_u8(15))), v.val[0]);
        sums[r] = vmladavaq_s8(sums[r], vreinterpretq_s8_u8(vshrq_n_u8(two, 4)), v.val[1]);
      }
    }
    _Pragma("GCC unroll 2") for (int r = 0; r < 2; r++) got[o + r] = sums[r] - 8 * eights;
  }
}

static int right(int bits) {
  for (int o = 0; o < N; o++) {
    int32_t sum = 0;
    for (int k = 0; k < N; k++) {
      const int plus = up[o][k / 8] >> k % 8 & 1, minus = down[o][k / 8] >> k % 8 & 1;
      sum += x[k] * (bits == 8 ? codes[o][k] : bits == 2 ? plus - minus : (fours[o][k / 2] >> k % 2 * 4 & 15) - 8);
    }
    if (got[o] != sum) return 0;
  }
  return 1;
}

static int timed(const char *name, void (*product)(void), int bits) {
  const uint32_t start = board_ticks();
  for (int i = 0; i < ROUNDS; i++) product();
  const uint32_t ticks = board_ticks() - start;
  board_put(name);
  board_put_number(ticks);
  board_put_number(ROUNDS);
  board_put("\n");
  return right(bits);
}

int main(void) {
  for (int k = 0; k < N; k++) x[k] = (int8_t)draw();
  for (int o = 0; o < N; o++) {
    for (int k = 0; k < N; k++) codes[o][k] = (int8_t)draw();
    for (int k = 0; k < N / 8; k++) {
      up[o][k] = draw();
      down[o][k] = (uint8_t)(draw() & ~up[o][k]);
    }
    for (int k = 0; k < N / 2; k++) fours[o][k] = draw();
  }
  return timed("helium_i8i8", bytes, 8) & timed("helium_t2i8", ternary, 2) & timed("helium_i4i8", nibbles, 4) ? 0 : 1;
}
