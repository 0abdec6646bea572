"""BERT encoders in GGUF files (`general.architecture` "bert"), read into `edgeq.models.minilm`."""

from __future__ import annotations

import re
from dataclasses import replace

from torch import Tensor

from edgeq._errors import FormatError, UnsupportedError
from edgeq.importers import minilm
from edgeq.importers.checkpoint import Checkpoint
from edgeq.importers.gguf import GgufFile
from edgeq.models.minilm import MiniLM
from edgeq.schemes.grouped import GroupedWeight

_NAMES = (  # GGUF's -> Hugging Face's
    (r"^token_embd\.", "embeddings.word_embeddings."),
    (r"^position_embd\.", "embeddings.position_embeddings."),
    (r"^token_types\.", "embeddings.token_type_embeddings."),
    (r"^token_embd_norm\.", "embeddings.LayerNorm."),
    (r"^blk\.(\d+)\.attn_q\.", r"encoder.layer.\1.attention.self.query."),
    (r"^blk\.(\d+)\.attn_k\.", r"encoder.layer.\1.attention.self.key."),
    (r"^blk\.(\d+)\.attn_v\.", r"encoder.layer.\1.attention.self.value."),
    (r"^blk\.(\d+)\.attn_output\.", r"encoder.layer.\1.attention.output.dense."),
    (r"^blk\.(\d+)\.attn_output_norm\.", r"encoder.layer.\1.attention.output.LayerNorm."),
    (r"^blk\.(\d+)\.ffn_up\.", r"encoder.layer.\1.intermediate.dense."),
    (r"^blk\.(\d+)\.ffn_down\.", r"encoder.layer.\1.output.dense."),
    (r"^blk\.(\d+)\.layer_output_norm\.", r"encoder.layer.\1.output.LayerNorm."),
)
_SIZES = {  # Hugging Face's -> GGUF's
    "num_attention_heads": "bert.attention.head_count",
    "num_hidden_layers": "bert.block_count",
    "intermediate_size": "bert.feed_forward_length",
}


def build(file: GgufFile, tokens: int | None = None) -> tuple[MiniLM, tuple[str, ...]]:
    """The packed network of a file, and remarks on what was rounded; errors as `edgeq.importers.minilm`.

    raises  UnsupportedError for another architecture, naming it
    """
    kind = file.metadata.get("general.architecture")
    if kind != "bert":
        raise UnsupportedError(
            f"GGUF: architecture {kind!r}; EdgeQ has a network for bert (tensors alone: edgeq.importers.gguf)"
        )
    config: dict[str, object] = {ours: file.metadata.get(theirs) for ours, theirs in _SIZES.items()}
    config["layer_norm_eps"] = file.metadata.get("bert.attention.layer_norm_epsilon", 1e-12)
    tensors: dict[str, Tensor] = {}
    layers: dict[str, GroupedWeight] = {}
    for name in file.tensors:
        foreign = _foreign(name)
        content = file.decode(name)
        if isinstance(content, Tensor):
            tensors[foreign] = content
        elif foreign.startswith("embeddings."):
            tensors[foreign] = content.dequantise()
        else:
            layers[foreign.removesuffix(".weight")] = content
    for layer, weight in layers.items():
        if f"{layer}.bias" not in tensors:
            raise FormatError(f"GGUF: {layer} has no bias")
        layers[layer] = replace(weight, bias=tensors.pop(f"{layer}.bias"))
    return minilm.from_layers(Checkpoint(config, tensors), layers, tokens)


def _foreign(name: str) -> str:
    for pattern, replacement in _NAMES:
        if re.match(pattern, name):
            return re.sub(pattern, replacement, name)
    return name
