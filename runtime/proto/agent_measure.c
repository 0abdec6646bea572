/* BENCH, EVAL, PROFILE, GET: what a client can do without. */
#include "agent_net.h"

bool eq_on_BENCH(eq_agent *agent, eq_reader *r, eq_writer *w) {
  const uint16_t net = (uint16_t)eq_take_le(r, 2);
  uint32_t warmup = eq_take_le(r, 4), runs = eq_take_le(r, 4);
  eq_subject s;
  if (!eq_read_all(agent, r) || !eq_describe(agent, net, &s)) return false;
  uint8_t *peak = eq_give(w, 8);
  if (runs > eq_room(w) / 8)
    return eq_fail_with(&agent->failure, EQ_CODE_TOO_LARGE, "runs in one request are at most ", eq_room(w) / 8);
  for (; warmup > 0; warmup--)
    if (!eq_execute(&s, NULL)) return false;
  for (; runs > 0; runs--)
    if (!eq_execute(&s, w)) return false;
  eq_store_le(peak, agent->engine->peak_bytes(agent->engine->context), 8);
  return true;
}

/* Index of the greatest element of the first output. NaN is never greater. */
static void give_argmax(const eq_subject *s, eq_writer *w) {
  const eq_tensor t = eq_net_tensor(s, true, 0);
  const float *v = (const float *)(const void *)t.data;
  size_t best = 0;
  for (size_t i = 0; i < t.bytes / sizeof(float); i++)
    if (v[i] > v[best] || (v[best] != v[best] && v[i] == v[i])) best = i;
  eq_give_le(w, (uint32_t)best, 4);
}

bool eq_on_EVAL(eq_agent *agent, eq_reader *r, eq_writer *w) {
  const uint16_t net = (uint16_t)eq_take_le(r, 2);
  const uint8_t mode = (uint8_t)eq_take_le(r, 1);
  uint32_t samples = eq_take_le(r, 2);
  size_t count;
  const uint8_t *bytes = eq_take_rest(r, &count);
  eq_subject s;
  if (!eq_read_all(agent, r) || !eq_describe(agent, net, &s)) return false;
  size_t each = s.bytes[1];
  if (mode == EQ_EVAL_ARGMAX) {
    if (s.net.tensors[1] == 0 || eq_net_tensor(&s, true, 0).dtype != EQ_DTYPE_f32)
      return eq_fail(&agent->failure, EQ_CODE_UNSUPPORTED, "the first output is not f32: ask for the outputs");
    each = 4;
  } else if (mode != EQ_EVAL_OUTPUTS) {
    return eq_fail_with(&agent->failure, EQ_CODE_BAD_REQUEST, "unknown mode ", mode);
  }
  if (samples == 0 ? count > 0 : count % samples != 0 || count / samples != s.bytes[0]) return eq_fail_inputs(&s);
  if (samples > eq_room(w) / (8 + each))
    return eq_fail_with(&agent->failure, EQ_CODE_TOO_LARGE, "samples in one request are at most ",
                        eq_room(w) / (8 + each));
  for (; samples > 0; samples--, bytes += s.bytes[0]) {
    eq_write_inputs(&s, bytes);
    if (!eq_execute(&s, w)) return false;
    if (mode == EQ_EVAL_ARGMAX)
      give_argmax(&s, w);
    else
      eq_give_outputs(&s, w);
  }
  return true;
}

bool eq_on_PROFILE(eq_agent *agent, eq_reader *r, eq_writer *w) {
  const uint16_t net = (uint16_t)eq_take_le(r, 2);
  const uint32_t runs = eq_take_le(r, 4);
  if (!eq_read_all(agent, r)) return false;
  if (!agent->engine->profile) return eq_fail(&agent->failure, EQ_CODE_UNSUPPORTED, "this device has no tracer");
  size_t size;
  if (!agent->engine->profile(agent->engine->context, net, runs, &size, &agent->failure)) return false;
  eq_give_u64(w, size);
  return true;
}

/* Space in the answer for a piece of something: its total size, then at most *count bytes from offset. NULL: refused.
 */
static uint8_t *give_piece(eq_agent *agent, eq_writer *w, size_t total, size_t offset, size_t *count) {
  if (offset > total) {
    eq_fail_with(&agent->failure, EQ_CODE_BAD_OFFSET, "offset past the end at ", total);
    return NULL;
  }
  eq_give_size(w, total);
  if (*count > total - offset) *count = total - offset;
  if (*count > eq_room(w)) *count = eq_room(w);
  return eq_give(w, *count);
}

static bool get_trace(eq_agent *agent, eq_reader *r, eq_writer *w) {
  char name[EQ_NAME_BYTES];
  eq_take_text(r, name, sizeof name); /* there is only one */
  const size_t offset = eq_take_size(r);
  size_t count = eq_take_le(r, 4);
  if (!eq_read_all(agent, r)) return false;
  const eq_engine *engine = agent->engine;
  const size_t size = engine->profile ? engine->profile_size(engine->context) : 0;
  if (size == 0) return eq_fail(&agent->failure, EQ_CODE_NOT_FOUND, "there is no trace: profile a net first");
  uint8_t *bytes = give_piece(agent, w, size, offset, &count);
  return bytes && engine->profile_read(engine->context, offset, bytes, count, &agent->failure);
}

bool eq_on_GET(eq_agent *agent, eq_reader *r, eq_writer *w) {
  const uint8_t source = (uint8_t)eq_take_le(r, 1);
  if (source == EQ_GET_PROFILE) return get_trace(agent, r, w);
  char name[EQ_NAME_BYTES];
  if (!eq_read_name(agent, r, name)) return false;
  const size_t offset = eq_take_size(r);
  size_t count = eq_take_le(r, 4);
  if (!eq_read_all(agent, r)) return false;
  if (source != EQ_GET_OBJECT) return eq_fail_with(&agent->failure, EQ_CODE_BAD_REQUEST, "unknown source ", source);
  const eq_store *store = agent->store;
  const eq_entry *entry = store->find(store->context, name, &agent->failure);
  uint8_t *bytes = entry ? give_piece(agent, w, entry->size, offset, &count) : NULL;
  return bytes && store->read(store->context, entry, offset, bytes, count, &agent->failure);
}
