/* What was learned, as a file: 224 bytes of header, then ac, a head, codes.
 *
 *   0 EQTD   4 version   8 base   40 layout   72 method   76 counts: ac, classes, head width, tap width, codes
 *  96 step, trained, held out   108 base: loss, metric, samples   120 tuned: the same   132 base weight, ridge,
 * temperature   144 seed   152 payload: bytes, crc32   160 sha256   192 leave-one-out   196 zeros   220 crc32 of 0 ..
 * 219 */
#include "proto/sha256.h"
#include "tune/journal.h"
#include "tune/number.h"
#include "tune/state.h"

enum { VERSION = 1, MAGIC = 0x44545145 /* EQTD */ };

typedef struct {
  const float *head;
  uint32_t classes, head_width, tap_width, head_bytes, codes;
} contents;

static contents contents_of(const eq_tune *t) {
  const eq_tune_shape *s = &t->shape;
  contents c = {0};
  if (t->saved->solved == EQ_HEAD_TAPS) {
    c.head = t->tap;
    c.tap_width = s->taps;
    c.head_bytes = s->tap_values * 4;
  } else if (s->learn_head && t->saved->solved != EQ_HEAD_BASE) {
    c.head = eq_head_weight(t);
    c.head_width = s->hidden;
    c.head_bytes = s->head_values * 4;
  }
  c.classes = c.head ? s->classes : 0;
  c.codes = s->learn_latent ? s->latent_values : 0;
  return c;
}

static uint32_t payload_bytes(const eq_tune *t, const contents *c) {
  return 4 * t->shape.ac + c->head_bytes + c->codes;
}

/* Codes [first, first + count) from the latents, as the graph rounds them. */
static void codes_of(const eq_tune *t, uint32_t first, uint32_t count, uint8_t *out) {
  const float *value = eq_latents(t);
  uint32_t at = 0;
  for (uint32_t l = 0; l < t->model->latent_count; l++) {
    const eq_tune_latent *latent = t->model->latents + l;
    for (uint32_t k = 0; k < latent->outputs * latent->inputs; k++, at++) {
      if (at < first || at >= first + count) continue;
      out[at - first] = (uint8_t)(int8_t)eq_code_of(latent, value[at]);
    }
  }
}

static void hash_payload(eq_tune *t, const contents *c, uint32_t *crc, uint8_t digest[32]) {
  eq_sha256 hash;
  eq_sha256_init(&hash);
  eq_sha256_update(&hash, (const uint8_t *)t->values, 4 * (size_t)t->shape.ac);
  *crc = eq_tune_crc(0, t->values, 4 * (size_t)t->shape.ac);
  if (c->head) {
    eq_sha256_update(&hash, (const uint8_t *)c->head, c->head_bytes);
    *crc = eq_tune_crc(*crc, c->head, c->head_bytes);
  }
  for (uint32_t at = 0; at < c->codes; at += EQ_TUNE_CHUNK) {
    const uint32_t count = c->codes - at < EQ_TUNE_CHUNK ? c->codes - at : EQ_TUNE_CHUNK;
    codes_of(t, at, count, t->chunk);
    eq_sha256_update(&hash, t->chunk, count);
    *crc = eq_tune_crc(*crc, t->chunk, count);
  }
  eq_sha256_final(&hash, digest);
}

static void put_score(uint8_t *h, uint32_t at, const eq_tune_sum *sum) {
  const eq_tune_score score = eq_tune_score_of(sum);
  eq_put32(h, at, eq_bits_of(score.loss));
  eq_put32(h, at + 4, eq_bits_of(score.metric));
  eq_put32(h, at + 8, score.samples);
}

static void put_header(eq_tune *t, const contents *c, uint8_t *h) {
  const eq_tune_saved *v = t->saved;
  const eq_tune_shape *s = &t->shape;
  const uint32_t held = v->decided_on_all ? 0 : s->held;
  const uint32_t words[] = {(uint32_t)t->set.method, s->ac, c->classes, c->head_width, c->tap_width, c->codes, v->step,
                            s->samples - held,       held};
  uint32_t crc;
  for (uint32_t i = 0; i < EQ_DELTA_HEADER; i++) h[i] = 0;
  eq_put32(h, 0, MAGIC);
  eq_put32(h, 4, VERSION);
  __builtin_memcpy(h + 8, t->model->base, 32);
  __builtin_memcpy(h + 40, t->model->layout, 32);
  __builtin_memcpy(h + 72, words, sizeof words);
  put_score(h, 108, v->decided_on_all ? &v->base_all : &v->base_held);
  put_score(h, 120, &v->best);
  eq_put32(h, 132, eq_bits_of(v->weight));
  eq_put32(h, 136, eq_bits_of(v->ridge));
  eq_put32(h, 140, eq_bits_of(v->temperature));
  __builtin_memcpy(h + 144, &t->set.seed, 8);
  hash_payload(t, c, &crc, h + 160);
  eq_put32(h, 152, payload_bytes(t, c));
  eq_put32(h, 156, crc);
  eq_put32(h, 192, v->leave_one_out);
  eq_put32(h, 220, eq_tune_crc(0, h, 220));
}

