#include "agent_internal.h"

#ifdef EQ_MICRO
bool eq_fail_at(eq_failure *failure, eq_code code, size_t number) {
  failure->code = (uint16_t)code;
  failure->number = (uint32_t)number;
  return false;
}

static void give_failure(eq_writer *w, const eq_failure *failure) {
  eq_give_le(w, failure->code, 2);
  eq_give_le(w, 0, 1); /* no text */
  eq_give_le(w, failure->number, 4);
}
#else
bool eq_fail(eq_failure *failure, eq_code code, const char *text) {
  failure->code = (uint16_t)code;
  failure->text[0] = 0;
  return eq_fail_more(failure, text);
}

bool eq_fail_more(eq_failure *failure, const char *text) {
  size_t at = 0;
  while (failure->text[at]) at++;
  while (*text && at < EQ_FAILURE_TEXT - 1) failure->text[at++] = *text++;
  failure->text[at] = 0;
  return false;
}

bool eq_fail_number(eq_failure *failure, size_t number) {
  char digits[21];
  size_t at = sizeof digits - 1;
  digits[at] = 0;
  do {
    digits[--at] = (char)('0' + number % 10);
    number /= 10;
  } while (number > 0);
  return eq_fail_more(failure, digits + at);
}

bool eq_fail_with(eq_failure *failure, eq_code code, const char *text, size_t number) {
  eq_fail(failure, code, text);
  return eq_fail_number(failure, number);
}

static void give_failure(eq_writer *w, const eq_failure *failure) {
  eq_give_le(w, failure->code, 2);
  eq_give_text(w, failure->text);
}
#endif

bool eq_read_all(eq_agent *agent, const eq_reader *r) {
  if (r->bad) return eq_fail(&agent->failure, EQ_CODE_BAD_REQUEST, "payload ends inside its layout");
  return eq_left(r) == 0 ||
         eq_fail_with(&agent->failure, EQ_CODE_BAD_REQUEST, "payload is longer than its layout by ", eq_left(r));
}

