/* A few rows, or some, against 4-bit weights tiled ahead, with VNNI, as they are: no int8 tile is made.
 *
 * Two panels share bytes, c + 16 d, that meet the same activation. Multiplied as they are and with d masked, the
 * difference of the sums is d's, 16 times too large: one mask serves two products of every row.
 *
 * Sums of small pieces begin at the bits of MAGIC, so that each reads as the float MAGIC + sum, and a subtraction is
 * the conversion; that of two such sums is their difference, and its factor of 16 goes into the scale. Where a piece is
 * only multiplied by its scale, fma(MAGIC + sum, scale, -MAGIC * scale) is sum * scale rounded once, as the definition
 * says: MAGIC has two bits and a scale eleven, so that their product is exact. */
#include "v16.h"

#include "linear_i4i8.h"

enum { PANEL_STEP = EQ_LANES * EQ_STEP, PAIRS = EQ_BLOCK / EQ_LANES / 2, ROWS = 8, STREAMS = 2, UNROLL = 8 };
enum { SMALL = 2, CHUNK = 16 };                    /* rows that meet all pairs at once; pieces begun at once */
enum { AHEAD = 2048 };                             /* bytes that are fetched before they are read */
enum { MAGIC_BITS = 0x4b400000 };                  /* of it as a float */
#define MAGIC 12582912.0f                          /* 1.5 * 2^23 */
enum { MOST_MAGIC = (1 << 22) / (16 * 15 * 128) }; /* inputs of a piece: 16 times a sum stays within 2^22 */

/* The products there are: pieces are small and multiplied by a scale, by fma or not; or by a step, too, that is plain;
 * the same where zeros are not all 8, or steps not plain; pieces of any size, zeros of any kind. */
typedef enum { FUSED, SCALES, STEPS, ZEROS, LARGE } kind;

typedef struct {
  const eq_rows_i4 *x;
  const eq_packed_i4 *w;
  uint32_t pieces, piece_steps, per_group; /* pieces of a group */
  float *acc;
  size_t pitch;
} product;

/* Sums of a piece's bytes and of their low nibbles. */
typedef struct {
  __m512i both[ROWS][PAIRS], low[ROWS][PAIRS];
} sums;

/* Where the sums of CHUNK pieces begin: if all zeros are 8, MAGIC - 8 * sum of x; else minus the sum of x. STEPS: their
 * steps / 16. */
typedef struct {
  int32_t low[ROWS][CHUNK], both[ROWS][CHUNK];
  float sixteenth[ROWS][CHUNK];
} starts;

/* Where a block is: `pair` and the rows from first_row on, of which some pieces are done. */
typedef struct {
  uint32_t first_row, pair, piece, in_group;
  size_t group; /* first output of the group's scales */
  const uint8_t *x, *codes;
} place;

INLINE __m512i broadcast(const void *p) {
  int32_t word;
  __builtin_memcpy(&word, p, sizeof word);
  return _mm512_set1_epi32(word);
}

INLINE bool all_eights(kind how) { return how == FUSED || how == SCALES || how == STEPS; }

INLINE void begin_chunk(const product *p, const place *at, int rows, uint32_t count, kind how, starts *to) {
  const __mmask16 mask = (__mmask16)((1u << count) - 1);
  const __m512i base = _mm512_set1_epi32(MAGIC_BITS), none = _mm512_setzero_si512();
  for (int r = 0; r < rows; r++) {
    const size_t of = (at->first_row + (size_t)r) * p->pieces + at->piece;
    const __m512i minus = _mm512_sub_epi32(none, _mm512_maskz_loadu_epi32(mask, p->x->sums + of));
    const __m512i eight = _mm512_slli_epi32(minus, 3), seventeen = _mm512_add_epi32(eight, _mm512_slli_epi32(eight, 4));
    _mm512_storeu_si512(to->low[r], all_eights(how) ? _mm512_add_epi32(base, eight) : minus);
    if (all_eights(how)) _mm512_storeu_si512(to->both[r], _mm512_add_epi32(base, seventeen));
    if (how != STEPS) continue;
    const __m512 step = _mm512_maskz_loadu_ps(mask, p->x->step + of);
    _mm512_storeu_ps(to->sixteenth[r], _mm512_mul_ps(step, _mm512_set1_ps(1.0f / 16)));
  }
}

INLINE __m512i zeros(const eq_packed_i4 *w, size_t at) {
  return _mm512_cvtepu8_epi32(_mm_load_si128((const void *)(w->zero + at)));
}

