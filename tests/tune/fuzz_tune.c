/* Hostile plans, frames and storage against the agent that learns: fuzz_tune [runs] [seed]. Built with sanitizers and
 * EQ_WITH_TUNE (make fuzz-proto). A run opens a plan, half of the time damaged, and answers its wishes, mostly as it
 * should. What the agent sends has to be one sound frame for each request; everything else is the sanitizers'. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/agent.h"
#include "proto/wire.h"

#define REQUIRE(x)                                                                                                     \
  do {                                                                                                                 \
    if (!(x)) {                                                                                                        \
      fprintf(stderr, "%s:%d: %s does not hold (run %lu)\n", __FILE__, __LINE__, #x, run_number);                      \
      abort();                                                                                                         \
    }                                                                                                                  \
  } while (0)

enum {
  LAYERS = 2,
  WIDTH = 3,
  CHANNELS = LAYERS * WIDTH,
  CLASSES = 3,
  HIDDEN = 3,
  TAPS = CHANNELS,
  X = 4,
  SAMPLES = 40
};
enum { PAYLOAD = 600, PLAN = 1 << 14, AREA = 1 << 16, MEMORY = 1 << 20 };

static unsigned long run_number;
static uint64_t state;
static uint64_t next(void) {
  uint64_t z = (state += 0x9E3779B97F4A7C15u);
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
  z = (z ^ z >> 27) * 0x94D049BB133111EBu;
  return z ^ z >> 31;
}
static uint32_t below(uint32_t bound) { return (uint32_t)(next() % bound); }
static bool once_in(uint32_t n) { return below(n) == 0; }
static float noise(void) { return (float)below(2001) / 1000.0f - 1.0f; }

/* ---- the plan */
static uint8_t *plan_bytes; /* exactly sized, so that ASan sees every byte too many */
static size_t plan_size;
static uint8_t made[PLAN];
static size_t made_size;

static void word(uint32_t value) {
  eq_store_le(made + made_size, value, 4);
  made_size += 4;
}
static void number(float value) {
  memcpy(made + made_size, &value, 4);
  made_size += 4;
}
static void numbers(uint32_t count, float low) {
  for (uint32_t i = 0; i < count; i++) number(low > 0 ? low + (float)below(100) / 100.0f : noise());
}

static void make_plan(void) {
  static const eq_tune_method methods[] = {EQ_TUNE_AUTO, EQ_TUNE_STATS, EQ_TUNE_SOLVE, EQ_TUNE_HEAD,
                                           EQ_TUNE_T0,   EQ_TUNE_T1,    EQ_TUNE_MEZO};
  eq_tune_settings s;
  eq_tune_defaults(&s, methods[below(sizeof methods / sizeof *methods)]);
  made_size = 0;
  word(0x50545145);
  word(EQ_PLAN_VERSION);
  for (int i = 0; i < 24; i++) word(7);
  word(LAYERS), word(LAYERS), word(CLASSES), word(HIDDEN), word(50), number(1.0f), word(SAMPLES);
  word(EQ_PLAN_MOMENTS | EQ_PLAN_LABELS | EQ_PLAN_TRIANGLE);
  word(s.method), word(s.loss), word(s.optimiser), word(s.flags | EQ_TUNE_FEW_SAMPLES), word(1), word(0);
  word(1 + below(3)), word(below(5)), word(8), word(3);
  number(s.eps), number(s.lr_ac), number(s.lr_head), number(s.lr_bias), number(s.lr_latent);
  word(2), word(s.patience), word(s.converged), number(s.tolerance), number(s.margin), number(s.held_out);
  word(s.sweeps), number(s.shrink), number(s.base_weight), number(s.ridge), word(s.base_classes);
  number(s.flip_share), word(s.flip_every);
  for (uint32_t l = 0; l < LAYERS; l++) word(WIDTH), word(l), number(0.5f), word(7);
  for (uint32_t l = 0; l < LAYERS; l++) word(WIDTH), number(1.0f);
  for (uint32_t l = 0; l < LAYERS; l++) numbers(2 * WIDTH, 0), numbers(WIDTH, 0.5f);
  numbers(CLASSES * HIDDEN + CLASSES, 0), numbers(CLASSES, 0.1f);
  const uint32_t d = TAPS + 1;
  for (uint32_t i = 0; i < d; i++) number(10.0f), numbers(d - i - 1 + CLASSES, 0);
  for (uint32_t i = 0; i < SAMPLES; i++) word(i % CLASSES);
  if (once_in(2))
    for (uint32_t i = 1 + below(4); i; i--) {
      const uint32_t at = below(once_in(2) ? 62 * 4 : (uint32_t)made_size);
      if (once_in(3))
        made[at] ^= (uint8_t)(1 << below(8));
      else
        eq_store_le(made + at / 4 * 4, once_in(2) ? next() : below(70), 4);
    }
  if (once_in(10)) made_size -= 4 * below(30);
  free(plan_bytes);
  plan_size = made_size;
  plan_bytes = malloc(plan_size);
  REQUIRE(plan_bytes);
  memcpy(plan_bytes, made, plan_size);
}

