"""A BERT encoder of toy size as a checkpoint folder, float or in the layouts of others."""

import json
import struct
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from edgeq.schemes import int4

HIDDEN, HEADS, LAYERS, FFN, POSITIONS = 64, 2, 2, 96, 20
WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "b", "good", "bad", "film", "##s", ".", "the", "dog", "cat")
CONFIG = {
    "model_type": "bert",
    "hidden_act": "gelu",
    "num_attention_heads": HEADS,
    "num_hidden_layers": LAYERS,
    "intermediate_size": FFN,
    "layer_norm_eps": 1e-12,
}
LINEARS = (
    ("attention.self.query", HIDDEN, HIDDEN),
    ("attention.self.key", HIDDEN, HIDDEN),
    ("attention.self.value", HIDDEN, HIDDEN),
    ("attention.output.dense", HIDDEN, HIDDEN),
    ("intermediate.dense", FFN, HIDDEN),
    ("output.dense", HIDDEN, FFN),
)
SENTENCES = [f"{a} {b} {c} ." for a in ("good", "bad", "the") for b in ("film", "films", "dog", "cat") for c in "ab"]


def tensors(seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int, scale: float = 0.2) -> torch.Tensor:
        return torch.randn(*shape, generator=generator) * scale

    found = {
        "embeddings.word_embeddings.weight": random(len(WORDS), HIDDEN, scale=1),
        "embeddings.position_embeddings.weight": random(POSITIONS, HIDDEN),
        "embeddings.token_type_embeddings.weight": random(2, HIDDEN),
    }
    norms = ["embeddings.LayerNorm"]
    for index in range(LAYERS):
        here = f"encoder.layer.{index}"
        norms += [f"{here}.attention.output.LayerNorm", f"{here}.output.LayerNorm"]
        for name, o, i in LINEARS:
            found[f"{here}.{name}.weight"], found[f"{here}.{name}.bias"] = random(o, i), random(o)
    for name in norms:
        found[f"{name}.weight"], found[f"{name}.bias"] = 1 + random(HIDDEN), random(HIDDEN)
    return found


def linear_names(state: dict[str, torch.Tensor]) -> list[str]:
    return [
        name.removesuffix(".weight")
        for name, tensor in state.items()
        if "dense" in name or "self" in name
        if tensor.dim() == 2
    ]


def write(folder: Path, state: dict[str, torch.Tensor], **config: object) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG | config))
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in WORDS))
    save_file(state, folder / "model.safetensors")
    return folder


def as_gptq(state: dict[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """GPTQ version 2 tensors of group 32, and the float weights that they stand for."""
    packed, exact = dict(state), dict(state)
    for name in linear_names(state):
        weight = int4.nearest(packed.pop(f"{name}.weight"), 32)
        exact[f"{name}.weight"] = weight.dequantise()
        packed[f"{name}.qweight"] = _words(weight.codes.T.contiguous(), 0)
        packed[f"{name}.qzeros"] = _words(weight.zero.T.contiguous().to(torch.uint8), 1)
        packed[f"{name}.scales"] = weight.scale.T.contiguous().half()
    return packed, exact


GPTQ = {"quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 32, "checkpoint_format": "gptq_v2"}}


def _words(codes: torch.Tensor, axis: int) -> torch.Tensor:
    """Eight codes to an int32, lowest first, along an axis."""
    array = np.moveaxis(codes.numpy().astype(np.uint32), axis, -1)
    array = array.reshape(*array.shape[:-1], -1, 8)
    words = sum(array[..., k] << np.uint32(4 * k) for k in range(8)).astype(np.uint32).view(np.int32)
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(words, -1, axis)))


_GGUF = (
    ("embeddings.word_embeddings", "token_embd"),
    ("embeddings.position_embeddings", "position_embd"),
    ("embeddings.token_type_embeddings", "token_types"),
    ("embeddings.LayerNorm", "token_embd_norm"),
    ("encoder.layer.", "blk."),
    ("attention.self.query", "attn_q"),
    ("attention.self.key", "attn_k"),
    ("attention.self.value", "attn_v"),
    ("attention.output.dense", "attn_output"),
    ("attention.output.LayerNorm", "attn_output_norm"),
    ("intermediate.dense", "ffn_up"),
    ("output.dense", "ffn_down"),
    ("output.LayerNorm", "layer_output_norm"),
)


def write_gguf(path: Path, state: dict[str, torch.Tensor], *, architecture: str = "bert") -> dict[str, torch.Tensor]:
    """A GGUF file with Q4_0 linear layers; returns the float weights that it stands for."""
    exact, infos, data = dict(state), [], b""
    linears = set(linear_names(state))
    for name, tensor in state.items():
        theirs = name
        for ours, other in _GGUF:
            theirs = theirs.replace(ours, other)
        if name.removesuffix(".weight") in linears and name.endswith(".weight"):
            raw, exact[name], kind = (*_q4_0(tensor), 2)
        else:
            raw, kind = tensor.contiguous().numpy().astype("<f4").tobytes(), 0
        infos.append(
            _text(theirs) + struct.pack(f"<I{tensor.dim()}QIQ", tensor.dim(), *tensor.shape[::-1], kind, len(data))
        )
        data += raw + bytes(-len(raw) % 32)
    values = [("general.architecture", 8, _text(architecture))]
    sizes = {"attention.head_count": HEADS, "block_count": LAYERS, "feed_forward_length": FFN}
    values += [(f"bert.{key}", 4, struct.pack("<I", value)) for key, value in sizes.items()]
    head = b"GGUF" + struct.pack("<IQQ", 3, len(infos), len(values))
    head += b"".join(_text(key) + struct.pack("<I", kind) + raw for key, kind, raw in values) + b"".join(infos)
    path.write_bytes(head + bytes(-len(head) % 32) + data)
    return exact


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()


def _q4_0(w: torch.Tensor) -> tuple[bytes, torch.Tensor]:
    blocks = w.reshape(-1, 32)
    scale, zero = int4.fit(blocks, torch.ones(32), "q4_0")
    codes = int4.encode(blocks, scale, zero)
    exact = int4.decode(codes, scale, zero).view(w.shape)
    nibbles = codes.to(torch.uint8)
    raw = b"".join(
        np.float16(s).tobytes() + (row[:16] | row[16:] << 4).numpy().tobytes()
        for s, row in zip(scale.tolist(), nibbles, strict=True)
    )
    return raw, exact
