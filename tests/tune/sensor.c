/* Firmware that learns by itself: samples come from a sensor, there is no host and no agent.
 *
 * In its flash: a program (`edgeq compile MODEL --tunable --target micro`; PASS names the method of it that learns:
 * forward_step for what needs gradients alone, forward_tune for all) and a plan (`proto/tune/tune_plan.h`). A
 * person says what the samples are (the plan's labels); `read_sensor` is asked for them again and again, so a device
 * that has no recorder keeps them, here in flash. What a step leaves goes to four areas of storage. All memory of
 * program and module is painted and lies between guard bytes, so that the end tells what was used, and whether it was
 * more. */
#include "board.h"
#include "edgeq/tune.h"
#include "micro/micro.h"
#include "micro/tuned/borrow.h"
#include "proto/sha256.h"
#include "proto/tune/tune_plan.h"

extern const uint8_t model_start[], model_end[], plan_start[], plan_end[];
extern const float samples_start[];

enum { LAYERS = 16, MOST_ROWS = 2, MEMORY = 96 << 10, AREA = 16 << 10 };
static uint8_t stored[EQ_TUNE_AREAS][AREA];
static uint32_t length[EQ_TUNE_AREAS];

/* ---- memory */
enum { PAINT = 0xa5, GUARD = 64, PIECES = 12 };
typedef struct {
  uint8_t *at;
  size_t bytes;
} piece;

static _Alignas(EQM_ALIGNMENT) uint8_t memory[MEMORY];
static size_t taken; /* the last piece and its guard */
static piece pieces[PIECES];
static unsigned piece_count;

static void paint(void) {
  for (size_t i = 0; i < MEMORY; i++) memory[i] = PAINT;
}

/* A guard of GUARD bytes lies before it; what follows it begins with another. */
static void *take(size_t bytes) {
  const size_t begin = (taken + GUARD + EQM_ALIGNMENT - 1) / EQM_ALIGNMENT * EQM_ALIGNMENT;
  if (begin + bytes + GUARD > MEMORY || piece_count == PIECES) board_stop(20);
  taken = begin + bytes;
  pieces[piece_count++] = (piece){memory + begin, bytes};
  return memory + begin;
}

/* Bytes up to the last one that is no longer paint. */
static size_t used(const void *at) {
  for (unsigned i = 0; i < piece_count; i++) {
    if (pieces[i].at != at) continue;
    size_t last = pieces[i].bytes;
    while (last > 0 && pieces[i].at[last - 1] == PAINT) last--;
    return last;
  }
  return 0;
}

static bool guards_intact(void) {
  const uint8_t *from = memory;
  for (unsigned i = 0; i <= piece_count; i++) {
    const uint8_t *const to = i < piece_count ? pieces[i].at : memory + MEMORY;
    for (; from < to; from++)
      if (*from != PAINT) return false;
    from = to + (i < piece_count ? pieces[i].bytes : 0);
  }
  return true;
}

/* Sample `index` as the network takes it. */
static void read_sensor(uint32_t index, const eqm_value *input) {
  float *const to = (float *)(void *)input->data;
  for (uint32_t k = 0; k < input->count; k++) to[k] = samples_start[(size_t)index * input->count + k];
}

/* ---- the network: inputs x, ac, head_w, head_b; outputs logits, hidden and, of forward_tune, taps and moments */
#ifndef PASS
#define PASS "forward_step"
#endif
enum { OUTPUTS = 4 };
typedef struct {
  eqm_program program;
  eqm_method method;
  void *arena, *scratch;
  float *outputs[OUTPUTS]; /* of the rows of one request; NULL: it does not give it */
  uint32_t channels;
} net;

static void open_net(net *n, const eq_tune_model *m) {
  eqm_method *const method = &n->method;
  if (eqm_open(&n->program, model_start, (size_t)(model_end - model_start), eqm_operators, eqm_operator_count) !=
          EQM_OK ||
      eqm_find(method, &n->program, PASS) != EQM_OK)
    board_stop(21);
  n->arena = take(method->arena_bytes[0]);
  void *const lent = take(0);
  void *const arenas[EQM_ARENAS] = {n->arena, lent, lent, lent}; /* of ac and the head: not there, they are borrowed */
  if (eqm_prepare(method, arenas, take(method->workspace_bytes), method->workspace_bytes) != EQM_OK) board_stop(22);
  n->scratch = take(method->scratch_bytes);
  for (unsigned k = 0; k < OUTPUTS; k++)
    n->outputs[k] =
        k < eqm_output_count(method) ? take(MOST_ROWS * eqm_output(method, k)->count * sizeof(float)) : NULL;
  n->channels = 0;
  for (uint32_t l = 0; l < m->layer_count; l++) n->channels += m->layers[l].channels;
}

