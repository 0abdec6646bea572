/* The epilogue over a stage: channels in lanes, V16_PIXELS pixels at a time so that a parameter is read once for all.
 */
#include "declare.h"
#include "functions.h"

/* In place. Not inline: it is long, and the stages are many. */
static __attribute__((noinline)) void gelu(v16 *y, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) y[i] = v16_gelu(y[i]);
}

INLINE void store_bits(uint8_t *to, uint32_t bits, uint32_t lanes) {
  bits &= (1u << lanes) - 1;
  to[0] = (uint8_t)bits;
  if (lanes > 8) to[1] = (uint8_t)(bits >> 8);
}

/* The planes of GELU(y) without its value: the sign is that of y / 2, and 0 where the value is, because y / 2 is or
 * because erf(y / sqrt 2) is -1. Minus infinity gives NaN, which is not 0. */
INLINE void store_gelu_planes(const eq_stage *s, size_t at, v16 y, uint32_t lanes) {
  const v16 zero = v16_set(0.0f), half = v16_mul(v16_set(0.5f), y), x = v16_mul(y, v16_set(0.70710678f));
  const uint32_t vanishes = v16_ge(v16_set(-EQ_ERF_ONE), x) & v16_ge(y, v16_set(-__FLT_MAX__));
  store_bits(s->out_t2[0] + at, v16_gt(half, zero), lanes);
  store_bits(s->out_t2[1] + at, v16_ne(half, zero) & ~vanishes, lanes);
}