/* ---- writing: the payload, the header last, then all of it read back */
enum { CLEAR = 0, WRITE_AC, WRITE_HEAD, WRITE_CODES, FLUSH_PAYLOAD, WRITE_HEADER, FLUSH_HEADER, VERIFY };

static void same_bytes(eq_tune *t, const contents *c) {
  const uint8_t *h = t->header[0];
  const uint32_t total = EQ_DELTA_HEADER + payload_bytes(t, c), left = total - t->io_offset;
  if (left) {
    eq_tune_store_ask(t, EQ_TUNE_READ, EQ_TUNE_DELTA, t->io_offset, NULL, t->chunk,
                      left < EQ_TUNE_CHUNK ? left : EQ_TUNE_CHUNK);
    return;
  }
  uint8_t digest[32];
  eq_sha256_final(&t->verify, digest);
  if (!eq_same(digest, h + 160, 32)) {
    eq_tune_fail(t, EQ_TUNE_STORE_FAILED);
    return;
  }
  t->io = IO_NONE;
  eq_tune_finish(t, EQ_TUNE_COMMITTED, EQ_TUNE_OK);
}

void eq_tune_commit_advance(eq_tune *t) {
  const contents c = contents_of(t);
  const uint32_t head_at = EQ_DELTA_HEADER + 4 * t->shape.ac, codes_at = head_at + c.head_bytes;
  switch (t->io_at) {
  case CLEAR:
    put_header(t, &c, t->header[0]);
    eq_tune_store_ask(t, EQ_TUNE_ERASE, EQ_TUNE_DELTA, 0, NULL, NULL, 0);
    break;
  case WRITE_AC:
    eq_tune_store_ask(t, EQ_TUNE_WRITE, EQ_TUNE_DELTA, EQ_DELTA_HEADER, t->values, NULL, 4 * (size_t)t->shape.ac);
    break;
  case WRITE_HEAD:
    t->io_offset = 0;
    if (c.head)
      eq_tune_store_ask(t, EQ_TUNE_WRITE, EQ_TUNE_DELTA, head_at, c.head, NULL, c.head_bytes);
    else
      t->io_at++;
    break;
  case WRITE_CODES: {
    const uint32_t left = c.codes - t->io_offset, count = left < EQ_TUNE_CHUNK ? left : EQ_TUNE_CHUNK;
    if (count) {
      codes_of(t, t->io_offset, count, t->chunk);
      eq_tune_store_ask(t, EQ_TUNE_WRITE, EQ_TUNE_DELTA, codes_at + t->io_offset, t->chunk, NULL, count);
    } else
      t->io_at++;
    break;
  }
  case FLUSH_PAYLOAD:
  case FLUSH_HEADER: eq_tune_store_ask(t, EQ_TUNE_FLUSH, EQ_TUNE_DELTA, 0, NULL, NULL, 0); break;
  case WRITE_HEADER:
    eq_tune_store_ask(t, EQ_TUNE_WRITE, EQ_TUNE_DELTA, 0, t->header[0], NULL, EQ_DELTA_HEADER);
    t->io_offset = 0;
    eq_sha256_init(&t->verify);
    break;
  default: same_bytes(t, &c);
  }
}

void eq_tune_commit_reply(eq_tune *t) {
  const uint32_t bytes = t->request.bytes;
  if (t->io_at == WRITE_CODES) {
    t->io_offset += bytes;
    return;
  }
  if (t->io_at < VERIFY) {
    t->io_at++;
    return;
  }
  for (uint32_t i = 0; i < bytes; i++) { /* the header byte by byte, the payload by its hash */
    const uint32_t at = t->io_offset + i;
    if (at < EQ_DELTA_HEADER && t->chunk[i] != t->header[0][at]) {
      eq_tune_fail(t, EQ_TUNE_STORE_FAILED);
      return;
    }
    if (at >= EQ_DELTA_HEADER) {
      eq_sha256_update(&t->verify, t->chunk + i, bytes - i);
      break;
    }
  }
  t->io_offset += bytes;
}

/* ---- reading */
static float float_at(const uint8_t *bytes, uint32_t at) { return eq_float_of(eq_get32(bytes, at)); }

static eq_tune_score score_at(const uint8_t *h, uint32_t at) {
  return (eq_tune_score){float_at(h, at), float_at(h, at + 4), eq_get32(h, at + 8)};
}

static bool finite_floats(const uint8_t *bytes, uint32_t count) {
  for (uint32_t i = 0; i < count; i++)
    if (!eq_finite(float_at(bytes, 4 * i))) return false;
  return true;
}