/* base - zero * (sum of x), whose sum has 16 bits where pieces are small */
INLINE __m512i minus_zeros(__m512i base, __m512i zero, int32_t minus, kind how) {
  return how == ZEROS ? _mm512_dpwssd_epi32(base, zero, _mm512_set1_epi32(minus & 0xffff))
                      : _mm512_add_epi32(base, _mm512_mullo_epi32(zero, _mm512_set1_epi32(minus)));
}

INLINE void begin(const product *p, const starts *from, uint32_t i, size_t at, int rows, int pairs, kind how, sums *s) {
  const __m512i base = _mm512_set1_epi32(how == LARGE ? 0 : MAGIC_BITS);
  for (int j = 0; j < pairs; j++, at += 2 * EQ_LANES) {
    if (all_eights(how)) {
      for (int r = 0; r < rows; r++)
        s->low[r][j] = broadcast(&from->low[r][i]), s->both[r][j] = broadcast(&from->both[r][i]);
      continue;
    }
    const __m512i zero = zeros(p->w, at), other = _mm512_slli_epi32(zeros(p->w, at + EQ_LANES), 4);
    for (int r = 0; r < rows; r++) {
      s->low[r][j] = minus_zeros(base, zero, from->low[r][i], how);
      s->both[r][j] = minus_zeros(base, _mm512_add_epi32(zero, other), from->low[r][i], how);
    }
  }
}

/* One step of `streams` runs, `apart` steps apart. */
INLINE void step(const uint8_t *x, size_t x_pitch, int rows, const uint8_t *codes, int pairs, int streams, size_t apart,
                 sums s[STREAMS]) {
  const __m512i mask = _mm512_set1_epi8(15);
  for (int i = 0; i < streams; i++) {
    const uint8_t *from = codes + (size_t)i * apart * EQ_I4_STEP;
    __m512i all[PAIRS], low[PAIRS];
    for (int j = 0; j < pairs; j++) {
      all[j] = _mm512_load_si512(from + j * PANEL_STEP);
      low[j] = _mm512_and_si512(all[j], mask);
      if (rows <= SMALL) __builtin_prefetch(from + j * PANEL_STEP + AHEAD);
    }
    for (int r = 0; r < rows; r++) {
      const __m512i a = broadcast(x + (size_t)r * x_pitch + (size_t)i * apart * EQ_STEP);
      for (int j = 0; j < pairs; j++) {
        s[i].both[r][j] = _mm512_dpbusd_epi32(s[i].both[r][j], all[j], a);
        s[i].low[r][j] = _mm512_dpbusd_epi32(s[i].low[r][j], low[j], a);
      }
    }
  }
}

INLINE void run(const uint8_t *x, size_t x_pitch, int rows, const uint8_t *codes, int pairs, int streams,
                uint32_t steps, size_t apart, sums s[STREAMS]) {
  uint32_t i = 0;
  for (; i + UNROLL <= steps; i += UNROLL, x += UNROLL * EQ_STEP, codes += UNROLL * EQ_I4_STEP)
#pragma GCC unroll 8
    for (int u = 0; u < UNROLL; u++)
      step(x + u * EQ_STEP, x_pitch, rows, codes + u * EQ_I4_STEP, pairs, streams, apart, s);
  for (; i < steps; i++, x += EQ_STEP, codes += EQ_I4_STEP) step(x, x_pitch, rows, codes, pairs, streams, apart, s);
}

/* The low panel's sums, and 16 times the high one's, as floats. */
INLINE __m512 low_part(__m512i low, kind how) {
  return how == LARGE ? _mm512_cvtepi32_ps(low) : _mm512_sub_ps(_mm512_castsi512_ps(low), _mm512_set1_ps(MAGIC));
}
INLINE __m512 high_part(__m512i both, __m512i low, kind how) {
  return how == LARGE ? _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_srai_epi32(_mm512_sub_epi32(both, low), 4)),
                                      _mm512_set1_ps(16.0f))
                      : _mm512_sub_ps(_mm512_castsi512_ps(both), _mm512_castsi512_ps(low));
}

/* y + the piece's part, as the definition has it: row and piece `of`, outputs `at` of the group. */
INLINE __m512 add_part(const product *p, size_t of, size_t at, __m512 part, __m512 scale, __m512 y) {
  if (p->w->half_zero)
    part = _mm512_sub_ps(part, _mm512_mul_ps(v16_of_half(p->w->half_zero + at), _mm512_set1_ps((float)p->x->sums[of])));
  return _mm512_add_ps(y,
                       _mm512_mul_ps(part, p->x->step ? _mm512_mul_ps(scale, _mm512_set1_ps(p->x->step[of])) : scale));
}

/* Pieces that are multiplied by scales, and plain steps: y[2] + parts of two panels, the high one's scale a sixteenth.
 */
