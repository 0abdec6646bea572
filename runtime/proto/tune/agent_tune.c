/* TUNE_OPEN, TUNE_NEXT, TUNE_REPORT, TUNE_STATE, TUNE_STOP, TUNE_CLOSE. */
#include "proto/agent_net.h"

static bool need_run(eq_agent *agent) {
  return agent->run.tune || eq_fail(&agent->failure, EQ_CODE_NO_TUNE, "no run of the tuning module is open");
}

static bool refuse(eq_agent *agent, eq_tune_status status) {
  return eq_fail(&agent->failure, (eq_code)(EQ_TUNE_CODES + status), eq_tune_status_text(status));
}

static bool no_memory(eq_agent *agent, size_t bytes) {
  return eq_fail_with(&agent->failure, EQ_CODE_NO_MEMORY, "memory of the tuning module, bytes: ", bytes);
}

bool eq_ends_tune(uint8_t type) {
  switch (type) {
  case EQ_TYPE_RESET:
  case EQ_TYPE_PUT_BEGIN:
  case EQ_TYPE_ERASE:
  case EQ_TYPE_LOAD:
  case EQ_TYPE_UNLOAD:
  case EQ_TYPE_RUN:
#ifndef EQ_MICRO
  case EQ_TYPE_BENCH:
  case EQ_TYPE_EVAL:
  case EQ_TYPE_PROFILE:
#endif
    return true;
  default: return false;
  }
}

void eq_close_tune(eq_agent *agent) {
  eq_tune_run *run = &agent->run;
  if (run->tune) run->port->close(run->port->context);
  run->tune = NULL;
}

/* ---- open */
static bool is_floats(const eq_tensor *t, uint64_t count) {
  return t->dtype == EQ_DTYPE_f32 && t->bytes == count * sizeof(float);
}

static uint32_t channels_of(const eq_tune_model *m) {
  uint32_t channels = 0;
  for (uint32_t l = 0; l < m->layer_count; l++) channels += m->layers[l].channels;
  return channels;
}

/* Finds the network's inputs and outputs (edgeq/compile/tunable.py); false: it is another network. */
static bool fits(eq_tune_run *run, const eq_subject *s) {
  const eq_tune_model *m = &run->plan.model;
  const uint64_t channels = channels_of(m), head = (uint64_t)m->classes * m->hidden;
  const unsigned inputs = s->net.tensors[0], outputs = s->net.tensors[1], further = channels ? 3 : 2;
  if (inputs <= further || outputs < 2) return false;
  run->own = inputs - further;
  run->sample_bytes = 0;
  for (unsigned i = 0; i < run->own; i++) run->sample_bytes += eq_net_tensor(s, false, i).bytes;
  const uint64_t wanted[] = {head, m->classes, 2 * channels};
  for (unsigned i = 0; i < further; i++) {
    const unsigned which = channels ? (i + 2) % 3 : i; /* ac, then the head */
    const eq_tensor t = eq_net_tensor(s, false, run->own + i);
    if (!is_floats(&t, wanted[which])) return false;
  }
  uint64_t taps = 0;
  for (uint32_t i = 0; i < m->tap_count; i++) taps += m->taps[i].width;
  const uint64_t widths[EQ_TUNE_REPLIES] = {m->classes, m->hidden, taps, m->moments ? 2 * channels : 0};
  const bool lean = outputs == 2;
  unsigned at = 0;
  for (unsigned i = 0; i < EQ_TUNE_REPLIES; i++) {
    run->width[i] = 0;
    if (widths[i] == 0 || (lean && i >= 2)) continue;
    if (at == outputs || widths[i] > UINT32_MAX) return false;
    const eq_tensor t = eq_net_tensor(s, true, at);
    if (!is_floats(&t, widths[i])) return false;
    run->width[i] = (uint32_t)widths[i];
    run->outputs[i] = at++;
  }
  return at == outputs;
}

/* Rows that wait: two of everything but moments, for the two sides of a step; more where more samples go at once. */
static bool take_rows(eq_tune_run *run, size_t *other) {
  const uint32_t micro = run->plan.plan.settings.micro;
  run->most_rows = 2 * micro;
  for (unsigned i = 0; i < EQ_TUNE_REPLIES; i++) {
    run->rows[i] = NULL;
    if (run->width[i] == 0 || (micro == 1 && i == EQ_TUNE_REPLIES - 1)) continue;
    const uint64_t bytes = (uint64_t)run->most_rows * run->width[i] * sizeof(float);
    if (bytes > INT32_MAX || !(run->rows[i] = run->port->take(run->port->context, (size_t)bytes))) return false;
    *other += (size_t)bytes;
  }
  return true;
}

