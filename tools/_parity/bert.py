"""BiBERT and BiT: whole networks recorded from the authors' code, the integers of every product included."""

import numpy as np
import torch
from torch import Tensor, nn

from edgeq._errors import FormatError
from edgeq.compile import executorch, host
from edgeq.importers import bert_checkpoint
from edgeq.importers.checkpoint import Checkpoint
from edgeq.models import bibert, bit
from edgeq.models._bert import Bert
from edgeq.models._packed_bert import PackedBert
from edgeq.models.bibert import BooleanAttention
from edgeq.models.bit import BiTConfig
from edgeq.nn.attention import LowBitAttention
from edgeq.nn.elastic import Elastic
from edgeq.nn.heads import merge_heads
from edgeq.nn.lowbit_linear import LowBitLinear
from edgeq.nn.packed_attention import PackedAttention
from edgeq.nn.packed_lowbit import PackedLowBitLinear
from edgeq.schemes import signs

from .calls import Call, calls_of
from .codes import OUTPUT_ATOL, compare_output, compare_quantised
from .operands import compare_linear as compare_linear_codes
from .report import Check, Fixture, Report

LOGITS_ATOL = 1e-6
COMPILED_ATOL = 1e-7  # the float classifier runs in XNNPACK; all else is the same code
WEIGHT_ATOL = 1e-7
MASKED_RTOL = 2.0**-23  # of the largest score, which is the masked -10000
GRADIENT_RTOL = 1e-4  # of the tensor's largest value: sums of float32 in another order
GRADIENT_ATOL = 1e-9  # some gradients are 0 but for rounding: a shift of all keys cancels in the softmax
INITIAL_ALPHA_RTOL = 1e-3  # one value that rounds the other way moves the alphas behind it


def recognises(fixture: Fixture) -> bool:
    return "sd/bert.embeddings.word_embeddings.weight" in fixture.tensors


def build_from_fixture(fixture: Fixture) -> Bert:
    config = fixture.about.get("config")
    if not isinstance(config, dict):
        raise FormatError(f"{fixture.name}.json: 'config' must be the configuration of the network, got {config!r}")
    state = {name: torch.from_numpy(array) for name, array in fixture.under("sd/")}
    _, model = bert_checkpoint.build(Checkpoint(config, state))
    return model


def run_float(fixture: Fixture, report: Report) -> None:
    model = build_from_fixture(fixture)
    compare_network(report, fixture, model)
    compare_operands(report, fixture, model)
    compare_initial_alphas(report, fixture, model)


def compare_network(report: Report, fixture: Fixture, model: Bert) -> None:
    """Logits, hidden states, scores, and the gradients of the sum of squared logits."""
    features = model.features(*_inputs(fixture))
    recorded = fixture.tensors
    report.compare("logits", features.logits, recorded["out/logits"], LOGITS_ATOL)
    for index, hidden in enumerate(features.hidden):
        report.compare(f"hidden_{index}", hidden, recorded[f"out/hidden_{index}"], OUTPUT_ATOL)
    for index, trace in enumerate(features.attention):
        compare_scores(report, f"attention_scores_{index}", trace.scores, recorded[f"out/attention_scores_{index}"])
        for kind in ("query", "key", "value"):
            if (want := recorded.get(f"out/{kind}_scores_{index}")) is not None:
                x = getattr(trace, kind)
                compare_scores(report, f"{kind}_scores_{index}", x @ x.mT * x.shape[-1] ** -0.5, want)
    loss = features.logits.square().sum()
    loss.backward()
    ours = {bert_checkpoint.foreign_name(name): parameter for name, parameter in model.named_parameters()}
    for name, want in fixture.under("grad/"):
        if name == "loss_sum_logits_sq":
            report.compare(f"grad/{name}", loss, want, LOGITS_ATOL)
            continue
        got = ours[name].grad
        assert got is not None
        report.compare(f"grad/{name}", got, want, GRADIENT_RTOL * float(np.abs(want).max()) + GRADIENT_ATOL)


def compare_scores(report: Report, name: str, got: Tensor, want: np.ndarray) -> None:
    report.compare(name, got, want, OUTPUT_ATOL + MASKED_RTOL * float(np.abs(want).max()))


def compare_operands(report: Report, fixture: Fixture, model: Bert) -> None:
    """What goes into every product, and what comes out."""
    kinds = (LowBitLinear, LowBitAttention, BooleanAttention)
    for call in calls_of(model, kinds, _inputs(fixture)):
        if isinstance(call.layer, LowBitLinear):
            compare_linear(report, fixture, call)
        else:
            compare_attention(report, fixture, call)
    with torch.no_grad():
        table = model.embeddings.word(torch.arange(model.config.vocabulary))
    key = "act/bert.embeddings.word_embeddings/embedding_weight_used"
    report.compare(key, table, fixture.tensors[key], WEIGHT_ATOL)


def compare_linear(report: Report, fixture: Fixture, call: Call) -> None:
    layer, (x,) = call.layer, call.inputs
    assert isinstance(layer, LowBitLinear)
    here = "act/" + bert_checkpoint.foreign_name(f"{call.name}.weight").removesuffix(".weight")
    x_q = layer.quantise_input(x if layer.move is None else x + layer.move)
    compare_quantised(report, f"{here}/linear_input", x_q, fixture.tensors[f"{here}/linear_input"])
    w_q = layer.quantise_weight(layer.weight)
    compare_quantised(report, f"{here}/linear_weight", w_q, fixture.tensors[f"{here}/linear_weight"])
    compare_output(report, f"{here}/output", call.output, fixture.tensors[f"{here}/output"])


