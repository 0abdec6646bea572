/* A tuning run from inside: what its plan comes to, what a snapshot keeps, and the memory of one step. */
#ifndef EQ_TUNE_STATE_H
#define EQ_TUNE_STATE_H

#include "edgeq/tune.h"
#include "proto/sha256.h"
#include "tune/number.h"
#include "tune/random.h"
#include "tune/triangle.h"

#define EQ_TUNE_BETA1 0.9f
#define EQ_TUNE_BETA2 0.99f
#define EQ_TUNE_TINY 1e-8f
#define EQ_TUNE_LARGEST_DIFFERENCE 20.0f
#define EQ_TUNE_LARGEST_A 8.0f
#define EQ_TUNE_LARGEST_C 1e4f
enum {
  EQ_TUNE_FEW = 30,
  EQ_TUNE_SWEEPS = 8,
  EQ_TUNE_LEAST_HELD = 10,
  EQ_TUNE_FOLDS = 5,
  EQ_TUNE_RESTORES = 3,
  EQ_TUNE_TEMPERATURES = 25,
  EQ_TUNE_BINS = 1024
};

/* What the plan comes to. */
typedef struct {
  bool stats, solve, head, noise; /* legs of the run; neither solve, head nor noise: the statistics tier alone */
  bool labelled, cached, grid;    /* grid: solve chooses by leave-one-out, with a second triangle */
  bool lifts;                     /* solve gives new classes a bias */
  bool plain;                     /* a second solve may do without the statistics tier */
  bool per_sample, gauss, logged; /* of the noise; logged: a step is one number */
  bool pairs;                     /* both sides of a sample in one request; else one after the other */
  bool noise_ac, noise_head, noise_latent;
  bool exact_head, learn_head, learn_latent, flips;
  bool weights, start;           /* noise on codes instead of latents; begins where the model says */
  uint32_t samples, held, folds; /* folds 0: a held-out part */
  uint32_t channels, ac, classes, hidden, head_values, latent_values, values;
  uint32_t taps, d;                              /* d = taps + 1 features of the solve */
  uint32_t sweeps, batch, sweep_rows, step_rows; /* step_rows: samples of a step's request */
  uint32_t head_steps, adam_from, adam_values, square_values;
  uint32_t tap_values; /* of the head over the taps; 0 without solve */
  uint32_t best_values;
} eq_tune_shape;

typedef struct {
  float loss, metric; /* sums */
  float mean, square; /* of the losses, by Welford */
  uint32_t count;
} eq_tune_sum;

enum { EQ_PLAIN_NO = 0, EQ_PLAIN_TRIED, EQ_PLAIN_BETTER }; /* solve without the statistics tier, after that with it */
enum { EQ_LEG_HEAD = 0, EQ_LEG_NOISE = 1 };
enum { EQ_HEAD_GRAPH = 0, EQ_HEAD_TAPS, EQ_HEAD_BASE }; /* GRAPH: its parameters may have been learned */
typedef enum { S_BASELINE = 0, S_STATS, S_CHECK, S_SOLVE, S_STEPS, S_DECIDE, S_COMMIT, S_FINISHED } eq_tune_at;

/* What a snapshot keeps, in front of the parameters: words without holes. */
typedef struct {
  uint64_t forwards;
  uint32_t at, leg, sweep, fold, step, best_step, outcome, status;
  uint32_t rate_halvings, restores, bad, stale, dropped, dropped_in_row;
  uint32_t solved, leave_one_out; /* solved: EQ_HEAD_... in force */
  float power1, power2, second;   /* 0.9^step, 0.99^step, the scalar second moment */
  uint32_t decided_on_all;        /* best was measured on all samples, not on the held-out part */
  float weight, ridge, temperature, first_metric;
  eq_tune_sum base_all, base_held, stats, now, best;
  uint32_t plain; /* EQ_PLAIN_... */
} eq_tune_saved;
_Static_assert(sizeof(eq_tune_saved) == 208, "a snapshot has no holes");

typedef enum { IO_NONE = 0, IO_RECOVER, IO_SAVE, IO_LOG_OPEN, IO_LOG, IO_REPLAY, IO_COMMIT } eq_tune_io;
typedef enum { M_START = 0, M_FILL, M_EVAL, M_STEP, M_APPLY } eq_tune_mode;

