"""Ternary and binary BART checkpoints (TBT) under Hugging Face names: latent float weights, learnt steps.

`model_type` is "bart", so a loader that overlooks `weight_bits` reads a plausible float BART with nonsense for output.
"""

import re
from pathlib import Path

import torch
from torch import Tensor

from edgeq._errors import FormatError, UnsupportedError, UsageError
from edgeq.importers import _state_dict
from edgeq.importers._state_dict import Entry
from edgeq.importers.checkpoint import Checkpoint, read_checkpoint
from edgeq.models.ternary_bart import POSITION_OFFSET, TernaryBart, TernaryBartConfig
from edgeq.models.ternary_bart import build as build_network

_SHARED = "model.shared.weight"
_COPIES = ("model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight")
_HEAD = "lm_head.weight"

_RENAMES = (  # our name -> theirs, applied one after the other
    (r"^words\.weight$", _SHARED),
    (r"^head$", _HEAD),
    (r"^head_bias$", "final_logits_bias"),
    (r"^(encoder|decoder)\.", r"model.\1."),
    (r"\.embed\.position\.", ".embed_positions."),
    (r"\.embed\.norm\.", ".layernorm_embedding."),
    (r"\.attention_norm\.", ".self_attn_layer_norm."),
    (r"\.cross_norm\.", ".encoder_attn_layer_norm."),
    (r"(?<=\d)\.norm\.", ".final_layer_norm."),
    (r"(?<=\d)\.attention\.", ".self_attn."),
    (r"(?<=\d)\.cross\.", ".encoder_attn."),
    (r"_attn\.core\.probabilities\.alpha$", "_attn.clip_attn"),
    (r"_attn\.core\.(\w+)\.alpha$", r"_attn.clip_\1"),
    (r"_attn\.query\.", "_attn.q_proj."),
    (r"_attn\.key\.", "_attn.k_proj."),
    (r"_attn\.value\.", "_attn.v_proj."),
    (r"_attn\.out\.", "_attn.out_proj."),
    (r"\.ffn\.up\.", ".fc1."),
    (r"\.ffn\.down\.", ".fc2."),
    (r"\.quantise_input\.alpha$", ".act_clip_val"),
)
_CLIPS = re.compile(r".*\.(act_clip_val|clip_(query|key|value|attn))")


def read(folder: Path) -> TernaryBart:
    """The network of a checkpoint folder, in eval mode.

    raises  FormatError for what contradicts itself, UnsupportedError for variants without an implementation
    """
    return build(read_checkpoint(folder))


def build(checkpoint: Checkpoint) -> TernaryBart:
    """As `read`, from what is already in memory."""
    tensors = dict(checkpoint.tensors)
    try:
        config = _config(checkpoint)
    except UsageError as error:
        raise FormatError(f"config.json: {error}") from None
    shared = tensors[_SHARED]
    for name in _COPIES:
        if name in tensors and not torch.equal(tensors.pop(name), shared):
            raise FormatError(f"BART checkpoint: {name} differs from {_SHARED}, of which it should be a copy")
    if config.head == "latent":
        tensors.pop(_HEAD, None)
    if config.activation_bits == 8:
        for name in list(filter(_CLIPS.fullmatch, tensors)):
            _check_clip(name, tensors.pop(name), config.clip)
    model = build_network(config)
    used = {name: tensor for name, tensor in tensors.items() if not name.endswith(".weight_clip_val")}
    entries = (Entry(foreign_name(name), tensor) for name, tensor in model.state_dict().items())
    _state_dict.load("BART checkpoint", entries, used)
    return model.eval()


def foreign_name(name: str) -> str:
    """The Hugging Face name of a tensor of TernaryBart."""
    for pattern, replacement in _RENAMES:
        name = re.sub(pattern, replacement, name)
    return name


def _config(checkpoint: Checkpoint) -> TernaryBartConfig:
    config, tensors = checkpoint.config, checkpoint.tensors
    if "weight_bits" not in config or "input_bits" not in config:
        found = "its tensors say it is quantised" if any(map(_CLIPS.fullmatch, tensors)) else "an ordinary BART?"
        raise UnsupportedError(
            f"config.json: no weight_bits and input_bits ({found}); the tensors do not tell 1 bit from 2: add both keys"
        )
    for key, needed in (
        ("quantize_act", True),
        ("sym_quant_qkvo", True),
        ("sym_quant_ffn_attn", False),
        ("scale_embedding", False),
        ("activation_function", "gelu"),
    ):
        if config.get(key, needed) != needed:
            raise UnsupportedError(f"config.json: {key} is {config[key]!r}; only {needed!r} is imported")
    separate = _HEAD in tensors and not torch.equal(tensors[_HEAD], tensors.get(_SHARED, tensors[_HEAD]))
    return TernaryBartConfig(
        vocabulary=checkpoint.size(_SHARED, 0),
        hidden=checkpoint.size(_SHARED, 1),
        encoder_layers=checkpoint.integer("encoder_layers"),
        decoder_layers=checkpoint.integer("decoder_layers"),
        encoder_heads=checkpoint.integer("encoder_attention_heads"),
        decoder_heads=checkpoint.integer("decoder_attention_heads"),
        encoder_ffn=checkpoint.integer("encoder_ffn_dim"),
        decoder_ffn=checkpoint.integer("decoder_ffn_dim"),
        positions=checkpoint.size("model.encoder.embed_positions.weight", 0) - POSITION_OFFSET,
        weight_bits=checkpoint.integer("weight_bits"),
        activation_bits=checkpoint.integer("input_bits"),
        clip=checkpoint.number("clip_val", 2.5),
        head="separate" if separate else "latent",
        padding=checkpoint.integer("pad_token_id", 1),
        start=checkpoint.integer("decoder_start_token_id", 2),
        end=checkpoint.integer("eos_token_id", 2),
    )


def _check_clip(name: str, bounds: Tensor, clip: float) -> None:
    if bounds.flatten().tolist() != [-clip, clip]:
        raise UnsupportedError(f"{name}: 8-bit activations clipped at {bounds.tolist()}, config.json says +-{clip}")
