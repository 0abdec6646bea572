/* PUT, LIST, GET, ERASE. */
#include "agent_internal.h"

void eq_close_put(eq_agent *agent, bool drop) {
  if (agent->putting) agent->store->close(agent->store->context, drop);
  agent->putting = false;
}

static bool need_put(eq_agent *agent) {
  return agent->putting || eq_fail(&agent->failure, EQ_CODE_NO_PUT, EQ_TEXT("no transfer is open: begin one first"));
}

bool eq_on_PUT_BEGIN(eq_agent *agent, eq_reader *r, eq_writer *w) {
  eq_entry entry;
  if (!eq_read_name(agent, r, entry.name)) return false;
  const uint8_t *sha256 = eq_take(r, EQ_SHA256_BYTES);
  entry.size = eq_take_size(r);
  if (!eq_read_all(agent, r)) return false;
  eq_copy(entry.sha256, sha256, EQ_SHA256_BYTES);
  eq_close_put(agent, false);
  size_t have = 0;
  if (!agent->store->begin(agent->store->context, &entry, &have, &agent->failure)) return false;
  agent->putting = true;
  agent->put = entry;
  agent->put_have = have;
  eq_give_u64(w, have);
  return true;
}

bool eq_on_PUT_DATA(eq_agent *agent, eq_reader *r, eq_writer *w) {
  const size_t offset = eq_take_size(r);
  size_t count;
  const uint8_t *bytes = eq_take_rest(r, &count);
  if (!eq_read_all(agent, r) || !need_put(agent)) return false;
  if (offset != agent->put_have)
    return eq_fail_at(agent, EQ_CODE_BAD_OFFSET, EQ_TEXT("data must go on at "), agent->put_have);
  if (count > agent->put.size - offset)
    return eq_fail_at(agent, EQ_CODE_TOO_LARGE, EQ_TEXT("data past the announced size "), agent->put.size);
  if (!agent->store->append(agent->store->context, offset, bytes, count, &agent->failure)) {
    eq_close_put(agent, false);
    return false;
  }
  agent->put_have += count;
  eq_give_u64(w, agent->put_have);
  return true;
}

/* Hashes what the store gives back, not what came in: flash and disks are checked too. The answer's space is the
 * buffer. */
static bool verify_put(eq_agent *agent, eq_writer *w, uint8_t digest[EQ_SHA256_BYTES]) {
  eq_sha256 hash;
  eq_sha256_init(&hash);
  for (size_t at = 0; at < agent->put.size;) {
    const size_t left = agent->put.size - at, count = left < eq_room(w) ? left : eq_room(w);
    if (!agent->store->read_back(agent->store->context, at, w->at, count, &agent->failure)) return false;
    eq_sha256_update(&hash, w->at, count);
    at += count;
  }
  eq_sha256_final(&hash, digest);
  for (size_t i = 0; i < EQ_SHA256_BYTES; i++) {
    if (digest[i] != agent->put.sha256[i])
      return eq_fail(&agent->failure, EQ_CODE_BAD_HASH,
                     EQ_TEXT("SHA-256 of the stored bytes is not the announced one; the transfer was dropped"));
  }
  return true;
}

bool eq_on_PUT_COMMIT(eq_agent *agent, eq_reader *r, eq_writer *w) {
  if (!eq_read_all(agent, r) || !need_put(agent)) return false;
  if (agent->put_have != agent->put.size)
    return eq_fail_at(agent, EQ_CODE_BAD_OFFSET, EQ_TEXT("the transfer is not complete, it must go on at "),
                      agent->put_have);
  uint8_t digest[EQ_SHA256_BYTES];
  const bool good = verify_put(agent, w, digest);
  const bool done = good && agent->store->commit(agent->store->context, &agent->failure);
  eq_close_put(agent, !good);
  if (done) eq_give_bytes(w, digest, EQ_SHA256_BYTES);
  return done;
}

bool eq_on_PUT_ABORT(eq_agent *agent, eq_reader *r, eq_writer *w) {
  (void)w;
  if (!eq_read_all(agent, r) || !need_put(agent)) return false;
  eq_close_put(agent, true);
  return true;
}

bool eq_on_LIST(eq_agent *agent, eq_reader *r, eq_writer *w) {
  const uint16_t start = (uint16_t)eq_take_le(r, 2);
  if (!eq_read_all(agent, r)) return false;
  const eq_store *store = agent->store;
  uint16_t total = 0;
  if (!store->count(store->context, &total, &agent->failure)) return false;
  eq_give_le(w, total, 2);
  uint8_t *count = eq_give(w, 1);
  enum { LONGEST = 1 + EQ_NAME_MAX + EQ_SHA256_BYTES + 8 };
  *count = 0;
  for (uint16_t i = start; i < total && *count < 255 && eq_room(w) >= LONGEST; i++) {
    eq_entry entry;
    if (!store->entry(store->context, i, &entry, &agent->failure)) return false;
    eq_give_text(w, entry.name);
    eq_give_bytes(w, entry.sha256, EQ_SHA256_BYTES);
    eq_give_u64(w, entry.size);
    ++*count;
  }
  return true;
}

uint8_t *eq_give_piece(eq_agent *agent, eq_writer *w, size_t total, size_t offset, size_t *count) {
  if (offset > total) {
    eq_fail_at(agent, EQ_CODE_BAD_OFFSET, EQ_TEXT("offset past the end at "), total);
    return NULL;
  }
  eq_give_u64(w, total);
  if (*count > total - offset) *count = total - offset;
  if (*count > eq_room(w)) *count = eq_room(w);
  return eq_give(w, *count);
}

bool eq_on_GET(eq_agent *agent, eq_reader *r, eq_writer *w) {
  const uint8_t source = (uint8_t)eq_take_le(r, 1);
#ifndef EQ_MICRO
  if (source == EQ_GET_PROFILE) return eq_get_trace(agent, r, w);
#endif
  char name[EQ_NAME_MAX + 1];
  if (!eq_read_name(agent, r, name)) return false;
  const size_t offset = eq_take_size(r);
  size_t count = eq_take_le(r, 4);
  if (!eq_read_all(agent, r)) return false;
  if (source != EQ_GET_OBJECT) return eq_fail_at(agent, EQ_CODE_BAD_REQUEST, EQ_TEXT("unknown source "), source);
  const eq_store *store = agent->store;
  eq_entry entry;
  if (!store->find(store->context, name, &entry, &agent->failure)) return false;
  uint8_t *bytes = eq_give_piece(agent, w, entry.size, offset, &count);
  return bytes && store->read(store->context, name, offset, bytes, count, &agent->failure);
}

bool eq_on_ERASE(eq_agent *agent, eq_reader *r, eq_writer *w) {
  (void)w;
  char name[EQ_NAME_MAX + 1];
  return eq_read_name(agent, r, name) && eq_read_all(agent, r) &&
         agent->store->erase(agent->store->context, name, &agent->failure);
}
