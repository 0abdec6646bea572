/* Two snapshots in turn, and a log of steps that are one number: a run goes on after a cut at any byte. */
#include "tune/journal.h"

#include "core/half.h"
#include "tune/number.h"
#include "tune/state.h"

enum { VERSION = 1, SNAPSHOT_MAGIC = 0x53545145 /* EQTS */, LOG_MAGIC = 0x4c545145 /* EQTL */ };

uint32_t eq_tune_crc(uint32_t crc, const void *bytes, size_t count) {
  const uint8_t *p = bytes;
  static const uint32_t table[16] = {0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4,
                                     0x4db26158, 0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
                                     0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c};
  crc = ~crc;
  for (size_t i = 0; i < count; i++) {
    crc ^= p[i];
    crc = crc >> 4 ^ table[crc & 15u];
    crc = crc >> 4 ^ table[crc & 15u];
  }
  return ~crc;
}

void eq_tune_store_ask(eq_tune *t, eq_tune_kind kind, eq_tune_area area, uint32_t offset, const void *from, void *into,
                       size_t bytes) {
  t->request = (eq_tune_request){
      .kind = kind, .area = area, .offset = offset, .bytes = (uint32_t)bytes, .from = from, .into = into};
  t->waiting = true;
}

/* Bytes 0 .. 136 of a snapshot and of a log: magic, version, flags, base, layout, plan, data. */
static void put_ids(const eq_tune *t, uint8_t *h, uint32_t magic) {
  eq_put32(h, 0, magic);
  eq_put32(h, 4, VERSION);
  __builtin_memcpy(h + 8, t->model->base, 32);
  __builtin_memcpy(h + 40, t->model->layout, 32);
  __builtin_memcpy(h + 72, t->plan_hash, 32);
  __builtin_memcpy(h + 104, t->data->id, 32);
}

static eq_tune_status check_ids(const eq_tune *t, const uint8_t *h) {
  if (eq_get32(h, 4) != VERSION) return EQ_TUNE_VERSION;
  if (!eq_same(h + 8, t->model->base, 32)) return EQ_TUNE_WRONG_BASE;
  if (!eq_same(h + 40, t->model->layout, 32)) return EQ_TUNE_WRONG_LAYOUT;
  if (!eq_same(h + 104, t->data->id, 32)) return EQ_TUNE_WRONG_DATA;
  return !eq_same(h + 72, t->plan_hash, 32) ? EQ_TUNE_WRONG_PLAN : EQ_TUNE_OK;
}

/* ---- snapshots: seed at 136, step 144, sequence 148, best loss 152, best step 156, four bytes 160, payload's length
 * 164 and crc 168, crc of all that 172 */
static void put_snapshot(eq_tune *t, uint8_t *h) {
  const eq_tune_saved *v = t->saved;
  put_ids(t, h, SNAPSHOT_MAGIC);
  __builtin_memcpy(h + 136, &t->set.seed, 8);
  eq_put32(h, 144, v->step);
  eq_put32(h, 148, t->sequence);
  eq_put32(h, 152, eq_bits_of(eq_tune_score_of(&v->best).loss));
  eq_put32(h, 156, v->best_step);
  eq_put32(h, 160, (v->rate_halvings & 255u) | (v->restores & 255u) << 8 | (v->bad & 255u) << 16);
  eq_put32(h, 164, (uint32_t)t->saved_bytes);
  eq_put32(h, 168, eq_tune_crc(0, v, t->saved_bytes));
  eq_put32(h, 172, eq_tune_crc(0, h, 172));
}

static bool snapshot_header(const eq_tune *t, const uint8_t *h) {
  return eq_get32(h, 0) == SNAPSHOT_MAGIC && eq_get32(h, 172) == eq_tune_crc(0, h, 172) && t->saved_bytes;
}

/* What a run of this plan can have reached: bytes that pass their check may still have been made up. */
static bool plausible(const eq_tune *t) {
  const eq_tune_saved *v = t->saved;
  const eq_tune_shape *s = &t->shape;
  return v->at <= S_FINISHED && v->leg <= EQ_LEG_NOISE && v->sweep <= s->sweeps && v->fold <= s->folds &&
         v->step <= eq_tune_steps_of(t) && v->outcome <= EQ_TUNE_FAILED && v->status <= EQ_TUNE_WRONG_DATA &&
         v->solved <= EQ_HEAD_BASE && (v->solved != EQ_HEAD_TAPS || s->solve) && v->rate_halvings <= 60 &&
         (v->plain == EQ_PLAIN_NO || (s->plain && v->plain <= EQ_PLAIN_BETTER)) && (v->at != S_SOLVE || s->solve) &&
         (v->at != S_STATS || (s->stats && v->sweep < s->sweeps)) &&
         (v->at != S_STEPS || (v->leg == EQ_LEG_HEAD ? s->head : s->noise)) && eq_all_finite(t->values, s->values) &&
         eq_all_finite(t->tap, s->tap_values) && eq_all_finite(t->best, s->best_values);
}