INLINE void add_scaled(__m512i both, __m512i low, __m512 low_scale, __m512 high_scale, __m512 magic, kind how,
                       __m512 y[2]) {
  const __m512 part = how == FUSED ? _mm512_fmadd_ps(_mm512_castsi512_ps(low), low_scale, magic)
                                   : _mm512_mul_ps(low_part(low, how), low_scale);
  y[0] = _mm512_add_ps(y[0], part);
  y[1] = _mm512_add_ps(y[1], _mm512_mul_ps(high_part(both, low, how), high_scale));
}

/* Pieces `of` of the first row and the i-th of a chunk. */
INLINE void end(const product *p, const starts *from, uint32_t i, size_t of, size_t at, int rows, int pairs, kind how,
                const sums *s, __m512 y[ROWS][2 * PAIRS]) {
  const __m512 sixteen = _mm512_set1_ps(1.0f / 16);
  for (int j = 0; j < pairs; j++, at += 2 * EQ_LANES) {
    const __m512 low = v16_of_half(p->w->scale + at), high = v16_of_half(p->w->scale + at + EQ_LANES);
    const __m512 sixteenth = _mm512_mul_ps(high, sixteen), magic = _mm512_mul_ps(low, _mm512_set1_ps(-MAGIC));
    for (int r = 0; r < rows; r++) {
      const size_t own = of + (size_t)r * p->pieces;
      const __m512i both = s->both[r][j], lower = s->low[r][j];
      __m512 *to = &y[r][2 * j];
      if (how == FUSED || how == SCALES) {
        add_scaled(both, lower, low, sixteenth, magic, how, to);
      } else if (how == STEPS) {
        const __m512 low_scale = _mm512_mul_ps(low, _mm512_set1_ps(p->x->step[own]));
        add_scaled(both, lower, low_scale, _mm512_mul_ps(high, _mm512_set1_ps(from->sixteenth[r][i])), magic, how, to);
      } else {
        to[0] = add_part(p, own, at, low_part(lower, how), low, to[0]);
        to[1] = add_part(p, own, at + EQ_LANES, _mm512_mul_ps(high_part(both, lower, how), sixteen), high, to[1]);
      }
    }
  }
}

/* The next `streams` pieces, of `steps` steps each; halved: one piece, in two halves. */
INLINE void pieces(const product *p, place *at, const starts *from, int rows, int pairs, int streams, bool halved,
                   uint32_t steps, kind how, __m512 y[ROWS][2 * PAIRS]) {
  const size_t x_pitch = p->x->pitch;
  const uint32_t first = at->piece;
  const size_t of = (size_t)at->first_row * p->pieces + first;
  sums s[STREAMS];
  size_t outputs[STREAMS];
  for (int i = 0; i < streams; i++, at->piece++) {
    outputs[i] = at->group + (size_t)at->pair * 2 * EQ_LANES;
    begin(p, from, at->piece % CHUNK, outputs[i], rows, pairs, how, &s[i]);
    if (++at->in_group == p->per_group) at->in_group = 0, at->group += EQ_BLOCK;
  }
  if (halved) {
    for (int j = 0; j < pairs; j++) s[1].low[0][j] = s[1].both[0][j] = _mm512_setzero_si512();
    run(at->x, x_pitch, rows, at->codes, pairs, 2, steps / 2, steps / 2, s);
    for (int j = 0; j < pairs; j++) {
      s[0].low[0][j] = _mm512_add_epi32(s[0].low[0][j], s[1].low[0][j]);
      s[0].both[0][j] = _mm512_add_epi32(s[0].both[0][j], s[1].both[0][j]);
    }
  } else {
    if (steps == UNROLL)
      run(at->x, x_pitch, rows, at->codes, pairs, streams, UNROLL, UNROLL, s);
    else
      run(at->x, x_pitch, rows, at->codes, pairs, streams, steps, steps, s);
  }
  for (int i = 0; i < streams; i++)
    end(p, from, (first + (uint32_t)i) % CHUNK, of + (size_t)i, outputs[i], rows, pairs, how, &s[i], y);
  at->x += (size_t)streams * steps * EQ_STEP;
  at->codes += (size_t)streams * steps * EQ_I4_STEP;
}

/* A single row has few sums, each of which waits for the one before: it takes two pieces at once, or two halves of a
 * last one. */