enum { EQ_SNAPSHOT_HEADER = 176, EQ_LOG_HEADER = 160, EQ_LOG_RECORD = 4, EQ_DELTA_HEADER = 224, EQ_TUNE_CHUNK = 256 };

struct eq_tune {
  const eq_tune_model *model;
  const eq_tune_data *data;
  eq_tune_settings set;
  eq_tune_shape shape;
  eq_tune_request request;
  bool waiting, done, entered, progress;
  volatile uint32_t stop;
  uint8_t plan_hash[32];

  /* persistent, one block from `saved` on */
  eq_tune_saved *saved;
  size_t saved_bytes;
  float *values; /* [shape.values] ac, head weight, head bias, latents: those that learn, and ac always */
  float *tap;    /* [tap_values] weight [classes][taps], bias [classes] */
  float *best;   /* [best_values] */
  float *moment; /* [adam_values] first moments; of latents that flip the running gradient */
  float *square; /* [square_values] second moments */

  /* of the moment */
  uint32_t position;   /* in a sweep, an evaluation or a batch */
  uint32_t asked;      /* samples of the open request */
  uint32_t mode, side; /* of the steps */
  bool cache_ready, bad_step;
  uint32_t *order;      /* [samples] held-out positions first; NULL: as they come */
  uint32_t *rows;       /* [request rows] sample indices */
  float *mean, *spread; /* [channels] Welford, spread = sum of squared deviations */
  uint32_t counted;
  float *cache;                                 /* [samples][taps or hidden] by position */
  float *gradient;                              /* [adam_values] */
  float *noisy;                                 /* [2 * step_rows, 2 or 1][ac]; zeros of a plain solve */
  float *noisy_head;                            /* [head_values] */
  float *noisy_latent;                          /* [latent_values] */
  const float **latent;                         /* [latent_count] */
  float *plus_loss, *plus_logits, *plus_hidden; /* of the + side, while the - side is asked for */
  float *logits, *slope;                        /* [classes] */
  uint32_t *bins;                               /* [EQ_TUNE_BINS] of codes that flip */
  float difference;                             /* sum of d_i over the batch */
  uint16_t gain;                                /* its mean as a half: what a shared step is; NaN: dropped */
  eq_tune_sum evaluation;
  eq_triangle work, data_triangle;
  float *row, *lever, *solution, *class_weight; /* [d + classes], [d], [d][classes], [classes] */
  float *lift;                                  /* [classes] sum of what leave-one-out says each new class misses */
  float trace;
  uint32_t pass;     /* of the solve */
  eq_tune_sum *warm; /* [EQ_TUNE_TEMPERATURES] leave-one-out scores */

  /* storage */
  uint32_t io, io_at, io_offset, sequence;
  bool log_ready, replaying;
  uint32_t found[2]; /* sequence numbers of the slots + 1; 0: nothing valid */
  uint8_t header[2][EQ_DELTA_HEADER];
  uint8_t chunk[EQ_TUNE_CHUNK];
  eq_sha256 verify;
};

static inline float *eq_head_weight(const eq_tune *t) { return t->values + t->shape.ac; }
static inline float *eq_head_bias(const eq_tune *t) {
  return t->values + t->shape.ac + (size_t)t->shape.classes * t->shape.hidden;
}
static inline uint32_t eq_latent_start(const eq_tune_shape *s) { return s->ac + (s->learn_head ? s->head_values : 0); }
static inline float *eq_latents(const eq_tune *t) { return t->values + eq_latent_start(&t->shape); }
/* As the network rounds it. */
static inline float eq_code_of(const eq_tune_latent *latent, float value) {
  if (latent->binary) return value >= 0.0f ? 1.0f : -1.0f;
  return eq_clip(eq_round_even(value), (float)latent->low, (float)latent->high);
}
static inline uint32_t eq_sample_at(const eq_tune *t, uint32_t position) {
  return t->order ? t->order[position] : position;
}

/* Where the a of a layer begins in ac; its c follows them. */
static inline uint32_t eq_a_of(const eq_tune_model *m, uint32_t layer) {
  uint32_t at = 0;
  for (uint32_t k = 0; k < layer; k++) at += 2 * m->layers[k].channels;
  return at;
}