/* `lanes` channels from c on, `pixels` pixels from p on. What is constant at the call disappears. */
INLINE void stage_part(const eq_stage *s, uint32_t p, uint32_t c, uint32_t pixels, uint32_t lanes, bool integer,
                       unsigned residuals, eq_act act) {
  const bool full = lanes == EQ_LANES;
  v16 y[V16_PIXELS];
  const v16 scale = v16_load(s->scale + c), bias = v16_load(s->bias + c);
  for (uint32_t i = 0; i < pixels; i++) {
    const size_t at = (p + i) * s->acc_pitch + c;
    v16 acc;
    if (integer)
      acc = full ? v16_of_i32(s->acc_i32 + at) : v16_of_i32_n(s->acc_i32 + at, lanes);
    else
      acc = full ? v16_load(s->acc_f32 + at) : v16_load_n(s->acc_f32 + at, lanes);
    y[i] = s->row_scale ? v16_mul(acc, v16_mul(v16_set(s->row_scale[(p + i) * s->row_pitch]), scale))
                        : v16_mul(acc, scale);
  }
  if (s->first) {
    v16 first = v16_load(s->first + c), second = v16_load(s->second + c);
    for (uint32_t i = 0; i < pixels; i++) {
      first = v16_add(first, y[i]);
      second = v16_add(second, v16_mul(y[i], y[i]));
    }
    v16_store(s->first + c, first);
    v16_store(s->second + c, second);
  }
  if (!s->row_shift)
    for (uint32_t i = 0; i < pixels; i++) y[i] = v16_add(y[i], bias);
  if (s->row_shift) {
    const v16 weight = v16_load(s->shift_weight + c);
    for (uint32_t i = 0; i < pixels; i++)
      y[i] = v16_add(v16_add(y[i], v16_mul(v16_set(s->row_shift[(p + i) * s->row_pitch]), weight)), bias);
  }
  for (unsigned r = 0; r < residuals; r++)
    for (uint32_t i = 0; i < pixels; i++) {
      const float *from = s->residual[r] + (p + i) * s->residual_pitch[r] + c;
      y[i] = v16_add(y[i], full ? v16_load(from) : v16_load_n(from, lanes));
    }
  if (act == EQ_ACT_DPRELU) {
    const v16 pos = v16_load(s->pos + c), neg = v16_load(s->neg + c), shift = v16_load(s->shift + c);
    for (uint32_t i = 0; i < pixels; i++) y[i] = v16_sub(v16_mul(v16_choose(y[i], pos, neg), y[i]), shift);
  } else if (act == EQ_ACT_RELU) {
    for (uint32_t i = 0; i < pixels; i++) y[i] = v16_max(y[i], v16_set(0.0f));
  } else if (act == EQ_ACT_HSIGMOID) {
    for (uint32_t i = 0; i < pixels; i++) {
      const v16 t = v16_max(v16_add(y[i], v16_set(3.0f)), v16_set(0.0f));
      y[i] = v16_div(v16_min(t, v16_set(6.0f)), v16_set(6.0f));
    }
  } else if (act == EQ_ACT_GELU && s->only_planes) {
    for (uint32_t i = 0; i < pixels; i++) store_gelu_planes(s, (p + i) * s->bits_pitch + c / 8, y[i], lanes);
    return;
  } else if (act == EQ_ACT_GELU) {
    v16 each[V16_PIXELS];
    for (uint32_t i = 0; i < pixels; i++) each[i] = y[i];
    gelu(each, pixels);
    for (uint32_t i = 0; i < pixels; i++) y[i] = each[i];
  }
  if (s->affine) {
    const v16 bias2 = v16_load(s->bias2 + c);
    for (uint32_t i = 0; i < pixels; i++)
      y[i] = v16_add(v16_mul(y[i], v16_load(s->gain + (p + i) * s->gain_pitch + c)), bias2);
  }

  if (s->out)
    for (uint32_t i = 0; i < pixels; i++) {
      float *to = s->out + (p + i) * s->out_pitch + c;
      /* the line that the next pixels' store will need */
      if (full && pixels > 1) __builtin_prefetch((const void *)((uintptr_t)to + pixels * s->out_pitch * sizeof *to), 1);
      if (full)
        v16_store(to, y[i]);
      else
        v16_store_n(to, y[i], lanes);
    }
  if (s->out_bits)
    for (uint32_t i = 0; i < pixels; i++) {
      uint8_t *to = s->out_bits + (p + i) * s->bits_pitch + c / 8;
      if (full) {
        v16_store_signs(to, y[i]);
        continue;
      }
      store_bits(to, v16_ge(y[i], v16_set(0.0f)), lanes);
    }
  if (s->out_t2[0])
    for (uint32_t i = 0; i < pixels; i++) {
      const size_t at = (p + i) * s->bits_pitch + c / 8;
      store_bits(s->out_t2[0] + at, v16_gt(y[i], v16_set(0.0f)), lanes);
      store_bits(s->out_t2[1] + at, v16_ne(y[i], v16_set(0.0f)), lanes);
    }
  if (s->out_i8) {
    const v16 low = v16_set((float)s->grid.low), high = v16_set((float)s->grid.high);
    for (uint32_t i = 0; i < pixels; i++) {
      const v16 t = v16_min(v16_max(v16_mul(y[i], v16_set(s->grid.inv_step)), low), high);
      int8_t *to = s->out_i8 + (p + i) * s->out_pitch + c;
      if (full)
        v16_store_i8(to, t);
      else
        v16_store_i8_n(to, t, lanes);
    }
  }
  if (s->row_sum) {
    v16 sum = v16_load(s->row_sum + c);
    for (uint32_t i = 0; i < pixels; i++) sum = v16_add(sum, y[i]);
    v16_store(s->row_sum + c, sum);
  }
}

/* The last channels, fewer than EQ_LANES: one copy for every combination. */
static __attribute__((noinline)) void stage_rest(const eq_stage *s, uint32_t p, uint32_t c, uint32_t lanes) {
  stage_part(s, p, c, 1, lanes, s->acc_i32 != NULL, s->residuals, s->act);
}

/* Is there nothing but scale, bias and floats? */
INLINE bool is_plain(const eq_stage *s, unsigned residuals, eq_act act) {
  return residuals == 0 && act == EQ_ACT_NONE && s->out && !s->affine && !s->row_shift && !s->out_bits &&
         !s->out_t2[0] && !s->out_i8 && !s->row_sum && !s->first;
}

