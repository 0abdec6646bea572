/* PUT, LIST, GET, ERASE. */
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
  entry.size = eq_take_le(r, 8);
  if (!eq_read_all(agent, r)) return false;
  eq_copy(entry.sha256, sha256, EQ_SHA256_BYTES);
  eq_close_put(agent, false);
  uint64_t have = 0;
  if (!agent->store->begin(agent->store->context, &entry, &have, &agent->failure)) return false;
  agent->putting = true;
  agent->put = entry;
  agent->put_have = have;
  eq_give_le(w, have, 8);
  return true;
}

bool eq_on_PUT_DATA(eq_agent *agent, eq_reader *r, eq_writer *w) {
  const uint64_t offset = eq_take_le(r, 8);
  const size_t count = r->bad ? 0 : eq_left(r);
  const uint8_t *bytes = eq_take(r, count);
  if (!eq_read_all(agent, r) || !need_put(agent)) return false;
  if (offset != agent->put_have) {
    eq_fail(&agent->failure, EQ_CODE_BAD_OFFSET, "data must go on at ");
    return eq_fail_number(&agent->failure, agent->put_have);
  }
  if (count > agent->put.size - offset) {
    eq_fail(&agent->failure, EQ_CODE_TOO_LARGE, "data past the announced size ");
    return eq_fail_number(&agent->failure, agent->put.size);
  }
  if (!agent->store->append(agent->store->context, offset, bytes, count, &agent->failure)) {
    eq_close_put(agent, false);
    return false;
  }
  agent->put_have += count;
  eq_give_le(w, agent->put_have, 8);
  return true;
}

/* Hashes what the store gives back, not what came in: flash and disks are checked too. The answer's space is the
 * buffer. */
static bool verify_put(eq_agent *agent, eq_writer *w, uint8_t digest[EQ_SHA256_BYTES]) {
  eq_sha256 hash;
  eq_sha256_init(&hash);
  for (uint64_t at = 0; at < agent->put.size;) {
    const uint64_t left = agent->put.size - at;
    const size_t count = left < eq_room(w) ? (size_t)left : eq_room(w);
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
  if (agent->put_have != agent->put.size) {
    eq_fail(&agent->failure, EQ_CODE_BAD_OFFSET, "the transfer is not complete, it must go on at ");
    return eq_fail_number(&agent->failure, agent->put_have);
  }
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
    eq_give_le(w, entry.size, 8);
    ++*count;
  }
  return true;
}

bool eq_on_GET(eq_agent *agent, eq_reader *r, eq_writer *w) {
  const uint8_t source = (uint8_t)eq_take_le(r, 1);
  char name[EQ_NAME_MAX + 1];
  if (source == EQ_GET_PROFILE) {
    eq_take_text(r, name, sizeof name);
  } else if (!eq_read_name(agent, r, name)) {
    return false;
  }
  const uint64_t offset = eq_take_le(r, 8), wanted = eq_take_le(r, 4);
  if (!eq_read_all(agent, r)) return false;
  eq_entry entry;
  if (source == EQ_GET_PROFILE) {
    entry.size = agent->engine->profile ? agent->engine->profile_size(agent->engine->context) : 0;
    if (entry.size == 0) return eq_fail(&agent->failure, EQ_CODE_NOT_FOUND, "there is no trace: profile a net first");
  } else if (source != EQ_GET_OBJECT) {
    eq_fail(&agent->failure, EQ_CODE_BAD_REQUEST, "unknown source ");
    return eq_fail_number(&agent->failure, source);
  } else if (!agent->store->find(agent->store->context, name, &entry, &agent->failure)) {
    return false;
  }
  if (offset > entry.size) {
    eq_fail(&agent->failure, EQ_CODE_BAD_OFFSET, "offset past the end at ");
    return eq_fail_number(&agent->failure, entry.size);
  }
  eq_give_le(w, entry.size, 8);
  uint64_t count = entry.size - offset;
  if (count > wanted) count = wanted;
  if (count > eq_room(w)) count = eq_room(w);
  uint8_t *bytes = eq_give(w, (size_t)count);
  return source == EQ_GET_PROFILE
             ? agent->engine->profile_read(agent->engine->context, offset, bytes, (size_t)count, &agent->failure)
             : agent->store->read(agent->store->context, name, offset, bytes, (size_t)count, &agent->failure);
}

bool eq_on_ERASE(eq_agent *agent, eq_reader *r, eq_writer *w) {
  (void)w;
  char name[EQ_NAME_MAX + 1];
  return eq_read_name(agent, r, name) && eq_read_all(agent, r) &&
         agent->store->erase(agent->store->context, name, &agent->failure);
}
