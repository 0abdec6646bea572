"""PokeBNN-1x at 224x224 beside ResNet-50: whole inferences, and where ours spends its time.

All weights are random: time does not depend on them, accuracy is not compared. Rows of one thread hold, in `extra`:

outside_share        share of an inference outside binary convolutions, stem and head, operator by operator (ETDump).
                     A fused convolution counts as a whole, its epilogue included.
split_outside_share  the same with every fused convolution split: the part of its time that is left when it only writes
                     sign bits of its accumulators is convolution, the rest (affine, residuals, DPReLU, gain, mean,
                     float store) counts as outside.
split_outside_acc_share  likewise, but the convolution proper writes its int32 accumulators, as an unfused one must.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from edgeq import _native, _paths, ops
from edgeq.bench import profile
from edgeq.compile import artefact, executorch
from edgeq.models import pokebnn
from edgeq.nn.packed import PackedConv2d, PackedLinear, PackedPokeConv
from edgeq.results import Layer

from . import _conditions, _core, _executorch, _probe, _resnet50, _split
from .harness import Engine, Options, Row, WrongResultError, measure, row

SIZE = 224
QUICK_SIZE = 64
CLASSES = 1000
TRACED_ROUNDS = 3  # executions in the trace for each round of timing: it knows the wall clock only
_CONVOLUTION, _STEM, _HEAD = "conv2d_b1b1", "conv2d_i8f32", "linear_i8f32"


@dataclass(frozen=True)
class Network:
    """PokeBNN-1x with random weights, packed and compiled for pictures of `size`."""

    size: int
    model: pokebnn.PackedPokeBNN
    program: bytes
    picture: Tensor

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.program).hexdigest()


def run(options: Options) -> list[Row]:
    """--quick runs pictures of 64x64 without ResNet-50, which has no such size."""
    size = QUICK_SIZE if options.quick else SIZE
    if options.only not in _shape(size):
        return []
    isas = _core.isas(options.isas)
    _executorch.set_threads(options.threads)
    network = _network(size, options.say)
    engines = _checked(network, isas)
    peers: list[Engine] = []
    if options.peers and not options.quick:
        options.say("preparing ResNet-50")
        calls = _resnet50.calls(threads=options.threads, say=options.say)
        peers = [Engine(name, call) for name, call in calls.items()]
    probes = _probe.engines(isas) if options.threads == 1 else []
    options.say("timing")
    rounds = options.count(3, 21)
    session = measure([*engines, *peers, *probes], rounds=rounds, threads=options.threads, cold=options.cold)
    layers = _split.convolutions(executorch.fused(network.model, (network.picture,)), network.picture)
    operations = 2 * _split.multiply_adds(layers)
    rows = []
    for isa, engine in zip(isas, engines, strict=True):
        shares: dict[str, object] = {}
        if options.threads == 1:
            options.say(f"splitting the time of {isa}")
            shares = _shares(network, layers, isa, rounds)
        rows.append(
            row(
                session,
                work="pokebnn-1x",
                shape=_shape(size),
                isa=isa,
                ours=engine.name,
                peers=[peer.name for peer in peers],
                floor_us=_probe.floor_us(session, isa, operations),
                extra={
                    "binary_operations": operations,
                    "artefact_sha256": network.sha256,
                    "artefact_bytes": len(network.program),
                    **shares,
                },
                conditions=_conditions.conditions(),
            )
        )
    return rows


def _shape(size: int) -> str:
    return f"1x{size}x{size}x3"


def _network(size: int, say: Callable[[str], None]) -> Network:
    """Model and program; the program is cached under the hash of everything that makes it."""
    torch.set_num_threads(1)
    say("making PokeBNN-1x")
    model = random_network(pokebnn.PokeBNNConfig(width=1.0, classes=CLASSES))
    picture = torch.randn(1, size, size, 3, generator=torch.Generator().manual_seed(7))
    key = hashlib.sha256(Path(__file__).read_bytes() + artefact.fingerprint().encode()).hexdigest()[:16]
    file = _paths.cache() / "benchmarks" / f"pokebnn-1x-{size}-{key}.pte"
    if not file.is_file():
        say("compiling it (once)")
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".part")
        part.write_bytes(executorch.lower(model, (picture,)))
        part.replace(file)
    return Network(size, model, file.read_bytes(), picture)


def random_network(config: pokebnn.PokeBNNConfig) -> pokebnn.PackedPokeBNN:
    """Every buffer random, scaled so that activations stay near 1: no branch is trivial, no value denormal.

    The width must be a multiple of 0.25: then channels fill their words, and random bytes are valid rows.
    """
    random = torch.Generator().manual_seed(1)
    model = pokebnn.packed(config)
    for layer in model.modules():
        if isinstance(layer, PackedPokeConv):
            _fill_poke_conv(layer, random)
        elif isinstance(layer, PackedConv2d | PackedLinear):
            layer.weight.copy_(torch.randint(-127, 128, layer.weight.shape, generator=random))
            layer.steps.copy_(_steps(layer.steps.shape[1], 127, random))
            products = layer.weight[0].numel()
            layer.params.copy_(_vectors(len(layer.params), layer.params.shape[1], 1 / (64 * products**0.5), random))
    return model.eval()


def _fill_poke_conv(layer: PackedPokeConv, random: torch.Generator) -> None:
    o, kernel = layer.weight.shape[:2]
    c, hidden = layer.channels, layer.hidden
    for codes in (layer.weight, layer.se_codes):
        codes.copy_(torch.randint(0, 256, codes.shape, generator=random))
    layer.params.copy_(_vectors(7, o, 1 / (kernel * kernel * c) ** 0.5, random))
    parts = [_steps(c, 7, random), _vectors(2, hidden, 1 / (4 * c**0.5), random)]
    parts += [_steps(hidden, 15, random), _vectors(2, o, 1 / (4 * hidden**0.5), random)]
    layer.se_params.copy_(torch.cat([part.reshape(-1) for part in parts]))


def _vectors(rows: int, channels: int, scale: float, random: torch.Generator) -> Tensor:
    """scale, bias; then pos, neg, shift; then scale2, bias2 (`ops.stack_params`): the first `rows` of them."""
    around = torch.tensor([scale, 0.0, 1.0, 0.25, 0.0, 2.0, 0.0])[:rows, None]
    spread = torch.tensor([0.1 * scale, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1])[:rows, None]
    return around + spread * torch.randn(rows, channels, generator=random)


def _steps(channels: int, top: int, random: torch.Generator) -> Tensor:
    """Input quantisers with bounds from 2 to 4."""
    return ops.pack_steps(top / (2 + 2 * torch.rand(channels, generator=random)))


def _checked(network: Network, isas: Sequence[str]) -> list[Engine]:
    """One engine an instruction set; all must give the logits of the unfused network on the C core, bit for bit."""
    _native.select_isa(isas[0])
    with torch.no_grad():
        expected = network.model(network.picture)
    method = _executorch.method(network.program)
    inputs = (network.picture,)
    for isa in isas:
        _executorch.select_isa(isa)
        logits = method.execute(inputs)[0].clone()
        if not torch.equal(logits, expected):
            error = float((logits - expected).abs().max())
            raise WrongResultError(
                f"PokeBNN-1x on {isa}: logits differ from eager by up to {error:.3g}; nothing was timed"
            )
    return [Engine(f"edgeq {isa}", lambda: method.execute(inputs), _selecting(isa)) for isa in isas]


def _selecting(isa: str) -> Callable[[], None]:
    return lambda: _executorch.select_isa(isa)


def _shares(network: Network, layers: Sequence[_split.Fused], isa: str, rounds: int) -> dict[str, object]:
    """Where a traced inference spends its time, by medians; what no operator accounts for counts as outside.

    The trace knows the wall clock only: on a busy machine read the shares of several runs.
    """
    _executorch.select_isa(isa)
    trace = _executorch.trace(network.program, (network.picture,), TRACED_ROUNDS * rounds)
    operators, traced_ns = profile.read_trace(trace, network.program)
    convolutions = [_us(operator) for operator in operators if _CONVOLUTION in operator.op]
    ends = sum(_us(operator) for operator in operators if _STEM in operator.op or _HEAD in operator.op)
    splits = _split.measured(layers, isa, rounds=rounds)
    if len(convolutions) != len(splits):
        raise WrongResultError(f"the trace has {len(convolutions)} binary convolutions, the network {len(splits)}")
    timed = list(zip(convolutions, splits, strict=True))
    inference_us = max(traced_ns / 1e3, sum(map(_us, operators)))
    bits = sum(us * split.bits_part for us, split in timed)
    acc = sum(us * split.acc_part for us, split in timed)
    return {
        "outside_share": 1 - (sum(convolutions) + ends) / inference_us,
        "split_outside_share": 1 - (bits + ends) / inference_us,
        "split_outside_acc_share": 1 - (acc + ends) / inference_us,
        "traced_us": traced_ns / 1e3,
        "operators": {
            kind.op: {"calls": kind.count, "us": kind.ns / 1e3} for kind in profile.by_kind(operators, traced_ns)
        },
        "layers": [{**asdict(split), "in_network_us": us} for us, split in timed],
    }


def _us(layer: Layer) -> float:
    return (layer.ns or 0) / 1e3
