/* Binary convolution and matrix product: 16 outputs of 32-bit words in a register, activation words broadcast,
 * VPOPCNTDQ. Tile: [4][steps][16] words. A register block holds 7 pixels x 64 outputs, or 3 x 64 of folded operands.
 *
 * Folded: word j of a row is the exclusive or of its words 0 to j, on both sides, so that p[j] = x[j] ^ w[j] is the
 * parity of the differing bits up to there. What two words add to a parity carries where p[j] ? ~p[j + 1] : p[j - 1],
 * and differing bits = 2 * (carries of all pairs) + (ones of the last parity) which is five instructions for two words,
 * where xor, count and add of each are six. */
#include "transpose.h"

#include "kernels/simd/declare.h"

enum { PIXELS = 7, FOLDED_PIXELS = 3, PANELS = EQ_BLOCK / EQ_LANES, RANGES_FROM = 8 /* pixels: ranges have a cost */ };

void eq_tile_b1_avx512(const uint8_t *w, size_t bytes, uint32_t outputs, uint32_t steps, void *tile) {
  uint32_t *to = tile;
  for (uint32_t panel = 0; panel < PANELS; panel++, w += EQ_LANES * bytes) {
    const uint32_t first = panel * EQ_LANES, rows = outputs > first ? outputs - first : 0;
    for (uint32_t step = 0; step < steps; step += 16) {
      const size_t left = bytes - (size_t)step * 4;
      const __mmask64 mask = left >= 64 ? ~(__mmask64)0 : ((__mmask64)1 << left) - 1;
      __m512i r[16];
      for (uint32_t i = 0; i < 16; i++)
        r[i] = i < rows ? _mm512_maskz_loadu_epi8(mask, w + i * bytes + (size_t)step * 4) : _mm512_setzero_si512();
      transpose16(r);
      for (uint32_t i = 0; i < 16 && step + i < steps; i++, to += EQ_LANES) _mm512_store_si512(to, r[i]);
    }
  }
}

/* The first n of 16 words. */
INLINE __mmask16 words(size_t n) { return (__mmask16)(n >= 16 ? 0xffffu : (1u << n) - 1); }

INLINE __m512i broadcast(const uint8_t *p) {
  int32_t word;
  __builtin_memcpy(&word, p, sizeof word);
  return _mm512_set1_epi32(word);
}

/* Ones in each word of x ^ w, or of nonzero & (x ^ w). */
INLINE __m512i differing(bool ternary, __m512i x, __m512i nonzero, __m512i w) {
  enum { AND_XOR = 0x60 }; /* the truth table of a & (b ^ c) */
  return _mm512_popcnt_epi32(ternary ? _mm512_ternarylogic_epi32(nonzero, x, w, AND_XOR) : _mm512_xor_si512(x, w));
}

typedef enum { SIGNS, FOLDED, TERNARY } operands;

/* The counts, or results, of a panel whose bit is 1: those with count - from <= width, unsigned. */
typedef struct {
  __m512i from, width;
} range;

/* Where the results of a block go: to accumulators, of which whole panels may be written, or to outputs. */
typedef struct {
  int32_t *acc;
  size_t pitch;
  const eq_bit_output *to; /* NULL: acc */
  uint32_t outputs;
  const range *ones; /* [PANELS] where nothing but bits is asked for, and whole numbers tell them; else NULL */
  bool only_floats;  /* of whole panels, all totals k */
} results;

/* k or ones, or the totals of a border, of the panel from output o on. */
INLINE __m512i total_of(const eq_bit_patches *p, uint32_t pixel, bool ternary, size_t o) {
  return p->totals ? _mm512_loadu_si512(p->totals + (size_t)p->place[pixel] * EQ_BLOCK + o)
                   : _mm512_set1_epi32(ternary ? p->ones[pixel] : p->k);
}

typedef enum { TO_ACC, TO_FLOATS, TO_BITS } target;

/* Counts of a panel to one kind of output: y = (total - 2 * count) * scale + bias. The difference is a whole number
 * that a float holds, so one fused instruction gives it exactly; no scale is 1, no bias -0. k_alone: all totals are k.
 */
