"""Every operator of EdgeQ through the delegate: the same bits as PyTorch's, and refused when its node is damaged."""

import ctypes as ct

import pytest
import torch
from every_operator import CASES, Call

from edgeq import _paths, litert
from edgeq.compile import litert as compiler


def test_the_library_has_every_operator_that_torch_knows():
    library = ct.CDLL(str(_paths.native("libedgeq_litert.so", "EDGEQ_LITERT")))
    library.edgeq_litert_operator.restype = ct.c_char_p
    library.edgeq_litert_operator.argtypes = [ct.c_size_t]
    found = set()
    while name := library.edgeq_litert_operator(len(found)):
        found.add(name.decode())
    known = {name for name in torch._C._dispatch_get_all_op_names() if name.startswith("edgeq::")}
    assert found == {f"edgeq.{name.removeprefix('edgeq::')}" for name in known if not name.endswith(".out")}
    assert found == {f"edgeq.{name}" for name in CASES}


def test_every_operator_equals_eager():
    methods = {name: (Call(name), (CASES[name][0],)) for name in sorted(CASES)}
    program = litert.Program(compiler.lower(methods, {}))
    for name, (module, inputs) in methods.items():
        found = program.run(name, [inputs[0].numpy()])
        expected = module(*inputs)
        assert len(found) == len(expected), name
        for ours, eager in zip(found, expected, strict=True):
            assert ours.tobytes() == eager.numpy().tobytes(), name


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ({"params": [2, 3, 1, 0, 1, 1, 2, 70]}, "params are of another version"),
        ({"params": [1, 3, 1, 0, 1, 1]}, "params do not hold a kind and a value for each argument"),
        ({"params": [1, 3, 1, 0, 1, 1, 2, 2**31 - 1]}, r"x must be \[..., row_bytes\(k\)\]"),
        ({"params": [1, 3, 1, 0, 1, 1, 2, -5]}, "k must be positive"),
        ({"params": [1, 3, 1, 0, 1, 1, 0, 70]}, "k must be positive"),
        ({"params": [1, 2, 1, 0, 1, 1]}, "too few arguments"),
        ({"inputs": 1}, "the last input must be params, constant int32"),
        ({"weight": (6, 32)}, r"x must be \[..., row_bytes\(k\)\]"),
        ({"weight": (12, 8)}, "of a type, shape or byte count that no operator takes"),
    ],
)
def test_damaged_node_is_refused_by_name(damage, reason):
    from edgeq.compile.tflite_file import TfliteFile, np, schema

    file = TfliteFile("")
    graph = file.subgraph("main")
    x, y = graph.tensor("x", (3, 16), "uint8"), graph.tensor("y", (3, 12), "int32")
    shape = damage.get("weight", (12, 16))
    w = graph.raw_constant("w", shape, schema.TensorType.UINT8, bytes(12 * 16))
    params = graph.constant("params", np.array(damage.get("params", [1, 3, 1, 0, 1, 1, 2, 70]), np.int32))
    graph.custom("edgeq.linear_b1b1", [x, w, params][: damage.get("inputs", 3)], [y], b"")
    graph.boundary([x], [y])
    file.signature("forward", 0, {"input_0": x}, {"output_0": y})
    with pytest.raises(litert.CompileError, match=reason):
        litert.Program(file.finish())