/* ---- the device */
static eq_entry plan_entry = {.name = "plan"};
static const eq_entry *store_entry(void *c, unsigned index) { return (void)c, index ? NULL : &plan_entry; }
static size_t store_free(void *c) { return (void)c, 0; }
static bool store_erase(void *c, const char *name, eq_failure *f) {
  return (void)c, (void)name, eq_fail(f, EQ_CODE_NOT_FOUND, "nothing of that name");
}
static bool store_begin(void *c, const eq_entry *entry, size_t *have, eq_failure *f) {
  return (void)c, (void)entry, (void)have, eq_fail(f, EQ_CODE_TOO_LARGE, "full");
}
static const eq_store store = {
    .begin = store_begin, .entry = store_entry, .erase = store_erase, .free_bytes = store_free};

static const uint32_t extents[2][4] = {{X, 2 * CHANNELS, CLASSES * HIDDEN, CLASSES},
                                       {CLASSES, HIDDEN, TAPS, 2 * CHANNELS}};
static float *tensors[2][4];
static bool loaded;

static bool engine_load(void *c, const char *name, const char *method, uint16_t *net, eq_failure *f) {
  (void)c, (void)name, (void)method, (void)f;
  loaded = true;
  *net = 1;
  return true;
}
static bool engine_find(uint16_t net, eq_failure *f) {
  return (loaded && net == 1) || eq_fail(f, EQ_CODE_BAD_NET, "none");
}
static bool engine_unload(void *c, uint16_t net, eq_failure *f) {
  (void)c;
  if (!engine_find(net, f)) return false;
  loaded = false;
  return true;
}
static bool engine_describe(void *c, uint16_t net, eq_net *out, eq_failure *f) {
  (void)c;
  *out = (eq_net){.tensors = {4, 4}};
  return engine_find(net, f);
}
static void engine_tensor(void *c, uint16_t net, bool output, unsigned index, eq_tensor *out) {
  (void)c, (void)net;
  REQUIRE(index < 4);
  const uint32_t count = extents[output][index];
  *out = (eq_tensor){EQ_DTYPE_f32, 2, {1, count}, count * sizeof(float), (uint8_t *)tensors[output][index]};
}
static bool engine_run(void *c, uint16_t net, bool fresh, uint64_t *ticks, eq_failure *f) {
  (void)c, (void)net, (void)fresh;
  *ticks = 3;
  if (once_in(500)) return eq_fail(f, EQ_CODE_RUN_FAILED, "tired");
  for (int t = 0; t < 4; t++)
    for (uint32_t i = 0; i < extents[1][t]; i++)
      tensors[1][t][i] = once_in(5000) ? __builtin_nanf("") : noise() + tensors[0][1][0];
  for (uint32_t i = 0; i < CHANNELS; i++) tensors[1][3][CHANNELS + i] = 0.5f; /* squares */
  return true;
}
static size_t engine_peak(void *c) { return (void)c, 0; }
static void engine_reset(void *c) { (void)c, loaded = false; }
static const eq_engine engine = {.load = engine_load,
                                 .unload = engine_unload,
                                 .describe = engine_describe,
                                 .tensor = engine_tensor,
                                 .run = engine_run,
                                 .peak_bytes = engine_peak,
                                 .reset = engine_reset};