static bool ac_in_range(const eq_tune_model *m, const uint8_t *ac) {
  uint32_t at = 0;
  for (uint32_t l = 0; l < m->layer_count; l++)
    for (uint32_t side = 0; side < 2; side++)
      for (uint32_t j = 0; j < m->layers[l].channels; j++, at += 4) {
        const float x = float_at(ac, at);
        if (!(eq_abs(x) <= (side == 0 ? EQ_TUNE_LARGEST_A : EQ_TUNE_LARGEST_C))) return false; /* NaN too */
      }
  return true;
}

static bool codes_in_range(const eq_tune_model *m, const uint8_t *codes) {
  for (uint32_t l = 0; l < m->latent_count; l++) {
    const eq_tune_latent *latent = m->latents + l;
    for (uint32_t k = 0; k < latent->outputs * latent->inputs; k++) {
      const int32_t code = (int8_t)*codes++;
      if (code < latent->low || code > latent->high || (latent->binary && !code)) return false;
    }
  }
  return true;
}

eq_tune_status eq_tune_delta_read(eq_tune_delta *delta, const eq_tune_model *m, const uint8_t *bytes, size_t size) {
  if (!delta || !m || !bytes || size < EQ_DELTA_HEADER || eq_get32(bytes, 0) != MAGIC) return EQ_TUNE_CORRUPT;
  if (eq_get32(bytes, 4) != VERSION) return EQ_TUNE_VERSION;
  if (eq_get32(bytes, 220) != eq_tune_crc(0, bytes, 220)) return EQ_TUNE_CORRUPT;
  if (!eq_same(bytes + 8, m->base, 32)) return EQ_TUNE_WRONG_BASE;
  if (!eq_same(bytes + 40, m->layout, 32)) return EQ_TUNE_WRONG_LAYOUT;
  uint64_t ac = 0, taps = 0, codes = 0;
  for (uint32_t l = 0; l < m->layer_count; l++) ac += 2 * (uint64_t)m->layers[l].channels;
  for (uint32_t i = 0; i < m->tap_count; i++) taps += m->taps[i].width;
  for (uint32_t l = 0; l < m->latent_count; l++) codes += (uint64_t)m->latents[l].outputs * m->latents[l].inputs;
  const uint32_t classes = eq_get32(bytes, 80), head_width = eq_get32(bytes, 84), tap_width = eq_get32(bytes, 88);
  const uint32_t code_count = eq_get32(bytes, 92), width = head_width + tap_width;
  if (eq_get32(bytes, 72) >= EQ_TUNE_METHODS || eq_get32(bytes, 76) != ac || eq_get32(bytes, 192) > 1 ||
      (head_width && head_width != m->hidden) || (tap_width && tap_width != taps) || (head_width && tap_width) ||
      classes != (width ? m->classes : 0) || (code_count && code_count != codes))
    return EQ_TUNE_CORRUPT;
  for (uint32_t i = 196; i < 220; i++)
    if (bytes[i]) return EQ_TUNE_CORRUPT;
  const uint64_t head = width ? (uint64_t)classes * (width + 1) : 0, payload = 4 * (ac + head) + code_count;
  if (size - EQ_DELTA_HEADER != payload || eq_get32(bytes, 152) != payload) return EQ_TUNE_CORRUPT;
  const uint8_t *at = bytes + EQ_DELTA_HEADER, *head_at = at + 4 * ac, *codes_at = head_at + 4 * head;
  uint8_t digest[32];
  eq_sha256 hash;
  eq_sha256_init(&hash);
  eq_sha256_update(&hash, at, (size_t)payload);
  eq_sha256_final(&hash, digest);
  if (!eq_same(digest, bytes + 160, 32) || eq_get32(bytes, 156) != eq_tune_crc(0, at, (size_t)payload) ||
      !finite_floats(bytes + 108, 2) || !finite_floats(bytes + 120, 2) || !finite_floats(bytes + 132, 3) ||
      !ac_in_range(m, at) || !finite_floats(head_at, (uint32_t)head) || (code_count && !codes_in_range(m, codes_at)))
    return EQ_TUNE_CORRUPT;
  *delta = (eq_tune_delta){
      .method = (eq_tune_method)eq_get32(bytes, 72),
      .step = eq_get32(bytes, 96),
      .base = score_at(bytes, 108),
      .tuned = score_at(bytes, 120),
      .trained = eq_get32(bytes, 100),
      .held_out = eq_get32(bytes, 104),
      .base_weight = float_at(bytes, 132),
      .ridge = float_at(bytes, 136),
      .temperature = float_at(bytes, 140),
      .ac_count = (uint32_t)ac,
      .ac = at,
      .classes = classes,
      .head_width = head_width,
      .tap_width = tap_width,
      .head = width ? head_at : NULL,
      .code_count = code_count,
      .codes = code_count ? codes_at : NULL,
  };
  __builtin_memcpy(&delta->seed, bytes + 144, 8);
  return EQ_TUNE_OK;
}
