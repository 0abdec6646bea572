/* Learning on the device by forward passes alone.
 *
 * The module never calls: it asks. The caller runs the model's `forward_tune` and keeps the storage:
 *
 *   eq_tune_defaults(&plan.settings, EQ_TUNE_AUTO, classes);
 *   memory = of eq_tune_bytes(&plan), 8-byte aligned;      eq_tune_open(&tune, &plan, memory, size);
 *   while (eq_tune_next(tune, &request) == EQ_TUNE_OK && request.kind != EQ_TUNE_DONE)
 *     switch (request.kind) ...                            eq_tune_reply(tune, &outputs) or eq_tune_reply_store(...)
 *
 * Freestanding C11, caller-owned memory, no libc, no threads, no clock, no input or output. The same plan and the same
 * replies give the same bytes of state on every platform: single precision, round to nearest, no fused multiply-add,
 * every sum in the order of the samples, so that `micro` never changes a bit. Files are little-endian, and so must be
 * the machine.
 *
 * The model, the samples' labels and the settings are the caller's and must stay where they are while the run lives.
 * A model that learns computes, in the epilogue of each tunable layer,
 *   y[j] = scale[j] * exp(a[j]) * acc[j] + bias[j] + sigma * c[j]                       a = c = 0 is the base. */
#ifndef EDGEQ_TUNE_H
#define EDGEQ_TUNE_H

#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

typedef enum {
  EQ_TUNE_OK = 0,
  EQ_TUNE_BAD_MODEL,    /* the model's description does not fit together */
  EQ_TUNE_BAD_SETTING,  /* a setting lies outside of its range */
  EQ_TUNE_NOT_TUNABLE,  /* the method needs taps, moments or latents that this model does not deliver */
  EQ_TUNE_NO_SAMPLES,   /* the set is empty */
  EQ_TUNE_TOO_FEW,      /* too few samples for this method, or for a held-out part */
  EQ_TUNE_NO_LABELS,    /* neither labels nor targets, and the method needs them */
  EQ_TUNE_BAD_LABEL,    /* a label is not below the number of classes, or a target is not finite */
  EQ_TUNE_NO_MEMORY,    /* less than eq_tune_bytes, or not aligned to 8 */
  EQ_TUNE_BAD_CALL,     /* an answer without a question, or of another kind */
  EQ_TUNE_BAD_REPLY,    /* an output that was asked for is missing, or the count differs */
  EQ_TUNE_NOT_FINITE,   /* the model gave NaN or infinity where no step can be dropped */
  EQ_TUNE_STORE_FAILED, /* the storage refused, or gave back other bytes than were written */
  EQ_TUNE_CORRUPT,      /* stored bytes do not follow the format, or fail their check */
  EQ_TUNE_VERSION,      /* stored by another version of the format */
  EQ_TUNE_WRONG_BASE,   /* stored for another base model */
  EQ_TUNE_WRONG_LAYOUT, /* stored for another layout of the tunable parameters */
  EQ_TUNE_WRONG_PLAN,   /* the journal is that of other settings */
  EQ_TUNE_WRONG_DATA,   /* the journal is that of other samples or labels */
} eq_tune_status;

/* One line of English, never NULL. */
const char *eq_tune_status_text(eq_tune_status status);

/* ---- the model, as its tuning manifest tells it */
typedef struct {
  uint32_t channels;
  uint32_t depth;    /* layers of equal depth read nothing of each other: one sweep of the statistics tier for them */
  float sigma;       /* standard deviation of the layer's output at calibration, > 0 */
  const float *bias; /* [channels] b of the epilogue; NULL: zeros */
  const float *mean; /* [channels] of the pre-activation over the base's training data; NULL: the statistics tier */
  const float *deviation; /* [channels] leaves this layer alone */
} eq_tune_layer;

/* One block of the `taps` output. */
typedef struct {
  uint32_t width;
  float rms; /* over the base's training data, > 0 */
} eq_tune_tap;

/* A fully connected layer whose codes may be learned. */
typedef struct {
  uint32_t layer;           /* index among the tunable layers */
  uint32_t outputs, inputs; /* outputs = channels of that layer */
  int32_t low, high;        /* codes; low + high == 0 and binary: -1 and +1 only */
  bool binary;
  const int8_t *codes; /* [outputs][inputs] of the base */
  const float *scale;  /* [outputs] */
  const float *start;  /* [outputs][inputs] latents that ZEROQAT begins with; NULL: the codes */
} eq_tune_latent;