static const char *const targets[] = {NULL};
static const eq_device device = {.nets = 1, .threads = 1, .texts = {"", "", "", "", "", ""}, .targets = targets};

static void *taken[64];
static size_t taken_count, taken_bytes;
static void *tuner_take(void *c, size_t bytes) {
  (void)c;
  if (taken_count == 64 || bytes > MEMORY - taken_bytes) return NULL;
  taken_bytes += bytes;
  return taken[taken_count++] = malloc(bytes ? bytes : 1);
}
static const uint8_t *tuner_plan(void *c, const char *name, size_t *bytes, eq_failure *f) {
  (void)c;
  *bytes = plan_size;
  if (strcmp(name, "plan") == 0) return plan_bytes;
  eq_fail(f, EQ_CODE_NOT_FOUND, "nothing of that name");
  return NULL;
}
static bool tuner_borrow(void *c, uint16_t net, unsigned input, const void *data) {
  (void)c, (void)net;
  REQUIRE(input >= 1 && input < 4);
  memcpy(tensors[0][input], data, extents[0][input] * sizeof(float)); /* ASan: all of it is there */
  return once_in(2);
}
static void tuner_close(void *c) {
  (void)c;
  while (taken_count) free(taken[--taken_count]);
  taken_bytes = 0;
}
static uint64_t tuner_ticks(void *c) {
  static uint64_t now;
  return (void)c, now += 5;
}
static const eq_tuner tuner = {NULL, tuner_plan, tuner_take, tuner_borrow, tuner_close, tuner_ticks};

/* ---- the client */
static eq_agent agent;
static eq_parser answers;
static uint8_t answer_frame[PAYLOAD + EQ_FRAME_EXTRA];
static eq_frame last;
static unsigned long answered, outcomes[8];

static void receive(void *c, const uint8_t *bytes, size_t count) {
  (void)c;
  while (count > 0) {
    size_t used = 0;
    const eq_parse result = eq_parser_feed(&answers, bytes, count, &used, &last);
    REQUIRE(result == EQ_PARSE_MORE || result == EQ_PARSE_FRAME);
    answered += result == EQ_PARSE_FRAME;
    bytes += used;
    count -= used;
  }
}

/* True: done, and last.payload holds the answer. */
static bool ask(uint8_t type, const uint8_t *payload, size_t count) {
  static uint8_t frame[PAYLOAD + EQ_FRAME_EXTRA];
  static uint16_t seq;
  if (count) memcpy(frame + EQ_FRAME_HEADER, payload, count);
  seq = (uint16_t)(seq % 0xffff + 1);
  const unsigned long before = answered;
  const size_t size = eq_frame_seal(frame, type, seq, (uint32_t)count);
  eq_agent_feed(&agent, frame, size);
  REQUIRE(answered == before + 1 && last.seq == seq);
  REQUIRE(last.type == EQ_ERROR || last.type == (type | EQ_ANSWER));
  return last.type != EQ_ERROR;
}

static uint8_t areas[EQ_TUNE_AREAS][AREA];
static uint32_t held[EQ_TUNE_AREAS];

/* The answer to a wish; payload: status, data. */
static size_t answer_wish(uint8_t *payload) {
  const uint8_t *p = last.payload;
  const uint32_t area = p[1], offset = eq_load_le(p + 2, 4), count = eq_load_le(p + 6, 4);
  const size_t data = last.length - 26;
  payload[0] = 0;
  switch (p[0]) {
  case EQ_TUNE_SAMPLE:
    REQUIRE(data == (size_t)count * 4 && count * X * 4 < PAYLOAD);
    for (uint32_t i = 0; i < count; i++) REQUIRE(eq_load_le(p + 26 + i * 4, 4) < SAMPLES);
    return 1 + (size_t)count * X * 4;
  case EQ_TUNE_READ_BYTES:
    REQUIRE(area < EQ_TUNE_AREAS && count < PAYLOAD);
    if (offset > held[area] || count > held[area] - offset)
      payload[0] = 1;
    else
      memcpy(payload + 1, areas[area] + offset, count);
    return payload[0] ? 1 : 1 + (size_t)count;
  case EQ_TUNE_WRITE_BYTES:
    REQUIRE(area < EQ_TUNE_AREAS && count == data);
    if (offset > AREA || count > AREA - offset)
      payload[0] = 1;
    else {
      memcpy(areas[area] + offset, p + 26, count);
      if (held[area] < offset + count) held[area] = offset + count;
    }
    return 1;
  case EQ_TUNE_ERASE_AREA: held[area] = 0; return 1;
  default: return 1;
  }
}

