/* Instructions of the module, without the network's, in a step of t0 and of t1: of a sample of 64, the update included.
 *
 * A network of pokebnn-fashion's sizes that answers with any numbers. QEMU counts instructions, TICK of them a tick. */
#include "board.h"
#include "edgeq/tune.h"
#include "tune/random.h"

enum { LAYERS = 8, CHANNELS = 192, CLASSES = 10, HIDDEN = 512, SAMPLES = 80, BATCH = 64, TICK = 40 };

static eq_tune_layer layers[LAYERS];
static float head_weight[CLASSES * HIDDEN], head_bias[CLASSES], head_scale[CLASSES];
static float logits[4 * CLASSES], hidden[4 * HIDDEN];
static int32_t labels[SAMPLES];
static _Alignas(8) uint8_t memory[1 << 18];
static uint8_t stored[EQ_TUNE_AREAS][1 << 18];

static void fill(float *x, uint32_t count, uint32_t what) {
  for (uint32_t k = 0; k < count; k++) x[k] = eq_gauss(eq_word(eq_stream(1, 9, what), k));
}

static void serve(const eq_tune_request *r) {
  uint8_t *at = stored[r->area] + r->offset;
  for (uint32_t i = 0; r->kind == EQ_TUNE_READ && i < r->bytes; i++) r->into[i] = at[i];
  for (uint32_t i = 0; r->kind == EQ_TUNE_WRITE && i < r->bytes; i++) at[i] = r->from[i];
}

/* Ticks of the second step, from its first request to that of the third; 0: something failed. */
static uint32_t ticks_of(eq_tune_method method, uint32_t micro) {
  const eq_tune_model model = {.layer_count = LAYERS,
                               .layers = layers,
                               .classes = CLASSES,
                               .hidden = HIDDEN,
                               .head_weight = head_weight,
                               .head_bias = head_bias,
                               .head_scale = head_scale,
                               .head_sigma = 1.0f};
  const eq_tune_data data = {.count = SAMPLES, .labels = labels};
  eq_tune_plan plan = {.model = &model, .data = &data};
  eq_tune_defaults(&plan.settings, method);
  plan.settings.micro = micro;
  plan.settings.batch = BATCH;
  plan.settings.flags = EQ_TUNE_NO_CACHE | EQ_TUNE_FRESH;
  eq_tune *tune;
  eq_tune_request request;
  eq_tune_report_t report;
  uint32_t ticks = 0;
  if (eq_tune_open(&tune, &plan, memory, sizeof memory) != EQ_TUNE_OK) return 0;
  for (bool inside = false;;) {
    uint32_t begin = board_ticks();
    if (eq_tune_next(tune, &request) != EQ_TUNE_OK || request.kind == EQ_TUNE_DONE) return 0;
    if (inside) ticks += board_ticks() - begin;
    eq_tune_report(tune, &report);
    if (request.kind == EQ_TUNE_FORWARD) {
      if (report.step == 2) return ticks;
      inside = report.step == 1;
      fill(logits, request.count * CLASSES, 1);
      fill(hidden, request.count * HIDDEN, 2);
    } else
      serve(&request);
    const eq_tune_outputs outputs = {.count = request.count, .logits = logits, .hidden = hidden};
    begin = board_ticks();
    if (request.kind == EQ_TUNE_FORWARD
            ? eq_tune_reply(tune, &outputs) != EQ_TUNE_OK
            : request.kind != EQ_TUNE_PROGRESS && eq_tune_reply_store(tune, EQ_TUNE_OK) != 0)
      return 0;
    if (inside) ticks += board_ticks() - begin;
  }
}

int main(void) {
  for (uint32_t l = 0; l < LAYERS; l++) layers[l] = (eq_tune_layer){.channels = CHANNELS, .depth = l, .sigma = 1.0f};
  for (uint32_t c = 0; c < CLASSES; c++) head_scale[c] = 0.1f;
  fill(head_weight, CLASSES * HIDDEN, 3);
  board_put("t0");
  board_put_number(ticks_of(EQ_TUNE_T0, 2) * TICK / BATCH);
  board_put("\nt1");
  board_put_number(ticks_of(EQ_TUNE_T1, 1) * TICK / BATCH);
  board_put("\n");
  return 0;
}
