"""Fine-tuning through a `.tflite`: `forward_tune` beside `forward`, over the same weights."""

import numpy as np
import pytest
import torch

from edgeq import hub, litert, models
from edgeq.compile import litert as compiler
from edgeq.compile.tunable import layout_of, tunable_method


@pytest.mark.long
def test_forward_tune_takes_other_corrections_and_shares_weights():
    package = hub.pull("denseshift-kws")
    model = models.from_package(package.config(), package.tensors())
    forward = models.methods(package.config(), model)["forward"]
    layout = layout_of(model, forward[1], ("scales", "head"))
    tune, given = tunable_method(model, forward[1], layout, None)
    both = compiler.lower({"forward": forward, "forward_tune": (tune, given)}, {})
    program = litert.Program(both)
    assert program.methods == ["forward", "forward_tune"]
    assert len(both) < 2 * len(compiler.lower({"forward": forward}, {}))
    torch.manual_seed(0)
    inputs = [torch.randn(x.shape) * (0.1 if i else 1) for i, x in enumerate(given)]
    logits, hidden, moments = program.run("forward_tune", [x.numpy() for x in inputs])
    expected = [y.detach().numpy() for y in tune(*inputs)]
    assert (logits == expected[0]).all() and (hidden == expected[1]).all()
    assert np.abs(moments - expected[2]).max() <= 1e-5 * np.abs(expected[2]).max()
