"""deploy, eval, bench and profile from the command line, on this machine, with a small network of random weights.

Its accuracy means nothing, but it is known: the packed network gives the same integers in PyTorch.
"""

import io
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from edgeq import cli, data
from edgeq.results import Store, default_path

COUNT = 40
CONFIG = {
    "model": "pokebnn",
    "task": "image-classification",
    "scheme": "binary",
    "targets": ["executorch"],
    "dataset": "noise",
    "input": {"shape": [16, 16, 1]},
    "preprocessing": {"layout": "NHWC", "scale": 1 / 255, "mean": [0.5], "std": [0.25]},
}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("verbs")


@pytest.fixture(scope="module")
def model(home):
    """A signed package, and the classes that PyTorch gives for its pictures."""
    import torch

    from edgeq import keys
    from edgeq._weights import write_tensors
    from edgeq.models import pokebnn
    from edgeq.nn.input_quantiser import InputQuantiser
    from edgeq.package import write_package

    torch.manual_seed(0)
    config = pokebnn.PokeBNNConfig(
        width=0.25, classes=10, in_channels=1, blocks=(1, 1, 1, 1), stem_kernel=4, stem_stride=4, init_group=32
    )
    trained = pokebnn.build(config).eval()
    for layer in trained.modules():
        if isinstance(layer, InputQuantiser):
            layer.bounds.fill_(4.0)  # as calibration would; a network without bounds has no packed form
    network = pokebnn.pack(trained)
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (COUNT, 16, 16), dtype=np.uint8)
    with torch.no_grad():
        inputs = torch.from_numpy(data.preprocess(x, CONFIG))
        classes = np.concatenate([network(row[None]).argmax(1).numpy() for row in inputs])
    labels = np.where(np.arange(COUNT) < 30, classes, (classes + 1) % 10)  # three of four are right
    pictures = io.BytesIO()
    np.savez(pictures, x=x, y=labels)
    network_config = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(config).items()}
    write_package(
        home / "net",
        files={
            "config.json": json.dumps(CONFIG | {"network": network_config}).encode(),
            "model.safetensors": write_tensors({k: v.numpy().copy() for k, v in network.state_dict().items()}),
            "README.md": b"# net\n",
            "eval.npz": pictures.getvalue(),
        },
        name="net",
        version=1,
        licence="Apache-2.0",
        key=keys.load_private(keys.keygen("tester", folder=home).private),
    )
    (home / "pictures.npz").write_bytes(pictures.getvalue())
    return str(home / "net")


@pytest.fixture(autouse=True)
def shared_home(clean_environment, agent_path, model, home, monkeypatch):
    """One home for the module, so that the network is compiled once; its key is trusted there."""
    from edgeq import keys

    monkeypatch.setenv("EDGEQ_HOME", str(home / "edgeq"))
    keys.trust(home / "tester.pub")


def document(capsys, *args):
    assert cli.run([*args, "--json"]) == 0, capsys.readouterr().err
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    return json.loads(out)


def test_deploy_prints_every_figure_with_its_kind(model, capsys):
    found = document(capsys, "deploy", model, "-d", "local", "-n", "30")
    assert (found["model"], found["device"], found["target"], found["n"]) == ("net", "local", "executorch", COUNT)
    assert found["accuracy"] == 0.75, "the device must give the classes that PyTorch gives"
    assert 0 < found["latency_ms"]["p50"] <= found["latency_ms"]["p90"] <= found["latency_ms"]["p99"]
    assert found["peak_memory_bytes"] > found["memory"]["before_bytes"] > 0 and found["size_bytes"] > 10_000
    assert found["energy_mj"]["kind"] in ("measured", "estimated") and found["energy_mj"]["value"] > 0
    assert found["signed_by"].startswith("tester") and len(found["artefact_sha256"]) == 64
    with Store.open(default_path(), readonly=True) as store:
        run = store.run(found["run_id"])
        assert len(store.samples(found["run_id"])) == 30
    assert (run["signature"], run["scheme"], run["device_kind"]) == ("trusted", "binary", "host")
    assert {"latency_p50", "latency_p99", "energy", "top1", "ram_peak", "model_size"} <= {
        value["metric"] for value in run["values"]
    }


def test_eval_counts_and_bench_does_not(model, home, capsys):
    assert document(capsys, "eval", model, "--limit", "30")["accuracy"] == 1.0
    own = document(capsys, "eval", model, "--data", str(home / "pictures.npz"))
    assert (own["accuracy"], own["dataset"], own["split"], own["energy_mj"]["value"]) == (
        0.75,
        "pictures",
        "user",
        None,
    )
    bench = document(capsys, "bench", model, "--warmup", "3", "-n", "20", "--energy", "none")
    assert bench["accuracy"] is None and bench["latency"]["runs"] == 20 and bench["energy_mj"]["value"] is None


def test_the_table_says_what_was_measured_and_what_estimated(model, capsys):
    assert cli.run(["deploy", model, "-n", "20"]) == 0
    out, err = capsys.readouterr()
    for part in (
        "accuracy (top-1)",
        "75.00 %",
        "latency p50",
        "latency p99",
        "memory, peak",
        "size",
        "energy per",
        "kB",
    ):
        assert part in out
    assert "measured: 30 of 40" in out and ("estimated: +-" in out or "measured: +-" in out)
    assert "Traceback" not in err and all(line.startswith("edgeq: ") for line in err.splitlines())


def test_profile_names_the_operators(model, capsys):
    found = document(capsys, "profile", model, "-n", "5")
    kinds = {kind["op"]: kind for kind in found["kinds"]}
    assert kinds["edgeq::conv2d_b1b1_fused"]["count"] == 12
    assert sum(kind["share"] for kind in found["kinds"]) == pytest.approx(1.0, abs=0.02)
    with Store.open(default_path(), readonly=True) as store:
        assert len(store.layers(found["run_id"])) == len(found["layers"])


def test_devices_lists_this_machine(capsys):
    local = next(device for device in document(capsys, "devices") if device["url"] == "local")
    assert local["state"] == "ready" and local["detail"]


def test_a_device_that_is_not_there_is_one_line(model, capsys, monkeypatch):
    monkeypatch.setenv("EDGEQ_DEVICE", "teleport:moon")
    assert cli.run(["bench", model]) == 2
    assert "teleport" in capsys.readouterr().err.splitlines()[-1]
    assert cli.run(["bench", model, "-d", "tcp://127.0.0.1:1"]) == 5
    assert capsys.readouterr().err.splitlines()[-1].startswith("edgeq: ")


def test_the_whole_test_set_of_an_unknown_data_set_is_a_clear_error(model, capsys):
    assert cli.run(["eval", model, "--full"]) == 2
    assert "no data set 'noise'" in capsys.readouterr().err


def test_a_changed_package_is_refused_before_anything_runs(model, capsys, tmp_path):
    import shutil

    copy = Path(shutil.copytree(model, tmp_path / "net"))
    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "model.safetensors").write_bytes(weights)
    assert cli.run(["deploy", str(copy)]) == 3
    assert "model.safetensors" in capsys.readouterr().err
