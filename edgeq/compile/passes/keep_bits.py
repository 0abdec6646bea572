"""Let a fused convolution hand over its sign bits and its mean, instead of reading the float map again."""

from __future__ import annotations

import operator
from functools import reduce
from operator import or_

import torch
from torch.fx import GraphModule, Node

from edgeq.ops import Want

_RESULTS = (Want.MAP, Want.BITS, Want.MEAN, Want.MOMENTS)


def keep_bits(module: GraphModule) -> None:
    """pack_sign(y) and mean_hw(y) of a fused convolution's map y become its second and third result. In place.

    Results that nobody reads are no longer asked for.
    """
    edgeq = torch.ops.edgeq
    fused = (
        edgeq.conv2d_b1b1_fused.default,
        edgeq.conv2d_i8f32_fused.default,
        edgeq.conv2d_b1b1_tuned.default,
        edgeq.conv2d_i8f32_tuned.default,
    )
    result = {edgeq.pack_sign.default: 1, edgeq.mean_hw.default: 2}
    for node in list(module.graph.nodes):
        index = result.get(node.target)
        if index is None or node.args[1:] not in ((), (None,)):
            continue
        source = node.args[0]
        if not (isinstance(source, Node) and source.target is operator.getitem and source.args[1] == 0):
            continue
        producer = source.args[0]
        if isinstance(producer, Node) and producer.target in fused:
            with module.graph.inserting_after(producer):
                kept = module.graph.call_function(operator.getitem, (producer, index))
            node.replace_all_uses_with(kept)
            module.graph.erase_node(node)
    module.graph.eliminate_dead_code()
    for node in module.graph.nodes:
        if node.target in fused:
            want = reduce(or_, (_RESULTS[int(user.args[1])] for user in node.users), Want(0))
            node.args = (*node.args[:-1], int(want))