static bool name_character(char c) {
  const char letter = c | 0x20;
  return (letter >= 'a' && letter <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
}

bool eq_read_name(eq_agent *agent, eq_reader *r, char name[EQ_NAME_BYTES]) {
  const size_t length = eq_take_le(r, 1);
  const uint8_t *at = eq_take(r, length);
  bool good = at && length > 0 && length <= EQ_NAME_MAX && at[0] != '.';
  for (size_t i = 0; i < EQ_NAME_BYTES; i++) {
    name[i] = good && i < length ? (char)at[i] : 0;
    good = good && (i >= length || name_character(name[i]));
  }
  return good || eq_fail(&agent->failure, EQ_CODE_BAD_NAME,
                         "a name is 1 to 64 characters of A-Z a-z 0-9 . _ - and does not start with a dot");
}

bool eq_on_HELLO(eq_agent *agent, eq_reader *r, eq_writer *w) {
  eq_take_le(r, 2); /* the client's version: it knows what it can speak, the agent only tells its own */
  if (!eq_read_all(agent, r)) return false;
  const eq_device *d = agent->device;
  eq_give_le(w, EQ_PROTOCOL, 2);
  eq_give_le(w, agent->max_payload, 4);
  eq_give_le(w, d->nets, 2);
  eq_give_le(w, d->threads, 2);
  eq_give_size(w, d->memory_bytes);
  eq_give_size(w, agent->store->free_bytes(agent->store->context));
  for (int i = 0; i < EQ_DEVICE_TEXTS; i++) eq_give_text(w, d->texts[i]);
  unsigned targets = 0;
  while (targets < 255 && d->targets[targets]) targets++;
  eq_give_le(w, targets, 1);
  for (unsigned i = 0; i < targets; i++) eq_give_text(w, d->targets[i]);
  eq_give_size(w, d->code_bytes);
  eq_give_size(w, agent->engine->peak_bytes(agent->engine->context));
  return true;
}

bool eq_on_RESET(eq_agent *agent, eq_reader *r, eq_writer *w) {
  (void)w;
  if (!eq_read_all(agent, r)) return false;
  eq_close_put(agent, false);
  agent->engine->reset(agent->engine->context);
  return true;
}

static bool handle(eq_agent *agent, uint8_t type, eq_reader *r, eq_writer *w) {
#ifdef EQ_WITH_TUNE
  if (eq_ends_tune(type)) eq_close_tune(agent);
#endif
  switch (type) {
#define EQ_FRAME(name, number, request, answer)                                                                        \
  case (number): return eq_on_##name(agent, r, w);
#include "frames.def"
  default: return eq_fail_with(&agent->failure, EQ_CODE_UNKNOWN_TYPE, "unknown request type ", type);
  }
}

/* frame: room for EQ_FRAME_EXTRA + EQ_FAILURE_BYTES bytes; return: bytes of the frame */
static size_t seal_failure(uint8_t *frame, uint16_t seq, const eq_failure *failure) {
  eq_writer w = {frame + EQ_FRAME_HEADER, frame + EQ_FRAME_HEADER + EQ_FAILURE_BYTES, false};
  give_failure(&w, failure);
  return eq_frame_seal(frame, EQ_ERROR, seq, (uint32_t)(w.at - frame - EQ_FRAME_HEADER));
}

static void on_frame(eq_agent *agent, const eq_frame *frame) {
  const bool repeated = agent->answered > 0 && frame->type == agent->last_type && frame->seq == agent->last_seq &&
                        frame->crc == agent->last_crc;
  if (!repeated) {
    uint8_t *payload = agent->answer + EQ_FRAME_HEADER;
    eq_reader r = {frame->payload, frame->payload + frame->length, false};
    eq_writer w = {payload, payload + agent->max_payload, false};
    bool done = handle(agent, frame->type, &r, &w);
    if (done && w.full) done = eq_fail(&agent->failure, EQ_CODE_TOO_LARGE, "the answer does not fit into a frame");
    agent->answered =
        done ? eq_frame_seal(agent->answer, frame->type | EQ_ANSWER, frame->seq, (uint32_t)(w.at - payload))
             : seal_failure(agent->answer, frame->seq, &agent->failure);
    agent->last_type = frame->type;
    agent->last_seq = frame->seq;
    agent->last_crc = frame->crc;
  }
  agent->send(agent->send_context, agent->answer, agent->answered);
}

/* An error of the link does not touch the answer that a repeated request would get. */
static void on_link_error(eq_agent *agent, const eq_failure *failure) {
  uint8_t frame[EQ_FRAME_EXTRA + EQ_FAILURE_BYTES];
  agent->send(agent->send_context, frame, seal_failure(frame, 0, failure));
}

bool eq_agent_init(eq_agent *agent, const eq_store *store, const eq_engine *engine, const eq_device *device,
                   void (*send)(void *context, const uint8_t *bytes, size_t count), void *send_context,
                   uint8_t *request, uint8_t *answer, uint32_t max_payload) {
  if (max_payload < EQ_AGENT_MIN_PAYLOAD) return false;
  agent->store = store;
  agent->engine = engine;
  agent->device = device;
  agent->send = send;
  agent->send_context = send_context;
  eq_parser_init(&agent->parser, request, max_payload);
  agent->answer = answer;
  agent->max_payload = max_payload;
  agent->answered = 0;
  agent->fresh = agent->putting = false;
#ifdef EQ_WITH_TUNE
  agent->run = (eq_tune_run){0};
#endif
  return true;
}

void eq_agent_feed(eq_agent *agent, const uint8_t *bytes, size_t count) {
  while (count > 0) {
    size_t used;
    eq_frame frame;
    eq_failure failure;
    const eq_parse found = eq_parser_feed(&agent->parser, bytes, count, &used, &frame);
    if (found == EQ_PARSE_FRAME) on_frame(agent, &frame);
    if (found == EQ_PARSE_TOO_LONG)
      eq_fail_with(&failure, EQ_CODE_TOO_LONG, "payload is longer than ", agent->max_payload);
    if (found == EQ_PARSE_BAD_CRC) eq_fail(&failure, EQ_CODE_BAD_CRC, "checksum does not match");
    if (found > EQ_PARSE_FRAME) on_link_error(agent, &failure);
    bytes += used;
    count -= used;
  }
}

void eq_agent_idle(eq_agent *agent) {
  if (!eq_agent_pending(agent)) return;
  eq_parser_drop(&agent->parser);
  eq_failure failure;
  eq_fail(&failure, EQ_CODE_TRUNCATED, "the frame was not finished in time");
  on_link_error(agent, &failure);
}

void eq_agent_hangup(eq_agent *agent) {
  eq_parser_drop(&agent->parser);
#ifdef EQ_WITH_TUNE
  eq_close_tune(agent);
#endif
  eq_close_put(agent, false);
  agent->engine->reset(agent->engine->context);
  agent->answered = 0;
}
