#include "tune/triangle.h"

#include "tune/number.h"

static size_t row_at(uint32_t i, uint32_t d, uint32_t c) {
  return (size_t)i * ((size_t)d + c) - (size_t)i * (i - (i > 0)) / 2;
}

void eq_triangle_set(eq_triangle *t, const float *from, float scale) {
  const size_t floats = eq_triangle_floats(t->d, t->c);
  for (size_t k = 0; k < floats; k++) t->t[k] = from ? eq_flush(from[k] * scale) : 0.0f;
}

void eq_triangle_add(eq_triangle *t, float *v, uint32_t first) {
  const uint32_t d = t->d;
  for (uint32_t i = first; i < d; i++) {
    const float b = v[i];
    if (b == 0.0f) continue;
    float *row = t->t + row_at(i, d, t->c);
    const float a = row[0], h = eq_sqrt(a * a + b * b), c = a / h, s = b / h;
    row[0] = h;
    float *w = v + i;
    for (uint32_t k = 1; k < d - i + t->c; k++) {
      const float p = row[k], q = w[k];
      row[k] = eq_flush(c * p + s * q);
      w[k] = eq_flush(c * q - s * p);
    }
  }
}

void eq_triangle_ridge(eq_triangle *t, float size, float *v) {
  for (uint32_t i = 0; i < t->d; i++) {
    for (uint32_t k = 0; k < t->d + t->c; k++) v[k] = 0.0f;
    v[i] = size;
    eq_triangle_add(t, v, i);
  }
}

void eq_triangle_merge(eq_triangle *t, const float *from, float scale, float *v) {
  const uint32_t d = t->d, width = d + t->c;
  for (uint32_t i = 0; i < d; i++) {
    const float *row = from + row_at(i, d, t->c);
    for (uint32_t k = i; k < width; k++) v[k] = eq_flush(row[k - i] * scale);
    eq_triangle_add(t, v, i);
  }
}

void eq_triangle_solve(const eq_triangle *t, float *solution) {
  const uint32_t d = t->d, c = t->c;
  for (uint32_t i = d; i-- > 0;) {
    const float *row = t->t + row_at(i, d, c);
    for (uint32_t j = 0; j < c; j++) {
      float rest = row[d - i + j];
      for (uint32_t k = i + 1; k < d; k++) rest -= row[k - i] * solution[(size_t)k * c + j];
      solution[(size_t)i * c + j] = row[0] > 0.0f ? eq_flush(rest / row[0]) : 0.0f;
    }
  }
}

float eq_triangle_leverage(const eq_triangle *t, const float *x, float *u) {
  const uint32_t d = t->d;
  float h = 0.0f;
  for (uint32_t i = 0; i < d; i++) u[i] = x[i];
  for (uint32_t i = 0; i < d; i++) {
    const float *row = t->t + row_at(i, d, t->c);
    if (u[i] == 0.0f || !(row[0] > 0.0f)) continue;
    const float a = eq_flush(u[i] / row[0]);
    h += a * a;
    for (uint32_t k = i + 1; k < d; k++) u[k] -= row[k - i] * a;
  }
  return h;
}

float eq_triangle_trace(uint32_t d, uint32_t c, const float *t) {
  float trace = 0.0f;
  for (uint32_t i = 0; i < d; i++) {
    const float *row = t + row_at(i, d, c);
    for (uint32_t k = 0; k < d - i; k++) trace += row[k] * row[k];
  }
  return trace;
}
