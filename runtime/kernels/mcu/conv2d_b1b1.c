/* Binary convolution: the bits under a window are brought together once, then met with the weights of every output. */
#include "mcu.h"
#include "pixel.h"
#include "popcount.h"

enum { WORD = 4 };

/* The bits under a window, inside of the image: `runs` pieces of neighbouring taps, as they follow each other in the
 * weights of an output as well. */
typedef struct {
  uint32_t *words;                   /* [runs][pitch], scratch */
  const uint32_t *at;                /* words, or the place in x where they lie ready */
  uint32_t taps, runs, bytes, pitch; /* of a run: bytes, and words that it takes here */
  size_t offset, step;               /* of the first run in the weights of an output, and from run to run */
} patch;

/* acc[o] = (first ? base : acc[o]) - 2 * ones(x ^ w[o]); bytes <= 4 * EQ_PIECE */
static inline EQ_INLINE void meet(const uint32_t *restrict x, const uint8_t *restrict w, size_t stride, uint32_t bytes,
                                  bool first, int32_t base, uint32_t outputs, eq_cell *restrict acc, bool aligned) {
  const eq_masks m = eq_masks_load();
  const uint32_t words = bytes / WORD, tail = bytes % WORD;
  for (const eq_cell *const end = acc + outputs; acc < end; acc++, w += stride) {
    uint32_t count = eq_count_differing(0, x, w, words, aligned, &m);
    if (tail) {
      const uint8_t *const rest = w + (size_t)WORD * words;
      uint32_t last = rest[0];
      if (tail > 1) last |= (uint32_t)rest[1] << 8;
      if (tail > 2) last |= (uint32_t)rest[2] << 16;
      count = eq_ones_add(count, eq_bytes(eq_nibbles(last ^ x[words], &m), &m), &m);
    }
    acc->i = (first ? base : acc->i) - 2 * (int32_t)eq_ones_total(count);
  }
}

/* Rows of one and two bytes: a word holds those of several outputs. Returns how many outputs are done. */
static uint32_t meet_narrow(uint32_t x, const uint8_t *w, uint32_t bytes, int32_t base, uint32_t outputs,
                            eq_cell *acc) {
  const eq_masks m = eq_masks_load();
  const uint32_t lanes = 4 / bytes, all = outputs - outputs % lanes, bits = 8 * bytes;
  x *= bytes == 1 ? 0x01010101u : 0x00010001u;
  for (uint32_t o = 0; o < all; o += lanes, w += 4) {
    uint32_t counts = eq_bytes(eq_nibbles(x ^ eq_load_any(w), &m), &m);
    if (bytes == 2) counts += counts >> 8;
    for (uint32_t lane = 0; lane < lanes; lane++, counts >>= bits)
      (acc++)->i = base - 2 * (int32_t)(counts & (bytes == 2 ? 31 : 15));
  }
  return all;
}

/* Lengths of rows that are met often have loops of their own, whose registers are not those of the others. */
#define MEET(length, aligned)                                                                                          \
  static __attribute__((noinline)) void meet_##length(const uint32_t *x, const uint8_t *w, size_t stride,              \
                                                      int32_t base, uint32_t outputs, eq_cell *acc) {                  \
    meet(x, w, stride, length, true, base, outputs, acc, aligned);                                                     \
  }
MEET(4, true)
MEET(8, true)
MEET(16, true)
MEET(32, true)
MEET(18, false) /* 3 x 3 x 16 */