typedef struct {
  uint8_t base[32];   /* sha256 of the package's model.safetensors */
  uint8_t layout[32]; /* sha256 over the ordered list of what is tunable */
  uint32_t layer_count, tap_count, latent_count;
  const eq_tune_layer *layers; /* in graph order, without the head; ac = a[0], c[0], a[1], c[1] ... */
  const eq_tune_tap *taps;     /* in the order of the `taps` output; tap_count 0: there is none */
  const eq_tune_latent *latents;
  bool moments;               /* the model delivers them: [count][2][all channels] */
  uint32_t classes, hidden;   /* of the graph's head */
  const float *head_weight;   /* [classes][hidden] real units */
  const float *head_bias;     /* [classes] */
  const float *head_scale;    /* [classes] one code in real units, > 0 */
  float head_sigma;           /* standard deviation of the logits at calibration, > 0 */
  const float *base_triangle; /* upper triangle of the base's Gram matrix with its right-hand sides: row i holds the
                                 entries i .. d - 1, then one per class; d = widths of the taps + 1, the constant
                                 feature last; features divided by rms, targets [y = c] - 1 / classes. NULL: none */
  uint32_t base_samples;      /* behind base_triangle */
  const float *start_ac;      /* [2 * channels] that ZEROQAT begins with, where latents have a start; NULL: 0 */
} eq_tune_model;

/* ---- what to learn from */
typedef struct {
  uint8_t id[32];        /* sha256 of the samples and the labels */
  uint32_t count;        /* samples; the caller knows them by index */
  const int32_t *labels; /* [count] 0 .. classes - 1 */
  const float *targets;  /* [count][classes], EQ_TUNE_SQUARES instead of labels */
} eq_tune_data;

/* ---- how */
typedef enum {
  EQ_TUNE_AUTO = 0, /* statistics, solve (head where the model has no taps), then EQ_TUNE_T1 for `steps` if it helps */
  EQ_TUNE_STATS,    /* channel means and deviations back to the base's; needs no labels */
  EQ_TUNE_SOLVE,    /* statistics, then one ridge solve for a head over all taps */
  EQ_TUNE_HEAD,     /* exact gradient of the last layer */
  EQ_TUNE_T0,       /* scales and biases, shared noise: replayable from two bytes a step */
  EQ_TUNE_T1,       /* HEAD (unless EQ_TUNE_NO_CACHE), then T0 with noise per sample and the head's exact gradient */
  EQ_TUNE_T2,       /* T1, and codes that flip */
  EQ_TUNE_T3,       /* T1, and latents of the chosen layers */
  EQ_TUNE_ZEROQAT,  /* latents through fake quantisation, shared Gaussian noise */
  EQ_TUNE_MEZO,     /* scales, biases and the head, or weights, shared Gaussian noise, plain descent */
  EQ_TUNE_METHODS,
} eq_tune_method;

typedef enum {
  EQ_TUNE_CROSS_ENTROPY = 0,
  EQ_TUNE_SQUARES, /* mean over the classes of (logit - target)^2 */
  EQ_TUNE_SCORE,   /* eq_tune_outputs.scores, lower is better, differentiable or not; T0, ZEROQAT and MEZO */
} eq_tune_loss;

typedef enum { EQ_TUNE_ADAM = 0, EQ_TUNE_SCALAR /* one second moment for all */, EQ_TUNE_SGD } eq_tune_optimiser;

enum {
  EQ_TUNE_NO_STATS = 1,     /* AUTO, SOLVE: leave the statistics tier out */
  EQ_TUNE_NO_CACHE = 2,     /* keep neither taps nor hidden activations: less memory, more passes; SOLVE then takes the
                               fixed defaults of base_weight and ridge */
  EQ_TUNE_UNGUARDED = 4,    /* commit without asking whether it helps; for controls, and for STATS without labels */
  EQ_TUNE_EXACT_HEAD = 8,   /* ZEROQAT, MEZO: the head learns by its exact gradient */
  EQ_TUNE_FEW_SAMPLES = 16, /* T0 and later with fewer than 30 samples */
  EQ_TUNE_FRESH = 32,       /* forget a journal that is there */
  EQ_TUNE_PREFER_HEAD = 64, /* AUTO: HEAD instead of SOLVE, where memory is short */
  EQ_TUNE_WEIGHTS = 128,    /* MEZO: weights, by their latents, instead of scales, biases and head. Its requests hold
                               codes, or codes and noise, which the network must take as they are, unrounded */
  EQ_TUNE_NO_START = 256,   /* ZEROQAT: from the base's codes even where the model has a start */
};

