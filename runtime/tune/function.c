/* The module's arithmetic, for tests. */
#include "core/half.h"
#include "edgeq/tune.h"
#include "tune/number.h"

float eq_tune_function(int kind, float x) {
  switch (kind) {
  case 0: return eq_exp(x);
  case 1: return eq_log(x);
  case 2: return eq_sqrt_integer(x);
  case 3: return eq_half(eq_to_half(x));
  case 4: return eq_exp_near(x);
  default: return eq_sqrt(x);
  }
}
