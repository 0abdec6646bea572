#include "edgeq/types.h"

static void same(uint32_t size, uint32_t kernel, uint32_t stride, uint32_t *out, uint32_t *pad) {
  *out = stride && size ? (size - 1) / stride + 1 : 0;
  const uint64_t reach = *out ? (uint64_t)(*out - 1) * stride + kernel : 0;
  *pad = reach > size ? (uint32_t)((reach - size) / 2) : 0;
}

void eq_conv2d_same(eq_conv2d *op) {
  same(op->h, op->kh, op->stride_h, &op->out_h, &op->pad_top);
  same(op->w, op->kw, op->stride_w, &op->out_w, &op->pad_left);
}

static uint32_t valid(uint32_t size, uint32_t kernel, uint32_t stride) {
  return stride && kernel && size >= kernel ? (size - kernel) / stride + 1 : 0;
}

void eq_conv2d_valid(eq_conv2d *op) {
  op->out_h = valid(op->h, op->kh, op->stride_h);
  op->out_w = valid(op->w, op->kw, op->stride_w);
  op->pad_top = op->pad_left = 0;
}