/* plan.c */
eq_tune_status eq_tune_shape_of(eq_tune_shape *shape, const eq_tune_plan *plan);
size_t eq_tune_place(eq_tune *t, const eq_tune_shape *shape, uint32_t latents, uint8_t *memory);
void eq_tune_hash_plan(const eq_tune_plan *plan, const eq_tune_shape *shape, uint8_t digest[32]);

/* tune.c */
void eq_tune_fail(eq_tune *t, eq_tune_status status);
void eq_tune_finish(eq_tune *t, eq_tune_outcome outcome, eq_tune_status status); /* and remember it */
void eq_tune_initial(eq_tune *t); /* the state before the first request */
void eq_tune_enter(eq_tune *t, eq_tune_at at);
void eq_tune_progress(eq_tune *t);
/* Ask for `count` samples from t->rows with the parameters as they are. */
void eq_tune_ask(eq_tune *t, uint32_t count, uint32_t outputs);
/* The next samples of positions [t->position, end): false when there are none. */
bool eq_tune_sweep(eq_tune *t, uint32_t end, uint32_t outputs);
uint32_t eq_tune_scored_by(const eq_tune *t); /* outputs that eq_tune_sum_add needs */

/* score.c */
bool eq_tune_loss_of(const eq_tune *t, uint32_t sample, const float *logits, float *loss, float *slope);
/* The logits of row i in force; scratch [classes]. */
const float *eq_tune_logits_of(const eq_tune *t, const eq_tune_outputs *outputs, uint32_t i, float *scratch);
bool eq_tune_sum_row(eq_tune *t, eq_tune_sum *sum, uint32_t sample, const eq_tune_outputs *outputs, uint32_t i);
bool eq_tune_sum_logits(const eq_tune *t, eq_tune_sum *sum, uint32_t sample, const float *logits);
void eq_tune_sum_loss(eq_tune_sum *sum, float loss, float metric);
eq_tune_score eq_tune_score_of(const eq_tune_sum *sum);
bool eq_tune_better(const eq_tune *t, const eq_tune_sum *now, const eq_tune_sum *base);

/* stats.c */
uint32_t eq_tune_depths(const eq_tune_model *model); /* different ones */
void eq_tune_stats_clear(eq_tune *t);
bool eq_tune_stats_add(eq_tune *t, const float *moments);
void eq_tune_stats_apply(eq_tune *t);

/* solve.c */
void eq_tune_solve_start(eq_tune *t);
void eq_tune_solve_advance(eq_tune *t);
void eq_tune_solve_take(eq_tune *t, const eq_tune_outputs *outputs);

/* steps.c, update.c */
void eq_tune_leg_start(eq_tune *t, uint32_t leg);
void eq_tune_steps_advance(eq_tune *t);
void eq_tune_steps_take(eq_tune *t, const eq_tune_outputs *outputs);
void eq_tune_steps_replay(eq_tune *t, uint16_t gain); /* the next step from its number alone */
bool eq_tune_steps_refill(const eq_tune *t);          /* the open request repeats what an earlier life knew */
uint32_t eq_tune_steps_of(const eq_tune *t);          /* of the leg */
uint32_t eq_tune_batch_of(const eq_tune *t);
void eq_tune_update(eq_tune *t);
void eq_tune_zero_moments(eq_tune *t);
/* t->noisy... = parameters + sign * eps * noise, shared by all samples. */
void eq_tune_perturb(eq_tune *t, float sign);
void eq_tune_codes(const eq_tune *t, float *codes); /* [latent_values] of the latents */

/* journal.c, delta.c */
void eq_tune_io_start(eq_tune *t, eq_tune_io io);
void eq_tune_io_advance(eq_tune *t);
void eq_tune_io_reply(eq_tune *t, eq_tune_status status);
uint32_t eq_tune_crc(uint32_t crc, const void *bytes, size_t count);
void eq_tune_commit_advance(eq_tune *t);
void eq_tune_commit_reply(eq_tune *t);
void eq_tune_store_ask(eq_tune *t, eq_tune_kind kind, eq_tune_area area, uint32_t offset, const void *from, void *into,
                       size_t bytes);

#endif