INLINE void put_panel(target kind, bool k_alone, bool ternary, const eq_bit_patches *p, uint32_t first, uint32_t pixels,
                      uint32_t o, int32_t (*count)[EQ_BLOCK], const results *r) {
  const eq_bit_output *to = r->to;
  const __mmask16 mask = words(r->outputs - o);
  const bool two_bytes = r->outputs - o > 8;
  const __m512 two = _mm512_set1_ps(2.0f), k = _mm512_set1_ps((float)p->k);
  const __m512 scale = to->scale ? _mm512_maskz_loadu_ps(mask, to->scale + o) : _mm512_set1_ps(1.0f);
  const __m512 bias = to->bias ? _mm512_maskz_loadu_ps(mask, to->bias + o) : _mm512_set1_ps(-0.0f);
  float *out = kind == TO_FLOATS ? to->out + o : NULL;
  uint8_t *bits = kind == TO_BITS ? to->bits + o / 8 : NULL;
  const size_t pitch = kind == TO_BITS ? to->bits_pitch : to->out_pitch;
  for (uint32_t i = 0; i < pixels; i++) {
    const size_t at = (first + (size_t)i) * pitch;
    const __m512i counted = _mm512_load_si512(count[i] + o);
    if (kind == TO_ACC) {
      const __m512i total = total_of(p, first + i, ternary, o);
      _mm512_mask_storeu_epi32(to->acc + at + o, mask, _mm512_sub_epi32(total, _mm512_slli_epi32(counted, 1)));
      continue;
    }
    const __m512 total = k_alone ? k : _mm512_cvtepi32_ps(total_of(p, first + i, ternary, o));
    const __m512 dot = _mm512_fnmadd_ps(_mm512_cvtepi32_ps(counted), two, total);
    const __m512 y = _mm512_add_ps(_mm512_mul_ps(dot, scale), bias);
    if (kind == TO_FLOATS) {
      _mm512_mask_storeu_ps(out + at, mask, y);
      continue;
    }
    const __mmask16 ones = _mm512_mask_cmp_ps_mask(mask, y, _mm512_setzero_ps(), _CMP_GE_OQ);
    if (two_bytes)
      __builtin_memcpy(bits + at, &ones, sizeof ones);
    else
      bits[at] = (uint8_t)ones;
  }
}

INLINE void put_panels(target kind, bool ternary, const eq_bit_patches *p, uint32_t first, uint32_t pixels,
                       int32_t (*count)[EQ_BLOCK], const results *r) {
  for (uint32_t o = 0; o < r->outputs; o += EQ_LANES)
    if (ternary || p->totals)
      put_panel(kind, false, ternary, p, first, pixels, o, count, r);
    else
      put_panel(kind, true, ternary, p, first, pixels, o, count, r);
}

/* Does result d give a 1? Exactly as put_panel has it. */
INLINE __mmask16 gives_one(__m512 d, __m512 scale, __m512 bias) {
  const __m512 y = _mm512_add_ps(_mm512_mul_ps(d, scale), bias);
  return _mm512_cmp_ps_mask(y, _mm512_setzero_ps(), _CMP_GE_OQ);
}

/* The counts of a panel that give ones, where all totals are k, else the results; false: floats must tell.
 *
 * With scale > 0, d gives a one from some whole t on, since rounding keeps order; with scale < 0 look at -d and -scale.
 * -bias / scale, rounded, is so near that t is one of c - 2 to c + 1, c its ceiling: d * scale >= -bias suffices, and a
 * product that is rounded up to -bias is off by less than 2^-24 of it, under 1 for d below EQ_MOST_OUTPUT_BITS / 2. */
