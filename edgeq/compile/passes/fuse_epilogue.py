"""Turn accumulator + epilogue into one fused convolution, so that accumulators never reach memory."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch.fx import GraphModule, Node

from edgeq.ops import Want


def fuse_epilogue(module: GraphModule) -> None:
    """conv2d_b1b1 -> epilogue becomes conv2d_b1b1_fused. In place.

    A conv2d_i8f32 whose result is also wanted as bits or as a mean becomes conv2d_i8f32_fused.
    """
    edgeq = torch.ops.edgeq
    for node in list(module.graph.nodes):
        if node.target == edgeq.epilogue.default:
            conv = node.args[0]
            if isinstance(conv, Node) and conv.target == edgeq.conv2d_b1b1.default and len(conv.users) == 1:
                _replace(module, node, edgeq.conv2d_b1b1_fused.default, (*conv.args, *node.args[1:], int(Want.ALL)))
                module.graph.erase_node(conv)
        elif node.target == edgeq.conv2d_i8f32.default and _wanted_twice(node):
            _replace(module, node, edgeq.conv2d_i8f32_fused.default, (*node.args, int(Want.ALL)))


def _wanted_twice(node: Node) -> bool:
    edgeq = torch.ops.edgeq
    return any(user.target in (edgeq.pack_sign.default, edgeq.mean_hw.default) for user in node.users)


def _replace(module: GraphModule, node: Node, target: torch._ops.OpOverload, args: tuple[Any, ...]) -> None:
    with module.graph.inserting_before(node):
        fused = module.graph.call_function(target, args)
        first = module.graph.call_function(operator.getitem, (fused, 0))
    node.replace_all_uses_with(first)
    module.graph.erase_node(node)
