#include "net.h"

#include "core/functions.h"
#include "tune/random.h"
#include "tune/triangle.h"

enum { INPUTS = 6, FIRST = 7, SECOND = 5, CLASSES = 3, CHANNELS = FIRST + SECOND, TAPS = CHANNELS, BASE = 90 };

static int8_t codes[2][FIRST * INPUTS];
static float scale[2][FIRST], bias[2][FIRST], mean[2][FIRST], deviation[2][FIRST];
static float head_weight[CLASSES * SECOND], head_bias[CLASSES], head_scale[CLASSES];
static float base_triangle[(TAPS + 1) * (TAPS + 2) / 2 + (TAPS + 1) * CLASSES];
static int32_t labels[NET_SAMPLES];
static float logits[NET_ROWS * CLASSES], hidden[NET_ROWS * SECOND], taps[NET_ROWS * TAPS],
    moments[NET_ROWS * 2 * CHANNELS];
static float first_input[NET_ROWS * INPUTS], second_input[NET_ROWS * FIRST];
static const float *inputs[] = {first_input, second_input};

static eq_tune_layer layers[2] = {{FIRST, 0, 0.9f, bias[0], mean[0], deviation[0]},
                                  {SECOND, 1, 1.1f, bias[1], mean[1], deviation[1]}};
static const eq_tune_tap blocks[2] = {{FIRST, 0.8f}, {SECOND, 0.7f}};
static const eq_tune_latent latents[2] = {{0, FIRST, INPUTS, -1, 1, false, codes[0], scale[0], NULL},
                                          {1, SECOND, FIRST, -1, 1, false, codes[1], scale[1], NULL}};

static float random_at(uint32_t what, uint32_t k) { return eq_gauss(eq_word(eq_stream(77, 9, what), k)); }

/* Point i of the base's world, or, moved, of the device's. */
static void point(uint32_t i, bool moved, float x[INPUTS]) {
  const uint32_t label = i % CLASSES;
  for (uint32_t k = 0; k < INPUTS; k++) {
    const float clean = 1.5f * random_at(1, label * INPUTS + k) + 0.5f * random_at(moved ? 3 : 2, i * INPUTS + k);
    x[k] = moved ? 0.5f * clean + 0.3f : clean;
  }
}

static float rounded(float latent) {
  const float code = eq_round_even(latent);
  return code < -1.0f ? -1.0f : code > 1.0f ? 1.0f : code;
}

static void layer(uint32_t l, const float *x, const float *ac, const float *latent, float *y, float *h) {
  const uint32_t n = l ? SECOND : FIRST, width = l ? FIRST : INPUTS;
  for (uint32_t j = 0; j < n; j++) {
    float sum = 0.0f;
    for (uint32_t k = 0; k < width; k++)
      sum += x[k] * (latent ? rounded(latent[j * width + k]) : (float)codes[l][j * width + k]);
    y[j] = scale[l][j] * eq_exp(ac[j]) * sum + bias[l][j] + layers[l].sigma * ac[n + j];
    h[j] = y[j] > 0.0f ? y[j] : 0.0f;
  }
}

eq_tune_outputs net_forward(const eq_tune_request *request, bool broken) {
  for (uint32_t i = 0; i < request->count; i++) {
    const float *ac = request->ac + i * request->ac_rows / request->count * 2 * CHANNELS;
    float *y = moments + i * 2 * CHANNELS, *x = first_input + i * INPUTS;
    point(request->samples[i], true, x);
    layer(0, x, ac, request->latent ? request->latent[0] : NULL, y, taps + i * TAPS);
    for (uint32_t k = 0; k < FIRST; k++) second_input[i * FIRST + k] = taps[i * TAPS + k];
    layer(1, second_input + i * FIRST, ac + 2 * FIRST, request->latent ? request->latent[1] : NULL, y + FIRST,
          taps + i * TAPS + FIRST);
    for (uint32_t k = 0; k < CHANNELS; k++) y[CHANNELS + k] = 0.0f;
    for (uint32_t k = 0; k < SECOND; k++) hidden[i * SECOND + k] = taps[i * TAPS + FIRST + k];
    eq_tune_head(hidden + i * SECOND, SECOND, CLASSES, request->head_weight, request->head_bias, logits + i * CLASSES);
    for (uint32_t c = 0; broken && c < CLASSES; c++) logits[i * CLASSES + c] = __builtin_nanf("");
    for (uint32_t c = 0; broken && c < TAPS; c++) taps[i * TAPS + c] = __builtin_nanf("");
  }
  return (eq_tune_outputs){request->count, logits, hidden, taps, moments, inputs, NULL};
}

