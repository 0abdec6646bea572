/* Corrections and moments of tuned operators. */
#define EQM_TUNED
#include "core/functions.h"
#include "micro/operators.h"

void eqm_take_tuning(eqm_call *c, eqm_tuned *tuned) {
  *tuned = (eqm_tuned){.ac = eqm_tensor(c, EQM_F32)};
  tuned->start = eqm_integer(c, EQM_MOST);
  const eqm_value *sigma = eqm_next(c);
  if (eqm_require(c, sigma->kind == EQM_DOUBLE)) tuned->t.sigma = sigma->number;
}

void eqm_take_moments(eqm_call *c, const eq_conv2d *op, uint32_t want, eqm_tuned *tuned, eq_epilogue *e) {
  const uint32_t extents[] = {op->n, 2, op->o};
  if (want & EQM_MORE)
    tuned->t.moments = eqm_out(c, EQM_F32, 3, extents);
  else
    eqm_no_out(c);
  const eqm_value *ac = tuned->ac;
  if (!eqm_require(c,
                   ac->rank == 2 && eqm_extent(ac, 0) == 1 && tuned->start + 2 * (uint64_t)op->o <= eqm_extent(ac, 1)))
    return;
  tuned->t.rows = 1;
  tuned->t.a = eqm_floats(ac) + tuned->start;
  tuned->t.c = tuned->t.a + op->o;
  tuned->channels = op->o;
  tuned->e = e;
  e->tuning = &tuned->t;
}

static void *out_if(eqm_call *c, bool wanted, uint32_t type, uint32_t rank, const uint32_t *extents) {
  if (wanted) return eqm_out(c, type, rank, extents);
  eqm_no_out(c);
  return NULL;
}

void eqm_take_tuned_outs(eqm_call *c, const eq_conv2d *op, eqm_tuned *tuned, eq_epilogue *e) {
  enum { MAP = 1, BITS = 2, MEAN = 4 };
  const uint32_t want = eqm_integer(c, MAP | BITS | MEAN | EQM_MORE);
  const uint32_t map[] = {op->n, op->out_h, op->out_w, op->o}, mean[] = {op->n, op->o},
                 bits[] = {op->n, op->out_h, op->out_w, (uint32_t)eq_row_bytes(op->o)};
  e->out = out_if(c, want & MAP, EQM_F32, 4, map);
  e->out_bits = out_if(c, want & BITS, EQM_U8, 4, bits);
  e->out_mean = out_if(c, want & MEAN, EQM_F32, 2, mean);
  eqm_take_moments(c, op, want, tuned, e);
}

static bool near(float x) {
  uint32_t bits;
  __builtin_memcpy(&bits, &x, sizeof bits);
  return (bits & 0x7fffffffu) < 0x3eb00000u; /* EQ_EXP_NEAR */
}

/* core/output.c has the same. Corrections are small: the inner loop is nearly all of it. */
static void correct(const eqm_tuned *tuned, float *scale, float *bias) {
  eq_epilogue *e = tuned->e;
  const float *from = e->scale, *plus = e->bias, *a = tuned->t.a, *c = tuned->t.c, sigma = tuned->t.sigma;
  for (uint32_t i = 0, n = tuned->channels; i < n; i++) {
    for (; i < n && near(a[i]); i++) {
      scale[i] = from[i] * eq_exp_near(a[i]);
      bias[i] = plus[i] + sigma * c[i];
    }
    if (i == n) break;
    scale[i] = from[i] * eq_exp(a[i]);
    bias[i] = plus[i] + sigma * c[i];
  }
  e->scale = scale;
  e->bias = bias;
}

bool eqm_tuned_ready(eqm_call *c, const eq_epilogue *e, uint64_t scratch_bytes) {
  const eqm_tuned *tuned = (const eqm_tuned *)(const void *)e->tuning;
  const uint64_t vector = tuned ? tuned->channels * (uint64_t)sizeof(float) : 0;
  if (!eqm_ready(c, scratch_bytes + 2 * vector)) return false;
  float *const corrected = (float *)(void *)((uint8_t *)c->scratch + (size_t)scratch_bytes);
  correct(tuned, corrected, corrected + tuned->channels);
  return true;
}
