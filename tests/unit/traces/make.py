"""Makes small.pte and small.etdump beside this file: a convolution and a linear layer for XNNPACK, and between them a
layer norm for the portable kernels, executed five times under the tracer of ExecuTorch's Python runtime."""

from pathlib import Path

import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir import to_edge_transform_and_lower
from executorch.runtime import Runtime

HERE = Path(__file__).parent

torch.manual_seed(0)
net = torch.nn.Sequential(
    torch.nn.Conv2d(1, 2, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.LayerNorm(72), torch.nn.Linear(72, 4)
).eval()
x = (torch.zeros(1, 1, 8, 8),)
lowered = to_edge_transform_and_lower(torch.export.export(net, x, strict=False), partitioner=[XnnpackPartitioner()])
(HERE / "small.pte").write_bytes(lowered.to_executorch().buffer)
program = Runtime.get().load_program(HERE / "small.pte", enable_etdump=True, debug_buffer_size=0)
method = program.load_method("forward")
for _ in range(5):
    method.execute(x)
program.write_etdump_result_to_file(str(HERE / "small.etdump"), str(HERE / "unused"))
(HERE / "unused").unlink(missing_ok=True)