static bool open_run(eq_agent *agent, const eq_subject *s, const char *name, size_t *module, size_t *other) {
  eq_tune_run *run = &agent->run;
  const eq_tuner *port = run->port;
  size_t size;
  const uint8_t *bytes = port->plan(port->context, name, &size, &agent->failure);
  if (!bytes) return false;
  const size_t tables = eq_plan_layers(bytes, size) * sizeof(eq_tune_layer);
  eq_tune_layer *layers = tables ? port->take(port->context, tables) : NULL;
  if (tables && !layers) return no_memory(agent, tables);
  if (!tables || !eq_plan_read(&run->plan, layers, bytes, size))
    return eq_fail(&agent->failure, EQ_CODE_BAD_PLAN, "the plan does not follow its format");
  const eq_tune_status status = eq_tune_check(&run->plan.plan);
  if (status != EQ_TUNE_OK) return refuse(agent, status);
  if (!fits(run, s)) return eq_fail(&agent->failure, EQ_CODE_BAD_PLAN, "the plan is not of this net");
  *module = eq_tune_bytes(&run->plan.plan);
  *other = tables;
  void *memory = port->take(port->context, *module);
  if (!memory || !take_rows(run, other)) return no_memory(agent, *module);
  const eq_tune_status opened = eq_tune_open(&run->tune, &run->plan.plan, memory, *module);
  if (opened == EQ_TUNE_OK) return true;
  run->tune = NULL;
  return refuse(agent, opened);
}

bool eq_on_TUNE_OPEN(eq_agent *agent, eq_reader *r, eq_writer *w) {
  const uint16_t net = (uint16_t)eq_take_le(r, 2);
  char name[EQ_NAME_BYTES];
  eq_subject s;
  if (!eq_read_name(agent, r, name) || !eq_read_all(agent, r)) return false;
  eq_tune_run *run = &agent->run;
  if (!run->port) return eq_fail(&agent->failure, EQ_CODE_UNKNOWN_TYPE, "this device does not learn");
  eq_close_tune(agent);
  if (!eq_describe(agent, net, &s)) return false;
  run->net = net;
  run->pending = false;
  size_t module = 0, other = 0;
  if (!open_run(agent, &s, name, &module, &other)) {
    run->port->close(run->port->context);
    return false;
  }
  eq_give_size(w, module);
  eq_give_size(w, other);
  return true;
}

/* ---- one forward pass */
/* What is long goes by words: eq_copy is the small one. `from` may lie anywhere. */
static void copy_words(void *to, const void *from, size_t bytes) {
  uint8_t *p = to;
  const uint8_t *q = from;
  for (uint32_t word; bytes >= sizeof word; bytes -= sizeof word, p += sizeof word, q += sizeof word) {
    __builtin_memcpy(&word, q, sizeof word);
    __builtin_memcpy(p, &word, sizeof word);
  }
  eq_copy(p, q, bytes);
}

static void give_input(eq_agent *agent, unsigned index, const float *data) {
  const eq_tune_run *run = &agent->run;
  if (run->port->borrow(run->port->context, run->net, index, data)) return;
  eq_tensor t;
  agent->engine->tensor(agent->engine->context, run->net, false, index, &t);
  copy_words(t.data, data, t.bytes);
}

/* Runs the next row, whose sample has been written. */
static bool run_row(eq_agent *agent) {
  eq_tune_run *run = &agent->run;
  const eq_engine *engine = agent->engine;
  const eq_tune_request *q = &run->request;
  const uint32_t channels = channels_of(&run->plan.model), row = run->done;
  unsigned at = run->own;
  /* one row of ac for all, one for each half, or one for each */
  if (channels) give_input(agent, at++, q->ac + (size_t)((uint64_t)row * q->ac_rows / q->count) * 2 * channels);
  give_input(agent, at++, q->head_weight);
  give_input(agent, at, q->head_bias);
  uint64_t ticks;
  agent->fresh = false;
  if (!engine->run(engine->context, run->net, true, &ticks, &agent->failure)) return false;
  run->net_ticks += ticks;
  run->done++;
  if (q->count == 1) return true; /* read where they are */
  for (unsigned i = 0; i < EQ_TUNE_REPLIES; i++) {
    if (!(q->outputs >> i & 1)) continue;
    eq_tensor t;
    engine->tensor(engine->context, run->net, true, run->outputs[i], &t);
    copy_words(run->rows[i] + (size_t)row * run->width[i], t.data, t.bytes);
  }
  return true;
}

