"""Ternary and binary BART: whole networks, cached decoding and every product, recorded from the authors' code.

With one-bit activations and steps that are no powers of two, the authors' float sums leave +-1e-9 where the integers
cancel, and the next layer takes the sign of that: end to end such a file is compared by direction only.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from edgeq._errors import FormatError
from edgeq.compile import executorch, host
from edgeq.importers import bart_checkpoint
from edgeq.importers.checkpoint import Checkpoint
from edgeq.models import ternary_bart
from edgeq.models._packed_bart import PackedBart, Session, methods
from edgeq.models.ternary_bart import Attention, Cache, Features, TernaryBart
from edgeq.nn.attention import LowBitAttention
from edgeq.nn.elastic import Elastic
from edgeq.nn.heads import split_heads
from edgeq.nn.lowbit_linear import LowBitLinear
from edgeq.nn.packed_lowbit import PackedLowBitLinear
from edgeq.schemes.quantised import product

from .codes import OUTPUT_ATOL, compare_output, compare_quantised
from .operands import compare_linear
from .report import Check, Fixture, Report

GRADIENT_ATOL = 1e-10  # some gradients are 0 but for rounding
INITIAL_ALPHA_RTOL = 1e-4
COSINE_DISTANCE = 0.1  # of logits, where sums that cancel are not 0 in the recording
COMPILED_ATOL = 2e-6  # the float head runs in XNNPACK; all else is the same code
EIGHT_BIT_FLIPS = 1e-3  # share of 8-bit codes that may be off by one


Decode = Callable[[Tensor, Tensor], Tensor]  # token (B, 1), position (1,) -> logits (B, 1, V)


@dataclass(frozen=True)
class Tolerance:
    logits: float
    hidden: float
    gradient: float  # of the tensor's largest value


EXACT = Tolerance(logits=5e-6, hidden=5e-6, gradient=2e-4)
EIGHT_BIT = Tolerance(logits=1e-3, hidden=1e-2, gradient=1e-2)  # one code that rounds the other way


def recognises(fixture: Fixture) -> bool:
    return "sd/model.shared.weight" in fixture.tensors


def build_from_fixture(fixture: Fixture) -> TernaryBart:
    config = fixture.about.get("config")
    if not isinstance(config, dict):
        raise FormatError(f"{fixture.name}.json: 'config' must be the configuration of the network, got {config!r}")
    state = {name: torch.from_numpy(array) for name, array in fixture.under("sd/")}
    return bart_checkpoint.build(Checkpoint(config, state))


def run_float(fixture: Fixture, report: Report) -> None:
    model = build_from_fixture(fixture)
    ids, mask, target = (_input(fixture, n) for n in ("input_ids", "attention_mask", "decoder_input_ids"))
    features = model.features(ids, mask, target)
    if has_ties(model):
        compare_direction(report, features.logits, fixture.tensors["out/logits"])
    else:
        tolerance = tolerance_of(model)
        compare_features(report, fixture, features, tolerance)
        compare_gradients(report, fixture, model, features, tolerance)
        compare_decoding(report, fixture, model, tolerance)
    with torch.no_grad():
        compare_operands(report, fixture, model)
        if model.config.activation_bits == 2:
            compare_initial_alphas(report, fixture, model)


def has_ties(model: TernaryBart) -> bool:
    """Whether the recorded context is a float sum of numbers that are no powers of two, and then taken by its sign."""
    steps = [
        float(part.alpha.detach())
        for layer in model.modules()
        if isinstance(layer, LowBitAttention)
        for part in (layer.value, layer.probabilities)
        if isinstance(part, Elastic)
    ]
    return model.config.activation_bits == 1 and any(np.frexp(step)[0] != 0.5 for step in steps)


def compare_direction(report: Report, got: Tensor, want: np.ndarray) -> None:
    cosine = torch.cosine_similarity(got.detach().flatten(), torch.from_numpy(want).flatten(), 0)
    report.compare("logits:cosine", cosine, np.array(1.0), COSINE_DISTANCE)


def compare_features(report: Report, fixture: Fixture, features: Features, tolerance: Tolerance) -> None:
    report.compare("logits", features.logits, fixture.tensors["out/logits"], tolerance.logits)
    pairs = {
        "encoder_hidden": features.encoder_hidden,
        "decoder_hidden": features.decoder_hidden,
        "encoder_attn": [scores.softmax(-1) for scores in features.encoder_scores],
        "cross_attn": [scores.softmax(-1) for scores in features.cross_scores],
        "decoder_attn": [scores.softmax(-1) for scores in features.decoder_scores],
    }
    for kind, tensors in pairs.items():
        for index, got in enumerate(tensors):
            if (want := fixture.tensors.get(f"out/{kind}_{index}")) is not None:
                report.compare(f"{kind}_{index}", got, want, tolerance.hidden)


def compare_gradients(
    report: Report, fixture: Fixture, model: TernaryBart, features: Features, tolerance: Tolerance
) -> None:
    """Of the mean of squared logits."""
    loss = features.logits.square().mean()
    loss.backward()
    ours = {bart_checkpoint.foreign_name(name): parameter for name, parameter in model.named_parameters()}
    for name, want in fixture.under("grad/"):
        if name == "loss_mean_logits_sq":
            report.compare(f"grad/{name}", loss, want, tolerance.logits)
            continue
        got = ours[name].grad
        assert got is not None
        report.compare(f"grad/{name}", got, want, tolerance.gradient * float(np.abs(want).max()) + GRADIENT_ATOL)


@torch.no_grad()
def compare_decoding(report: Report, fixture: Fixture, model: TernaryBart, tolerance: Tolerance) -> None:
    """Greedy decoding with a cache, of the batch and of its first item alone without padding."""
    for kind, here, its_mask in generations(fixture):
        cache = model.start(model.encode(here, its_mask), its_mask)

        def decode(token: Tensor, _position: Tensor, cache: Cache = cache) -> Tensor:
            return model.decode(token, cache).logits

        compare_generation(report, fixture, kind, tolerance, decode)


def compare_operands(report: Report, fixture: Fixture, model: TernaryBart) -> None:
    """Every product from its recorded float inputs, so that nothing adds up from layer to layer."""
    flips = EIGHT_BIT_FLIPS if model.config.activation_bits == 8 else 0.0
    for name, layer in model.named_modules():
        if isinstance(layer, LowBitLinear):
            here = bart_checkpoint.foreign_name(f"{name}.weight").removesuffix(".weight")
            x_q, w_q = layer.quantise_input(recorded_input(fixture, here)), layer.quantise_weight(layer.weight)
            compare_quantised(report, f"act/{here}/linear_weight", w_q, _act(fixture, here, "linear_weight"))
            want = _act(fixture, here, "linear_input")
            if compare_quantised(report, f"act/{here}/linear_input", x_q, want, flips=flips):
                compare_output(report, f"act/{here}/output", layer.product(x_q), _act(fixture, here, "output"))
        elif isinstance(layer, Attention):
            compare_attention(report, fixture, name, layer, flips)
    table = model.words(torch.arange(model.config.vocabulary))
    key = "act/model.shared/embedding_weight_used"
    report.compare(key, table, fixture.tensors[key], OUTPUT_ATOL)
    head = model.words.weight if model.head is None else model.head
    report.compare("act/lm_head/linear_weight", head, fixture.tensors["act/lm_head/linear_weight"], 0.0)


def compare_attention(report: Report, fixture: Fixture, name: str, layer: Attention, flips: float) -> None:
    here = bart_checkpoint.foreign_name(f"{name}.query.weight").removesuffix(".q_proj.weight")
    core = layer.core
    assert isinstance(core, LowBitAttention)
    query, key, value = (
        split_heads(torch.from_numpy(_act(fixture, f"{here}.{part}_proj", "output")), layer.heads) for part in "qkv"
    )
    scores = torch.from_numpy(_act(fixture, here, "qk_out")).view(*query.shape[:3], key.shape[2])
    if re.fullmatch(r"model\.decoder\.layers\.\d+\.self_attn", here):
        scores = scores + torch.full(scores.shape[-2:], -torch.inf).triu(1)
    else:
        padded = _input(fixture, "attention_mask")[:, None, None] == 0
        scores = scores.masked_fill(padded, -torch.inf)
    q, k, v = core.query(query * query.shape[-1] ** -0.5), core.key(key), core.value(value)
    p = core.probabilities(scores.softmax(-1))
    same = {}
    for part, operand in (("qk_lhs", q), ("qk_rhs", k.mT), ("av_lhs", p), ("av_rhs", v)):
        want = _act(fixture, here, part).reshape(operand.codes.shape)
        same[part] = compare_quantised(report, f"act/{here}/{part}", operand, want, flips=flips)
    for part, left, right in (("qk", q, k.mT), ("av", p, v)):
        if same[f"{part}_lhs"] and same[f"{part}_rhs"]:
            got = product(left, right)
            compare_output(report, f"act/{here}/{part}_out", got, _act(fixture, here, f"{part}_out").reshape(got.shape))


def recorded_input(fixture: Fixture, here: str) -> Tensor:
    """The float tensor that the linear layer `here` got."""
    match = re.fullmatch(r"(model\.(?:encoder|decoder))\.layers\.(\d+)\.(?:(self|encoder)_attn\.)?(\w+)", here)
    assert match is not None
    side, index, attention, part = match.groups()
    layer = f"{side}.layers.{index}"
    if part == "fc2":
        array = _act(fixture, f"{layer}.activation_fn", "output")
    elif part == "fc1":
        norm = "encoder_attn_layer_norm" if side.endswith("decoder") else "self_attn_layer_norm"
        array = _act(fixture, f"{layer}.{norm}", "output")
    elif part == "out_proj":
        context = _act(fixture, f"{layer}.{attention}_attn", "av_out")
        batch = len(fixture.tensors["in/input_ids"])
        array = context.reshape(batch, -1, *context.shape[1:]).transpose(0, 2, 1, 3)
        array = array.reshape(*array.shape[:2], -1)
    elif attention == "encoder":
        from_source = part in ("k_proj", "v_proj")
        array = (
            fixture.tensors["out/encoder_last_hidden_state"]
            if from_source
            else _act(fixture, f"{layer}.self_attn_layer_norm", "output")
        )
    elif index == "0":
        array = _act(fixture, f"{side}.layernorm_embedding", "output")
    else:
        array = _act(fixture, f"{side}.layers.{int(index) - 1}", "output0")
    return torch.from_numpy(array)


def compare_initial_alphas(report: Report, fixture: Fixture, model: TernaryBart) -> None:
    """The steps that a first forward pass sets."""
    for layer in model.modules():
        if isinstance(layer, Elastic):
            layer.reset()
    model(*(_input(fixture, n) for n in ("input_ids", "attention_mask", "decoder_input_ids")))
    ours = {bart_checkpoint.foreign_name(name): tensor for name, tensor in model.named_parameters()}
    for name, want in fixture.under("init_alpha/"):
        report.compare(f"init_alpha/{name}", ours[name], want, INITIAL_ALPHA_RTOL * float(np.abs(want)))


def _act(fixture: Fixture, module: str, key: str) -> np.ndarray:
    return fixture.tensors[f"act/{module}/{key}"]


def _input(fixture: Fixture, name: str) -> Tensor:
    return torch.from_numpy(fixture.tensors[f"in/{name}"])


# -- paths "packed" and "pte": the deploy face on the C core, and the compiled program --------------------------------


@torch.no_grad()
def run_packed(fixture: Fixture, report: Report) -> None:
    """The packed network against the recording: teacher forcing, cached decoding, every product by itself."""
    model = build_from_fixture(fixture)
    face = ternary_bart.pack(model)
    recorded = fixture.tensors
    ids, mask, target = (_input(fixture, n) for n in ("input_ids", "attention_mask", "decoder_input_ids"))
    encoded = face.encoded(ids, mask)
    decoded = face.decoded(encoded[-1], mask, target)
    logits = face.logits(decoded[-1])
    if has_ties(model):
        compare_direction(report, logits, recorded["out/logits"])
    else:
        tolerance = tolerance_of(model)
        report.compare("logits", logits, recorded["out/logits"], tolerance.logits)
        for kind, tensors in (("encoder_hidden", encoded), ("decoder_hidden", decoded)):
            for index, got in enumerate(tensors):
                report.compare(f"{kind}_{index}", got, recorded[f"out/{kind}_{index}"], tolerance.hidden)
        for kind, here, its_mask in generations(fixture):
            steps = recorded[f"{kind}/logits"].shape[1]
            session = Session(face, source=here.shape[1], target=steps, batch=here.shape[0])
            session.encode(here, its_mask)
            compare_generation(report, fixture, kind, tolerance, session.decode)
    compare_packed_operands(report, fixture, model, face)


def tolerance_of(model: TernaryBart) -> Tolerance:
    return EIGHT_BIT if model.config.activation_bits == 8 else EXACT


def generations(fixture: Fixture) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Name, ids and mask of the recorded greedy decodings: the batch, and its first item without padding."""
    ids, mask = _input(fixture, "input_ids"), _input(fixture, "attention_mask")
    length = int(mask[0].sum())
    for kind, here, its_mask in (("gen_batch", ids, mask), ("gen_item0", ids[:1, :length], mask[:1, :length])):
        if f"{kind}/tokens" in fixture.tensors:
            yield kind, here, its_mask