typedef struct {
  eq_tune_method method;
  eq_tune_loss loss;
  eq_tune_optimiser optimiser;
  uint32_t flags;
  uint64_t seed;
  uint32_t micro;        /* samples of one request, 1 .. 4096; two-sided requests carry twice as many rows: first those
                            of the + side, then the same samples of the - side. 1 takes the least memory */
  uint32_t steps, batch; /* of the zeroth-order methods; AUTO: of its T1, 0 leaves it out */
  uint32_t head_steps;   /* of HEAD; 0: 500, from 100 samples on 1500 */
  float eps;             /* of the noise; latents: in codes */
  float lr_ac, lr_head, lr_bias, lr_latent;
  uint32_t evaluate_every, patience, converged; /* E steps, P bad evaluations until a restore, Q without progress */
  float tolerance;                              /* of the loss, as a share of the base's */
  float margin;                                 /* that the metric must gain */
  float held_out;                               /* share of the samples, at least 10 of them */
  uint32_t sweeps;                              /* of the statistics tier, at most; 0: one a depth, but 8 */
  float shrink;                                 /* w = n / (n + shrink) */
  float base_weight;                            /* SOLVE: the base counts as so many samples; < 0: by the rules */
  float ridge;                                  /* SOLVE: relative to the mean diagonal; < 0: by the rules */
  uint32_t base_classes;                        /* classes that the base knows; the rest are new. 0: all */
  const float *cost;                            /* [classes][classes] of saying column for row; NULL: errors */
  float flip_share;                             /* T2: of the codes that can move, every flip_every steps */
  uint32_t flip_every;
} eq_tune_settings;

/* Settings of `method` as the specification measured them. */
void eq_tune_defaults(eq_tune_settings *settings, eq_tune_method method);

typedef struct {
  const eq_tune_model *model;
  const eq_tune_data *data;
  eq_tune_settings settings;
} eq_tune_plan;

/* ---- the conversation */
typedef struct eq_tune eq_tune;

/* Exact need in bytes; 0: eq_tune_check says why. */
size_t eq_tune_bytes(const eq_tune_plan *plan);
eq_tune_status eq_tune_check(const eq_tune_plan *plan);
eq_tune_status eq_tune_open(eq_tune **tune, const eq_tune_plan *plan, void *memory, size_t bytes);

typedef enum {
  EQ_TUNE_FORWARD = 0, /* run forward_tune; answer with eq_tune_reply */
  EQ_TUNE_READ,     /* fill `into`; answer with eq_tune_reply_store: OK, or STORE_FAILED when fewer bytes are there */
  EQ_TUNE_WRITE,    /* put `from` at `offset`, over what is there; answer with eq_tune_reply_store */
  EQ_TUNE_ERASE,    /* make the area empty; answer with eq_tune_reply_store */
  EQ_TUNE_FLUSH,    /* nothing after this may reach the storage before what came before; reply_store */
  EQ_TUNE_PROGRESS, /* a step worth showing, see eq_tune_report; no answer */
  EQ_TUNE_DONE,     /* see `outcome`; no answer */
} eq_tune_kind;

enum {
  EQ_TUNE_LOGITS = 1,
  EQ_TUNE_HIDDEN = 2,
  EQ_TUNE_TAPS = 4,
  EQ_TUNE_MOMENTS = 8,
  EQ_TUNE_INPUTS = 16,
  EQ_TUNE_SCORES = 32
};

/* Places that the caller keeps, one set of them for a run. */
typedef enum { EQ_TUNE_SLOT_A = 0, EQ_TUNE_SLOT_B, EQ_TUNE_LOG, EQ_TUNE_DELTA, EQ_TUNE_AREAS } eq_tune_area;

typedef enum {
  EQ_TUNE_COMMITTED = 0, /* the delta is written and was read back; the caller may make it active */
  EQ_TUNE_REJECTED,      /* nothing helped: the base stays */
  EQ_TUNE_STOPPED,       /* eq_tune_stop: open again with the same plan to go on */
  EQ_TUNE_DIVERGED,      /* restored three times: the base stays */
  EQ_TUNE_FAILED,        /* see `status`: the base stays */
} eq_tune_outcome;

typedef struct {
  eq_tune_kind kind;
  /* FORWARD */
  uint32_t count;             /* rows */
  const uint32_t *samples;    /* [count] indices */
  uint32_t outputs;           /* EQ_TUNE_LOGITS | ... */
  uint32_t ac_rows;           /* 1, 2 or count: row i of the request reads row i * ac_rows / count of ac */
  const float *ac;            /* [ac_rows][2 * all channels] */
  const float *head_weight;   /* [classes][hidden] */
  const float *head_bias;     /* [classes] */
  const float *const *latent; /* [latent_count][outputs][inputs] in codes; NULL: the base's codes */
  /* READ, WRITE, ERASE, FLUSH */
  eq_tune_area area;
  uint32_t offset, bytes;
  const uint8_t *from; /* WRITE */
  uint8_t *into;       /* READ */
  /* DONE */
  eq_tune_outcome outcome;
  eq_tune_status status;
} eq_tune_request;

