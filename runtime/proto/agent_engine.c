/* LOAD, UNLOAD, INPUT, RUN, OUTPUT, BENCH, EVAL, PROFILE. */
#include "agent_internal.h"

static bool describe(eq_agent *agent, uint16_t net, eq_net *out) {
  return agent->engine->describe(agent->engine->context, net, out, &agent->failure);
}

static bool tensor(eq_agent *agent, uint16_t net, bool output, uint16_t index, eq_tensor *out) {
  return agent->engine->tensor(agent->engine->context, net, output, index, out, &agent->failure);
}

/* Bytes of all inputs, or of all outputs. */
static bool sum_bytes(eq_agent *agent, uint16_t net, bool output, uint64_t *bytes) {
  eq_net n;
  if (!describe(agent, net, &n)) return false;
  *bytes = 0;
  for (uint16_t i = 0; i < (output ? n.outputs : n.inputs); i++) {
    eq_tensor t;
    if (!tensor(agent, net, output, i, &t)) return false;
    *bytes += t.bytes;
  }
  return true;
}

static void give_tensors(eq_agent *agent, uint16_t net, bool output, uint16_t count, eq_writer *w, bool *good) {
  eq_give_le(w, count, 1);
  for (uint16_t i = 0; *good && i < count; i++) {
    eq_tensor t;
    *good = tensor(agent, net, output, i, &t);
    if (!*good) return;
    eq_give_le(w, t.dtype, 1);
    eq_give_le(w, t.rank, 1);
    for (uint8_t d = 0; d < t.rank; d++) eq_give_le(w, t.shape[d], 4);
  }
}

bool eq_on_LOAD(eq_agent *agent, eq_reader *r, eq_writer *w) {
  char name[EQ_NAME_MAX + 1], method[EQ_NAME_MAX + 1];
  if (!eq_read_name(agent, r, name) || !eq_read_name(agent, r, method) || !eq_read_all(agent, r)) return false;
  uint16_t net;
  if (!agent->engine->load(agent->engine->context, name, method, &net, &agent->failure)) return false;
  eq_net n;
  bool good = describe(agent, net, &n);
  if (good) {
    eq_give_le(w, net, 2);
    eq_give_le(w, n.load_ticks, 8);
    eq_give_le(w, n.planned_bytes, 8);
    eq_give_le(w, n.program_bytes, 8);
    eq_give_le(w, n.before_bytes, 8);
    give_tensors(agent, net, false, n.inputs, w, &good);
    if (good) give_tensors(agent, net, true, n.outputs, w, &good);
  }
  if (!good || w->full) {
    eq_failure ignored;
    agent->engine->unload(agent->engine->context, net, &ignored);
  }
  return good;
}

bool eq_on_UNLOAD(eq_agent *agent, eq_reader *r, eq_writer *w) {
  (void)w;
  const uint16_t net = (uint16_t)eq_take_le(r, 2);
  return eq_read_all(agent, r) && agent->engine->unload(agent->engine->context, net, &agent->failure);
}

/* The described tensor, and whether [offset, offset + count) lies in it. */
static bool find_tensor(eq_agent *agent, uint16_t net, bool output, uint16_t index, uint64_t offset, uint64_t count) {
  eq_net n;
  if (!describe(agent, net, &n)) return false;
  const uint16_t tensors = output ? n.outputs : n.inputs;
  if (index >= tensors) {
    eq_fail(&agent->failure, EQ_CODE_BAD_REQUEST, output ? "outputs of this net: " : "inputs of this net: ");
    return eq_fail_number(&agent->failure, tensors);
  }
  eq_tensor t;
  if (!tensor(agent, net, output, index, &t)) return false;
  if (offset <= t.bytes && count <= t.bytes - offset) return true;
  eq_fail(&agent->failure, EQ_CODE_BAD_OFFSET, "past the end of the tensor, which has bytes: ");
  return eq_fail_number(&agent->failure, t.bytes);
}

