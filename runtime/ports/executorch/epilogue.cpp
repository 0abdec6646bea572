#include "epilogue.h"

#include <utility>

namespace edgeq {

void take_activation(Call &call, uint32_t channels, eq_epilogue *e, bool shifted) {
  e->act = static_cast<eq_act>(call.integer(EQ_ACT_GELU, "act must be 0 none, 1 relu, 2 dprelu, 3 hsigmoid or 4 gelu"));
  const Tensor *params = call.tensor(ScalarType::Float, "params must be float");
  if (!params) return;
  const uint32_t least = (e->act == EQ_ACT_DPRELU ? 5 : 2) + shifted;
  const bool shaped = params->dim() == 2 && extent(*params, 1) == channels &&
                      (extent(*params, 0) == least || extent(*params, 0) == least + 2);
  if (!call.require(shaped, "params must be [2, 4 (or with dprelu 5, 7)][output channels], with a shift one row more"))
    return;
  const float *row = data<float>(params);
  const auto take = [&] { return std::exchange(row, row + channels); };
  e->scale = take();
  e->bias = take();
  if (e->act == EQ_ACT_DPRELU) {
    e->pos = take();
    e->neg = take();
    e->shift = take();
  }
  if (extent(*params, 0) > least) {
    e->scale2 = take();
    e->bias2 = take();
  }
  if (shifted) e->shift_weight = take();
}

static void take_residual(Call &call, uint32_t images, eq_residual_mode mode, eq_residual *out) {
  const Tensor *r = call.optional_tensor(ScalarType::Float, "a residual must be float or None");
  if (!r || !call.require((r->dim() == 4 || r->dim() == 2) && extent(*r, 0) == images,
                          "a residual must be [n][h][w][c] or [n][c], n as the output"))
    return;
  const bool image = r->dim() == 4;
  *out = {
      data<float>(r), image ? extent(*r, 1) : 1, image ? extent(*r, 2) : 1, extent(*r, image ? 3 : 1), mode, {}, {}};
}

void take_residuals(Call &call, uint32_t images, uint32_t channels, eq_epilogue *e) {
  take_residual(call, images, EQ_RES_PAD, &e->residual[0]);
  take_residual(call, images, EQ_RES_TILE, &e->residual[1]);
  const Tensor *gain = call.optional_tensor(ScalarType::Float, "gain must be float or None");
  if (!gain || !call.require(gain->dim() >= 2 && extent(*gain, 0) == images &&
                                 static_cast<uint64_t>(gain->numel()) == uint64_t{images} * channels,
                             "gain must be [n][output channels]"))
    return;
  e->gain = data<float>(gain);
}

eq_grid grid_of(Call &call, const Tensor *grid) {
  if (!grid || !call.require(grid->numel() == 3, "grid must be [3]: inv_step, low, high")) return {};
  const float *v = data<float>(grid);
  const bool sound = v[1] >= -128 && v[1] <= v[2] && v[2] <= 127;
  return call.require(sound, "grid must have -128 <= low <= high <= 127")
             ? eq_grid{v[0], static_cast<int32_t>(v[1]), static_cast<int32_t>(v[2])}
             : eq_grid{};
}

void take_integer(Call &call, uint32_t rows, uint32_t h, uint32_t w, uint32_t channels, eq_epilogue *e) {
  const Tensor *scales = call.optional_tensor(ScalarType::Float, "rows must be float or None");
  bool shifted = false;
  if (scales) {
    if (!call.require(scales->dim() == 2 && extent(*scales, 0) <= 2 && extent(*scales, 1) == rows,
                      "rows must be [1 or 2][rows of the output]"))
      return;
    shifted = extent(*scales, 0) == 2;
    e->row_scale = data<float>(scales);
    if (shifted) e->row_shift = e->row_scale + rows;
  }
  take_activation(call, channels, e, shifted);
  const Tensor *skip = call.optional_tensor("skip must be float, int8 or None");
  const Tensor *step = call.optional_tensor(ScalarType::Float, "skip_step must be float or None");
  if (skip) {
    const bool codes = skip->scalar_type() == ScalarType::Char;
    call.require(codes || skip->scalar_type() == ScalarType::Float, "skip must be float, int8 or None");
    call.require(static_cast<uint64_t>(skip->numel()) == uint64_t{rows} * h * w * channels,
                 "skip must have the output's shape");
    e->residual[0] = {codes ? nullptr : data<float>(skip),  h,   w, channels, EQ_RES_PAD,
                      codes ? data<int8_t>(skip) : nullptr, 1.0f};
    if (step && call.require(step->numel() == 1, "skip_step must be [1]")) e->residual[0].step = *data<float>(step);
  }
  e->grid = grid_of(call, call.optional_tensor(ScalarType::Float, "grid must be float or None"));
}

eq_quant quant_of(uint32_t kind, const float *steps, uint32_t channels) {
  static constexpr struct {
    eq_quant_kind kind;
    float top;
  } grids[kQuantKinds] = {{EQ_QUANT_NONE, 0}, {EQ_QUANT_SYM, 7}, {EQ_QUANT_POS, 15}, {EQ_QUANT_SYM, 127}};
  const bool none = kind == 0;
  return {grids[kind].kind, grids[kind].top, none ? nullptr : steps, none ? nullptr : steps + channels};
}

eq_quant take_quant(Call &call, uint32_t channels) {
  const Tensor *steps = call.optional_tensor(ScalarType::Float, "steps must be float or None");
  const uint32_t kind = call.integer(kQuantKinds - 1, "quant must be 0 to 3");
  call.require(kind == 0 || (steps && steps->dim() == 2 && extent(*steps, 0) == 2 && extent(*steps, 1) == channels),
               "steps must be [2][input channels], or None when quant is 0");
  return quant_of(call.good() ? kind : 0, data<float>(steps), channels);
}

Tuned::Tuned(Call &call)
    : ac_(call.tensor(ScalarType::Float, "ac must be float")),
      start_(call.integer(kMost, "start must not be negative")) {
  tuning_.sigma = static_cast<float>(call.number("sigma must be a float"));
}

void Tuned::fill(Call &call, uint32_t n, uint32_t o, eq_epilogue *e) {
  if (!call.require(ac_ && ac_->dim() == 2 && (extent(*ac_, 0) == 1 || extent(*ac_, 0) == n) &&
                        start_ + 2 * uint64_t{o} <= extent(*ac_, 1),
                    "ac must be [1 or n][start + 2 * output channels or more]"))
    return;
  tuning_.rows = extent(*ac_, 0);
  tuning_.pitch = extent(*ac_, 1);
  tuning_.a = data<float>(ac_) + start_;
  tuning_.c = tuning_.a + o;
  e->tuning = &tuning_;
}

void Tuned::take_moments(Call &call, uint32_t want, uint32_t n, uint32_t o) {
  if (want & kMoments)
    tuning_.moments = static_cast<float *>(call.out(ScalarType::Float, {n, 2, o}, "moments must be float [n][2][o]"));
  else
    call.skip();
}

void take_outs(Call &call, const eq_conv2d &op, eq_epilogue *e, Tuned *tuned) {
  enum { MAP = 1, BITS = 2, MEAN = 4, ALL = 7 };
  const uint32_t want =
      call.integer(ALL | (tuned ? Tuned::kMoments : 0u), "want must be 1 to 7, or with moments to 39");
  if (want & MAP)
    e->out = static_cast<float *>(
        call.out(ScalarType::Float, {op.n, op.out_h, op.out_w, op.o}, "out must be float [n][h][w][o]"));
  else
    call.skip();
  if (want & BITS)
    e->out_bits = static_cast<uint8_t *>(
        call.out(ScalarType::Byte, {op.n, op.out_h, op.out_w, eq_row_bytes(op.o)}, "bits must be u8 [n][h][w][row]"));
  else
    call.skip();
  if (want & MEAN)
    e->out_mean = static_cast<float *>(call.out(ScalarType::Float, {op.n, op.o}, "mean must be float [n][o]"));
  else
    call.skip();
  if (!tuned) return;
  tuned->fill(call, op.n, op.o, e);
  tuned->take_moments(call, want, op.n, op.o);
}

} // namespace edgeq