INLINE bool range_of(const eq_bit_patches *p, uint32_t o, const results *r, range *found) {
  const eq_bit_output *to = r->to;
  const __mmask16 mask = words(r->outputs - o);
  const __m512 none = _mm512_set1_ps(1.0f), zero = _mm512_setzero_ps();
  const __m512 scale = to->scale ? _mm512_mask_loadu_ps(none, mask, to->scale + o) : none;
  const __m512 bias = to->bias ? _mm512_maskz_loadu_ps(mask, to->bias + o) : zero;
  const __m512 finite = _mm512_add_ps(_mm512_sub_ps(scale, scale), _mm512_sub_ps(bias, bias)); /* 0, else NaN */
  if (_mm512_cmp_ps_mask(finite, zero, _CMP_EQ_OQ) != 0xffffu || _mm512_cmp_ps_mask(scale, zero, _CMP_EQ_OQ))
    return false;
  const __mmask16 negative = _mm512_cmp_ps_mask(scale, zero, _CMP_LT_OQ);
  const __m512 size = _mm512_abs_ps(scale), one = _mm512_set1_ps(1.0f), limit = _mm512_set1_ps((float)p->k + 2.0f);
  const __m512 near = _mm512_div_ps(_mm512_sub_ps(zero, bias), size);
  const __m512 c = _mm512_roundscale_ps(_mm512_max_ps(_mm512_min_ps(near, limit), _mm512_sub_ps(zero, limit)),
                                        _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC);
  __m512 least = _mm512_add_ps(c, one), d = c;
  for (int i = 0; i < 3; i++, d = _mm512_sub_ps(d, one))
    least = _mm512_mask_sub_ps(least, gives_one(d, size, bias), least, one);
  /* At least `first`, or at most `last`; below all that there is, -FAR. */
  enum { FAR = 1 << 30 };
  const __m512i t = _mm512_cvtps_epi32(least), k = _mm512_set1_epi32(p->k), far = _mm512_set1_epi32(FAR);
  const __m512i of_count = _mm512_mask_sub_epi32(_mm512_add_epi32(k, t), (__mmask16)~negative, k, t);
  const __m512i first = p->totals ? t : _mm512_srai_epi32(_mm512_add_epi32(of_count, _mm512_set1_epi32(1)), 1);
  const __m512i last = p->totals ? _mm512_sub_epi32(_mm512_setzero_si512(), t) : _mm512_srai_epi32(of_count, 1);
  const __mmask16 up = p->totals ? (__mmask16)~negative : negative;
  found->from = _mm512_mask_mov_epi32(_mm512_sub_epi32(_mm512_setzero_si512(), far), up, first);
  found->width = _mm512_mask_set1_epi32(_mm512_add_epi32(far, last), up, INT32_MAX);
  return true;
}

/* Bits and nothing else, straight from the counts in registers. */
INLINE void put_ones(bool totals, const eq_bit_patches *p, uint32_t first, int pixels, int panels,
                     __m512i (*count)[PANELS], const results *r) {
  const eq_bit_output *to = r->to;
  for (int i = 0; i < pixels; i++) {
    uint8_t *bits = to->bits + (first + (size_t)i) * to->bits_pitch;
    for (int j = 0; j < panels; j++, bits += EQ_LANES / 8) {
      const __mmask16 mask = j + 1 < panels ? (__mmask16)0xffffu : words(r->outputs - (uint32_t)j * EQ_LANES);
      const __m512i total = totals ? total_of(p, first + (uint32_t)i, false, (size_t)j * EQ_LANES) : count[i][j];
      const __m512i told = totals ? _mm512_sub_epi32(total, _mm512_slli_epi32(count[i][j], 1)) : count[i][j];
      const __m512i offset = _mm512_sub_epi32(told, r->ones[j].from);
      const __mmask16 ones = _mm512_cmple_epu32_mask(offset, r->ones[j].width) & mask;
      if (j + 1 < panels || r->outputs - (uint32_t)j * EQ_LANES > 8)
        __builtin_memcpy(bits, &ones, sizeof ones);
      else
        bits[0] = (uint8_t)ones;
    }
    if (to->bits_zero)
      __builtin_memset(to->bits + (first + (size_t)i) * to->bits_pitch + (r->outputs + 7) / 8, 0, to->bits_zero);
  }
}