static bool reply(eq_agent *agent) {
  eq_tune_run *run = &agent->run;
  const float *found[EQ_TUNE_REPLIES] = {NULL};
  for (unsigned i = 0; i < EQ_TUNE_REPLIES; i++) {
    if (!(run->request.outputs >> i & 1)) continue;
    eq_tensor t;
    agent->engine->tensor(agent->engine->context, run->net, true, run->outputs[i], &t);
    found[i] = run->request.count == 1 ? (const float *)(const void *)t.data : run->rows[i];
  }
  const eq_tune_outputs outputs = {
      .count = run->request.count, .logits = found[0], .hidden = found[1], .taps = found[2], .moments = found[3]};
  run->pending = false;
  const eq_tune_status status = eq_tune_reply(run->tune, &outputs);
  return status == EQ_TUNE_OK || refuse(agent, status);
}

static bool take_samples(eq_agent *agent, const uint8_t *bytes, size_t count) {
  eq_tune_run *run = &agent->run;
  const bool written = count == 0 && agent->fresh; /* by INPUT */
  const size_t samples = written ? 1 : count / run->sample_bytes;
  if (samples == 0 || samples > run->asked || (!written && count % run->sample_bytes))
    return eq_fail_with(&agent->failure, EQ_CODE_BAD_REQUEST, "one sample of this net has bytes: ", run->sample_bytes);
  for (size_t k = 0; k < samples; k++) {
    for (unsigned i = 0; !written && i < run->own; i++) {
      eq_tensor t;
      agent->engine->tensor(agent->engine->context, run->net, false, i, &t);
      copy_words(t.data, bytes, t.bytes);
      bytes += t.bytes;
    }
    if (!run_row(agent)) return false;
  }
  return run->done < run->request.count || reply(agent);
}

/* ---- what the client says to the last wish */
static bool stored(eq_agent *agent, bool failed) {
  eq_tune_run *run = &agent->run;
  run->pending = false;
  const eq_tune_status status = eq_tune_reply_store(run->tune, failed ? EQ_TUNE_STORE_FAILED : EQ_TUNE_OK);
  return status == EQ_TUNE_OK || refuse(agent, status);
}

static bool take_answer(eq_agent *agent, uint32_t status, const uint8_t *bytes, size_t count) {
  eq_tune_run *run = &agent->run;
  const eq_tune_request *q = &run->request;
  if (q->kind == EQ_TUNE_FORWARD) return take_samples(agent, bytes, count);
  if (q->kind == EQ_TUNE_PROGRESS) run->pending = false;
  if (q->kind == EQ_TUNE_PROGRESS || q->kind == EQ_TUNE_DONE) return true;
  if (status) return stored(agent, true);
  if (q->kind == EQ_TUNE_READ) {
    if (count != run->asked)
      return eq_fail_with(&agent->failure, EQ_CODE_BAD_REQUEST, "bytes that were asked for: ", run->asked);
    eq_copy(q->into + run->done, bytes, count);
  }
  run->done += run->asked;
  return run->done < q->bytes || stored(agent, false);
}

/* ---- the next wish */
enum { WISH_BYTES = 1 + 1 + 4 + 4 + 8 + 8 };

static bool can_run(eq_agent *agent) {
  const eq_tune_run *run = &agent->run;
  const eq_tune_request *q = &run->request;
  bool fine = !q->latent && (q->count == 1 || q->count <= run->most_rows) && q->outputs >> EQ_TUNE_REPLIES == 0;
  for (unsigned i = 0; i < EQ_TUNE_REPLIES; i++)
    if (q->outputs >> i & 1) fine = fine && run->width[i] && (q->count == 1 || run->rows[i]);
  return fine || eq_fail(&agent->failure, EQ_CODE_UNSUPPORTED, "the net does not give what this method asks for");
}

static uint32_t least(size_t a, size_t b) { return (uint32_t)(a < b ? a : b); }

/* What goes with the wish, and how much of it: asked. */
static const uint8_t *want(eq_agent *agent, size_t room, uint8_t *kind) {
  eq_tune_run *run = &agent->run;
  const eq_tune_request *q = &run->request;
  run->asked = 0;
  switch (q->kind) {
  case EQ_TUNE_FORWARD: {
    *kind = EQ_TUNE_SAMPLE;
    size_t fit = (agent->max_payload - 1) / run->sample_bytes;
    if (fit > room / 4) fit = room / 4;
    run->asked = least(q->count - run->done, fit ? fit : 1);
    return (const uint8_t *)(q->samples + run->done);
  }
  case EQ_TUNE_READ:
    *kind = EQ_TUNE_READ_BYTES;
    run->asked = least(q->bytes - run->done, agent->max_payload - 1);
    return NULL;
  case EQ_TUNE_WRITE:
    *kind = EQ_TUNE_WRITE_BYTES;
    run->asked = least(q->bytes - run->done, room);
    return q->from + run->done;
  case EQ_TUNE_ERASE: *kind = EQ_TUNE_ERASE_AREA; return NULL;
  case EQ_TUNE_FLUSH: *kind = EQ_TUNE_FLUSH_AREA; return NULL;
  case EQ_TUNE_PROGRESS: *kind = EQ_TUNE_SHOW; return NULL;
  case EQ_TUNE_DONE: break;
  }
  *kind = EQ_TUNE_END;
  return NULL;
}