typedef struct {
  uint32_t count;
  const float *logits;        /* [count][classes] */
  const float *hidden;        /* [count][hidden] */
  const float *taps;          /* [count][widths of the taps] */
  const float *moments;       /* [count][2][all channels] mean over the positions, mean squared deviation from it */
  const float *const *inputs; /* [latent_count] of [count][inputs] */
  const float *scores;        /* [count] */
} eq_tune_outputs;

/* The same request again until it is answered. */
eq_tune_status eq_tune_next(eq_tune *tune, eq_tune_request *request);
eq_tune_status eq_tune_reply(eq_tune *tune, const eq_tune_outputs *outputs);
eq_tune_status eq_tune_reply_store(eq_tune *tune, eq_tune_status status);
/* Honoured before the next FORWARD; a step that was not finished is dropped. May come from a signal handler. */
void eq_tune_stop(eq_tune *tune);

/* ---- what was learned */
typedef enum {
  EQ_TUNE_STAGE_RECOVER = 0,
  EQ_TUNE_STAGE_BASELINE,
  EQ_TUNE_STAGE_STATS,
  EQ_TUNE_STAGE_SOLVE,
  EQ_TUNE_STAGE_HEAD,
  EQ_TUNE_STAGE_STEPS,
  EQ_TUNE_STAGE_DECIDE,
  EQ_TUNE_STAGE_COMMIT,
} eq_tune_stage;

typedef struct {
  float loss;   /* mean over `samples` */
  float metric; /* share right; with a cost matrix minus the mean cost, without labels minus the loss */
  uint32_t samples;
} eq_tune_score;

typedef struct {
  eq_tune_stage stage;
  eq_tune_outcome outcome;
  eq_tune_status status;
  uint32_t step, steps;
  uint64_t forwards;   /* samples sent through the model so far, resumed parts included */
  eq_tune_score base;  /* on the data that decide: all samples, or the held-out part */
  eq_tune_score stats; /* with the statistics tier alone; samples 0: not measured */
  eq_tune_score now;   /* the latest: leave-one-out after a solve, held-out otherwise */
  eq_tune_score best;
  bool leave_one_out;                    /* what `best` is */
  float base_weight, ridge, temperature; /* of the solve */
  uint32_t restores, dropped_steps, rate_halvings;
  uint32_t step_samples; /* trained on */
} eq_tune_report_t;

void eq_tune_report(const eq_tune *tune, eq_tune_report_t *report);
/* sha256 over the state that a snapshot keeps: equal on every platform after the same replies. */
void eq_tune_state_hash(const eq_tune *tune, uint8_t digest[32]);

/* A delta as the module wrote it. Pointers into `bytes`. */
typedef struct {
  eq_tune_method method;
  uint32_t step;
  uint64_t seed;
  eq_tune_score base, tuned;
  uint32_t trained, held_out;
  float base_weight, ridge, temperature;
  uint32_t ac_count;
  const uint8_t *ac;              /* [ac_count] float32, not aligned */
  uint32_t classes;               /* of the head below */
  uint32_t head_width, tap_width; /* one of them 0; both 0: the base's head */
  const uint8_t *head;            /* [classes][width] then [classes], float32: over `hidden`, or over `taps` */
  uint32_t code_count;            /* 0, or of all latents together */
  const uint8_t *codes;           /* int8 each, in the order of the latents */
} eq_tune_delta;

/* Hostile bytes: everything is checked against the model before anything is believed. */
eq_tune_status eq_tune_delta_read(eq_tune_delta *delta, const eq_tune_model *model, const uint8_t *bytes, size_t size);

/* logits[c] = bias[c] + sum over k, in order, of weight[c][k] * x[k] */
void eq_tune_head(const float *x, uint32_t width, uint32_t classes, const float *weight, const float *bias,
                  float *logits);
/* The class to say: the largest logit, or by the least expected cost of softmax(logits). */
uint32_t eq_tune_decide(const float *logits, uint32_t classes, const float *cost);

/* ---- random numbers, counter based: stream 0 batches, 1 scales and biases, 2 latents, 5 head (shared Gaussian) */
uint64_t eq_tune_word(uint64_t run, uint32_t stream, uint64_t step, uint64_t k);
float eq_tune_gauss(uint64_t word);
uint32_t eq_tune_pick(uint64_t word, uint32_t below);
/* Arithmetic that is the same everywhere, for tests: kind 0 exp, 1 log, 2 sqrt, 3 rounding to half precision, 4 exp for
 * |x| < 0.34. */
float eq_tune_function(int kind, float x);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
