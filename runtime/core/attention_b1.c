/* Attention over signs. Keys and values are turned first: per head, the words of all keys side by side, and of each
 * channel the bits of all keys in words; then every query is on its own. */
#include "arena.h"
#include "attention.h"
#include "check.h"
#include "isa.h"
#include "kernels/ref/tokens.h"
#include "tiled.h"

enum { WORD = 64 };

typedef struct {
  const eq_kernels *kernels;
  const eq_attention *op;
  const eq_keep *keep;
  const eq_context *to;
  uint32_t planes;
  const uint8_t *q, *k, *v;
  size_t row;
  uint32_t words, keys, key_words, channels; /* of a head: words of d bits, padded keys, words of keys, padded d */
  uint64_t *key_bits, *value_bits; /* [batch][heads][2][words][keys], [batch][heads][2][key_words][channels] */
  int32_t *hidden;                 /* [workers][keys] */
  float *seen;                     /* [workers][keys] */
  eq_bit_room room;                /* of the first worker */
  uint64_t *query;                 /* [workers][2][words] */
  int32_t *sums;                   /* [workers][heads * d and padding] */
  float *y;                        /* the same */
  uint8_t *packed;                 /* [workers][2][row] */
  int32_t *ref_dots;
  uint8_t *ref_kept;
} attention;

static size_t key_plane(const attention *a) { return (size_t)a->words * a->keys; }
static size_t value_plane(const attention *a) { return (size_t)a->key_words * a->channels; }
static size_t row_of_sums(const attention *a) { return (size_t)a->op->heads * a->op->d + 2 * EQ_BLOCK + a->channels; }

static void plan(attention *a, eq_arena *arena, const eq_attention *op, uint32_t planes, const eq_threads *threads) {
  const uint64_t workers = eq_workers(threads), heads = (uint64_t)op->batch * op->heads;
  *a = (attention){.op = op, .planes = planes, .row = eq_row_bytes(op->heads * op->d)};
  a->words = (op->d - 1) / WORD + 1;
  a->key_words = (op->used - 1) / WORD + 1;
  a->keys = a->key_words * WORD;
  a->channels = a->words * WORD;
  a->key_bits = eq_take(arena, heads * 2 * key_plane(a) * sizeof(uint64_t));
  a->value_bits = eq_take(arena, heads * 2 * value_plane(a) * sizeof(uint64_t));
  a->hidden = eq_take(arena, workers * a->keys * sizeof(int32_t));
  a->seen = eq_take(arena, workers * a->keys * sizeof(float));
  a->room.dots = eq_take(arena, workers * a->keys * sizeof(int32_t));
  a->room.exponentials = eq_take(arena, workers * a->keys * sizeof(float));
  a->room.kept = eq_take(arena, workers * a->key_words * sizeof(uint64_t));
  a->query = eq_take(arena, workers * 2 * a->words * sizeof(uint64_t));
  a->sums = eq_take(arena, workers * row_of_sums(a) * sizeof(int32_t));
  a->y = eq_take(arena, workers * row_of_sums(a) * sizeof(float));
  a->packed = eq_take(arena, workers * 2 * a->row);
  a->ref_dots = eq_take(arena, (uint64_t)op->keys * sizeof(int32_t));
  a->ref_kept = eq_take(arena, op->keys);
}

/* ---- turning keys and values ---- */

/* Up to 64 bits of a row from bit `at` on. */
static uint64_t bits_at(const uint8_t *row, size_t row_bytes, size_t at, uint32_t count) {
  uint64_t low = 0, high = 0;
  const size_t byte = at / 8, shift = at % 8, left = row_bytes - byte;
  if (left >= sizeof low)
    __builtin_memcpy(&low, row + byte, sizeof low);
  else
    for (size_t i = 0; i < left; i++) low |= (uint64_t)row[byte + i] << (8 * i);
  if (shift && left > sizeof low) high = (uint64_t)row[byte + sizeof low] << (WORD - shift);
  const uint64_t all = low >> shift | high;
  return count >= WORD ? all : all & (((uint64_t)1 << count) - 1);
}

static uint32_t bits_in(const attention *a, uint32_t word) {
  const uint32_t left = a->op->d - word * WORD;
  return left < WORD ? left : WORD;
}

