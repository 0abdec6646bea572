/* What tuned operators have beyond their twins, NAME_tuned(ac, start, sigma, ...) -> (..., moments): corrections of
 * scale and bias, made before the twin's kernel runs, and moments, for which the kernels are compiled with EQ_MOMENTS.
 * Their files are those of the twins, compiled once more with EQM_TUNED. edgeq/ops/_tuned.py has the schema. */
#ifndef EQM_TUNED_H
#define EQM_TUNED_H

#ifndef EQ_MOMENTS
#error "kernels/mcu and micro/tuned are compiled with -DEQ_MOMENTS"
#endif

void eqm_conv2d_b1b1_tuned(eqm_call *c);
void eqm_conv2d_i8f32_tuned(eqm_call *c);
void eqm_conv2d_s2i8_tuned(eqm_call *c);
void eqm_conv2d_s3i8_tuned(eqm_call *c);
void eqm_conv2d_s4i8_tuned(eqm_call *c);
void eqm_conv2d_i8i8_tuned(eqm_call *c);
/* Around them, and the float head. */
void eqm_mean_quarters(eqm_call *c);
void eqm_fake_quantise(eqm_call *c);
void eqm_linear_f32f32(eqm_call *c);
void eqm_full_like(eqm_call *c);
void eqm_cat(eqm_call *c);

typedef struct {
  eq_tuning t; /* first: an epilogue's `tuning` leads here */
  const eqm_value *ac;
  uint32_t start;
  eq_epilogue *e;
  uint32_t channels;
} eqm_tuned;

enum { EQM_MORE = 32 }; /* of want: moments */

/* ac, start, sigma. */
void eqm_take_tuning(eqm_call *c, eqm_tuned *tuned);
/* The output moments, and the corrections into e. ac has one row, or there is one image. */
void eqm_take_moments(eqm_call *c, const eq_conv2d *op, uint32_t want, eqm_tuned *tuned, eq_epilogue *e);
/* want, map, bits, mean, moments. */
void eqm_take_tuned_outs(eqm_call *c, const eq_conv2d *op, eqm_tuned *tuned, eq_epilogue *e);
/* As eqm_ready; scale and bias of e are corrected then, behind the kernel's scratch. */
bool eqm_tuned_ready(eqm_call *c, const eq_epilogue *e, uint64_t scratch_bytes);

#define EQM_NAME(name) name##_tuned
#define EQM_TUNING(c)                                                                                                  \
  eqm_tuned tuning;                                                                                                    \
  eqm_take_tuning(c, &tuning)
#define EQM_TAKE_MOMENTS(c, op, want, e) eqm_take_moments(c, op, want, &tuning, e)
#define EQM_SUMS(mean, want, o) ((((mean) ? 1u : 0u) + ((want) & EQM_MORE ? 2u : 0u)) * (uint64_t)(o) * sizeof(float))
#define EQM_READY(c, e, bytes) eqm_tuned_ready(c, e, bytes)

#endif
