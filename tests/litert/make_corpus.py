"""Writes the nodes that `fuzz_delegate` damages: one of every operator, as the writer makes them.

`python tests/litert/make_corpus.py tests/litert/corpus/nodes.bin`. Of each node: its name, the numbers of inputs and
outputs, and of each tensor the runtime's element type, whether it is a constant, its extents, and its bytes.
"""

import struct
import sys
from pathlib import Path

import numpy as np
from every_operator import CASES, Call

from edgeq.compile import litert as compiler
from edgeq.compile.tflite_file import schema

T = schema.TensorType
RUNTIME_TYPES = {T.FLOAT32: 1, T.INT32: 2, T.UINT8: 3, T.INT64: 4, T.INT8: 9, T.FLOAT16: 10}
ITEM_BYTES = {1: 4, 2: 4, 3: 1, 4: 8, 9: 1, 10: 2}


def words(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}i", *values)


def main(path: Path) -> None:
    methods = {name: (Call(name), (CASES[name][0],)) for name in sorted(CASES)}
    model = schema.ModelT.InitFromPackedBuf(compiler.lower(methods, {}), 0)
    out = bytearray()
    for graph in model.subgraphs:
        given = CASES[graph.name.decode()][0].numpy().tobytes()
        for node in graph.operators:
            code = model.operatorCodes[node.opcodeIndex].customCode
            if code is None:
                continue
            out += words(len(code)) + code + words(len(node.inputs), len(node.outputs))
            for number in (*node.inputs, *node.outputs):
                tensor = graph.tensors[number]
                kind, data = RUNTIME_TYPES[tensor.type], model.buffers[tensor.buffer].data
                shape = [] if tensor.shape is None else [int(extent) for extent in tensor.shape]
                size = int(np.prod(shape, dtype=np.int64)) * ITEM_BYTES[kind]
                content = (
                    given if data is None and number in graph.inputs else bytes(size) if data is None else bytes(data)
                )
                assert len(content) == size
                out += words(kind, data is not None, len(shape), *shape, size) + content
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(bytes(out))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
