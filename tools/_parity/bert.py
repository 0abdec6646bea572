"""BiBERT and BiT: whole networks recorded from the authors' code, the integers of every product included."""

import numpy as np
import torch
from torch import Tensor

from edgeq._errors import FormatError
from edgeq.importers import bert_checkpoint
from edgeq.importers.checkpoint import Checkpoint
from edgeq.models._bert import Bert
from edgeq.models.bibert import BooleanAttention
from edgeq.nn.attention import LowBitAttention
from edgeq.nn.elastic import Elastic
from edgeq.nn.lowbit_linear import LowBitLinear
from edgeq.schemes import signs

from .calls import Call, calls_of
from .codes import OUTPUT_ATOL, compare_output, compare_quantised
from .report import Check, Fixture, Report

LOGITS_ATOL = 1e-6
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


PATHS: dict[str, Check] = {"float": run_float}
