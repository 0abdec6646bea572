// From the arguments of an operator to the core's description of what happens to an accumulator.
#pragma once

#include "call.h"

namespace edgeq {

// Reads act and params: float [R][O], rows scale, bias, then (act DPRELU) pos, neg, shift, then optionally scale2,
// bias2.
// shifted: one more row at the end, shift_weight.
void take_activation(Call &call, uint32_t channels, eq_epilogue *e, bool shifted = false);

// Reads rows (float [1 or 2][rows], or None), act, params (a further last row, shift_weight, when rows has 2), skip
// (float or int8 with that many rows of channels, added before the activation), skip_step (float [1]) and grid (float
// [3]: inv_step, low, high). h, w: the output's image.
void take_integer(Call &call, uint32_t rows, uint32_t h, uint32_t w, uint32_t channels, eq_epilogue *e);
// A grid of output codes from its three floats.
eq_grid grid_of(Call &call, const Tensor *grid);

// Reads local (residual 0, missing channels are 0), block (residual 1, channels repeat) and gain, each may be None. n,
// as the number of images, is checked against them; the core checks their height, width and channels.
void take_residuals(Call &call, uint32_t images, uint32_t channels, eq_epilogue *e);

// The quantiser of a kind: 0 none, 1 signed 4 bit, 2 unsigned 4 bit, 3 signed 8 bit.
//   steps   [2][channels], s and 1 / s
constexpr uint32_t kQuantKinds = 4;
eq_quant quant_of(uint32_t kind, const float *steps, uint32_t channels);
// Reads steps (float [2][channels], or None) and the kind.
eq_quant take_quant(Call &call, uint32_t channels);

// What the tuned twin of a fused convolution (edgeq/ops/_tuned.py) has beside its arguments. In front of them ac (float
// [1 or n][width]), start and sigma; channels and n are known when `fill` is called, with the place of e->tuning;
// behind its outputs moments, float [n][2][o], if `want` has MOMENTS.
class Tuned {
public:
  explicit Tuned(Call &call);
  void fill(Call &call, uint32_t n, uint32_t o, eq_epilogue *e);
  void take_moments(Call &call, uint32_t want, uint32_t n, uint32_t o);
  static constexpr uint32_t kMoments = 32;

private:
  const Tensor *ac_;
  uint32_t start_;
  eq_tuning tuning_{};
};

// Reads want (1 the float map, 2 its sign bits, 4 its mean over the image) and the outputs out, bits, mean; those that
// are not wanted are left alone.
// tuned: its moments come last.
void take_outs(Call &call, const eq_conv2d &op, eq_epilogue *e, Tuned *tuned = nullptr);

} // namespace edgeq