bool eq_on_TUNE_NEXT(eq_agent *agent, eq_reader *r, eq_writer *w) {
  const uint32_t status = eq_take_le(r, 1);
  size_t count;
  const uint8_t *bytes = eq_take_rest(r, &count);
  if (!eq_read_all(agent, r) || !need_run(agent)) return false;
  eq_tune_run *run = &agent->run;
  const uint64_t begin = run->port->ticks(run->port->context);
  run->net_ticks = 0;
  if (run->pending && !take_answer(agent, status, bytes, count)) return false;
  if (!run->pending) {
    const eq_tune_status found = eq_tune_next(run->tune, &run->request);
    if (found != EQ_TUNE_OK) return refuse(agent, found);
    run->pending = true;
    run->done = 0;
    if (run->request.kind == EQ_TUNE_FORWARD && !can_run(agent)) return false;
  }
  const uint64_t ticks = run->port->ticks(run->port->context) - begin;
  uint8_t kind;
  const uint8_t *more = want(agent, eq_room(w) - WISH_BYTES, &kind);
  const bool done = run->request.kind == EQ_TUNE_DONE;
  eq_give_le(w, kind, 1);
  eq_give_le(w, done ? (uint32_t)run->request.outcome : (uint32_t)run->request.area, 1);
  eq_give_le(w, run->request.offset + run->done, 4);
  eq_give_le(w, done ? (uint32_t)run->request.status : run->asked, 4);
  eq_give_u64(w, run->net_ticks);
  eq_give_u64(w, ticks > run->net_ticks ? ticks - run->net_ticks : 0);
  if (more) eq_give_bytes(w, more, kind == EQ_TUNE_SAMPLE ? (size_t)run->asked * 4 : run->asked);
  return true;
}

/* ---- what is known */
static void give_float(eq_writer *w, float value) {
  uint32_t bits;
  __builtin_memcpy(&bits, &value, sizeof bits);
  eq_give_le(w, bits, 4);
}

bool eq_on_TUNE_REPORT(eq_agent *agent, eq_reader *r, eq_writer *w) {
  if (!eq_read_all(agent, r) || !need_run(agent)) return false;
  eq_tune_report_t report;
  eq_tune_report(agent->run.tune, &report);
  const uint32_t bytes[] = {report.stage, report.outcome, report.status, report.leave_one_out};
  const uint32_t words[] = {report.step,          report.steps,         report.restores,
                            report.dropped_steps, report.rate_halvings, report.step_samples};
  for (unsigned i = 0; i < sizeof bytes / sizeof bytes[0]; i++) eq_give_le(w, bytes[i], 1);
  for (unsigned i = 0; i < sizeof words / sizeof words[0]; i++) eq_give_le(w, words[i], 4);
  eq_give_u64(w, report.forwards);
  const eq_tune_score *scores[] = {&report.base, &report.stats, &report.now, &report.best};
  for (unsigned i = 0; i < sizeof scores / sizeof scores[0]; i++) {
    give_float(w, scores[i]->loss);
    give_float(w, scores[i]->metric);
    eq_give_le(w, scores[i]->samples, 4);
  }
  give_float(w, report.base_weight);
  give_float(w, report.ridge);
  give_float(w, report.temperature);
  return true;
}

bool eq_on_TUNE_STATE(eq_agent *agent, eq_reader *r, eq_writer *w) {
  if (!eq_read_all(agent, r) || !need_run(agent)) return false;
  uint8_t digest[EQ_SHA256_BYTES];
  eq_tune_state_hash(agent->run.tune, digest);
  eq_give_bytes(w, digest, sizeof digest);
  return true;
}

bool eq_on_TUNE_STOP(eq_agent *agent, eq_reader *r, eq_writer *w) {
  (void)w;
  if (!eq_read_all(agent, r) || !need_run(agent)) return false;
  eq_tune_stop(agent->run.tune);
  return true;
}

bool eq_on_TUNE_CLOSE(eq_agent *agent, eq_reader *r, eq_writer *w) {
  (void)w;
  if (!eq_read_all(agent, r)) return false;
  eq_close_tune(agent);
  return true;
}