def compare_generation(report: Report, fixture: Fixture, kind: str, tolerance: Tolerance, decode: Decode) -> None:
    """Greedy decoding, one token after the other, after the source has been encoded."""
    want, tokens = fixture.tensors[f"{kind}/logits"], fixture.tensors[f"{kind}/tokens"]
    written, logits = [torch.from_numpy(tokens[:, :1].copy())], []
    for position in range(want.shape[1]):
        logits.append(decode(written[-1], torch.tensor([position])))
        written.append(logits[-1].argmax(-1))
    report.compare(f"{kind}/logits", torch.cat(logits, 1), want, tolerance.logits)
    report.compare(f"{kind}/tokens", torch.cat(written, 1), tokens, 0.0)


def compare_packed_operands(report: Report, fixture: Fixture, model: TernaryBart, face: PackedBart) -> None:
    """Every packed product from its recorded float inputs."""
    flips = EIGHT_BIT_FLIPS if model.config.activation_bits == 8 else 0.0
    ours = dict(face.named_modules())
    for name, layer in model.named_modules():
        packed = ours.get(name.replace(".layers.", "."))
        if isinstance(packed, PackedLowBitLinear) and isinstance(layer, LowBitLinear):
            here = bart_checkpoint.foreign_name(f"{name}.weight").removesuffix(".weight")
            scaled = (
                name.endswith(".query") and model.config.scales == "tensor"
            )  # 1 / sqrt(d) is part of the packed layer
            output = _act(fixture, here, "output") * (_d(model, name) ** -0.5 if scaled else 1.0)
            recorded = {f"{here}/linear_input": _act(fixture, here, "linear_input"), f"{here}/output": output}
            x = recorded_input(fixture, here)
            compare_linear(report, here, packed, x, layer.quantise_input(x), recorded, flips=flips)
    table = face.words(torch.arange(model.config.vocabulary))
    key = "act/model.shared/embedding_weight_used"
    report.compare(key, table, fixture.tensors[key], OUTPUT_ATOL)


