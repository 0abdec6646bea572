"""Checkpoints of others and float networks: to packages, with one clear error for each that cannot be."""

import json
import pickle
import zipfile

import numpy as np
import pytest
import tiny_encoder
import torch
from safetensors.torch import save_file
from torch import nn
from typer.testing import CliRunner

from edgeq import _paths, hub, models
from edgeq._errors import EdgeQError, FormatError, NotFoundError, UnsupportedError, UsageError
from edgeq.bench.tasks import similarity
from edgeq.cli._app import app
from edgeq.importers import minilm, recognise
from edgeq.importers.checkpoint import read_checkpoint
from edgeq.own_module import load, read_inputs
from edgeq.sentences import read_sentences, vectors
from edgeq.text import WordPieces

IDS = [WordPieces(tiny_encoder.WORDS).encode(text, 16) for text in tiny_encoder.SENTENCES]


def run(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=True)
    return result


def close(exact, network):
    """8-bit activations move the vectors a little, wrong weights a lot."""
    return float((vectors(exact, IDS) * vectors(network, IDS)).sum(1).min())


def loaded(folder):
    package = hub.pull(folder, allow_unsigned=True)
    return models.from_package(package.config(), package.tensors()), package


# -- codes of others are taken over as they are -----------------------------------------------------------------------


