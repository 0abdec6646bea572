"""BiViT: its sign, softmax-aware binarisation, linear layers, attention and perceptron."""

import numpy as np
import torch
from torch import Tensor, nn

from edgeq import ops
from edgeq._errors import FormatError, UnsupportedError
from edgeq.compile import executorch, host
from edgeq.importers import bivit_torch
from edgeq.nn import packed
from edgeq.nn.bivit import BivitAttention, BivitLinear, BivitMlp
from edgeq.nn.packed_bivit import PackedBivitAttention, PackedBivitLinear, PackedBivitMlp
from edgeq.schemes import signs, softmax_aware

from . import state_dict
from .report import ATOL, Check, Fixture, Report

EXACT = 0.0


def recognises(fixture: Fixture) -> bool:
    return "BiViT" in str(fixture.about.get("source")) or fixture.name.startswith("bivit_")


def run_float(fixture: Fixture, report: Report) -> None:
    """Outputs (signs and bits exactly), the projections q, k, v, and gradients, as far as recorded."""
    tensors = fixture.tensors
    if any(True for _ in fixture.under("param/")):
        compare_layer(report, fixture)
    elif "softmax" in tensors:
        state_dict.compare(
            report,
            fixture,
            softmax_aware.bits,
            bits_exactly(tensors["output"]),
            input_gradient="grad_input_as_used_in_BiAttention_SAB",
        )
        report.compare("softmax", torch.from_numpy(tensors["input"]).softmax(-1), tensors["softmax"], ATOL)
    else:
        state_dict.compare(
            report, fixture, lambda x: signs.attention_operand(x).values, bits_exactly(tensors["output"])
        )


def compare_layer(report: Report, fixture: Fixture) -> None:
    layer = build_from_fixture(fixture)
    recorded: dict[str, Tensor] = {}
    if isinstance(layer, BivitAttention):
        layer.qkv.register_forward_hook(lambda _layer, _inputs, output: recorded.__setitem__("qkv", output))
    parameters = {f"grad/{entry.name}": entry for entry in bivit_torch.entries(layer)}
    state_dict.compare(report, fixture, layer, tolerance, parameters)
    for name, want in fixture.under("act/"):
        if name not in recorded:
            raise FormatError(f"act/{name}: the layer has no activation of this name")
        report.compare(f"act/{name}", recorded[name], want, tolerance(want))


def build_from_fixture(fixture: Fixture) -> nn.Module:
    """The layer that the sidecar's kind and the shapes describe, with the fixture's tensors in it."""
    state = state_dict.tensors(fixture.under("param/"))
    kind = str(fixture.about.get("kind"))
    layer: nn.Module
    if "qkv.weight" in state:
        dim = state["qkv.weight"].shape[1]
        rule = "sab" if "BiAttention_SAB" in kind else "baseline"
        layer = BivitAttention(dim, int(fixture.number("heads")), rule=rule)
    elif "fc1.weight" in state:
        hidden, dim = state["fc1.weight"].shape
        layer = BivitMlp(dim, hidden, binary_input="32a" not in kind, learnt_scale="fc1.scaling_factor" in state)
    elif "weight" in state:
        out, inputs = state["weight"].shape
        layer = BivitLinear(inputs, out, binary_input="32a" not in kind, learnt_scale="scaling_factor" in state)
    else:
        raise FormatError(f"{fixture.name}: no BiViT layer has the tensors {', '.join(sorted(state)[:3])}")
    bivit_torch.load_state(layer, state)
    return layer.eval()


def tolerance(want: np.ndarray) -> float:
    """The same kernels give the same bits; another machine may sum in another order."""
    return ATOL * max(1.0, float(np.abs(want).max(initial=0.0)))


def bits_exactly(bits: np.ndarray) -> state_dict.Tolerance:
    """No tolerance for the output itself, the usual one for gradients."""
    return lambda want: EXACT if want is bits else ATOL


# -- paths "packed" and "pte": the deploy face on the C core -----------------------------------------------------------

# The sign of a number within rounding of 0 is nobody's: authors and core add in another order. The same holds where
# float32 GELU begins to be exactly 0: torch's own vector and scalar forms differ there.
UNDECIDED = 2e-6
GELU_VANISHES = (-5.55, -5.48)


def run_packed(fixture: Fixture, report: Report) -> None:
    """Outputs of the packed form; signs and bits through their stored planes, exactly."""
    want = fixture.tensors["output"]
    if "softmax" in fixture.tensors:
        kept = softmax_aware.bits_of_logits(torch.from_numpy(fixture.tensors["input"]))
        rows = packed.pack_bits(kept)
        report.compare("output", _unpacked(rows, want.shape[-1]), want, EXACT)
        return
    with torch.no_grad():
        output = deployed(fixture)(torch.from_numpy(fixture.tensors["input"]))
    if not is_layer(fixture):
        report.compare("output", _signs(output, want.shape[-1]), want, EXACT)
        return
    compare_decided(report, fixture, output)
    compare_from_recorded(report, fixture)


