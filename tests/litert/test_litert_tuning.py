"""Fine-tuning through a `.tflite`: `forward_tune` beside `forward`, over the same weights."""

from pathlib import Path

import numpy as np
import pytest
import torch

from edgeq import hub, litert, models
from edgeq.compile import litert as compiler
from edgeq.compile.layout import METHOD
from edgeq.compile.tunable import layout_of, tunable_method
from edgeq.device import connect
from edgeq.tune import Learner, Samples, Wishes
from edgeq.tune.forward import DeviceForward
from edgeq.tune.journal import Journal


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


@pytest.mark.long
def test_what_a_device_learns_through_it_is_what_eager_learns(tmp_path, monkeypatch):
    """The whole solve, its forward passes by LiteRT on the local agent: the same delta, byte for byte."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "unit"))
    from tiny_tunable import Eager, shift_network, task, tuning_of

    model = shift_network()
    tuning = tuning_of(model)
    x, y = task(60, 11, gain=0.6, offset=0.7)
    samples, wishes = Samples((x,), y, "shifted"), Wishes("auto")
    example = (torch.from_numpy(x[:1]),)
    sigma = None if tuning.base is None else tuning.base.sigma
    methods = {"forward": (model, example), METHOD: tunable_method(model, example, tuning.layout, sigma)}
    path = tmp_path / "tunable.tflite"
    path.write_bytes(compiler.lower(methods, {}))
    found = []
    with connect("local") as device:
        net = device.load(device.put(path).name, METHOD)
        forwards = {"tflite": DeviceForward(net, samples, tuning.layout), "eager": Eager(model, tuning, samples)}
        for name, forward in forwards.items():
            journal = Journal(tmp_path / name)
            report = Learner(tuning, samples, wishes, forward).run(journal)
            assert report.outcome == "committed"
            found.append(journal.whole("delta"))
        assert forwards["tflite"].passes > len(y)
    assert found[0] and found[0] == found[1]