static void meet_run(const uint32_t *x, const uint8_t *w, size_t stride, uint32_t bytes, bool first, int32_t base,
                     uint32_t outputs, eq_cell *acc) {
  if (first && stride == bytes && bytes <= 2) {
    const uint32_t done = meet_narrow(*x, w, bytes, base, outputs, acc);
    w += done * stride;
    acc += done;
    outputs -= done;
  }
  for (; bytes > EQ_PIECE * WORD; bytes -= EQ_PIECE * WORD, x += EQ_PIECE, w += EQ_PIECE * WORD, first = false)
    meet(x, w, stride, EQ_PIECE * WORD, first, base, outputs, acc, false);
  const bool aligned = (uintptr_t)w % WORD == 0 && stride % WORD == 0;
  if (first && bytes == 18)
    meet_18(x, w, stride, base, outputs, acc);
  else if (first && aligned && bytes == 4)
    meet_4(x, w, stride, base, outputs, acc);
  else if (first && aligned && bytes == 8)
    meet_8(x, w, stride, base, outputs, acc);
  else if (first && aligned && bytes == 16)
    meet_16(x, w, stride, base, outputs, acc);
  else if (first && aligned && bytes == 32)
    meet_32(x, w, stride, base, outputs, acc);
  else if (aligned)
    meet(x, w, stride, bytes, first, base, outputs, acc, true);
  else
    meet(x, w, stride, bytes, first, base, outputs, acc, false);
}

/* ---- windows */

static size_t words_of(size_t bytes) { return (bytes + WORD - 1) / WORD; }

/* Taps [first, end) of a window at `start` that lie in [0, size). */
typedef struct {
  uint32_t first, end;
} taps;
static taps inside(int64_t start, uint32_t kernel, uint32_t size) {
  const taps t = {start < 0 ? (uint32_t)-start : 0, start + kernel > size ? (uint32_t)((int64_t)size - start) : kernel};
  return t;
}

static void copy(uint8_t *to, const uint8_t *from, size_t bytes, size_t padded) {
  size_t i = 0;
  if ((uintptr_t)to % 2 == 0 && (uintptr_t)from % 2 == 0)
    for (; i + 2 <= bytes; i += 2) *(uint16_t *)(void *)(to + i) = *(const uint16_t *)(const void *)(from + i);
  for (; i < bytes; i++) to[i] = from[i];
  for (; i < padded; i++) to[i] = 0;
}

/* Brings the bits of a group under the window of output pixel (y, x) together. */
static void look(const eq_conv2d *op, const uint8_t *image, uint32_t y, uint32_t x, uint32_t group, patch *p) {
  const uint32_t cg = op->c / op->groups;
  const size_t pixel_row = eq_row_bytes(op->c), tap_row = eq_row_bytes(cg), part = op->groups > 1 ? cg / 8 : tap_row;
  const int64_t top = (int64_t)y * op->stride_h - op->pad_top, left = (int64_t)x * op->stride_w - op->pad_left;
  const taps v = inside(top, op->kh, op->h), h = inside(left, op->kw, op->w);
  const uint32_t rows = v.end - v.first, columns = h.end - h.first;
  const uint8_t *from = image + ((size_t)(top + v.first) * op->w + (size_t)(left + h.first)) * pixel_row + group * part;
  const size_t run = columns * tap_row;
  const bool joined = columns == op->kw; /* then a row of taps follows the one above without a gap */
  p->taps = rows * columns;
  p->runs = joined ? 1 : rows;
  p->bytes = (uint32_t)(joined ? rows * run : run);
  p->pitch = (uint32_t)words_of(p->bytes);
  p->offset = ((size_t)v.first * op->kw + h.first) * tap_row;
  p->step = op->kw * tap_row;
  p->at = p->words;
  if (p->taps == 1 && part == tap_row && tap_row % WORD == 0 && (uintptr_t)from % WORD == 0) {
    p->at = (const uint32_t *)(const void *)from;
    return;
  }
  uint8_t *to = (uint8_t *)p->words;
  for (uint32_t ky = 0; ky < rows; ky++, from += op->w * pixel_row) {
    if (op->groups == 1)
      copy(to, from, run, run);
    else
      for (uint32_t kx = 0; kx < columns; kx++) copy(to + kx * tap_row, from + kx * pixel_row, part, tap_row);
    to += run;
    if (!joined || ky + 1 == rows) /* unused bytes of the last word */
      for (; (uintptr_t)to % WORD; to++) *to = 0;
  }
}

static void meet_patch(const patch *p, const uint8_t *w, size_t stride, int32_t channels, uint32_t outputs,
                       eq_cell *acc) {
  const int32_t base = (int32_t)p->taps * channels;
  for (uint32_t r = 0; r < p->runs; r++)
    meet_run(p->at + (size_t)r * p->pitch, w + p->offset + r * p->step, stride, p->bytes, r == 0, base, outputs, acc);
}