static void make_base(void) {
  static const float none[2 * CHANNELS];
  for (uint32_t l = 0; l < 2; l++)
    for (uint32_t j = 0; j < FIRST; j++) {
      scale[l][j] = 0.4f + 0.1f * (float)j;
      bias[l][j] = 0.2f * random_at(4 + l, j);
      mean[l][j] = 0.1f;
      deviation[l][j] = 0.9f;
      for (uint32_t k = 0; k < INPUTS; k++)
        codes[l][j * INPUTS + k] = (int8_t)rounded(random_at(6 + l, j * INPUTS + k));
    }
  for (uint32_t c = 0; c < CLASSES; c++) {
    head_scale[c] = 0.1f;
    head_bias[c] = 0.0f;
    for (uint32_t k = 0; k < SECOND; k++) head_weight[c * SECOND + k] = 0.4f * random_at(8, c * SECOND + k);
  }
  eq_triangle triangle = {TAPS + 1, CLASSES, base_triangle};
  eq_triangle_set(&triangle, NULL, 0.0f);
  for (uint32_t i = 0; i < BASE; i++) {
    float x[INPUTS], y[CHANNELS], row[TAPS + 1 + CLASSES];
    point(i, false, x);
    layer(0, x, none, NULL, y, row);
    layer(1, row, none, NULL, y, row + FIRST);
    for (uint32_t k = 0; k < TAPS; k++) row[k] /= k < FIRST ? blocks[0].rms : blocks[1].rms;
    row[TAPS] = 1.0f;
    for (uint32_t c = 0; c < CLASSES; c++) row[TAPS + 1 + c] = (c == i % CLASSES ? 1.0f : 0.0f) - 1.0f / CLASSES;
    eq_triangle_add(&triangle, row, 0);
  }
}

void net_make(net_plan *net, eq_tune_method method) {
  make_base();
  for (uint32_t i = 0; i < NET_SAMPLES; i++) labels[i] = (int32_t)(i % CLASSES);
  net->model = (eq_tune_model){.base = {1},
                               .layout = {2},
                               .layer_count = 2,
                               .tap_count = 2,
                               .latent_count = 2,
                               .layers = layers,
                               .taps = blocks,
                               .latents = latents,
                               .moments = true,
                               .classes = CLASSES,
                               .hidden = SECOND,
                               .head_weight = head_weight,
                               .head_bias = head_bias,
                               .head_scale = head_scale,
                               .head_sigma = 0.5f,
                               .base_triangle = base_triangle,
                               .base_samples = BASE};
  net->data = (eq_tune_data){.id = {3}, .count = NET_SAMPLES, .labels = labels};
  net->plan = (eq_tune_plan){.model = &net->model, .data = &net->data};
  eq_tune_defaults(&net->plan.settings, method);
  net->plan.settings.steps = net->plan.settings.head_steps = 100;
  net->plan.settings.batch = 16;
  net->plan.settings.seed = 5;
}

/* ---- storage */
void net_store_new(net_store *s) {
  for (uint32_t a = 0; a < EQ_TUNE_AREAS; a++) s->size[a] = s->flushed_size[a] = 0;
  s->budget = UINT64_MAX;
  s->written = 0;
  s->cut = s->lose = false;
}

static void copy(uint8_t *to, const uint8_t *from, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) to[i] = from[i];
}

static void lose_power(net_store *s) {
  s->cut = true;
  for (uint32_t a = 0; s->lose && a < EQ_TUNE_AREAS; a++) {
    copy(s->bytes[a], s->flushed[a], s->flushed_size[a]);
    s->size[a] = s->flushed_size[a];
  }
}

bool net_serve(net_store *s, eq_tune *tune, const eq_tune_request *r) {
  const uint32_t a = (uint32_t)r->area, last = r->offset + r->bytes;
  eq_tune_status status = EQ_TUNE_OK;
  if (r->kind == EQ_TUNE_READ) {
    if (last > s->size[a])
      status = EQ_TUNE_STORE_FAILED;
    else
      copy(r->into, s->bytes[a] + r->offset, r->bytes);
  } else if (r->kind == EQ_TUNE_ERASE)
    s->size[a] = 0;
  else if (r->kind == EQ_TUNE_FLUSH) {
    copy(s->flushed[a], s->bytes[a], s->size[a]);
    s->flushed_size[a] = s->size[a];
  } else if (last > NET_AREA)
    status = EQ_TUNE_STORE_FAILED;
  else {
    for (uint32_t i = 0; i < r->bytes; i++) {
      if (s->written >= s->budget) {
        lose_power(s);
        return false;
      }
      s->written++;
      while (s->size[a] <= r->offset + i) s->bytes[a][s->size[a]++] = 0xff;
      s->bytes[a][r->offset + i] = r->from[i];
    }
  }
  return eq_tune_reply_store(tune, status) == EQ_TUNE_OK;
}

bool net_run(eq_tune *tune, net_store *store, eq_tune_request *last) {
  while (eq_tune_next(tune, last) == EQ_TUNE_OK && last->kind != EQ_TUNE_DONE) {
    if (last->kind == EQ_TUNE_PROGRESS) continue;
    if (last->kind == EQ_TUNE_FORWARD) {
      const eq_tune_outputs outputs = net_forward(last, false);
      if (eq_tune_reply(tune, &outputs) != EQ_TUNE_OK) return false;
    } else if (!net_serve(store, tune, last))
      return false;
  }
  return true;
}