bool eq_on_INPUT(eq_agent *agent, eq_reader *r, eq_writer *w) {
  (void)w;
  const uint16_t net = (uint16_t)eq_take_le(r, 2), index = (uint16_t)eq_take_le(r, 2);
  const uint64_t offset = eq_take_le(r, 8);
  const size_t count = r->bad ? 0 : eq_left(r);
  const uint8_t *bytes = eq_take(r, count);
  return eq_read_all(agent, r) && find_tensor(agent, net, false, index, offset, count) &&
         agent->engine->input(agent->engine->context, net, index, offset, bytes, count, &agent->failure);
}

bool eq_on_OUTPUT(eq_agent *agent, eq_reader *r, eq_writer *w) {
  const uint16_t net = (uint16_t)eq_take_le(r, 2), index = (uint16_t)eq_take_le(r, 2);
  const uint64_t offset = eq_take_le(r, 8);
  const size_t count = (size_t)eq_take_le(r, 4);
  if (!eq_read_all(agent, r) || !find_tensor(agent, net, true, index, offset, count)) return false;
  uint8_t *bytes = eq_give(w, count);
  return !bytes || agent->engine->output(agent->engine->context, net, index, offset, bytes, count, &agent->failure);
}

/* All inputs, one after the other. bytes: as many as sum_bytes() says. */
static bool write_inputs(eq_agent *agent, uint16_t net, const uint8_t *bytes) {
  eq_net n;
  if (!describe(agent, net, &n)) return false;
  for (uint16_t i = 0; i < n.inputs; i++) {
    eq_tensor t;
    if (!tensor(agent, net, false, i, &t) ||
        !agent->engine->input(agent->engine->context, net, i, 0, bytes, (size_t)t.bytes, &agent->failure))
      return false;
    bytes += t.bytes;
  }
  return true;
}

static bool give_outputs(eq_agent *agent, uint16_t net, eq_writer *w) {
  eq_net n;
  if (!describe(agent, net, &n)) return false;
  for (uint16_t i = 0; i < n.outputs; i++) {
    eq_tensor t;
    if (!tensor(agent, net, true, i, &t)) return false;
    uint8_t *bytes = eq_give(w, (size_t)t.bytes);
    if (!bytes) return true; /* told as TOO_LARGE */
    if (!agent->engine->output(agent->engine->context, net, i, 0, bytes, (size_t)t.bytes, &agent->failure))
      return false;
  }
  return true;
}

bool eq_on_RUN(eq_agent *agent, eq_reader *r, eq_writer *w) {
  const uint16_t net = (uint16_t)eq_take_le(r, 2);
  const size_t count = r->bad ? 0 : eq_left(r);
  const uint8_t *bytes = eq_take(r, count);
  uint64_t inputs, outputs, ticks;
  if (!eq_read_all(agent, r) || !sum_bytes(agent, net, false, &inputs) || !sum_bytes(agent, net, true, &outputs))
    return false;
  if (count > 0 && count != inputs) {
    eq_fail(&agent->failure, EQ_CODE_BAD_REQUEST, "the inputs of this net have bytes: ");
    return eq_fail_number(&agent->failure, inputs);
  }
  if (count > 0 && !write_inputs(agent, net, bytes)) return false;
  if (!agent->engine->run(agent->engine->context, net, &ticks, &agent->failure)) return false;
  eq_give_le(w, ticks, 8);
  return outputs > eq_room(w) || give_outputs(agent, net, w);
}

bool eq_on_BENCH(eq_agent *agent, eq_reader *r, eq_writer *w) {
  const uint16_t net = (uint16_t)eq_take_le(r, 2);
  const uint32_t warmup = (uint32_t)eq_take_le(r, 4), runs = (uint32_t)eq_take_le(r, 4);
  if (!eq_read_all(agent, r)) return false;
  uint8_t *peak = eq_give(w, 8);
  if (runs > eq_room(w) / 8) {
    eq_fail(&agent->failure, EQ_CODE_TOO_LARGE, "runs in one request are at most ");
    return eq_fail_number(&agent->failure, eq_room(w) / 8);
  }
  uint64_t ticks;
  for (uint32_t i = 0; i < warmup; i++)
    if (!agent->engine->run(agent->engine->context, net, &ticks, &agent->failure)) return false;
  for (uint32_t i = 0; i < runs; i++) {
    if (!agent->engine->run(agent->engine->context, net, &ticks, &agent->failure)) return false;
    eq_give_le(w, ticks, 8);
  }
  eq_store_le(peak, agent->engine->peak_bytes(agent->engine->context), 8);
  return true;
}