/* A depthwise convolution has a bit per tap: nothing to gain. */
static void depthwise(const eq_conv2d *op, const uint8_t *image, const uint8_t *w, uint32_t y, uint32_t x,
                      uint32_t first, uint32_t outputs, eq_cell *acc) {
  const int64_t top = (int64_t)y * op->stride_h - op->pad_top, left = (int64_t)x * op->stride_w - op->pad_left;
  const taps v = inside(top, op->kh, op->h), h = inside(left, op->kw, op->w);
  for (uint32_t o = first; o < first + outputs; o++) {
    const uint32_t channel = o / (op->o / op->groups);
    int32_t sum = 0;
    for (uint32_t ky = v.first; ky < v.end; ky++)
      for (uint32_t kx = h.first; kx < h.end; kx++) {
        const size_t pixel = (size_t)(top + ky) * op->w + (size_t)(left + kx);
        const unsigned bit = (unsigned)(image[pixel * eq_row_bytes(op->c) + channel / 8] >> channel % 8),
                       weight = w[((size_t)o * op->kh + ky) * op->kw + kx];
        sum += (bit ^ weight) & 1 ? -1 : 1;
      }
    (acc++)->i = sum;
  }
}

static uint64_t patch_bytes(const eq_conv2d *op) {
  return op->kh * (uint64_t)words_of((size_t)op->kw * eq_row_bytes(op->c / op->groups)) * WORD;
}

uint64_t eq_conv2d_b1b1_mcu_scratch(const eq_conv2d *op, const eq_epilogue *e) {
  return eq_pixels_bytes(e, op->o) + patch_bytes(op);
}

void eq_conv2d_b1b1_mcu(const eq_conv2d *op, const uint8_t *x, const uint8_t *w, const eq_epilogue *e, void *scratch) {
  const uint32_t cg = op->c / op->groups, og = op->o / op->groups;
  const size_t stride = (size_t)op->kh * op->kw * eq_row_bytes(cg);
  patch p = {.words = scratch};
  eq_pixels out = eq_pixels_begin(e, op->out_h, op->out_w, op->o, (uint8_t *)scratch + (size_t)patch_bytes(op));
  for (uint32_t n = 0; n < op->n; n++, x += (size_t)op->h * op->w * eq_row_bytes(op->c))
    for (uint32_t first = 0, count; first < op->o; first += count) {
      count = op->o - first < EQ_CHANNELS ? op->o - first : EQ_CHANNELS;
      for (uint32_t y = 0; y < op->out_h; y++)
        for (uint32_t px = 0; px < op->out_w; px++) {
          if (op->groups > 1 && cg == 1)
            depthwise(op, x, w, y, px, first, count, out.cells);
          else
            for (uint32_t done = 0, some; done < count; done += some) {
              const uint32_t o = first + done, group = o / og;
              some = (group + 1) * og - o < count - done ? (group + 1) * og - o : count - done;
              look(op, x, y, px, group, &p);
              meet_patch(&p, w + o * stride, stride, (int32_t)cg, some, out.cells + done);
            }
          eq_put_i32(&out, n, y, px, first, count);
        }
    }
}

uint64_t eq_linear_b1b1_mcu_scratch(const eq_linear *op) { return words_of(eq_row_bytes(op->k)) * (uint64_t)WORD; }

void eq_linear_b1b1_mcu(const eq_linear *op, const uint8_t *x, const uint8_t *w, int32_t *out, void *scratch) {
  const size_t bytes = eq_row_bytes(op->k);
  for (uint32_t m = 0; m < op->m; m++, x += bytes, out += op->o) {
    const uint32_t *words = (const uint32_t *)(const void *)x;
    if ((uintptr_t)x % WORD || bytes % WORD) {
      copy(scratch, x, bytes, words_of(bytes) * WORD);
      words = scratch;
    }
    meet_run(words, w, bytes, (uint32_t)bytes, true, (int32_t)op->k, op->o, (eq_cell *)(void *)out);
  }
}