static void save(eq_tune *t) {
  const eq_tune_area slot = t->sequence & 1 ? EQ_TUNE_SLOT_B : EQ_TUNE_SLOT_A;
  uint8_t *header = t->header[0];
  switch (t->io_at) {
  case 0: eq_tune_store_ask(t, EQ_TUNE_ERASE, slot, 0, NULL, NULL, 0); break;
  case 1: eq_tune_store_ask(t, EQ_TUNE_WRITE, slot, EQ_SNAPSHOT_HEADER, t->saved, NULL, t->saved_bytes); break;
  case 2: eq_tune_store_ask(t, EQ_TUNE_FLUSH, slot, 0, NULL, NULL, 0); break;
  case 3: /* last: without it the slot is nothing */
    put_snapshot(t, header);
    eq_tune_store_ask(t, EQ_TUNE_WRITE, slot, 0, header, NULL, EQ_SNAPSHOT_HEADER);
    break;
  case 4: eq_tune_store_ask(t, EQ_TUNE_FLUSH, slot, 0, NULL, NULL, 0); break;
  default: t->sequence++; t->io = IO_NONE;
  }
}

/* ---- the log: records of a half and the low half of crc32(step, half) */
static uint32_t record_of(uint32_t step, uint16_t gain) {
  uint8_t bytes[6];
  eq_put32(bytes, 0, step);
  bytes[4] = (uint8_t)gain;
  bytes[5] = (uint8_t)(gain >> 8);
  return gain | eq_tune_crc(0, bytes, sizeof bytes) << 16;
}

static uint32_t record_at(const eq_tune *t) { return EQ_LOG_HEADER + EQ_LOG_RECORD * t->saved->step; }

static void open_log(eq_tune *t) {
  uint8_t *h = t->header[0];
  switch (t->io_at) {
  case 0: eq_tune_store_ask(t, EQ_TUNE_ERASE, EQ_TUNE_LOG, 0, NULL, NULL, 0); break;
  case 1:
    put_ids(t, h, LOG_MAGIC);
    __builtin_memcpy(h + 136, &t->set.seed, 8);
    for (uint32_t i = 144; i < 156; i += 4) eq_put32(h, i, 0);
    eq_put32(h, 156, eq_tune_crc(0, h, 156));
    eq_tune_store_ask(t, EQ_TUNE_WRITE, EQ_TUNE_LOG, 0, h, NULL, EQ_LOG_HEADER);
    break;
  case 2: eq_tune_store_ask(t, EQ_TUNE_FLUSH, EQ_TUNE_LOG, 0, NULL, NULL, 0); break;
  default: t->log_ready = true; t->io = IO_NONE;
  }
}

static void write_log(eq_tune *t) {
  if (t->io_at) {
    t->io = IO_NONE;
    return;
  }
  eq_put32(t->chunk, 0, record_of(t->saved->step + 1, t->gain));
  eq_tune_store_ask(t, EQ_TUNE_WRITE, EQ_TUNE_LOG, record_at(t), t->chunk, NULL, EQ_LOG_RECORD);
}

static void replayed(eq_tune *t, bool read) {
  const uint32_t record = eq_get32(t->chunk, 0);
  const uint16_t gain = (uint16_t)record;
  t->io = IO_NONE;
  t->replaying = read && record == record_of(t->saved->step + 1, gain);
  if (t->replaying) eq_tune_steps_replay(t, gain);
}

/* ---- recovery: both headers, the newest payload, the other one if that is torn, the log */
enum { READ_A = 0, READ_B, CHOOSE, READ_PAYLOAD, READ_LOG, RECOVERED };

static uint32_t newest(const eq_tune *t) { return t->found[1] > t->found[0]; }

