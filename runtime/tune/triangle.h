/* Least squares in square-root form: an upper triangle with its right-hand sides, one Givens row update a sample.
 *
 * A triangle of d features and c right-hand sides is packed by rows: row i holds the entries i .. d - 1, then c
 * right-hand sides. T^T T is the Gram matrix; T^T rhs the products with the targets. */
#ifndef EQ_TUNE_TRIANGLE_H
#define EQ_TUNE_TRIANGLE_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
  uint32_t d, c;
  float *t;
} eq_triangle;

static inline size_t eq_triangle_floats(uint32_t d, uint32_t c) { return (size_t)d * (d + 1) / 2 + (size_t)d * c; }

/* t = scale * from; from NULL: zeros */
void eq_triangle_set(eq_triangle *t, const float *from, float scale);
/* Absorb the row v [d + c], of which the first `first` features are 0; v is used up. */
void eq_triangle_add(eq_triangle *t, float *v, uint32_t first);
/* Add size^2 to the diagonal of the Gram matrix; v [d + c] is scratch. */
void eq_triangle_ridge(eq_triangle *t, float size, float *v);
/* Absorb another triangle of the same shape, scaled; v [d + c] is scratch. */
void eq_triangle_merge(eq_triangle *t, const float *from, float scale, float *v);
/* solution [d][c]; a feature without any weight gets 0 */
void eq_triangle_solve(const eq_triangle *t, float *solution);
/* x^T (T^T T)^-1 x; u [d] is scratch */
float eq_triangle_leverage(const eq_triangle *t, const float *x, float *u);
/* Sum of the squares of the entries, without the right-hand sides: the trace of the Gram matrix. */
float eq_triangle_trace(uint32_t d, uint32_t c, const float *t);

#endif
