/* Instructions of NEON's inner loops: a 256 x 256 matrix and 1, 4 or 24 rows, weights tiled and folded ahead.
 *   NAME_ROWS TICKS ROUNDS */
#include "board.h"
#include "core/integer.h"
#include "kernels/simd/declare.h"

enum { N = 256, MOST_ROWS = 24, ROUNDS = 16, WORDS = N / 32 };

static uint32_t state = 1;
static void fill(void *to, size_t bytes) {
  for (uint8_t *p = to; bytes; bytes--) {
    state = state * 1664525u + 1013904223u;
    *p++ = (uint8_t)(state >> 24);
  }
}

static _Alignas(64) uint8_t bits[N][N / 8], x_bits[MOST_ROWS][N / 8], x_folded[MOST_ROWS][N / 8];
static _Alignas(64) int8_t codes[N][N], tiles[N][N];
static _Alignas(64) uint8_t x_codes[MOST_ROWS][N], bit_tiles[N / EQ_BLOCK][WORDS * EQ_BLOCK * 4];
static _Alignas(64) int32_t start[N / EQ_BLOCK][EQ_BLOCK], got[MOST_ROWS][N];

static void say(const char *name, const char *set, uint32_t rows, uint32_t ticks) {
  board_put(name);
  board_put(set);
  board_put(rows == 1 ? "_1" : rows == 4 ? "_4" : "_24");
  board_put_number(ticks);
  board_put_number(ROUNDS);
  board_put("\n");
}

static int bits_right(uint32_t rows) {
  for (uint32_t i = 0; i < rows; i++)
    for (uint32_t o = 0; o < N; o++) {
      int32_t sum = 0;
      for (uint32_t k = 0; k < N; k++) sum += (bits[o][k / 8] ^ x_bits[i][k / 8]) >> k % 8 & 1 ? -1 : 1;
      if (got[i][o] != sum) return 0;
    }
  return 1;
}

static int codes_right(uint32_t rows) {
  for (uint32_t i = 0; i < rows; i++)
    for (uint32_t o = 0; o < N; o++) {
      int32_t sum = 0;
      for (uint32_t k = 0; k < N; k++) sum += codes[o][k] * (int8_t)x_codes[i][k];
      if (got[i][o] != sum) return 0;
    }
  return 1;
}

typedef void products(const eq_bit_patches *, uint32_t, const void *, uint32_t, int32_t *, size_t);

static int binary(const char *set, products *accumulate, uint32_t rows) {
  const eq_bit_patches x = {.x = x_bits[0], .pixel = N / 8, .rows = 1, .words = WORDS, .steps = WORDS, .k = N};
  eq_bit_patches p = x;
  p.x = x_folded[0];
  p.folded = true;
  const uint32_t begin = board_ticks();
  for (int i = 0; i < ROUNDS; i++) {
    eq_fold_patches_neon(&x, 0, rows, (uint32_t *)(void *)x_folded);
    for (uint32_t b = 0; b < N / EQ_BLOCK; b++) accumulate(&p, rows, bit_tiles[b], EQ_BLOCK, got[0] + b * EQ_BLOCK, N);
  }
  say("b1b1_", set, rows, board_ticks() - begin);
  return bits_right(rows);
}

static int canonical(void) {
  const uint32_t begin = board_ticks();
  for (int i = 0; i < ROUNDS; i++) eq_dot_b1_neon(x_bits[0], bits[0], N / 8, N, N, got[0]);
  say("b1b1_", "canonical", 1, board_ticks() - begin);
  return bits_right(1);
}

static int bytes(const char *set, const eq_integer_kernels *kernels, uint32_t rows) {
  const eq_byte_patches p = {.x = x_codes[0], .pixel = N, .rows = 1, .taps = 1, .steps = N / EQ_STEP};
  for (uint32_t b = 0; b < N / EQ_BLOCK; b++)
    kernels->tile(codes[b * EQ_BLOCK], EQ_BLOCK, N / EQ_STEP, tiles[b * EQ_BLOCK], start[b]);
  const uint32_t begin = board_ticks();
  for (int i = 0; i < ROUNDS; i++)
    for (uint32_t b = 0; b < N / EQ_BLOCK; b++)
      kernels->accumulate(&p, rows, tiles[b * EQ_BLOCK], start[b], false, EQ_BLOCK, got[0] + b * EQ_BLOCK, N);
  say("i8i8_", set, rows, board_ticks() - begin);
  return codes_right(rows);
}

extern const eq_kernels eq_kernels_neon_dotprod;

int main(void) {
  static const uint32_t counts[] = {1, 4, MOST_ROWS};
  fill(bits, sizeof bits), fill(x_bits, sizeof x_bits), fill(codes, sizeof codes), fill(x_codes, sizeof x_codes);
  for (uint32_t b = 0; b < N / EQ_BLOCK; b++) {
    eq_tile_b1_neon(bits[b * EQ_BLOCK], N / 8, EQ_BLOCK, WORDS, bit_tiles[b]);
    eq_fold_tile_neon(bit_tiles[b], WORDS);
  }
  int right = canonical();
  for (int i = 0; i < 3; i++) {
    right &= binary("neon", eq_accumulate_b1_neon, counts[i]);
    right &= bytes("neon", &eq_integer_neon, counts[i]);
    right &= binary("dotprod", eq_kernels_neon_dotprod.accumulate_b1, counts[i]);
    right &= bytes("dotprod", &eq_integer_neon_dotprod, counts[i]);
    right &= bytes("i8mm", &eq_integer_neon_i8mm, counts[i]);
  }
  return right ? 0 : 1;
}