/* The signs and nonzero bits of word `word` of one head of a token's row. */
static void head_word(const attention *a, const uint8_t *row, size_t plane, uint32_t head, uint32_t word,
                      uint64_t *signs, uint64_t *nonzero) {
  const uint32_t count = bits_in(a, word);
  const size_t at = (size_t)head * a->op->d + (size_t)word * WORD;
  *nonzero = count >= WORD ? ~(uint64_t)0 : ((uint64_t)1 << count) - 1;
  *signs = bits_at(row, a->row, at, count);
  if (a->planes == 2) *nonzero = bits_at(row + plane, a->row, at, count);
}

/* Bit j of word i becomes bit i of word j. */
static void transpose(uint64_t m[WORD]) {
  uint64_t mask = 0x00000000ffffffffu;
  for (uint32_t half = WORD / 2; half; half /= 2, mask ^= mask << half)
    for (uint32_t i = 0; i < WORD; i = (i + half + 1) & ~half) {
      const uint64_t swapped = ((m[i] >> half) ^ m[i + half]) & mask;
      m[i] ^= swapped << half;
      m[i + half] ^= swapped;
    }
}

static void turn(void *arg, size_t begin, size_t end, unsigned worker) {
  const attention *a = arg;
  const eq_attention *op = a->op;
  const size_t plane = (size_t)op->batch * op->keys * a->row;
  (void)worker;
  for (size_t index = begin; index < end; index++) {
    const size_t batch = index / op->heads;
    const uint32_t head = (uint32_t)(index % op->heads);
    uint64_t *keys = a->key_bits + index * 2 * key_plane(a), *values = a->value_bits + index * 2 * value_plane(a);
    for (uint32_t first = 0; first < a->keys; first += WORD)
      for (uint32_t w = 0; w < a->words; w++) {
        uint64_t negative[WORD], nonzero[WORD];
        for (uint32_t i = 0; i < WORD; i++) {
          uint64_t *key = keys + (size_t)w * a->keys + first + i;
          key[0] = key[key_plane(a)] = negative[i] = nonzero[i] = 0;
          if (first + i >= op->used) continue;
          const size_t row = (batch * op->keys + first + i) * a->row;
          head_word(a, a->k + row, plane, head, w, key, key + key_plane(a));
          head_word(a, a->v + row, plane, head, w, &negative[i], &nonzero[i]);
          negative[i] = nonzero[i] & ~negative[i];
        }
        transpose(negative);
        transpose(nonzero);
        uint64_t *to = values + (size_t)(first / WORD) * a->channels + (size_t)w * WORD;
        __builtin_memcpy(to, negative, sizeof negative);
        __builtin_memcpy(to + value_plane(a), nonzero, sizeof nonzero);
      }
  }
}

/* ---- queries ---- */

static void hide(const attention *a, uint32_t batch, uint32_t query, int32_t *hidden, float *seen) {
  const eq_attention *op = a->op;
  const uint32_t allowed = eq_keys_allowed(op, query);
  const bool all = a->keep->kind == EQ_KEEP_SOFTMAX && !eq_sees_any(op, batch, query);
  for (uint32_t j = 0; j < a->keys; j++) {
    const bool sees = j < allowed && (all || eq_sees(op, batch, query, j));
    hidden[j] = sees ? 0 : EQ_HIDDEN;
    seen[j] = sees ? 1.0f : 0.0f;
  }
}

static void write_context(const attention *a, size_t token, const int32_t *sums, float *y, uint8_t *packed) {
  const size_t channels = (size_t)a->op->heads * a->op->d, tokens = (size_t)a->op->batch * a->op->queries;
  for (size_t c = 0; c < channels; c++) y[c] = (float)sums[c] * a->to->scale;
  if (a->to->out) __builtin_memcpy(a->to->out + token * channels, y, channels * sizeof(float));
  if (!a->to->out_t2) return;
  a->kernels->pack_t2(y, 1, (uint32_t)channels, a->to->threshold, packed);
  __builtin_memcpy(a->to->out_t2 + token * a->row, packed, a->row);
  __builtin_memcpy(a->to->out_t2 + (tokens + token) * a->row, packed + a->row, a->row);
}