def run_pte(fixture: Fixture, report: Report) -> None:
    """The compiled layer against the fixture, and bit for bit against the packed form in eager."""
    if "softmax" in fixture.tensors:
        raise UnsupportedError(f"{fixture.name}: no operator takes float logits; attention has its own fixtures")
    model, x = deployed(fixture), torch.from_numpy(fixture.tensors["input"])
    with torch.no_grad():
        eager = model(x)
    (output,) = host.run(executorch.lower(model, (x,)), (x,))
    report.compare("output:eager", output.float(), eager.float().numpy(), EXACT)
    if is_layer(fixture):
        compare_decided(report, fixture, output)


def is_layer(fixture: Fixture) -> bool:
    return any(True for _ in fixture.under("param/"))


def deployed(fixture: Fixture) -> nn.Module:
    """What runs on a device for this fixture: signs alone, or signs in front of a packed layer."""
    return Deployed(build_from_fixture(fixture) if is_layer(fixture) else None)


class Deployed(nn.Module):
    def __init__(self, layer: nn.Module | None) -> None:
        super().__init__()
        self.layer: nn.Module | None = None
        self.binary_input = True
        if isinstance(layer, BivitAttention):
            self.layer = PackedBivitAttention.from_trained(layer)
        elif isinstance(layer, BivitMlp):
            self.layer, self.binary_input = PackedBivitMlp.from_trained(layer), layer.fc1.binary_input
        elif isinstance(layer, BivitLinear):
            self.layer, self.binary_input = PackedBivitLinear.from_trained(layer), layer.binary_input

    def forward(self, x: Tensor) -> Tensor:
        x = ops.pack_t2(x, None) if self.binary_input else x
        return x if self.layer is None else self.layer(x)


def compare_decided(report: Report, fixture: Fixture, output: Tensor) -> None:
    """Tokens of which no sign on the way hangs on rounding; the attention of a picture mixes all its tokens."""
    want = fixture.tensors["output"]
    decided = decided_tokens(fixture).numpy()
    if not decided.any():
        raise UnsupportedError(f"{fixture.name}: a sign hangs on rounding for every token")
    where = np.broadcast_to(decided[..., None], want.shape)
    report.compare("output", torch.from_numpy(np.where(where, output.numpy(), want)), want, tolerance(want))


def decided_tokens(fixture: Fixture) -> Tensor:
    """(..., tokens) bool."""
    layer, x = build_from_fixture(fixture), torch.from_numpy(fixture.tensors["input"])
    low, high = GELU_VANISHES
    with torch.no_grad():
        if isinstance(layer, BivitAttention):
            clear = (layer.qkv(x).abs() > UNDECIDED).all(-1).all(-1, keepdim=True)
            return clear.expand(x.shape[:-1])
        if isinstance(layer, BivitMlp) and layer.fc1.binary_input:
            y = layer.fc1(x)
            return ((y.abs() > UNDECIDED) & ~((y > low) & (y < high))).all(-1)
    return torch.ones(x.shape[:-1], dtype=torch.bool)


def compare_from_recorded(report: Report, fixture: Fixture) -> None:
    """Attention once more from the recorded projections, whose signs are the authors' own; sums must be exact."""
    layer = build_from_fixture(fixture)
    if not isinstance(layer, BivitAttention) or "act/qkv" not in fixture.tensors:
        return
    recorded = torch.from_numpy(fixture.tensors["act/qkv"])
    dim = recorded.shape[-1] // 3
    attention = PackedBivitAttention.from_trained(layer)
    x = torch.from_numpy(fixture.tensors["input"])
    with torch.no_grad():
        ours = torch.cat([part(ops.pack_t2(x, None)) for part in (attention.q, attention.k, attention.v)], -1)
        planes = [ops.pack_t2(part.contiguous(), None) for part in recorded.split(dim, -1)]
        context = attention.context(*planes)
        plain = plain_context(layer, recorded)
        output = attention.proj(context)
    want = fixture.tensors["output"]
    report.compare("act/qkv", ours, recorded.numpy(), tolerance(recorded.numpy()))
    report.compare("context", _signs(context, dim), plain.sign().numpy(), EXACT)
    report.compare("output:recorded", output, want, tolerance(want))


def plain_context(layer: BivitAttention, qkv: Tensor) -> Tensor:
    """(B, N, dim): sums of the kept values' signs, in double precision with a softmax where the rule has one."""
    b, n, dim = qkv.shape[0], qkv.shape[1], qkv.shape[2] // 3
    q, k, v = qkv.double().sign().reshape(b, n, 3, layer.heads, -1).permute(2, 0, 3, 1, 4)
    logits = (q @ k.mT) * q.shape[-1] ** -0.5
    kept = softmax_aware.bits(logits) if layer.rule == "sab" else (logits > 0).double()
    return (kept @ v).transpose(1, 2).reshape(b, n, dim)


def _signs(planes: Tensor, k: int) -> Tensor:
    """(2, ..., row) -> (..., k) float32 in -1, 0, 1."""
    positive, nonzero = (_unpacked(plane, k) for plane in planes)
    return (2 * positive - 1) * nonzero


def _unpacked(rows: Tensor, k: int) -> Tensor:
    """(..., row) uint8 -> (..., k) float32 in 0, 1."""
    return torch.from_numpy(np.unpackbits(rows.numpy(), axis=-1, bitorder="little")[..., :k]).float()


PATHS: dict[str, Check] = {"float": run_float, "packed": run_packed, "pte": run_pte}
