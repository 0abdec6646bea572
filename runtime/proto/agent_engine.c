/* LOAD, UNLOAD, INPUT, RUN, OUTPUT. */
#include "agent_net.h"

eq_tensor eq_net_tensor(const eq_subject *s, bool output, unsigned index) {
  const eq_engine *engine = s->agent->engine;
  eq_tensor t;
  engine->tensor(engine->context, s->number, output, index, &t);
  return t;
}

bool eq_describe(eq_agent *agent, uint16_t number, eq_subject *s) {
  s->agent = agent;
  s->number = number;
  if (!agent->engine->describe(agent->engine->context, number, &s->net, &agent->failure)) return false;
  for (int output = 0; output < 2; output++) {
    s->bytes[output] = 0;
    for (unsigned i = 0; i < s->net.tensors[output]; i++) s->bytes[output] += eq_net_tensor(s, output, i).bytes;
  }
  return true;
}

static void give_tensors(const eq_subject *s, bool output, eq_writer *w) {
  const unsigned count = s->net.tensors[output];
  eq_give_le(w, count, 1);
  for (unsigned i = 0; i < count; i++) {
    const eq_tensor t = eq_net_tensor(s, output, i);
    eq_give_le(w, t.dtype, 1);
    eq_give_le(w, t.rank, 1);
    for (unsigned d = 0; d < t.rank; d++) eq_give_le(w, t.shape[d], 4);
  }
}

static void give_description(const eq_subject *s, eq_writer *w) {
  eq_give_le(w, s->number, 2);
  eq_give_u64(w, s->net.load_ticks);
  eq_give_size(w, s->net.planned_bytes);
  eq_give_size(w, s->net.program_bytes);
  eq_give_size(w, s->net.before_bytes);
  give_tensors(s, false, w);
  give_tensors(s, true, w);
}

bool eq_on_LOAD(eq_agent *agent, eq_reader *r, eq_writer *w) {
  char name[EQ_NAME_BYTES], method[EQ_NAME_BYTES];
  if (!eq_read_name(agent, r, name) || !eq_read_name(agent, r, method) || !eq_read_all(agent, r)) return false;
  uint16_t number;
  const eq_engine *engine = agent->engine;
  agent->fresh = false;
  if (!engine->load(engine->context, name, method, &number, &agent->failure)) return false;
  eq_subject s;
  const bool good = eq_describe(agent, number, &s);
  if (good) give_description(&s, w);
  if (!good || w->full) {
    eq_failure ignored;
    engine->unload(engine->context, number, &ignored);
  }
  return good;
}

bool eq_on_UNLOAD(eq_agent *agent, eq_reader *r, eq_writer *w) {
  (void)w;
  const uint16_t net = (uint16_t)eq_take_le(r, 2);
  return eq_read_all(agent, r) && agent->engine->unload(agent->engine->context, net, &agent->failure);
}

/* Where [offset, offset + count) of a tensor lies; NULL: refused. */
static uint8_t *piece(eq_agent *agent, uint16_t net, bool output, unsigned index, size_t offset, size_t count) {
  eq_subject s;
  if (!eq_describe(agent, net, &s)) return NULL;
#ifdef EQ_WITH_TUNE
  if (agent->run.tune && !output && index >= agent->run.own) index = UINT16_MAX; /* the module's */
#endif
  if (index >= s.net.tensors[output]) {
    eq_fail_with(&agent->failure, EQ_CODE_BAD_REQUEST, "tensors of this net: ", s.net.tensors[output]);
    return NULL;
  }
  const eq_tensor t = eq_net_tensor(&s, output, index);
  if (offset > t.bytes || count > t.bytes - offset)
    eq_fail_with(&agent->failure, EQ_CODE_BAD_OFFSET, "past the end of the tensor, which has bytes: ", t.bytes);
  else if (!t.data)
    eq_fail(&agent->failure, EQ_CODE_BAD_REQUEST, "the net has not run yet: there are no outputs");
  else
    return t.data + offset;
  return NULL;
}

bool eq_on_INPUT(eq_agent *agent, eq_reader *r, eq_writer *w) {
  (void)w;
  const uint16_t net = (uint16_t)eq_take_le(r, 2), index = (uint16_t)eq_take_le(r, 2);
  const size_t offset = eq_take_size(r);
  size_t count;
  const uint8_t *bytes = eq_take_rest(r, &count);
  uint8_t *to = eq_read_all(agent, r) ? piece(agent, net, false, index, offset, count) : NULL;
  if (!to) return false;
  eq_copy(to, bytes, count);
  agent->fresh = true;
  return true;
}

bool eq_on_OUTPUT(eq_agent *agent, eq_reader *r, eq_writer *w) {
  const uint16_t net = (uint16_t)eq_take_le(r, 2), index = (uint16_t)eq_take_le(r, 2);
  const size_t offset = eq_take_size(r), count = eq_take_le(r, 4);
  const uint8_t *from = eq_read_all(agent, r) ? piece(agent, net, true, index, offset, count) : NULL;
  if (from) eq_give_bytes(w, from, count);
  return from;
}

bool eq_execute(const eq_subject *s, eq_writer *w) {
  uint64_t ticks;
  eq_agent *agent = s->agent;
  const bool fresh = agent->fresh;
  agent->fresh = false;
  if (!agent->engine->run(agent->engine->context, s->number, fresh, &ticks, &agent->failure)) return false;
  if (w) eq_give_u64(w, ticks);
  return true;
}

void eq_write_inputs(const eq_subject *s, const uint8_t *bytes) {
  for (unsigned i = 0; i < s->net.tensors[0]; i++) {
    const eq_tensor t = eq_net_tensor(s, false, i);
    eq_copy(t.data, bytes, t.bytes);
    bytes += t.bytes;
  }
  s->agent->fresh = true;
}

void eq_give_outputs(const eq_subject *s, eq_writer *w) {
  for (unsigned i = 0; i < s->net.tensors[1]; i++) {
    const eq_tensor t = eq_net_tensor(s, true, i);
    eq_give_bytes(w, t.data, t.bytes);
  }
}

bool eq_fail_inputs(const eq_subject *s) {
  return eq_fail_with(&s->agent->failure, EQ_CODE_BAD_REQUEST, "one sample of this net has bytes: ", s->bytes[0]);
}

bool eq_on_RUN(eq_agent *agent, eq_reader *r, eq_writer *w) {
  const uint16_t net = (uint16_t)eq_take_le(r, 2);
  size_t count;
  const uint8_t *bytes = eq_take_rest(r, &count);
  eq_subject s;
  if (!eq_read_all(agent, r) || !eq_describe(agent, net, &s)) return false;
  if (count > 0 && count != s.bytes[0]) return eq_fail_inputs(&s);
  if (count > 0) eq_write_inputs(&s, bytes);
  if (!eq_execute(&s, w)) return false;
  if (s.bytes[1] <= eq_room(w)) eq_give_outputs(&s, w);
  return true;
}