/* Floats and nothing else, straight from the counts in registers: put_panel without its way through memory. */
INLINE void put_floats(bool biased, const eq_bit_patches *p, uint32_t first, int pixels, int panels,
                       __m512i (*count)[PANELS], const results *r) {
  const eq_bit_output *to = r->to;
  const __m512 two = _mm512_set1_ps(2.0f), k = _mm512_set1_ps((float)p->k);
  for (int j = 0; j < panels; j++) {
    const __m512 scale = to->scale ? _mm512_loadu_ps(to->scale + (size_t)j * EQ_LANES) : _mm512_set1_ps(1.0f);
    const __m512 bias = biased ? _mm512_loadu_ps(to->bias + (size_t)j * EQ_LANES) : scale;
    float *out = to->out + first * to->out_pitch + (size_t)j * EQ_LANES;
    for (int i = 0; i < pixels; i++, out += to->out_pitch) {
      const __m512 dot = _mm512_fnmadd_ps(_mm512_cvtepi32_ps(count[i][j]), two, k), y = _mm512_mul_ps(dot, scale);
      _mm512_storeu_ps(out, biased ? _mm512_add_ps(y, bias) : y);
    }
  }
}

/* The counts of some pixels to all outputs. */
static void put(const eq_bit_patches *p, uint32_t first, uint32_t pixels, bool ternary, int32_t (*count)[EQ_BLOCK],
                const results *r) {
  const eq_bit_output *to = r->to;
  if (to->acc) put_panels(TO_ACC, ternary, p, first, pixels, count, r);
  if (to->out) put_panels(TO_FLOATS, ternary, p, first, pixels, count, r);
  if (!to->bits) return;
  put_panels(TO_BITS, ternary, p, first, pixels, count, r);
  for (uint32_t i = 0; to->bits_zero && i < pixels; i++)
    __builtin_memset(to->bits + (first + i) * to->bits_pitch + (r->outputs + 7) / 8, 0, to->bits_zero);
}

INLINE void store(const eq_bit_patches *p, uint32_t first, int pixels, int panels, bool ternary,
                  __m512i (*count)[PANELS], const results *r) {
  for (int i = 0; i < pixels; i++)
    for (int j = 0; j < panels; j++) {
      const uint32_t pixel = first + (uint32_t)i;
      _mm512_storeu_si512(
          r->acc + pixel * r->pitch + (size_t)j * EQ_LANES,
          _mm512_sub_epi32(total_of(p, pixel, ternary, (size_t)j * EQ_LANES), _mm512_slli_epi32(count[i][j], 1)));
    }
}

/* Read from memory at each use: 28 sums leave no registers for the weights. */
INLINE const uint32_t *again(const uint32_t *w) {
  __asm__("" : "+r"(w));
  return w;
}

INLINE void count_words(bool ternary, const eq_bit_patches *p, const uint8_t *x, int pixels, int panels,
                        const uint32_t *w, __m512i (*count)[PANELS]) {
  const size_t panel = (size_t)p->steps * EQ_LANES;
  for (uint32_t row = 0; row < p->rows; row++, x += p->row)
    for (uint32_t q = 0; q < p->words; q++, w += EQ_LANES)
      for (int i = 0; i < pixels; i++) {
        const uint8_t *word = x + (size_t)i * p->pixel + (size_t)q * 4;
        const __m512i a = broadcast(word), nonzero = ternary ? broadcast(word + p->nonzero) : a;
        const uint32_t *from = again(w);
        for (int j = 0; j < panels; j++)
          count[i][j] = _mm512_add_epi32(count[i][j],
                                         differing(ternary, a, nonzero, _mm512_load_si512(from + (size_t)j * panel)));
      }
}

