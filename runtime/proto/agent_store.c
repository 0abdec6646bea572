/* PUT, LIST, ERASE. */
#include "agent_internal.h"

void eq_close_put(eq_agent *agent, bool drop) {
  if (agent->putting) agent->store->close(agent->store->context, drop);
  agent->putting = false;
}

static bool need_put(eq_agent *agent) {
  return agent->putting || eq_fail(&agent->failure, EQ_CODE_NO_PUT, "no transfer is open: begin one first");
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
  eq_give_size(w, have);
  return true;
}

bool eq_on_PUT_DATA(eq_agent *agent, eq_reader *r, eq_writer *w) {
  const size_t offset = eq_take_size(r);
  size_t count;
  const uint8_t *bytes = eq_take_rest(r, &count);
  if (!eq_read_all(agent, r) || !need_put(agent)) return false;
  if (offset != agent->put_have)
    return eq_fail_with(&agent->failure, EQ_CODE_BAD_OFFSET, "data must go on at ", agent->put_have);
  if (count > agent->put.size - offset)
    return eq_fail_with(&agent->failure, EQ_CODE_TOO_LARGE, "data past the announced size ", agent->put.size);
  if (!agent->store->append(agent->store->context, offset, bytes, count, &agent->failure)) {
    eq_close_put(agent, false);
    return false;
  }
  agent->put_have += count;
  eq_give_size(w, agent->put_have);
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
                     "SHA-256 of the stored bytes is not the announced one; the transfer was dropped");
  }
  return true;
}

bool eq_on_PUT_COMMIT(eq_agent *agent, eq_reader *r, eq_writer *w) {
  if (!eq_read_all(agent, r) || !need_put(agent)) return false;
  if (agent->put_have != agent->put.size)
    return eq_fail_with(&agent->failure, EQ_CODE_BAD_OFFSET, "the transfer is not complete, it must go on at ",
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
  uint8_t *total = eq_give(w, 2), *count = eq_give(w, 1);
  enum { LONGEST = 1 + EQ_NAME_MAX + EQ_SHA256_BYTES + 8 };
  *count = 0;
  const eq_entry *entry;
  unsigned i = 0;
  for (; (entry = store->entry(store->context, i)); i++) {
    if (i < start || *count == 255 || eq_room(w) < LONGEST) continue;
    eq_give_text(w, entry->name);
    eq_give_bytes(w, entry->sha256, EQ_SHA256_BYTES);
    eq_give_size(w, entry->size);
    ++*count;
  }
  eq_store_le(total, i, 2);
  return true;
}

bool eq_on_ERASE(eq_agent *agent, eq_reader *r, eq_writer *w) {
  (void)w;
  char name[EQ_NAME_BYTES];
  return eq_read_name(agent, r, name) && eq_read_all(agent, r) &&
         agent->store->erase(agent->store->context, name, &agent->failure);
}