def compare_attention(report: Report, fixture: Fixture, call: Call) -> None:
    query, key, value, _ = call.inputs
    context, scores = call.output
    if isinstance(call.layer, LowBitAttention):
        layer, infix = call.layer, ""
        q, k, v = layer.query(query), layer.key(key), layer.value(value)
        p = layer.probabilities(scores.softmax(-1))
    else:
        infix = "_bin"
        q, k, v = (signs.attention_operand(x) for x in (query, key, value))
        p = signs.attention_bit(scores)
    here = "act/" + bert_checkpoint.foreign_name(call.name.removesuffix("core") + "query.").removesuffix(".query.")
    for name, operand in (
        (f"qk{infix}_lhs", q),
        (f"qk{infix}_rhs", k.mT),
        (f"av{infix}_lhs", p),
        (f"av{infix}_rhs", v),
    ):
        compare_quantised(report, f"{here}/{name}", operand, fixture.tensors[f"{here}/{name}"])
    compare_output(report, f"{here}/av{infix}_out", context, fixture.tensors[f"{here}/av{infix}_out"])


def compare_initial_alphas(report: Report, fixture: Fixture, model: Bert) -> None:
    """The alphas that a first forward pass sets; recorded before the shifts were changed in files without shifts."""
    shifts = [layer.move for layer in model.modules() if isinstance(layer, LowBitLinear) and layer.move is not None]
    if not any(bool(shift.any()) for shift in shifts):
        return
    for layer in model.modules():
        if isinstance(layer, Elastic):
            layer.reset()
    with torch.no_grad():
        model(*_inputs(fixture))
    ours = {bert_checkpoint.foreign_name(name): tensor for name, tensor in model.named_parameters()}
    for name, want in fixture.under("init_alpha/"):
        report.compare(f"init_alpha/{name}", ours[name], want, INITIAL_ALPHA_RTOL * float(np.abs(want)))


def _inputs(fixture: Fixture) -> tuple[Tensor, Tensor, Tensor]:
    ids, mask, types = (
        torch.from_numpy(fixture.tensors[f"in/{name}"]) for name in ("input_ids", "attention_mask", "token_type_ids")
    )
    return ids, mask, types


# -- paths "packed" and "pte": the deploy face on the C core, and the compiled program --------------------------------


def run_packed(fixture: Fixture, report: Report) -> None:
    """The packed network against the recording, and each of its layers from the inputs that the train face gives it."""
    model = build_from_fixture(fixture)
    face = packed_face(model)
    recorded = fixture.tensors
    with torch.no_grad():
        hidden = face.hidden(*_inputs(fixture))
        report.compare("logits", face(*_inputs(fixture)), recorded["out/logits"], LOGITS_ATOL)
        for index, x in enumerate(hidden):
            report.compare(f"hidden_{index}", x, recorded[f"out/hidden_{index}"], OUTPUT_ATOL)
        table = face.word(torch.arange(model.config.vocabulary))
        key = "act/bert.embeddings.word_embeddings/embedding_weight_used"
        report.compare(key, table, recorded[key], WEIGHT_ATOL)
        layers = dict(face.named_modules())
        for call in calls_of(model, (LowBitLinear, LowBitAttention, BooleanAttention), _inputs(fixture)):
            name = call.name.removesuffix(".dense").replace(".attention.", ".")
            ours = layers[name.replace(".core", ".attention")]
            if isinstance(ours, PackedLowBitLinear):
                compare_packed_linear(report, fixture, call, ours)
            else:
                assert isinstance(ours, PackedAttention)
                compare_packed_attention(report, call, ours, layers[name.replace(".core", ".out")], _inputs(fixture)[1])


def packed_face(model: Bert) -> PackedBert:
    return bit.pack(model) if isinstance(model.config, BiTConfig) else bibert.pack(model)


def compare_packed_linear(report: Report, fixture: Fixture, call: Call, ours: PackedLowBitLinear) -> None:
    layer, (x,) = call.layer, call.inputs
    assert isinstance(layer, LowBitLinear)
    here = "act/" + bert_checkpoint.foreign_name(f"{call.name}.weight").removesuffix(".weight")
    x_q = layer.quantise_input(x if layer.move is None else x + layer.move)
    compare_linear_codes(report, here, ours, x, x_q, fixture.tensors)


def compare_packed_attention(report: Report, call: Call, ours: PackedAttention, out: nn.Module, mask: Tensor) -> None:
    """What the next layer reads: exact where it is signs."""
    assert isinstance(out, PackedLowBitLinear)
    q, k, v = (merge_heads(x) for x in call.inputs[:3])
    want = merge_heads(call.output[0])
    got = ours(ours.query(q), ours.key(k), ours.value(v), out.quantise, mask.to(torch.uint8))
    if isinstance(got, Tensor):
        compare_output(report, call.name, got, want.numpy())
    else:
        report.compare(f"{call.name}:codes", got.codes.int(), out.quantise(want).codes.int().numpy(), 0.0)


def run_pte(fixture: Fixture, report: Report) -> None:
    """The program that a device runs, against the recording and against the packed network."""
    face = packed_face(build_from_fixture(fixture))
    (logits,) = host.run(executorch.lower(face, _inputs(fixture)), _inputs(fixture))
    report.compare("logits", logits, fixture.tensors["out/logits"], LOGITS_ATOL)
    with torch.no_grad():
        report.compare("logits_minus_packed", logits, face(*_inputs(fixture)).numpy(), COMPILED_ATOL)


PATHS: dict[str, Check] = {"float": run_float, "packed": run_packed, "pte": run_pte}