static void recover(eq_tune *t) {
  const bool fresh = t->set.flags & EQ_TUNE_FRESH;
  const uint32_t slot = newest(t);
  switch (t->io_at) {
  case READ_A:
  case READ_B: {
    const eq_tune_area area = t->io_at == READ_A ? EQ_TUNE_SLOT_A : EQ_TUNE_SLOT_B;
    if (fresh)
      eq_tune_store_ask(t, EQ_TUNE_ERASE, area, 0, NULL, NULL, 0);
    else
      eq_tune_store_ask(t, EQ_TUNE_READ, area, 0, NULL, t->header[t->io_at], EQ_SNAPSHOT_HEADER);
    break;
  }
  case CHOOSE: t->io_at = t->found[slot] ? READ_PAYLOAD : READ_LOG; break;
  case READ_PAYLOAD: {
    const eq_tune_status status = check_ids(t, t->header[slot]);
    if (status != EQ_TUNE_OK || eq_get32(t->header[slot], 164) != t->saved_bytes) {
      eq_tune_fail(t, status != EQ_TUNE_OK ? status : EQ_TUNE_CORRUPT);
      return;
    }
    eq_tune_store_ask(t, EQ_TUNE_READ, slot ? EQ_TUNE_SLOT_B : EQ_TUNE_SLOT_A, EQ_SNAPSHOT_HEADER, NULL, t->saved,
                      t->saved_bytes);
    break;
  }
  case READ_LOG:
    if (!t->shape.logged)
      t->io_at = RECOVERED;
    else if (fresh)
      eq_tune_store_ask(t, EQ_TUNE_ERASE, EQ_TUNE_LOG, 0, NULL, NULL, 0);
    else
      eq_tune_store_ask(t, EQ_TUNE_READ, EQ_TUNE_LOG, 0, NULL, t->header[0], EQ_LOG_HEADER);
    break;
  default: t->io = IO_NONE;
  }
}

static void recovered(eq_tune *t, bool read) {
  const bool fresh = t->set.flags & EQ_TUNE_FRESH;
  uint32_t slot = newest(t);
  switch (t->io_at) {
  case READ_A:
  case READ_B:
    slot = t->io_at;
    if (!fresh && read && snapshot_header(t, t->header[slot])) t->found[slot] = eq_get32(t->header[slot], 148) + 1;
    if (t->found[slot] > t->sequence) t->sequence = t->found[slot];
    t->io_at++;
    break;
  case READ_PAYLOAD:
    if (read && eq_tune_crc(0, t->saved, t->saved_bytes) == eq_get32(t->header[slot], 168)) {
      if (!plausible(t)) {
        eq_tune_fail(t, EQ_TUNE_CORRUPT);
        return;
      }
      t->io_at = READ_LOG;
    } else { /* torn */
      eq_tune_initial(t);
      t->found[slot] = 0;
      t->io_at = CHOOSE;
    }
    break;
  default: { /* READ_LOG */
    const uint8_t *h = t->header[0];
    t->io_at = RECOVERED;
    if (fresh || !read || eq_get32(h, 0) != LOG_MAGIC || eq_get32(h, 156) != eq_tune_crc(0, h, 156)) return;
    const eq_tune_status status = check_ids(t, h);
    if (status != EQ_TUNE_OK) eq_tune_fail(t, status);
    t->log_ready = t->replaying = true;
  }
  }
}

/* ---- */
void eq_tune_io_start(eq_tune *t, eq_tune_io io) {
  if (t->done) return;
  t->io = io;
  t->io_at = 0;
}

void eq_tune_io_advance(eq_tune *t) {
  switch ((eq_tune_io)t->io) {
  case IO_RECOVER: recover(t); break;
  case IO_SAVE: save(t); break;
  case IO_LOG_OPEN: open_log(t); break;
  case IO_LOG: write_log(t); break;
  case IO_REPLAY: eq_tune_store_ask(t, EQ_TUNE_READ, EQ_TUNE_LOG, record_at(t), NULL, t->chunk, EQ_LOG_RECORD); break;
  case IO_COMMIT: eq_tune_commit_advance(t); break;
  case IO_NONE: break;
  }
}

void eq_tune_io_reply(eq_tune *t, eq_tune_status status) {
  if (t->io == IO_RECOVER)
    recovered(t, status == EQ_TUNE_OK);
  else if (t->io == IO_REPLAY)
    replayed(t, status == EQ_TUNE_OK);
  else if (status != EQ_TUNE_OK)
    eq_tune_fail(t, EQ_TUNE_STORE_FAILED);
  else if (t->io == IO_COMMIT)
    eq_tune_commit_reply(t);
  else
    t->io_at++;
}
