"""BERT checkpoints under Hugging Face names: BiBERT's and BiT's latent weights, and plain float BERT.

`model_type` says "bert" for all three (or nothing), so the extra tensors decide: `move.bias` means BiT, `act_clip_val`
with `weight_bits` 1 means BiBERT. A loader that overlooked them would give a float BERT with nonsense for output.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from edgeq._errors import FormatError, UnsupportedError, UsageError
from edgeq.importers import _state_dict
from edgeq.importers._state_dict import Entry
from edgeq.importers.checkpoint import Checkpoint, read_checkpoint
from edgeq.models import _bert, bibert, bit
from edgeq.models._bert import Bert, BertConfig
from edgeq.models.bit import BiTConfig

Family = Literal["bibert", "bit", "bert"]

_RENAMES = (  # our name -> theirs, applied one after the other
    (r"^embeddings\.norm\.", "bert.embeddings.LayerNorm."),
    (r"^embeddings\.(word|position|token_type)\.", r"bert.embeddings.\1_embeddings."),
    (r"^layers\.", "bert.encoder.layer."),
    (r"\.attention\.(query|key|value)\.", r".attention.self.\1."),
    (r"\.attention\.core\.probabilities\.alpha$", ".attention.self.clip_attn"),
    (r"\.attention\.core\.(\w+)\.alpha$", r".attention.self.clip_\1"),
    (r"\.attention\.out\.", ".attention.output.dense."),
    (r"\.attention_norm\.", ".attention.output.LayerNorm."),
    (r"\.up\.", ".intermediate.dense."),
    (r"\.down\.", ".output.dense."),
    (r"(?<=\d)\.norm\.", ".output.LayerNorm."),
    (r"^pooler\.", "bert.pooler."),
    (r"\.quantise_input\.alpha$", ".input_clip_val"),
    (r"\.move$", ".move.bias"),
)
_UNUSED = {
    "bert": r".*\.position_ids",
    # parameters of other bit widths, and a scale that the authors' code computes afresh from the latents
    "bibert": r".*\.(position_ids|scale|gate|weight_clip_val|act_clip_val|clip_(query|key|value|attn))",
    # evaluated by the authors' code, and the result thrown away
    "bit": r".*\.(position_ids|attention\.self\.move_[qkv]\.bias)",
}


def read(folder: Path) -> tuple[Family, Bert]:
    """The network of a checkpoint folder, in eval mode, with its family.

    raises  FormatError for what contradicts itself, UnsupportedError for variants without an implementation
    """
    return build(read_checkpoint(folder))


def build(checkpoint: Checkpoint) -> tuple[Family, Bert]:
    """As `read`, from what is already in memory."""
    tensors = _modern_names(checkpoint.tensors)
    family = family_of(checkpoint)
    try:
        sizes = _sizes(checkpoint)
        bit_config = _bit_config(checkpoint, sizes) if family == "bit" else None
    except UsageError as error:
        raise FormatError(f"config.json: {error}") from None
    if bit_config is not None:
        model = bit.build(bit_config)
    elif family == "bibert":
        _refuse_signs(tensors)
        model = bibert.build(sizes)
    else:
        model = _bert.build(sizes)
    used = {name: tensor for name, tensor in tensors.items() if not re.fullmatch(_UNUSED[family], name)}
    entries = (Entry(foreign_name(name), tensor) for name, tensor in model.state_dict().items())
    _state_dict.load(f"{family} checkpoint", entries, used)
    return family, model.eval()


def start(model: Bert, checkpoint: Checkpoint, rows: Tensor) -> None:
    """Give a network with fewer layers, positions and word pieces the tensors of a float encoder to be trained on.

    rows    (vocabulary,) int64: which rows of the checkpoint's word embedding the network has
    raises  FormatError naming a tensor that is missing or of another shape

    Pooler and classifier stay as they are: they belong to a task.
    """
    tensors = {f"bert.{name.removeprefix('bert.')}": tensor for name, tensor in checkpoint.tensors.items()}
    state = model.state_dict()
    for name, own in state.items():
        if name.startswith(("pooler.", "classifier.")) or name.endswith((".alpha", ".move")):
            continue
        theirs = foreign_name(name)
        if theirs not in tensors:
            raise FormatError(f"checkpoint: missing {theirs}")
        tensor = tensors[theirs]
        if name == "embeddings.word.weight" and tensor.dim() == 2 and int(rows.max()) < tensor.shape[0]:
            tensor = tensor[rows]
        elif name == "embeddings.position.weight":
            tensor = tensor[: own.shape[0]]
        if tensor.shape != own.shape:
            raise FormatError(f"checkpoint: {theirs} has shape {tuple(tensor.shape)}, expected {tuple(own.shape)}")
        with torch.no_grad():
            own.copy_(tensor)


def family_of(checkpoint: Checkpoint) -> Family:
    """Which network the extra tensors ask for."""
    names, bits = checkpoint.tensors.keys(), checkpoint.config.get("weight_bits", 32)
    if any(name.endswith(".move.bias") for name in names):
        return "bit"
    if any(name.endswith((".act_clip_val", ".scale", ".clip_query")) for name in names):
        if bits != 1 or checkpoint.config.get("input_bits", 1) != 1:
            raise UnsupportedError(
                f"config.json: a quantised BERT with weight_bits {bits!r} and input_bits "
                f"{checkpoint.config.get('input_bits')!r}; BiBERT is imported at 1 bit for both"
            )
        return "bibert"
    if bits != 32:
        raise FormatError(f"config.json: weight_bits is {bits!r}, but the file holds an ordinary float BERT")
    return "bert"


def foreign_name(name: str) -> str:
    """The Hugging Face name of a tensor of `edgeq.models._bert.Bert`."""
    for pattern, replacement in _RENAMES:
        name = re.sub(pattern, replacement, name)
    return name


def _sizes(checkpoint: Checkpoint) -> BertConfig:
    activation = checkpoint.text("hidden_act", "gelu")
    if activation not in ("gelu", "relu"):
        raise UnsupportedError(f"config.json: hidden_act {activation!r}; gelu and relu are known")
    word, position = (f"bert.embeddings.{kind}_embeddings.weight" for kind in ("word", "position"))
    return BertConfig(
        vocabulary=checkpoint.size(word, 0),
        hidden=checkpoint.size(word, 1),
        heads=checkpoint.integer("num_attention_heads"),
        layers=checkpoint.integer("num_hidden_layers"),
        intermediate=checkpoint.integer("intermediate_size"),
        positions=checkpoint.size(position, 0),
        token_types=checkpoint.size("bert.embeddings.token_type_embeddings.weight", 0),
        labels=checkpoint.size("classifier.weight", 0),
        activation="relu" if activation == "relu" else "gelu",
        norm_eps=checkpoint.number("layer_norm_eps", 1e-12),
    )


def _bit_config(checkpoint: Checkpoint, sizes: BertConfig) -> BiTConfig:
    for key, needed in (
        ("weight_bits", 1),
        ("weight_quant_method", "bwn"),
        ("input_quant_method", "elastic"),
        ("not_quantize_attention", False),
        ("sym_quant_qkvo", True),
        ("sym_quant_ffn_attn", False),
        ("input_layerwise", True),
    ):
        if checkpoint.config.get(key, needed) != needed:
            raise UnsupportedError(
                f"config.json: BiT with {key} {checkpoint.config[key]!r}; only {needed!r} is imported"
            )
    return BiTConfig(
        **vars(sizes),
        bits=checkpoint.integer("input_bits"),
        scale_per_row=not checkpoint.flag("weight_layerwise", True),
        embedding_scale_per_row=not checkpoint.flag("embed_layerwise", False),
    )


def _modern_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """LayerNorms of old files call their parameters gamma and beta."""
    renamed = {}
    for name, tensor in tensors.items():
        name = re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", name)
        renamed[re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", name)] = tensor
    return renamed


def _refuse_signs(tensors: Mapping[str, Tensor]) -> None:
    weights = [t for name, t in tensors.items() if f"{name.removesuffix('.weight')}.scale" in tensors]
    if weights and all(bool(((w == 0) | (w.abs() == 1)).all()) for w in weights):
        raise FormatError(
            "BiBERT checkpoint: every weight is -1, 0 or 1. This is the file of the folder `quant/`, which has lost "
            "the scales; import the latent float file beside that folder"
        )