INLINE void block(const product *p, uint32_t first_row, int rows, uint32_t pair, int pairs, kind how) {
  const eq_packed_i4 *w = p->w;
  place at = {first_row, pair, 0, 0, 0, p->x->x + first_row * p->x->pitch, w->codes + (size_t)pair * PANEL_STEP};
  starts from;
  __m512 y[ROWS][2 * PAIRS];
  for (int r = 0; r < rows; r++)
    for (int j = 0; j < 2 * pairs; j++) y[r][j] = _mm512_setzero_ps();
  for (uint32_t left = w->steps; at.piece < p->pieces;) {
    const uint32_t rest = p->pieces - at.piece, count = rest < CHUNK ? rest : CHUNK, stop = at.piece + count;
    begin_chunk(p, &at, rows, count, how, &from);
    for (; rows == 1 && at.piece + 2 <= stop && left >= 2 * p->piece_steps; left -= 2 * p->piece_steps)
      pieces(p, &at, &from, rows, pairs, STREAMS, false, p->piece_steps, how, y);
    while (at.piece < stop) {
      const uint32_t steps = left < p->piece_steps ? left : p->piece_steps;
      pieces(p, &at, &from, rows, pairs, 1, rows == 1, steps, how, y);
      left -= steps;
    }
  }
  float *acc = p->acc + first_row * p->pitch + (size_t)pair * 2 * EQ_LANES;
  for (int r = 0; r < rows; r++)
    for (int j = 0; j < 2 * pairs; j++) _mm512_storeu_ps(acc + (size_t)r * p->pitch + j * EQ_LANES, y[r][j]);
}

INLINE void some_rows(const product *p, uint32_t first, uint32_t rows, uint32_t pair, kind how) {
  switch (rows) {
  case 8: block(p, first, 8, pair, 1, how); break;
  case 7: block(p, first, 7, pair, 1, how); break;
  case 6: block(p, first, 6, pair, 1, how); break;
  case 5: block(p, first, 5, pair, 1, how); break;
  case 4: block(p, first, 4, pair, 1, how); break;
  default: block(p, first, 3, pair, 1, how); break;
  }
}

/* Runs of nearly the same number of rows. */
INLINE void all_rows(const product *p, uint32_t rows, kind how) {
  if (rows == 1) return block(p, 0, 1, 0, PAIRS, how == FUSED ? SCALES : how);
  if (rows == 2) return block(p, 0, 2, 0, PAIRS, how);
  const uint32_t runs = (rows + ROWS - 1) / ROWS;
  for (uint32_t pair = 0; pair < PAIRS; pair++)
    for (uint32_t i = 0, first = 0, count; i < runs; i++, first += count) {
      count = (rows - first + runs - i - 1) / (runs - i);
      some_rows(p, first, count, pair, how);
    }
}

static void fused(const product *p, uint32_t rows) { all_rows(p, rows, FUSED); }
static void with_scales(const product *p, uint32_t rows) { all_rows(p, rows, SCALES); }
static void with_steps(const product *p, uint32_t rows) { all_rows(p, rows, STEPS); }
static void with_zeros(const product *p, uint32_t rows) { all_rows(p, rows, ZEROS); }
static void large(const product *p, uint32_t rows) { all_rows(p, rows, LARGE); }

/* Products of such steps with a scale (f16), or a sixteenth of it, are 0 or normal numbers. */
static bool plain(const float *step, size_t count) {
  const __m512 least = _mm512_set1_ps(0x1p-90f), most = _mm512_set1_ps(0x1p+100f);
  for (size_t i = 0; i < count; i += EQ_LANES) {
    const uint32_t n = count - i < EQ_LANES ? (uint32_t)(count - i) : EQ_LANES;
    const __m512 size = v16_abs(v16_load_n(step + i, n));
    const __mmask16 zero = _mm512_cmp_ps_mask(size, _mm512_setzero_ps(), _CMP_EQ_OQ);
    const __mmask16 inside = _mm512_cmp_ps_mask(size, least, _CMP_GE_OQ) & _mm512_cmp_ps_mask(size, most, _CMP_LE_OQ);
    if ((zero | inside) != 0xffff) return false;
  }
  return true;
}

void eq_dot_packed_i4_avx512(const eq_rows_i4 *x, uint32_t rows, const eq_packed_i4 *w, uint32_t pieces_,
                             uint32_t piece_steps, float *acc, size_t pitch) {
  const uint32_t per_group = w->groups == 1 ? pieces_ : w->group_steps / piece_steps;
  const product p = {x, w, pieces_, piece_steps, per_group, acc, pitch};
  if (piece_steps * EQ_STEP > MOST_MAGIC)
    large(&p, rows);
  else if (!w->eights || (x->step && !plain(x->step, (size_t)rows * pieces_)))
    with_zeros(&p, rows);
  else if (x->step)
    with_steps(&p, rows);
  else if (!w->finite)
    with_scales(&p, rows);
  else
    fused(&p, rows);
}