def _d(model: TernaryBart, name: str) -> int:
    heads = model.config.encoder_heads if name.startswith("encoder") else model.config.decoder_heads
    return model.config.hidden // heads


@torch.no_grad()
def run_pte(fixture: Fixture, report: Report) -> None:
    """The program that a device runs, bit for bit the packed network: teacher forcing, and `encode` with `decode`."""
    model = build_from_fixture(fixture)
    face = ternary_bart.pack(model)
    example = tuple(_input(fixture, n) for n in ("input_ids", "attention_mask", "decoder_input_ids"))
    (logits,) = host.run(executorch.lower(face, example), example)
    report.compare("logits_minus_packed", logits, face(*example).numpy(), COMPILED_ATOL)
    if has_ties(model):
        compare_direction(report, logits, fixture.tensors["out/logits"])
        return
    tolerance = tolerance_of(model)
    report.compare("logits", logits, fixture.tensors["out/logits"], tolerance.logits)
    for kind, here, its_mask in generations(fixture):
        steps = fixture.tensors[f"{kind}/logits"].shape[1]
        session = Session(face, source=here.shape[1], target=steps, batch=here.shape[0])
        program = host.Program(executorch.lower_methods(methods(session)))

        def decode(token: Tensor, position: Tensor, program: host.Program = program) -> Tensor:
            return program.run("decode", (token, position))[0]

        program.run("encode", (here, its_mask))
        compare_generation(report, fixture, kind, tolerance, decode)


PATHS: dict[str, Check] = {"float": run_float, "packed": run_packed, "pte": run_pte}