/* Something that does not belong here. */
static void disturb(uint8_t *payload) {
  static const uint8_t types[] = {EQ_TYPE_TUNE_REPORT, EQ_TYPE_TUNE_STATE, EQ_TYPE_TUNE_STOP, EQ_TYPE_INPUT,
                                  EQ_TYPE_OUTPUT,      EQ_TYPE_TUNE_NEXT,  EQ_TYPE_RUN,       EQ_TYPE_LOAD,
                                  EQ_TYPE_RESET,       EQ_TYPE_TUNE_CLOSE};
  const uint8_t type = types[below(once_in(4) ? sizeof types : 6)];
  size_t count = below(40);
  for (size_t i = 0; i < count; i++) payload[i] = (uint8_t)next();
  if (type == EQ_TYPE_TUNE_REPORT || type == EQ_TYPE_TUNE_STATE || type == EQ_TYPE_TUNE_STOP) count = 0;
  if (type == EQ_TYPE_INPUT) {
    eq_store_le(payload, 1, 2), eq_store_le(payload + 2, below(5), 2), eq_store_le(payload + 4, 0, 8);
    count = 12 + below(20);
  }
  ask(type, payload, count);
}

static void one_run(void) {
  static uint8_t payload[PAYLOAD];
  make_plan();
  if (!once_in(4))
    for (int a = 0; a < EQ_TUNE_AREAS; a++) held[a] = 0;
  if (once_in(4)) areas[below(EQ_TUNE_AREAS)][below(200)] ^= (uint8_t)(1 << below(8)); /* a journal that rotted */
  ask(EQ_TYPE_LOAD, (const uint8_t *)"\1n\1m", 4);
  if (!ask(EQ_TYPE_TUNE_OPEN, (const uint8_t *)"\1\0\4plan", 7)) return;
  size_t count = 1;
  payload[0] = 0;
  for (int frame = 0; frame < 3000; frame++) {
    if (once_in(60)) disturb(payload);
    const bool honest = !once_in(200);
    if (!honest) count = below(PAYLOAD);
    if (!ask(EQ_TYPE_TUNE_NEXT, payload, count)) {
      if (honest) return;
      count = 1, payload[0] = 0;
      continue;
    }
    if (last.payload[0] == EQ_TUNE_END) {
      outcomes[last.payload[1] & 7]++;
      break;
    }
    count = answer_wish(payload);
  }
  if (once_in(2)) ask(EQ_TYPE_TUNE_CLOSE, NULL, 0);
}

int main(int argc, char **argv) {
  const unsigned long runs = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000;
  state = argc > 2 ? strtoul(argv[2], NULL, 10) : 1;
  uint8_t *request = malloc(PAYLOAD + EQ_FRAME_EXTRA), *answer = malloc(PAYLOAD + EQ_FRAME_EXTRA);
  for (int o = 0; o < 2; o++)
    for (int i = 0; i < 4; i++) tensors[o][i] = calloc(extents[o][i], sizeof(float));
  eq_parser_init(&answers, answer_frame, PAYLOAD);
  REQUIRE(request && answer);
  REQUIRE(eq_agent_init(&agent, &store, &engine, &device, receive, NULL, request, answer, PAYLOAD));
  agent.run.port = &tuner;
  for (run_number = 0; run_number < runs; run_number++) one_run();
  eq_agent_hangup(&agent);
  printf("%lu runs, %lu answers; committed %lu, rejected %lu, stopped %lu, diverged %lu, failed %lu\n", runs, answered,
         outcomes[0], outcomes[1], outcomes[2], outcomes[3], outcomes[4]);
  REQUIRE(runs < 300 || (outcomes[0] + outcomes[1] > 0 && outcomes[2] > 0));
  for (int o = 0; o < 2; o++)
    for (int i = 0; i < 4; i++) free(tensors[o][i]);
  free(plan_bytes);
  free(request);
  free(answer);
  return 0;
}
