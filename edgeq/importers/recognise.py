"""Which network a foreign checkpoint holds, decided by what is in the file and not by what it is called."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from edgeq._errors import FormatError, UnsupportedError
from edgeq.importers import bart_checkpoint, bert_checkpoint, denseshift_torch, lowbit, minilm
from edgeq.importers.checkpoint import Checkpoint, read_checkpoint, read_pickle, read_safetensors
from edgeq.models import denseshift
from edgeq.nn.lowbit_linear import zero_codes

READABLE = (
    "a folder with config.json and weights (BiBERT, BiT, ternary BART; BERT encoders as GPTQ, AWQ, compressed-tensors, "
    "torchao, HQQ or BitNet), a .gguf file of a BERT encoder, or DenseShift weights as .safetensors, .pt or .bin"
)


@dataclass(frozen=True)
class Imported:
    """A network in eval mode, and what the file told of it."""

    family: str  # a file of edgeq.models
    network: nn.Module
    packed: bool  # already the deploy face
    about: Mapping[str, Any] = field(default_factory=dict)  # the file's own configuration
    remarks: tuple[str, ...] = ()  # what the user should know


def read(path: Path, *, tokens: int | None = None) -> Imported:
    """The network of a checkpoint folder or file.

    tokens  length for which a text encoder is built; None takes its own, at most 128
    raises  FormatError for what is damaged or contradicts itself, UnsupportedError for what cannot be converted, with
            the reason
    """
    if path.is_dir():
        return _from_checkpoint(read_checkpoint(path), tokens)
    kinds: dict[str, Callable[[Path], Imported]] = {
        ".gguf": lambda file: _from_gguf(file, tokens),
        ".safetensors": lambda file: _from_state(read_safetensors(file), file.name),
        **{suffix: lambda file: _from_state(read_pickle(file), file.name) for suffix in (".pt", ".pth", ".bin")},
    }
    if path.suffix not in kinds:
        raise UnsupportedError(f"{path.name}: not a kind of file that is imported; there are: {READABLE}")
    return kinds[path.suffix](path)


def _from_checkpoint(checkpoint: Checkpoint, tokens: int | None) -> Imported:
    about, kind = checkpoint.config, checkpoint.config.get("model_type", "bert")
    if "quantization_config" in about:
        layers = lowbit.layers(checkpoint)
        if kind != "bert":
            raise UnsupportedError(
                f"config.json: {len(layers)} quantised layers are readable, but there is no network for model_type "
                f"{kind!r} to put them in; EdgeQ has BERT encoders (their weights: edgeq.importers.lowbit)"
            )
        network, remarks = minilm.from_layers(checkpoint, layers, tokens)
        return Imported("minilm", network, True, about, remarks)
    if kind == "bart":
        return _with_zeros(Imported("ternary_bart", bart_checkpoint.build(checkpoint), False, about))
    if kind == "bert":
        if minilm.recognises(checkpoint) or bert_checkpoint.family_of(checkpoint) == "bert":
            raise UnsupportedError(
                "checkpoint: a float BERT; make it INT4 with `edgeq quantize`, or train with a recipe"
            )
        family, bert = bert_checkpoint.build(checkpoint)
        return _with_zeros(Imported(family, bert, False, about))
    raise UnsupportedError(f"config.json: model_type {kind!r} is not imported; there are: {READABLE}")


def _from_state(tensors: Mapping[str, Tensor], name: str) -> Imported:
    if any(key.endswith((".weight_t1", ".weight_val")) for key in tensors):
        network = denseshift.build(denseshift_torch.read_config(tensors))
        denseshift_torch.load_state(network, tensors)
        return Imported("denseshift", network.eval(), False)
    raise UnsupportedError(f"{name}: tensors of no network that is known by its names; there are: {READABLE}")


def _from_gguf(file: Path, tokens: int | None) -> Imported:
    from edgeq.importers import gguf_bert
    from edgeq.importers.gguf import read_gguf

    content = read_gguf(file)
    network, remarks = gguf_bert.build(content, tokens)
    return Imported("minilm", network, True, remarks=remarks)


def _with_zeros(found: Imported) -> Imported:
    """A remark for 1-bit weights that are exactly 0, which one bit cannot say."""
    counts = zero_codes(found.network)
    if not counts or getattr(getattr(found.network, "config", None), "weight_bits", 1) != 1:
        return found
    text = f"{sum(counts.values())} weights of {len(counts)} layers are exactly 0 and become +1"
    return Imported(found.family, found.network, found.packed, found.about, (text,))


def labels(about: Mapping[str, Any], classes: int) -> list[str]:
    """The names of the classes from `id2label`, or their numbers. Raises FormatError for names that do not fit."""
    given = about.get("id2label")
    if given is None:
        return [str(index) for index in range(classes)]
    if not isinstance(given, dict) or sorted(given) != sorted(map(str, range(classes))):
        raise FormatError(f"config.json: id2label must name the classes 0 to {classes - 1}")
    return [str(given[str(index)]) for index in range(classes)]
