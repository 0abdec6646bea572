"""Quantised layers, train face: latents and fake quantisation. Activations are NHWC, weights OHWI.

Attribute names are a contract (checkpoints and the packed layers are made from them):

  PokeBNN         stem (Stem), blocks (ModuleList of Bottleneck), head (QuantLinear, 8 bits)
  Stem            conv, bn, act, conv_group, bn_group, act_group
  Bottleneck      conv1, conv2, conv3 (PokeConv; conv3 gets the block residual)
  PokeConv        conv (BinaryConv2d), bn1, act (DPReLU), se (SqueezeExcite), bn2
  SqueezeExcite   fc1 (SYM 4-bit input), fc2 (POS 4-bit input): QuantLinear
  BinaryConv2d    weight (O, kh, kw, I); stride
  QuantConv2d     weight (O, kh, kw, I/groups), input_quantiser; stride, groups, padding ("same" | "valid"), bits
  QuantLinear     weight (O, I), bias (O,), input_quantiser; bits
  InputQuantiser  bounds (C,), statistic_max (C,), statistic_min (C,); bits, grid ("sym" | "pos"), is_set
  BatchNorm       scale, bias, running_mean, running_var: (C,); eps 1e-5
  DPReLU          bias_x, bias_y, neg_slope, pos_slope: (C,)

Layers with weights carry `quantised` (False in the float twin) and `quantise_weights` (a training phase).
"""