def test_a_package_of_ours_is_not_imported(tmp_path):
    folder = _paths.bundled_zoo() / "pokebnn-fashion" / "package"
    result = run("import", folder, "-o", tmp_path / "out")
    assert isinstance(result.exception, UsageError) and "run it: edgeq deploy" in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_gptq_encoder_gives_the_vectors_of_its_weights(tmp_path):
    packed, exact = tiny_encoder.as_gptq(tiny_encoder.tensors())
    source = tiny_encoder.write(tmp_path / "gptq", packed, **tiny_encoder.GPTQ)
    result = run("import", source, "-o", tmp_path / "out", "--tokens", 16, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["remarks"] == []
    network, package = loaded(tmp_path / "out")
    float_network = minilm.build(read_checkpoint(tiny_encoder.write(tmp_path / "float", exact)), 16)
    assert close(float_network, network) > 0.999
    assert package.config()["input"] == {"tokens": 16} and "vocab.txt" in package.manifest.files


def test_gguf_encoder_gives_the_vectors_of_its_weights(tmp_path):
    exact = tiny_encoder.write_gguf(tmp_path / "encoder.gguf", tiny_encoder.tensors(1))
    found = recognise.read(tmp_path / "encoder.gguf", tokens=16)
    float_network = minilm.build(read_checkpoint(tiny_encoder.write(tmp_path / "float", exact)), 16)
    assert found.packed and found.remarks == () and found.network.config.zeros is False
    assert close(float_network, found.network) > 0.999


def test_layers_left_float_are_rounded_and_that_is_said(tmp_path):
    state = tiny_encoder.tensors(2)
    packed, exact = tiny_encoder.as_gptq(state)
    name = "encoder.layer.1.output.dense"
    for part in ("qweight", "qzeros", "scales"):
        del packed[f"{name}.{part}"]
    packed[f"{name}.weight"] = exact[f"{name}.weight"] = state[f"{name}.weight"]
    source = tiny_encoder.write(tmp_path / "gptq", packed, **tiny_encoder.GPTQ)
    found = recognise.read(source, tokens=16)
    assert found.remarks == (f"1 layers did not fit INT4 and were rounded to it, {name} first",)
    float_network = minilm.build(read_checkpoint(tiny_encoder.write(tmp_path / "float", exact)), 16)
    assert close(float_network, found.network) > 0.98


# -- float networks ---------------------------------------------------------------------------------------------------


def test_quantize_makes_a_package_that_agrees_with_the_float_network(tmp_path):
    source = tiny_encoder.write(tmp_path / "float", tiny_encoder.tensors(3))
    text = tmp_path / "sentences.txt"
    text.write_text("# a comment\n" + "\n".join(tiny_encoder.SENTENCES) + "\n")
    result = run("quantize", source, "-o", tmp_path / "out", "--calibration", text, "--tokens", 16, "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["sentences"] == 5 and 0.97 < told["mean_cosine"] <= 1
    network, package = loaded(tmp_path / "out")
    assert close(minilm.build(read_checkpoint(source), 16), network) > 0.95
    task = similarity.make()
    samples = task.bundled(package, "calibration")
    given = [torch.from_numpy(array) for array in task.inputs(samples, package.config())]
    with torch.no_grad():
        again = similarity.agreement(samples.vectors, network(*given).numpy())
    assert again.mean_cosine == pytest.approx(told["mean_cosine"], abs=2e-4)  # stored vectors are float16


OWN = """
import torch
def net():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 4))
def number():
    return 7
def broken():
    raise RuntimeError("no weights here")
"""


def test_own_modules_become_programs(tmp_path):
    from edgeq.compile import host

    (tmp_path / "own.py").write_text(OWN)
    x = np.random.default_rng(0).standard_normal((40, 64), dtype=np.float32)
    np.savez(tmp_path / "x.npz", x=x)
    output = tmp_path / "net.pte"
    result = run("quantize", f"{tmp_path / 'own.py'}:net", "-o", output, "--calibration", tmp_path / "x.npz")
    assert result.exit_code == 0, result.output
    exact = load(f"{tmp_path / 'own.py'}:net")
    (y,) = host.run(output.read_bytes(), (torch.from_numpy(x[:1]),))
    with torch.no_grad():
        want = exact(torch.from_numpy(x[:1]))
    assert isinstance(exact[0], nn.Linear)
    assert float((y - want).abs().max()) < 0.15 * float(want.abs().max())
    assert not torch.equal(y, want)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("own.py:number", "torch module"),
        ("own.py:broken", "no weights"),
        ("own.py:none", "none"),
        ("no.py:f", "no such"),
    ],
)
def test_own_modules_that_fail_are_told_in_one_line(source, text, tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    with pytest.raises((UsageError, NotFoundError), match=text):
        load(str(tmp_path / source))


@pytest.mark.parametrize("arrays", [{}, {"x": np.zeros((2, 3)), "y": np.zeros((3, 3))}, {"x": np.zeros((0, 4))}])
def test_inputs_of_different_lengths_are_refused(arrays, tmp_path):
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(UsageError):
        read_inputs(tmp_path / "x.npz")


def test_inputs_are_never_unpickled(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.array([{"a": 1}], dtype=object))
    with pytest.raises(FormatError):
        read_inputs(tmp_path / "x.npz")


@pytest.mark.parametrize("arguments", [("--scheme", "int5"), ("--scheme", "int2"), ("--grid", "cubic")])
def test_quantize_refuses_options_before_it_reads_anything(arguments, tmp_path):
    result = run("quantize", tmp_path / "missing", "-o", tmp_path / "out", *arguments)
    assert result.exit_code != 0 and isinstance(result.exception, UsageError)


def test_too_few_sentences_are_refused(tmp_path):
    (tmp_path / "few.txt").write_text("# only\none\n")
    with pytest.raises(UsageError, match="at least"):
        read_sentences(tmp_path / "few.txt")


# -- what cannot be converted -----------------------------------------------------------------------------------------


class Evil:
    def __reduce__(self):
        return (print, ("executed",))


def evil(folder):
    with zipfile.ZipFile(folder / "pytorch_model.bin", "w") as file:
        file.writestr("archive/data.pkl", pickle.dumps({"a": Evil()}, protocol=2))
        file.writestr("archive/version", "3")
    (folder / "model.safetensors").unlink()


def truncated(folder):
    raw = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(raw[: len(raw) // 2])


def replaced(**changes):
    def change(folder):
        save_file(tiny_encoder.tensors() | changes, folder / "model.safetensors")

    return change


def configured(**changes):
    def change(folder):
        (folder / "config.json").write_text(json.dumps(tiny_encoder.CONFIG | changes))

    return change


WEIGHT = "encoder.layer.0.output.dense.weight"


@pytest.mark.parametrize(
    ("harm", "kind", "text"),
    [
        (evil, FormatError, "nothing in a file is executed"),
        (truncated, FormatError, "safetensors"),
        (replaced(**{WEIGHT: torch.full((64, 96), float("nan"))}), FormatError, "finite"),
        (replaced(**{WEIGHT: torch.zeros(64, 95)}), FormatError, "expected shape"),
        (replaced(extra=torch.zeros(1)), FormatError, "unknown extra"),
        (configured(num_attention_heads=3), FormatError, "not a multiple"),
        (configured(num_hidden_layers=1 << 40), FormatError, "2 layers"),
        (configured(hidden_act="relu"), UnsupportedError, "relu"),
        (lambda folder: (folder / "config.json").unlink(), NotFoundError, "config.json"),
        (lambda folder: (folder / "vocab.txt").write_bytes(b"a\xff\n"), FormatError, "UTF-8"),
    ],
)
def test_damaged_encoders_are_told_in_one_line(harm, kind, text, tmp_path, capsys):
    folder = tiny_encoder.write(tmp_path / "float", tiny_encoder.tensors())
    harm(folder)
    lines = tmp_path / "s.txt"
    lines.write_text("\n".join(tiny_encoder.SENTENCES))
    result = run("quantize", folder, "-o", tmp_path / "out", "--calibration", lines, "--tokens", 16)
    assert isinstance(result.exception, kind), result.exception
    assert text in str(result.exception) and "\n" not in str(result.exception)
    assert "executed\n" not in capsys.readouterr().out and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({}, "edgeq quantize"),
        ({"model_type": "llama"}, "llama"),
        ({"model_type": "llama", **tiny_encoder.GPTQ}, "no network for model_type 'llama'"),
        ({"quantization_config": {"quant_method": "quip"}}, "quip"),
    ],
)
def test_what_is_not_imported_says_why(config, text, tmp_path):
    packed, _ = tiny_encoder.as_gptq(tiny_encoder.tensors())
    state = packed if "quantization_config" in config else tiny_encoder.tensors()
    with pytest.raises(UnsupportedError, match=text):
        recognise.read(tiny_encoder.write(tmp_path / "checkpoint", state, **config))


def test_files_of_other_kinds_and_architectures(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    save_file({"a.weight": torch.zeros(2)}, tmp_path / "net.safetensors")
    tiny_encoder.write_gguf(tmp_path / "other.gguf", tiny_encoder.tensors(), architecture="llama")
    for name, text in (("notes.txt", "not a kind"), ("net.safetensors", "no network"), ("other.gguf", "llama")):
        with pytest.raises(UnsupportedError, match=text):
            recognise.read(tmp_path / name)


@pytest.mark.parametrize("tokens", [21, 4096])
def test_more_tokens_than_positions(tokens, tmp_path):
    folder = tiny_encoder.write(tmp_path / "float", tiny_encoder.tensors())
    with pytest.raises(EdgeQError, match="rows"):
        minilm.build(read_checkpoint(folder), tokens)
