/* Instructions of kernels, of the dispatch, and of a binary network beside an int8 one of the same shape.
 *   NAME TICKS ROUNDS */
#include "board.h"
#include "int8.h"
#include "kernels/mcu/mcu.h"
#include "micro/micro.h"

enum { N = 256 };

static uint32_t state = 1;
static uint8_t draw(void) {
  state = state * 1664525u + 1013904223u;
  return (uint8_t)(state >> 24);
}
static void fill(void *to, size_t bytes) {
  for (uint8_t *p = to; bytes; bytes--) *p++ = draw();
}

static void say(const char *name, uint32_t ticks, uint32_t rounds) {
  board_put(name);
  board_put_number(ticks);
  board_put_number(rounds);
  board_put("\n");
}

/* ---- 256 x 256 matrix and vector */
static _Alignas(16) uint8_t bits[N][N / 8], x_bits[N / 8];
static _Alignas(16) int8_t codes[N][N], x_codes[N];
static int32_t got[N];
static _Alignas(16) uint8_t scratch[16384];

static int matrix(void) {
  enum { ROUNDS = 8 };
  fill(bits, sizeof bits), fill(x_bits, sizeof x_bits), fill(codes, sizeof codes), fill(x_codes, sizeof x_codes);
  const eq_linear op = {1, N, N};
  uint32_t start = board_ticks();
  for (int i = 0; i < ROUNDS; i++) eq_linear_b1b1_mcu(&op, x_bits, bits[0], got, scratch);
  say("matrix_b1b1", board_ticks() - start, ROUNDS);
  for (uint32_t o = 0; o < N; o++) {
    int32_t sum = 0;
    for (uint32_t k = 0; k < N; k++) sum += (bits[o][k / 8] ^ x_bits[k / 8]) >> k % 8 & 1 ? -1 : 1;
    if (got[o] != sum) return 1;
  }
  start = board_ticks();
  for (int i = 0; i < ROUNDS; i++) int8_matrix(x_codes, codes[0], N, N, got, scratch);
  say("matrix_i8i8", board_ticks() - start, ROUNDS);
  for (uint32_t o = 0; o < N; o++) {
    int32_t sum = 0;
    for (uint32_t k = 0; k < N; k++) sum += codes[o][k] * x_codes[k];
    if (got[o] != sum) return 2;
  }
  return 0;
}

/* ---- networks: an 8-bit first convolution, then 3x3 convolutions; narrow: the extents of ResNet-8 */
typedef struct {
  const char *binary, *int8;
  int8_conv first;
  uint32_t count;
  int8_conv layers[6];
} network;
static const network networks[] = {
    {"narrow_b1b1",
     "narrow_i8i8",
     {32, 32, 4, 16, 3, 1},
     6,
     {{32, 32, 16, 16, 3, 1},
      {32, 32, 16, 16, 3, 1},
      {32, 32, 16, 32, 3, 2},
      {16, 16, 32, 32, 3, 1},
      {16, 16, 32, 64, 3, 2},
      {8, 8, 64, 64, 3, 1}}},
    {"wide_b1b1",
     "wide_i8i8",
     {32, 32, 4, 64, 3, 2},
     5,
     {{16, 16, 64, 64, 3, 1},
      {16, 16, 64, 64, 3, 1},
      {16, 16, 64, 128, 3, 2},
      {8, 8, 128, 128, 3, 1},
      {8, 8, 128, 128, 3, 1}}},
};
enum { MOST_WEIGHTS = 128 * 9 * 128, MOST_MAP = 32 * 32 * 16, MOST_OUT = 128 };

static _Alignas(16) int8_t weights[MOST_WEIGHTS], picture[32 * 32 * 4], maps[2][MOST_MAP];
static _Alignas(16) uint8_t planes[2][MOST_MAP / 8];
static int32_t bias[MOST_OUT], multiplier[MOST_OUT];
static float scale[MOST_OUT], shift[MOST_OUT];

static uint32_t binary_network(const network *net) {
  const uint32_t start = board_ticks();
  int8_conv_run(&net->first, picture, weights, bias, multiplier, maps[0], scratch);
  for (uint32_t i = 0; i < MOST_MAP; i += 8) { /* its signs around the middle of the range */
    uint32_t byte = 0;
    for (uint32_t j = 0; j < 8; j++) byte |= (uint32_t)(maps[0][i + j] >= 32) << j;
    planes[0][i / 8] = (uint8_t)byte;
  }
  for (uint32_t l = 0; l < net->count; l++) {
    const int8_conv *s = &net->layers[l];
    eq_conv2d op = {.n = 1,
                    .h = s->h,
                    .w = s->w,
                    .c = s->c,
                    .o = s->o,
                    .kh = s->k,
                    .kw = s->k,
                    .stride_h = s->stride,
                    .stride_w = s->stride,
                    .groups = 1};
    eq_conv2d_same(&op);
    const eq_epilogue e = {.scale = scale, .bias = shift, .out_bits = planes[(l + 1) % 2]};
    eq_conv2d_b1b1_mcu(&op, planes[l % 2], (const uint8_t *)weights, &e, scratch);
  }
  return board_ticks() - start;
}

static uint32_t int8_network(const network *net) {
  const uint32_t start = board_ticks();
  int8_conv_run(&net->first, picture, weights, bias, multiplier, maps[0], scratch);
  for (uint32_t l = 0; l < net->count; l++)
    int8_conv_run(&net->layers[l], maps[l % 2], weights, bias, multiplier, maps[(l + 1) % 2], scratch);
  return board_ticks() - start;
}

/* The last layer of the last network again, without any trick. */
static int int8_is_right(void) {
  const network *net = &networks[1];
  const int8_conv *op = &net->layers[net->count - 1];
  const int8_t *x = maps[(net->count - 1) % 2], *out = maps[net->count % 2];
  for (uint32_t i = 0; i < 64; i++)
    for (uint32_t o = 0; o < op->o; o += 7) {
      int32_t sum = bias[o];
      for (uint32_t t = 0; t < 9; t++) {
        const uint32_t y = i / 8 + t / 3 - 1, z = i % 8 + t % 3 - 1;
        for (uint32_t k = 0; y < 8 && z < 8 && k < op->c; k++)
          sum += x[(y * 8 + z) * op->c + k] * weights[(o * 9 + t) * op->c + k];
      }
      const int32_t v = (int32_t)((int64_t)sum * multiplier[o] >> 31);
      if (out[i * op->o + o] != (v < 0 ? 0 : v > 127 ? 127 : v)) return 0;
    }
  return 1;
}

int main(void) {
  const int status = matrix();
  if (status) return status;
  fill(weights, sizeof weights), fill(picture, sizeof picture);
  for (int i = 0; i < MOST_OUT; i++) {
    bias[i] = draw() - 128;
    multiplier[i] = 1 << 20;
    scale[i] = 0.01f;
    shift[i] = ((float)draw() - 128.0f) * 0.001f;
  }
  for (int i = 0; i < 2; i++) {
    say(networks[i].binary, binary_network(&networks[i]), 1);
    say(networks[i].int8, int8_network(&networks[i]), 1);
  }
  return int8_is_right() ? 0 : 3;
}
