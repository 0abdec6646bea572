#include "epilogue.h"

#include <utility>

namespace edgeq {

void take_activation(Call &call, uint32_t channels, eq_epilogue *e) {
  e->act = static_cast<eq_act>(call.integer(EQ_ACT_HSIGMOID, "act must be 0 none, 1 relu, 2 dprelu or 3 hsigmoid"));
  const Tensor *params = call.tensor(ScalarType::Float, "params must be float");
  if (!params) return;
  const uint32_t least = e->act == EQ_ACT_DPRELU ? 5 : 2;
  const bool shaped = params->dim() == 2 && extent(*params, 1) == channels &&
                      (extent(*params, 0) == least || extent(*params, 0) == least + 2);
  if (!call.require(shaped, "params must be [2, 4 (or with dprelu 5, 7)][output channels]")) return;
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
}

static void take_residual(Call &call, uint32_t images, eq_residual_mode mode, eq_residual *out) {
  const Tensor *r = call.optional_tensor(ScalarType::Float, "a residual must be float or None");
  if (!r || !call.require((r->dim() == 4 || r->dim() == 2) && extent(*r, 0) == images,
                          "a residual must be [n][h][w][c] or [n][c], n as the output"))
    return;
  const bool image = r->dim() == 4;
  *out = {data<float>(r), image ? extent(*r, 1) : 1, image ? extent(*r, 2) : 1, extent(*r, image ? 3 : 1), mode};
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

void take_outs(Call &call, const eq_conv2d &op, eq_epilogue *e) {
  enum { MAP = 1, BITS = 2, MEAN = 4, ALL = 7 };
  const uint32_t want = call.integer(ALL, "want must be 1 to 7");
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
}

} // namespace edgeq
