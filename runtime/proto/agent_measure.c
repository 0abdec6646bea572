/* BENCH, EVAL, PROFILE: what a client can do without, one RUN after the other. */
#include "agent_net.h"

bool eq_on_BENCH(eq_agent *agent, eq_reader *r, eq_writer *w) {
  const uint16_t net = (uint16_t)eq_take_le(r, 2);
  uint32_t warmup = eq_take_le(r, 4), runs = eq_take_le(r, 4);
  eq_subject s;
  if (!eq_read_all(agent, r) || !eq_describe(agent, net, &s)) return false;
  uint8_t *peak = eq_give(w, 8);
  if (runs > eq_room(w) / 8)
    return eq_fail_at(agent, EQ_CODE_TOO_LARGE, EQ_TEXT("runs in one request are at most "), eq_room(w) / 8);
  for (; warmup > 0; warmup--)
    if (!eq_execute(&s, NULL)) return false;
  for (; runs > 0; runs--)
    if (!eq_execute(&s, w)) return false;
  eq_store_le(peak, agent->engine->peak_bytes(agent->engine->context), 8);
  return true;
}

/* Index of the greatest element of the first output, read through a small window. NaN is never greater. */
static bool give_argmax(const eq_subject *s, size_t bytes, eq_writer *w) {
  union {
    float f[32];
    uint8_t b[128];
  } window;
  float best = 0;
  bool found = false;
  size_t index = 0;
  const eq_engine *engine = s->agent->engine;
  for (size_t at = 0; at < bytes; at += sizeof window) {
    const size_t left = bytes - at, count = left < sizeof window ? left : sizeof window;
    if (!engine->output(engine->context, s->number, 0, at, window.b, count, &s->agent->failure)) return false;
    for (size_t i = 0; i < count / 4; i++) {
      const float v = window.f[i];
      if (v == v && (!found || v > best)) {
        best = v;
        found = true;
        index = at / 4 + i;
      }
    }
  }
  eq_give_le(w, (uint32_t)index, 4);
  return true;
}

bool eq_on_EVAL(eq_agent *agent, eq_reader *r, eq_writer *w) {
  const uint16_t net = (uint16_t)eq_take_le(r, 2);
  const uint8_t mode = (uint8_t)eq_take_le(r, 1);
  uint32_t samples = eq_take_le(r, 2);
  size_t count;
  const uint8_t *bytes = eq_take_rest(r, &count);
  eq_subject s;
  eq_tensor first = {0};
  if (!eq_read_all(agent, r) || !eq_describe(agent, net, &s)) return false;
  size_t each = s.out_bytes;
  if (mode == EQ_EVAL_ARGMAX) {
    if (s.net.outputs > 0 && !eq_net_tensor(&s, true, 0, &first)) return false;
    if (first.dtype != EQ_DTYPE_f32)
      return eq_fail(&agent->failure, EQ_CODE_UNSUPPORTED, EQ_TEXT("the first output is not f32: ask for the outputs"));
    each = 4;
  } else if (mode != EQ_EVAL_OUTPUTS) {
    return eq_fail_at(agent, EQ_CODE_BAD_REQUEST, EQ_TEXT("unknown mode "), mode);
  }
  if (samples == 0 ? count > 0 : count % samples != 0 || count / samples != s.in_bytes) return eq_fail_inputs(&s);
  if (samples > eq_room(w) / (8 + each))
    return eq_fail_at(agent, EQ_CODE_TOO_LARGE, EQ_TEXT("samples in one request are at most "),
                      eq_room(w) / (8 + each));
  for (; samples > 0; samples--, bytes += s.in_bytes) {
    if (!eq_write_inputs(&s, bytes) || !eq_execute(&s, w)) return false;
    if (!(mode == EQ_EVAL_ARGMAX ? give_argmax(&s, first.bytes, w) : eq_give_outputs(&s, w))) return false;
  }
  return true;
}

bool eq_on_PROFILE(eq_agent *agent, eq_reader *r, eq_writer *w) {
  const uint16_t net = (uint16_t)eq_take_le(r, 2);
  const uint32_t runs = eq_take_le(r, 4);
  if (!eq_read_all(agent, r)) return false;
  if (!agent->engine->profile)
    return eq_fail(&agent->failure, EQ_CODE_UNSUPPORTED, EQ_TEXT("this device has no tracer"));
  size_t size;
  if (!agent->engine->profile(agent->engine->context, net, runs, &size, &agent->failure)) return false;
  eq_give_u64(w, size);
  return true;
}

bool eq_get_trace(eq_agent *agent, eq_reader *r, eq_writer *w) {
  char name[EQ_NAME_MAX + 1];
  eq_take_text(r, name, sizeof name); /* there is only one */
  const size_t offset = eq_take_size(r);
  size_t count = eq_take_le(r, 4);
  if (!eq_read_all(agent, r)) return false;
  const eq_engine *engine = agent->engine;
  const size_t size = engine->profile ? engine->profile_size(engine->context) : 0;
  if (size == 0) return eq_fail(&agent->failure, EQ_CODE_NOT_FOUND, EQ_TEXT("there is no trace: profile a net first"));
  uint8_t *bytes = eq_give_piece(agent, w, size, offset, &count);
  return bytes && engine->profile_read(engine->context, offset, bytes, count, &agent->failure);
}