/* The same as stage_part() for whole vectors of such pixels, without its questions at each of them. */
INLINE void plain_part(const eq_stage *s, uint32_t p, uint32_t pixels, uint32_t channels, bool integer) {
  v16 row[V16_PIXELS];
  for (uint32_t i = 0; i < pixels; i++) row[i] = v16_set(s->row_scale ? s->row_scale[(p + i) * s->row_pitch] : 1.0f);
  const size_t acc_pitch = s->acc_pitch, out_pitch = s->out_pitch;
  const int32_t *whole = s->acc_i32 + p * acc_pitch;
  const float *real = s->acc_f32 + p * acc_pitch, *scales = s->scale, *biases = s->bias;
  float *out = s->out + p * out_pitch;
  for (uint32_t c = 0; c < channels; c += EQ_LANES) {
    const v16 scale = v16_load(scales + c), bias = v16_load(biases + c);
    for (uint32_t i = 0; i < pixels; i++) {
      const v16 acc = integer ? v16_of_i32(whole + i * acc_pitch + c) : v16_load(real + i * acc_pitch + c);
      float *to = out + i * out_pitch + c;
      /* the line that the next pixels' store will need */
      if (pixels > 1) __builtin_prefetch((const void *)((uintptr_t)to + pixels * out_pitch * sizeof *to), 1);
      v16_store(to, v16_add(v16_mul(acc, v16_mul(row[i], scale)), bias));
    }
  }
}

INLINE void stage_all(const eq_stage *s, bool integer, unsigned residuals, eq_act act) {
  const uint32_t whole = s->channels / EQ_LANES * EQ_LANES, rest = s->channels - whole;
  const bool plain = is_plain(s, residuals, act);
  uint32_t p = 0;
  for (; p + V16_PIXELS <= s->pixels; p += V16_PIXELS) {
    if (plain)
      plain_part(s, p, V16_PIXELS, whole, integer);
    else
      for (uint32_t c = 0; c < whole; c += EQ_LANES) stage_part(s, p, c, V16_PIXELS, EQ_LANES, integer, residuals, act);
    for (uint32_t i = 0; rest && i < V16_PIXELS; i++) stage_rest(s, p + i, whole, rest);
  }
  for (; p < s->pixels; p++) {
    if (plain)
      plain_part(s, p, 1, whole, integer);
    else
      for (uint32_t c = 0; c < whole; c += EQ_LANES) stage_part(s, p, c, 1, EQ_LANES, integer, residuals, act);
    if (rest) stage_rest(s, p, whole, rest);
  }
}

/* The combinations that networks use get code of their own. */
INLINE void stage_by_act(const eq_stage *s, bool integer, unsigned residuals) {
  if (s->act == EQ_ACT_DPRELU)
    stage_all(s, integer, residuals, EQ_ACT_DPRELU);
  else if (s->act == EQ_ACT_NONE)
    stage_all(s, integer, residuals, EQ_ACT_NONE);
  else
    stage_all(s, integer, residuals, s->act);
}

static void copy_accumulators(const eq_stage *s) {
  for (uint32_t p = 0; p < s->pixels; p++)
    __builtin_memcpy(s->out_acc + p * s->out_pitch, s->acc_i32 + p * s->acc_pitch, s->channels * sizeof(int32_t));
}

static void zero_behind(const eq_stage *s, uint8_t *bits) {
  if (!bits) return;
  for (uint32_t p = 0; p < s->pixels; p++)
    for (uint32_t i = 0; i < s->bits_zero; i++) bits[p * s->bits_pitch + (s->channels + 7) / 8 + i] = 0;
}

void EQ_NAME(eq_epilogue)(const eq_stage *s) {
  if (s->out_acc) copy_accumulators(s);
  if (s->out || s->out_bits || s->out_t2[0] || s->out_i8 || s->row_sum || s->first) {
    if (!s->acc_i32)
      stage_by_act(s, false, s->residuals);
    else if (s->residuals == 0)
      stage_by_act(s, true, 0);
    else if (s->residuals == 1)
      stage_by_act(s, true, 1);
    else
      stage_by_act(s, true, 2);
  }
  zero_behind(s, s->out_bits);
  zero_behind(s, s->out_t2[0]);
  zero_behind(s, s->out_t2[1]);
}