INLINE void count_folded(const eq_bit_patches *p, const uint8_t *x, int pixels, int panels, const uint32_t *w,
                         __m512i (*count)[PANELS]) {
  enum { CHOOSE = 0x3a }; /* the truth table of a ? ~b : c */
  const size_t panel = (size_t)p->steps * EQ_LANES;
  __m512i parity[FOLDED_PIXELS][PANELS];
  uint32_t q = p->words % 2;
  for (int i = 0; i < pixels; i++)
    for (int j = 0; j < panels; j++)
      parity[i][j] = q ? _mm512_xor_si512(broadcast(x + (size_t)i * p->pixel), _mm512_load_si512(w + (size_t)j * panel))
                       : _mm512_setzero_si512();
  for (w += q * EQ_LANES; q < p->words; q += 2, w += 2 * EQ_LANES)
    for (int i = 0; i < pixels; i++) {
      const uint8_t *word = x + (size_t)i * p->pixel + (size_t)q * 4;
      const __m512i a = broadcast(word), b = broadcast(word + 4);
      const uint32_t *from = again(w);
      for (int j = 0; j < panels; j++) {
        const uint32_t *weights = from + (size_t)j * panel;
        const __m512i middle = _mm512_xor_si512(a, _mm512_load_si512(weights));
        const __m512i last = _mm512_xor_si512(b, _mm512_load_si512(weights + EQ_LANES));
        const __m512i carries = _mm512_ternarylogic_epi32(middle, last, parity[i][j], CHOOSE);
        count[i][j] = _mm512_add_epi32(count[i][j], _mm512_popcnt_epi32(carries));
        parity[i][j] = last;
      }
    }
  for (int i = 0; i < pixels; i++)
    for (int j = 0; j < panels; j++)
      count[i][j] = _mm512_add_epi32(_mm512_slli_epi32(count[i][j], 1), _mm512_popcnt_epi32(parity[i][j]));
}

INLINE void block(operands kind, const eq_bit_patches *p, uint32_t first, int pixels, int panels, const uint32_t *w,
                  const results *r) {
  const uint8_t *x = p->x + first * p->pixel;
  __m512i count[PIXELS][PANELS];
  for (int i = 0; i < pixels; i++)
    for (int j = 0; j < panels; j++) count[i][j] = _mm512_setzero_si512();
  if (kind == FOLDED)
    count_folded(p, x, pixels, panels, w, count);
  else
    count_words(kind == TERNARY, p, x, pixels, panels, w, count);
  if (!r->to) {
    store(p, first, pixels, panels, kind == TERNARY, count, r);
    return;
  }
  if (r->ones) {
    if (p->totals)
      put_ones(true, p, first, pixels, panels, count, r);
    else
      put_ones(false, p, first, pixels, panels, count, r);
    return;
  }
  if (r->only_floats) {
    if (r->to->bias)
      put_floats(true, p, first, pixels, panels, count, r);
    else
      put_floats(false, p, first, pixels, panels, count, r);
    return;
  }
  int32_t counted[PIXELS][EQ_BLOCK] __attribute__((aligned(64)));
  for (int i = 0; i < pixels; i++)
    for (int j = 0; j < panels; j++) _mm512_store_si512(counted[i] + j * EQ_LANES, count[i][j]);
  put(p, first, (uint32_t)pixels, kind == TERNARY, counted, r);
}

/* Pixels in runs of nearly one length, the most that registers hold: a short run at the end would read the weights for
 * little. */
INLINE void all_pixels(operands kind, const eq_bit_patches *p, uint32_t pixels, int panels, const uint32_t *w,
                       const results *r) {
  const uint32_t most = kind == FOLDED ? FOLDED_PIXELS : PIXELS, runs = (pixels + most - 1) / most;
  const uint32_t shorter = pixels <= most ? pixels : pixels / runs, longer = pixels - shorter * runs; /* so many */
  for (uint32_t i = 0, done = 0, run; done < runs; i += run, done++) {
    run = shorter + (done < longer);
    eq_prefetch(p->hint, i, run);
    switch (run) {
    case 1: block(kind, p, i, 1, panels, w, r); break;
    case 2: block(kind, p, i, 2, panels, w, r); break;
    case 3: block(kind, p, i, 3, panels, w, r); break;
    case 4:
      if (kind != FOLDED) block(kind, p, i, 4, panels, w, r);
      break;
    case 5:
      if (kind != FOLDED) block(kind, p, i, 5, panels, w, r);
      break;
    case 6:
      if (kind != FOLDED) block(kind, p, i, 6, panels, w, r);
      break;
    default:
      if (kind != FOLDED) block(kind, p, i, 7, panels, w, r);
      break;
    }
  }
}

