/* LOAD, UNLOAD, INPUT, RUN, OUTPUT. */
#include "agent_net.h"

bool eq_net_tensor(const eq_subject *s, bool output, uint16_t index, eq_tensor *out) {
  eq_agent *agent = s->agent;
  return agent->engine->tensor(agent->engine->context, s->number, output, index, out, &agent->failure);
}

static uint16_t tensors(const eq_subject *s, bool output) { return output ? s->net.outputs : s->net.inputs; }

static bool sum_bytes(const eq_subject *s, bool output, size_t *bytes) {
  *bytes = 0;
  for (uint16_t i = 0; i < tensors(s, output); i++) {
    eq_tensor t;
    if (!eq_net_tensor(s, output, i, &t)) return false;
    *bytes += t.bytes;
  }
  return true;
}

bool eq_describe(eq_agent *agent, uint16_t number, eq_subject *s) {
  s->agent = agent;
  s->number = number;
  return agent->engine->describe(agent->engine->context, number, &s->net, &agent->failure) &&
         sum_bytes(s, false, &s->in_bytes) && sum_bytes(s, true, &s->out_bytes);
}

static bool give_tensors(const eq_subject *s, bool output, eq_writer *w) {
  const uint16_t count = tensors(s, output);
  eq_give_le(w, count, 1);
  for (uint16_t i = 0; i < count; i++) {
    eq_tensor t;
    if (!eq_net_tensor(s, output, i, &t)) return false;
    eq_give_le(w, t.dtype, 1);
    eq_give_le(w, t.rank, 1);
    for (uint8_t d = 0; d < t.rank; d++) eq_give_le(w, t.shape[d], 4);
  }
  return true;
}

static bool give_description(const eq_subject *s, eq_writer *w) {
  eq_give_le(w, s->number, 2);
  eq_give_u64(w, s->net.load_ticks);
  eq_give_u64(w, s->net.planned_bytes);
  eq_give_u64(w, s->net.program_bytes);
  eq_give_u64(w, s->net.before_bytes);
  return give_tensors(s, false, w) && give_tensors(s, true, w);
}

bool eq_on_LOAD(eq_agent *agent, eq_reader *r, eq_writer *w) {
  char name[EQ_NAME_MAX + 1], method[EQ_NAME_MAX + 1];
  if (!eq_read_name(agent, r, name) || !eq_read_name(agent, r, method) || !eq_read_all(agent, r)) return false;
  uint16_t number;
  const eq_engine *engine = agent->engine;
  if (!engine->load(engine->context, name, method, &number, &agent->failure)) return false;
  eq_subject s;
  const bool good = eq_describe(agent, number, &s) && give_description(&s, w);
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

/* Does [offset, offset + count) lie in a tensor of this net? */
static bool inside(eq_agent *agent, uint16_t net, bool output, uint16_t index, size_t offset, size_t count) {
  eq_subject s;
  if (!eq_describe(agent, net, &s)) return false;
  if (index >= tensors(&s, output))
    return eq_fail_at(agent, EQ_CODE_BAD_REQUEST, EQ_TEXT("tensors of this net: "), tensors(&s, output));
  eq_tensor t;
  if (!eq_net_tensor(&s, output, index, &t)) return false;
  return (offset <= t.bytes && count <= t.bytes - offset) ||
         eq_fail_at(agent, EQ_CODE_BAD_OFFSET, EQ_TEXT("past the end of the tensor, which has bytes: "), t.bytes);
}

bool eq_on_INPUT(eq_agent *agent, eq_reader *r, eq_writer *w) {
  (void)w;
  const uint16_t net = (uint16_t)eq_take_le(r, 2), index = (uint16_t)eq_take_le(r, 2);
  const size_t offset = eq_take_size(r);
  size_t count;
  const uint8_t *bytes = eq_take_rest(r, &count);
  return eq_read_all(agent, r) && inside(agent, net, false, index, offset, count) &&
         agent->engine->input(agent->engine->context, net, index, offset, bytes, count, &agent->failure);
}

bool eq_on_OUTPUT(eq_agent *agent, eq_reader *r, eq_writer *w) {
  const uint16_t net = (uint16_t)eq_take_le(r, 2), index = (uint16_t)eq_take_le(r, 2);
  const size_t offset = eq_take_size(r), count = eq_take_le(r, 4);
  if (!eq_read_all(agent, r) || !inside(agent, net, true, index, offset, count)) return false;
  uint8_t *bytes = eq_give(w, count);
  return !bytes || agent->engine->output(agent->engine->context, net, index, offset, bytes, count, &agent->failure);
}

bool eq_execute(const eq_subject *s, eq_writer *w) {
  uint64_t ticks;
  const eq_engine *engine = s->agent->engine;
  if (!engine->run(engine->context, s->number, &ticks, &s->agent->failure)) return false;
  if (w) eq_give_u64(w, ticks);
  return true;
}

bool eq_write_inputs(const eq_subject *s, const uint8_t *bytes) {
  const eq_engine *engine = s->agent->engine;
  for (uint16_t i = 0; i < s->net.inputs; i++) {
    eq_tensor t;
    if (!eq_net_tensor(s, false, i, &t) ||
        !engine->input(engine->context, s->number, i, 0, bytes, t.bytes, &s->agent->failure))
      return false;
    bytes += t.bytes;
  }
  return true;
}

bool eq_give_outputs(const eq_subject *s, eq_writer *w) {
  const eq_engine *engine = s->agent->engine;
  for (uint16_t i = 0; i < s->net.outputs; i++) {
    eq_tensor t;
    if (!eq_net_tensor(s, true, i, &t)) return false;
    uint8_t *bytes = eq_give(w, t.bytes);
    if (!bytes) return true; /* told as TOO_LARGE */
    if (!engine->output(engine->context, s->number, i, 0, bytes, t.bytes, &s->agent->failure)) return false;
  }
  return true;
}

bool eq_fail_inputs(const eq_subject *s) {
  return eq_fail_at(s->agent, EQ_CODE_BAD_REQUEST, EQ_TEXT("one sample of this net has bytes: "), s->in_bytes);
}

bool eq_on_RUN(eq_agent *agent, eq_reader *r, eq_writer *w) {
  const uint16_t net = (uint16_t)eq_take_le(r, 2);
  size_t count;
  const uint8_t *bytes = eq_take_rest(r, &count);
  eq_subject s;
  if (!eq_read_all(agent, r) || !eq_describe(agent, net, &s)) return false;
  if (count > 0 && count != s.in_bytes) return eq_fail_inputs(&s);
  if ((count > 0 && !eq_write_inputs(&s, bytes)) || !eq_execute(&s, w)) return false;
  return s.out_bytes > eq_room(w) || eq_give_outputs(&s, w);
}
