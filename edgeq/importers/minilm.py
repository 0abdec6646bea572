"""Sentence encoders under Hugging Face's BERT names (`BertModel`), read into `edgeq.models.minilm`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from edgeq._errors import FormatError, UnsupportedError, UsageError
from edgeq.importers import _state_dict
from edgeq.importers._state_dict import Entry
from edgeq.importers.checkpoint import Checkpoint
from edgeq.models import minilm
from edgeq.models.minilm import MiniLM, MiniLMConfig
from edgeq.nn.int4_linear import Int4Linear
from edgeq.nn.int8_embedding import Int8Embedding
from edgeq.schemes import int4
from edgeq.schemes.grouped import GroupedWeight

GROUP = 32  # of layers that are rounded here
DEFAULT_TOKENS = 64

_LAYER = (  # ours -> theirs
    ("out", "attention.output.dense"),
    ("attention_norm", "attention.output.LayerNorm"),
    ("up", "intermediate.dense"),
    ("down", "output.dense"),
    ("norm", "output.LayerNorm"),
)
_UNUSED = ("embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias")


def recognises(checkpoint: Checkpoint) -> bool:
    """A plain BERT without a classifier on top."""
    names = checkpoint.tensors.keys()
    return any(name.removeprefix("bert.") == "embeddings.word_embeddings.weight" for name in names) and not any(
        name.startswith(("classifier.", "cls.", "qa_outputs.")) for name in names
    )


def build(checkpoint: Checkpoint, tokens: int | None = None) -> MiniLM:
    """The float network of a checkpoint, in eval mode, for `tokens` tokens (default 64).

    raises  FormatError for tensors that do not fit, UnsupportedError for variants that the network does not have
    """
    tensors = {
        name.removeprefix("bert."): tensor
        for name, tensor in checkpoint.tensors.items()
        if name.removeprefix("bert.") not in _UNUSED
    }
    tokens = tokens or DEFAULT_TOKENS
    activation, kind = checkpoint.text("hidden_act", "gelu"), checkpoint.text("position_embedding_type", "absolute")
    if activation != "gelu" or kind != "absolute":
        raise UnsupportedError(
            f"config.json: hidden_act {activation!r} with {kind} positions; gelu with absolute ones is imported"
        )
    table = "embeddings.word_embeddings.weight"
    if table not in tensors or tensors[table].dim() != 2:
        raise FormatError(f"checkpoint: no matrix {table}; not a BERT encoder")
    layers = len({name.split(".")[2] for name in tensors if name.startswith("encoder.layer.")})
    if checkpoint.integer("num_hidden_layers") != layers:
        raise FormatError(
            f"config.json: num_hidden_layers is {checkpoint.integer('num_hidden_layers')}, the file has {layers} layers"
        )
    try:
        config = MiniLMConfig(
            vocabulary=tensors[table].shape[0],
            hidden=tensors[table].shape[1],
            heads=checkpoint.integer("num_attention_heads"),
            layers=layers,
            intermediate=checkpoint.integer("intermediate_size"),
            tokens=tokens,
            norm_eps=checkpoint.number("layer_norm_eps", 1e-12),
        )
    except UsageError as error:
        raise FormatError(f"config.json: {error}") from None
    model = minilm.build(config)
    position = _table(tensors, "embeddings.position_embeddings.weight", tokens, config.hidden)
    types = _table(tensors, "embeddings.token_type_embeddings.weight", 1, config.hidden)
    _state_dict.load("BERT checkpoint", _entries(model), tensors)
    with torch.no_grad():
        model.position.copy_(position[:tokens] + types[0])
    return model.eval()


def from_layers(
    checkpoint: Checkpoint, layers: Mapping[str, GroupedWeight], tokens: int | None = None
) -> tuple[MiniLM, tuple[str, ...]]:
    """The packed network of a checkpoint whose linear layers are already quantised, and remarks on what was rounded.

    Codes are taken over where an INT4 file can hold them. Others (8 bits, fractional zeros, inputs in another order),
    and layers that were left float, are rounded to the nearest code in groups of 32.
    """
    own = {
        name: tensor
        for name, tensor in checkpoint.tensors.items()
        if not any(name.startswith(f"{layer}.") for layer in layers)
    }
    for name, weight in layers.items():
        own[f"{name}.weight"] = weight.dequantise()
        own[f"{name}.bias"] = torch.zeros(len(weight.codes)) if weight.bias is None else weight.bias
    network = build(replace(checkpoint, tensors=own), tokens)
    known = {name.removeprefix("bert."): weight for name, weight in layers.items()}
    found: dict[str, GroupedWeight] = {}
    rounded = []
    for ours, theirs in _linears(network):
        layer = network.get_submodule(ours)
        assert isinstance(layer, nn.Linear)
        for name, part in zip(theirs, layer.weight.detach().chunk(len(theirs)), strict=True):
            taken = known.get(name)
            if taken is None or not int4.fits(taken.with_zero()):
                rounded.append(name)
                taken = int4.nearest(part, GROUP)
            found[name] = taken.with_zero()
    group = min(weight.group for weight in found.values())
    if any(weight.group % group for weight in found.values()):
        raise UnsupportedError("checkpoint: layers in groups of which one is no multiple of the other")
    zeros = any(bool((weight.zero != int4.MIDDLE).any()) for weight in found.values())
    network.config = replace(network.config, group=group, zeros=zeros)
    for ours, theirs in _linears(network):
        layer = network.get_submodule(ours)
        assert isinstance(layer, nn.Linear)
        joined = _joined([int4.regroup(found[name], group) for name in theirs])
        network.set_submodule(ours, Int4Linear.from_weight(replace(joined, bias=layer.bias.detach()), zeros=zeros))
    assert isinstance(network.word, nn.Embedding)
    minilm.deploy(network, Int8Embedding.from_float(network.word))
    remarks = (f"{len(rounded)} layers did not fit INT4 and were rounded to it, {rounded[0]} first",) if rounded else ()
    return network, remarks


def _linears(network: MiniLM) -> Iterator[tuple[str, list[str]]]:
    """Our linear layers, and the layers of the checkpoint that each one joins."""
    for index in range(network.config.layers):
        theirs = f"encoder.layer.{index}"
        yield f"layers.{index}.qkv", [f"{theirs}.attention.self.{name}" for name in ("query", "key", "value")]
        for our, name in _LAYER:
            if not our.endswith("norm"):
                yield f"layers.{index}.{our}", [f"{theirs}.{name}"]


def _joined(parts: list[GroupedWeight]) -> GroupedWeight:
    codes, scale, zero = (torch.cat([getattr(part, name) for part in parts]) for name in ("codes", "scale", "zero"))
    return GroupedWeight(4, codes, scale, zero)


def _table(tensors: dict[str, Tensor], name: str, rows: int, width: int) -> Tensor:
    table = tensors.pop(name, None)
    if table is None or table.dim() != 2 or table.shape[0] < rows or table.shape[1] != width:
        shape = None if table is None else tuple(table.shape)
        raise FormatError(f"checkpoint: {name}: expected at least {rows} rows of {width}, got {shape}")
    if not bool(table.isfinite().all()):
        raise FormatError(f"checkpoint: {name}: values that are NaN or infinite")
    return table.float()


def _entries(model: MiniLM) -> Iterator[Entry]:
    state, hidden = model.state_dict(), model.config.hidden
    yield Entry("embeddings.word_embeddings.weight", state["word.weight"])
    for part in ("weight", "bias"):
        yield Entry(f"embeddings.LayerNorm.{part}", state[f"norm.{part}"])
    for index in range(model.config.layers):
        for part in ("weight", "bias"):
            fused = state[f"layers.{index}.qkv.{part}"]
            theirs = f"encoder.layer.{index}"
            for place, name in enumerate(("query", "key", "value")):
                rows = fused[place * hidden : (place + 1) * hidden]
                yield Entry(f"{theirs}.attention.self.{name}.{part}", rows)
            for our, name in _LAYER:
                yield Entry(f"{theirs}.{name}.{part}", state[f"layers.{index}.{our}.{part}"])