/* Index of the greatest element of the first output, read through a small window. NaN is never greater. */
static bool argmax(eq_agent *agent, uint16_t net, uint64_t bytes, uint32_t *index) {
  union {
    float f[32];
    uint8_t b[128];
  } window;
  float best = 0;
  bool found = false;
  *index = 0;
  for (uint64_t at = 0; at < bytes;) {
    const uint64_t left = bytes - at;
    const size_t count = left < sizeof window ? (size_t)left : sizeof window;
    if (!agent->engine->output(agent->engine->context, net, 0, at, window.b, count, &agent->failure)) return false;
    for (size_t i = 0; i < count / 4; i++) {
      const float v = window.f[i];
      if (v == v && (!found || v > best)) {
        best = v;
        found = true;
        *index = (uint32_t)(at / 4 + i);
      }
    }
    at += count;
  }
  return true;
}

bool eq_on_EVAL(eq_agent *agent, eq_reader *r, eq_writer *w) {
  const uint16_t net = (uint16_t)eq_take_le(r, 2);
  const uint8_t mode = (uint8_t)eq_take_le(r, 1);
  const uint16_t samples = (uint16_t)eq_take_le(r, 2);
  const size_t count = r->bad ? 0 : eq_left(r);
  const uint8_t *bytes = eq_take(r, count);
  uint64_t inputs, outputs, ticks;
  eq_tensor first = {0};
  if (!eq_read_all(agent, r) || !sum_bytes(agent, net, false, &inputs) || !sum_bytes(agent, net, true, &outputs))
    return false;
  if (mode == EQ_EVAL_ARGMAX) {
    if (!find_tensor(agent, net, true, 0, 0, 0) || !tensor(agent, net, true, 0, &first)) return false;
    if (first.dtype != EQ_DTYPE_f32)
      return eq_fail(&agent->failure, EQ_CODE_UNSUPPORTED, "the first output is not f32: ask for the outputs");
    outputs = 4;
  } else if (mode != EQ_EVAL_OUTPUTS) {
    eq_fail(&agent->failure, EQ_CODE_BAD_REQUEST, "unknown mode ");
    return eq_fail_number(&agent->failure, mode);
  }
  if (samples == 0 ? count > 0 : count % samples != 0 || count / samples != inputs) {
    eq_fail(&agent->failure, EQ_CODE_BAD_REQUEST, "one sample of this net has bytes: ");
    return eq_fail_number(&agent->failure, inputs);
  }
  if (samples > eq_room(w) / (8 + outputs)) {
    eq_fail(&agent->failure, EQ_CODE_TOO_LARGE, "samples in one request are at most ");
    return eq_fail_number(&agent->failure, eq_room(w) / (8 + outputs));
  }
  for (uint16_t i = 0; i < samples; i++) {
    if (!write_inputs(agent, net, bytes + i * (size_t)inputs) ||
        !agent->engine->run(agent->engine->context, net, &ticks, &agent->failure))
      return false;
    eq_give_le(w, ticks, 8);
    uint32_t index = 0;
    if (mode == EQ_EVAL_ARGMAX) {
      if (!argmax(agent, net, first.bytes, &index)) return false;
      eq_give_le(w, index, 4);
    } else if (!give_outputs(agent, net, w)) {
      return false;
    }
  }
  return true;
}

bool eq_on_PROFILE(eq_agent *agent, eq_reader *r, eq_writer *w) {
  const uint16_t net = (uint16_t)eq_take_le(r, 2);
  const uint32_t runs = (uint32_t)eq_take_le(r, 4);
  if (!eq_read_all(agent, r)) return false;
  if (!agent->engine->profile) return eq_fail(&agent->failure, EQ_CODE_UNSUPPORTED, "this device has no tracer");
  uint64_t size;
  if (!agent->engine->profile(agent->engine->context, net, runs, &size, &agent->failure)) return false;
  eq_give_le(w, size, 8);
  return true;
}