INLINE void all_panels(operands kind, const eq_bit_patches *p, uint32_t pixels, const void *tile, const results *r) {
  const uint32_t *w = (const uint32_t *)tile + (size_t)p->first * EQ_LANES;
  switch ((r->outputs + EQ_LANES - 1) / EQ_LANES) {
  case 1: all_pixels(kind, p, pixels, 1, w, r); break;
  case 2: all_pixels(kind, p, pixels, 2, w, r); break;
  case 3: all_pixels(kind, p, pixels, 3, w, r); break;
  default: all_pixels(kind, p, pixels, 4, w, r); break;
  }
}

static void product_b1(const eq_bit_patches *p, uint32_t pixels, const void *tile, const results *r) {
  if (p->folded)
    all_panels(FOLDED, p, pixels, tile, r);
  else
    all_panels(SIGNS, p, pixels, tile, r);
}

static void product_t2(const eq_bit_patches *p, uint32_t pixels, const void *tile, const results *r) {
  all_panels(TERNARY, p, pixels, tile, r);
}

void eq_accumulate_b1_avx512(const eq_bit_patches *p, uint32_t pixels, const void *tile, uint32_t outputs, int32_t *acc,
                             size_t pitch) {
  product_b1(p, pixels, tile, &(results){.acc = acc, .pitch = pitch, .outputs = outputs});
}

void eq_accumulate_t2_avx512(const eq_bit_patches *p, uint32_t pixels, const void *tile, uint32_t outputs, int32_t *acc,
                             size_t pitch) {
  product_t2(p, pixels, tile, &(results){.acc = acc, .pitch = pitch, .outputs = outputs});
}

void eq_output_b1_avx512(const eq_bit_patches *p, uint32_t pixels, const void *tile, uint32_t outputs,
                         const eq_bit_output *to) {
  range ones[PANELS];
  results r = {.to = to, .outputs = outputs};
  bool ranges = to->bits && !to->acc && !to->out && pixels >= RANGES_FROM;
  for (uint32_t j = 0; ranges && j * EQ_LANES < outputs; j++) ranges = range_of(p, j * EQ_LANES, &r, ones + j);
  if (ranges) r.ones = ones;
  r.only_floats = to->out && !to->acc && !to->bits && !p->totals && outputs % EQ_LANES == 0;
  product_b1(p, pixels, tile, &r);
}

void eq_output_t2_avx512(const eq_bit_patches *p, uint32_t pixels, const void *tile, uint32_t outputs,
                         const eq_bit_output *to) {
  product_t2(p, pixels, tile, &(results){.to = to, .outputs = outputs});
}

void eq_fold_tile_avx512(void *tile, uint32_t steps) {
  uint32_t *w = tile;
  for (uint32_t panel = 0; panel < PANELS; panel++) {
    __m512i parity = _mm512_setzero_si512();
    for (uint32_t step = 0; step < steps; step++, w += EQ_LANES) {
      parity = _mm512_xor_si512(parity, _mm512_load_si512(w));
      _mm512_store_si512(w, parity);
    }
  }
}

/* Lane i = the exclusive or of lanes 0 to i. */
INLINE __m512i parities(__m512i x) {
  const __m512i zero = _mm512_setzero_si512();
  x = _mm512_xor_si512(x, _mm512_alignr_epi32(x, zero, 15));
  x = _mm512_xor_si512(x, _mm512_alignr_epi32(x, zero, 14));
  x = _mm512_xor_si512(x, _mm512_alignr_epi32(x, zero, 12));
  return _mm512_xor_si512(x, _mm512_alignr_epi32(x, zero, 8));
}

void eq_fold_patches_avx512(const eq_bit_patches *p, uint32_t first, uint32_t pixels, uint32_t *to) {
  const __m512i last = _mm512_set1_epi32(15);
  to += (size_t)first * p->rows * p->words;
  for (uint32_t i = 0; i < pixels; i++) {
    const uint8_t *row = p->x + i * p->pixel;
    __m512i parity = _mm512_setzero_si512();
    for (uint32_t r = 0; r < p->rows; r++, row += p->row)
      for (uint32_t q = 0; q < p->words; q += 16) {
        const uint32_t left = p->words - q, some = left < 16 ? left : 16;
        const __m512i x = _mm512_maskz_loadu_epi32(words(some), row + (size_t)q * 4);
        const __m512i folded = _mm512_xor_si512(parities(x), parity);
        _mm512_mask_storeu_epi32(to, words(some), folded);
        parity = _mm512_permutexvar_epi32(last, folded); /* missing words change nothing */
        to += some;
      }
  }
}