static void attend(void *arg, size_t begin, size_t end, unsigned worker) {
  const attention *a = arg;
  const eq_attention *op = a->op;
  const size_t plane = (size_t)op->batch * op->queries * a->row;
  int32_t *hidden = a->hidden + (size_t)worker * a->keys, *sums = a->sums + worker * row_of_sums(a);
  float *seen = a->seen + (size_t)worker * a->keys, *y = a->y + worker * row_of_sums(a);
  uint64_t *q = a->query + (size_t)worker * 2 * a->words;
  const eq_bit_room room = {.dots = a->room.dots + (size_t)worker * a->keys,
                            .exponentials = a->room.exponentials + (size_t)worker * a->keys,
                            .kept = a->room.kept + (size_t)worker * a->key_words};
  for (size_t token = begin; token < end; token++) {
    const uint32_t batch = (uint32_t)(token / op->queries), query = (uint32_t)(token % op->queries);
    if (token == begin || query == 0 || op->causal) hide(a, batch, query, hidden, seen);
    for (uint32_t head = 0; head < op->heads; head++) {
      const size_t index = (size_t)batch * op->heads + head;
      const uint64_t *keys = a->key_bits + index * 2 * key_plane(a),
                     *values = a->value_bits + index * 2 * value_plane(a);
      const eq_bit_head h = {.words = a->words,
                             .keys = a->keys,
                             .key_words = a->key_words,
                             .channels = a->channels,
                             .key_signs = keys,
                             .key_nonzero = keys + key_plane(a),
                             .value_negative = values,
                             .value_nonzero = values + value_plane(a)};
      for (uint32_t w = 0; w < a->words; w++)
        head_word(a, a->q + token * a->row, plane, head, w, q + w, q + a->words + w);
      /* rising: what lies behind a head's channels is then overwritten */
      a->kernels->attend_b1(&h, a->keep, q, q + a->words, hidden, seen, &room, sums + (size_t)head * op->d);
    }
    write_context(a, token, sums, y, a->packed + (size_t)worker * 2 * a->row);
  }
}

/* ---- the operator ---- */

static eq_status check(const eq_attention *op, uint32_t planes, const eq_keep *keep) {
  const eq_status status = eq_check_attention(op);
  if (status != EQ_OK) return status;
  if (!keep || (planes != 1 && planes != 2)) return EQ_BAD_ARGUMENT;
  switch (keep->kind) {
  case EQ_KEEP_POSITIVE:
  case EQ_KEEP_NEAR: return EQ_OK;
  case EQ_KEEP_SOFTMAX: return keep->step >= 0.0f && keep->cut >= 0.0f ? EQ_OK : EQ_BAD_ARGUMENT;
  default: return EQ_BAD_ARGUMENT;
  }
}

size_t eq_attention_b1_scratch(const eq_attention *op, uint32_t planes, const eq_keep *keep,
                               const eq_threads *threads) {
  if (check(op, planes, keep) != EQ_OK) return 0;
  attention a;
  eq_arena arena = {0};
  plan(&a, &arena, op, planes, threads);
  return eq_arena_bytes(&arena);
}

eq_status eq_attention_b1(const eq_attention *op, uint32_t planes, const uint8_t *q, const uint8_t *k, const uint8_t *v,
                          const eq_keep *keep, const eq_context *to, const eq_threads *threads, void *scratch,
                          size_t scratch_bytes) {
  const eq_status status = check(op, planes, keep);
  if (status != EQ_OK) return status;
  if (!q || !k || !v || !to || (!to->out && !to->out_t2) || !eq_threads_ok(threads)) return EQ_BAD_ARGUMENT;
  if (!eq_scratch_ok(scratch, scratch_bytes, eq_attention_b1_scratch(op, planes, keep, threads))) return EQ_NO_SCRATCH;
  attention a;
  eq_arena arena = {.base = scratch};
  plan(&a, &arena, op, planes, threads);
  a.kernels = eq_kernels_current();
  if (!a.kernels) {
    eq_attention_b1_ref(op, planes, q, k, v, keep, to, a.ref_dots, a.ref_kept);
    return EQ_OK;
  }
  eq_keep rule = *keep;
  if (rule.margin > 2 * op->d) rule.margin = 2 * op->d; /* no two dots are further apart */
  a.keep = &rule;
  a.to = to;
  a.q = q;
  a.k = k;
  a.v = v;
  eq_share(threads, turn, &a, (size_t)op->batch * op->heads);
  eq_share(threads, attend, &a, (size_t)op->batch * op->queries);
  return EQ_OK;
}