static void copy(float *to, const eqm_value *from) {
  const float *const values = (const float *)(const void *)from->data;
  for (uint32_t k = 0; k < from->count; k++) to[k] = values[k];
}

static eq_tune_outputs forward(net *n, const eq_tune_request *request) {
  if (request->count > MOST_ROWS) board_stop(23);
  for (uint32_t i = 0; i < request->count; i++) {
    const float *const ac = request->ac + (size_t)i * request->ac_rows / request->count * 2 * n->channels;
    read_sensor(request->samples[i], eqm_input(&n->method, 0));
    if (eqm_borrow(&n->method, 1, ac) != EQM_OK || eqm_borrow(&n->method, 2, request->head_weight) != EQM_OK ||
        eqm_borrow(&n->method, 3, request->head_bias) != EQM_OK ||
        eqm_run(&n->method, n->scratch, n->method.scratch_bytes) != EQM_OK)
      board_stop(24);
    for (unsigned k = 0; k < OUTPUTS && n->outputs[k]; k++) {
      const eqm_value *const y = eqm_output(&n->method, k);
      copy(n->outputs[k] + (size_t)i * y->count, y);
    }
  }
  return (eq_tune_outputs){.count = request->count,
                           .logits = n->outputs[0],
                           .hidden = n->outputs[1],
                           .taps = n->outputs[2],
                           .moments = n->outputs[3]};
}

/* ---- storage: on a board pages of flash */
static eq_tune_status serve(const eq_tune_request *r) {
  const uint32_t a = (uint32_t)r->area, end = r->offset + r->bytes;
  uint8_t *const at = stored[a] + r->offset;
  if (r->kind == EQ_TUNE_ERASE) length[a] = 0;
  if (r->kind == EQ_TUNE_READ && end > length[a]) return EQ_TUNE_STORE_FAILED;
  if (r->kind == EQ_TUNE_READ) __builtin_memcpy(r->into, at, r->bytes);
  if (r->kind != EQ_TUNE_WRITE) return EQ_TUNE_OK;
  if (end > AREA) return EQ_TUNE_STORE_FAILED;
  __builtin_memcpy(at, r->from, r->bytes);
  if (end > length[a]) length[a] = end;
  return EQ_TUNE_OK;
}

static void say(const char *name, const void *bytes, size_t count) {
  uint8_t digest[EQ_SHA256_BYTES];
  eq_sha256 hash;
  eq_sha256_init(&hash);
  eq_sha256_update(&hash, bytes, count);
  eq_sha256_final(&hash, digest);
  board_put(name);
  board_put_hex(digest, sizeof digest);
}

int main(void) {
  static eq_plan plan;
  static eq_tune_layer layers[LAYERS];
  static net n;
  const size_t bytes = (size_t)(plan_end - plan_start);
  if (eq_plan_layers(plan_start, bytes) > LAYERS || !eq_plan_read(&plan, layers, plan_start, bytes)) return 1;
  const size_t need = eq_tune_bytes(&plan.plan);
  eq_tune *tune;
  eq_tune_request request;
  paint();
  open_net(&n, &plan.model);
  void *const module = take(need);
  if (!need || eq_tune_open(&tune, &plan.plan, module, need) != EQ_TUNE_OK) return 2;
  while (eq_tune_next(tune, &request) == EQ_TUNE_OK && request.kind != EQ_TUNE_DONE) {
    if (request.kind == EQ_TUNE_FORWARD) {
      const eq_tune_outputs outputs = forward(&n, &request);
      eq_tune_reply(tune, &outputs);
    } else if (request.kind != EQ_TUNE_PROGRESS)
      eq_tune_reply_store(tune, serve(&request));
  }
  board_put(request.outcome == EQ_TUNE_COMMITTED ? "committed" : "not kept");
  uint8_t state[32];
  eq_tune_state_hash(tune, state);
  board_put(" state ");
  board_put_hex(state, sizeof state);
  say(" delta ", stored[EQ_TUNE_DELTA], length[EQ_TUNE_DELTA]);
  board_put(" arena");
  board_put_number((uint32_t)n.method.arena_bytes[0]);
  board_put_number((uint32_t)used(n.arena));
  board_put(" module");
  board_put_number((uint32_t)need);
  board_put_number((uint32_t)used(module));
  board_put(guards_intact() ? " intact\n" : " broken\n");
  return 0;
}