void eq_count_ones_avx512(const eq_bit_patches *p, uint32_t pixels, int32_t *ones) {
  for (uint32_t i = 0; i < pixels; i++) {
    const uint8_t *row = p->x + p->nonzero + i * p->pixel;
    __m512i count = _mm512_setzero_si512();
    for (uint32_t r = 0; r < p->rows; r++, row += p->row)
      for (uint32_t q = 0; q < p->words; q += 16)
        count = _mm512_add_epi32(
            count, _mm512_popcnt_epi32(_mm512_maskz_loadu_epi32(words(p->words - q), row + (size_t)q * 4)));
    ones[i] = _mm512_reduce_add_epi32(count);
  }
}

/* Lane o of the result = sum of the lanes of r[o]. */
INLINE __m512i sums(__m512i r[16]) {
  __m512i t[8];
  for (int i = 0; i < 8; i++)
    t[i] =
        _mm512_add_epi32(_mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]), _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]));
  for (int i = 0; i < 4; i++)
    r[i] =
        _mm512_add_epi32(_mm512_unpacklo_epi64(t[2 * i], t[2 * i + 1]), _mm512_unpackhi_epi64(t[2 * i], t[2 * i + 1]));
  for (int i = 0; i < 2; i++)
    t[i] = _mm512_add_epi32(_mm512_shuffle_i32x4(r[2 * i], r[2 * i + 1], 0x88),
                            _mm512_shuffle_i32x4(r[2 * i], r[2 * i + 1], 0xdd));
  return _mm512_add_epi32(_mm512_shuffle_i32x4(t[0], t[1], 0x88), _mm512_shuffle_i32x4(t[0], t[1], 0xdd));
}

INLINE void dot(bool ternary, const uint8_t *x, const uint8_t *nonzero, const uint8_t *w, size_t bytes,
                uint32_t outputs, int32_t total, int32_t *acc) {
  for (uint32_t o = 0; o < outputs; o += 16, w += 16 * bytes) {
    const uint32_t rows = outputs - o < 16 ? outputs - o : 16;
    __m512i count[16];
    for (int r = 0; r < 16; r++) count[r] = _mm512_setzero_si512();
    for (size_t b = 0; b < bytes; b += 64) {
      const __mmask16 mask = words((bytes - b) / 4);
      const __m512i a = _mm512_maskz_loadu_epi32(mask, x + b);
      const __m512i n = ternary ? _mm512_maskz_loadu_epi32(mask, nonzero + b) : a;
      for (uint32_t r = 0; r < 16; r++) {
        if (r >= rows) break;
        count[r] =
            _mm512_add_epi32(count[r], differing(ternary, a, n, _mm512_maskz_loadu_epi32(mask, w + r * bytes + b)));
      }
    }
    const __m512i result = _mm512_sub_epi32(_mm512_set1_epi32(total), _mm512_slli_epi32(sums(count), 1));
    _mm512_mask_storeu_epi32(acc + o, words(rows), result);
  }
}

void eq_dot_b1_avx512(const uint8_t *x, const uint8_t *w, size_t bytes, uint32_t outputs, int32_t k, int32_t *acc) {
  dot(false, x, x, w, bytes, outputs, k, acc);
}

void eq_dot_t2_avx512(const uint8_t *x, const uint8_t *nonzero, const uint8_t *w, size_t bytes, uint32_t outputs,
                      int32_t *acc) {
  const eq_bit_patches one = {.x = nonzero, .rows = 1, .words = (uint32_t)(bytes / 4)};
  int32_t ones;
  eq_count_ones_avx512(&one, 1, &ones);
  dot(true, x, nonzero, w, bytes, outputs, ones, acc);
}
