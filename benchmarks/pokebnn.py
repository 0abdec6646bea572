"""PokeBNN-1x at 224x224 beside ResNet-50: whole inferences, and where ours spends its time.

All weights are random: time does not depend on them, accuracy is not compared. EdgeQ's rows hold, as `extra`:

outside_share        share of an inference outside binary convolutions, stem and head, operator by operator (ETDump).
                     A fused convolution counts as a whole, its epilogue included.
split_outside_share  the same with every fused convolution split: the part of its time that is left when it only writes
                     sign bits of its accumulators is convolution, the rest (affine, residuals, DPReLU, gain, mean,
                     float store) counts as outside.
split_outside_acc_share  likewise, but the convolution proper writes its int32 accumulators, as an unfused one must.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edgeq import _native, _paths
from edgeq.compile import artefact
from edgeq.models import pokebnn

from . import _conditions, _core, _executorch, _probe, _resnet50, _split
from ._executorch import OperatorTime
from .binary import WrongResultError
from .harness import Engine, Options, Row, measure, row

SIZE = 224
QUICK_SIZE = 64
CLASSES = 1000
_CALIBRATION_STEPS = 30
_CALIBRATION_SIZE = 64
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
    layers = _split.convolutions(network.model, network.picture)
    operations = 2 * _split.multiply_adds(layers)
    rows = []
    for isa, engine in zip(isas, engines, strict=True):
        options.say(f"splitting the time of {isa}")
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
                    **_shares(network, layers, isa, rounds),
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
    model = pokebnn.PackedPokeBNN.from_trained(_random_network())
    picture = torch.randn(1, size, size, 3, generator=torch.Generator().manual_seed(7))
    key = hashlib.sha256(Path(__file__).read_bytes() + artefact.fingerprint().encode()).hexdigest()[:16]
    file = _paths.cache() / "benchmarks" / f"pokebnn-1x-{size}-{key}.pte"
    if not file.is_file():
        say("compiling it (once)")
        from edgeq.compile import executorch

        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".part")
        part.write_bytes(executorch.lower(model, (picture,)))
        part.replace(file)
    return Network(size, model, file.read_bytes(), picture)


def _random_network() -> pokebnn.PokeBNN:
    """Every parameter random, statistics and bounds from random pictures: no branch is trivial, no value denormal."""
    generator = torch.Generator().manual_seed(1)
    torch.manual_seed(1)
    model = pokebnn.build(pokebnn.PokeBNNConfig(width=1.0, classes=CLASSES))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1:  # batch norm, DPReLU, biases
                around = 1.0 if name.endswith(".scale") else parameter
                parameter.copy_(around + 0.1 * torch.randn(parameter.shape, generator=generator))
        model.train()
        model.start_calibration()
        for step in range(_CALIBRATION_STEPS):
            if step == _CALIBRATION_STEPS - 1:
                model.freeze_bounds()
            model(torch.randn(2, _CALIBRATION_SIZE, _CALIBRATION_SIZE, 3, generator=generator))
    return model.eval()


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
    """Where an inference spends its time; medians, and minima for a machine that is not idle."""
    _executorch.select_isa(isa)
    operators, whole = _executorch.profile(network.program, (network.picture,), max(5, rounds))
    splits = _split.measured(layers, isa, rounds=rounds)
    found: dict[str, object] = {"operators": _by_kind(operators)}
    for suffix, microseconds in (("share", _median), ("share_min", _minimum)):
        total = microseconds(whole)
        convolutions = [microseconds(time) for time in operators if _CONVOLUTION in time.name]
        ends = sum(microseconds(time) for time in operators if _STEM in time.name or _HEAD in time.name)
        if len(convolutions) != len(splits):
            raise WrongResultError(
                f"the profile has {len(convolutions)} binary convolutions, the network {len(splits)}"
            )
        bits = sum(us * split.bits_part for us, split in zip(convolutions, splits, strict=True))
        acc = sum(us * split.acc_part for us, split in zip(convolutions, splits, strict=True))
        found |= {
            f"outside_{suffix}": 1 - (sum(convolutions) + ends) / total,
            f"split_outside_{suffix}": 1 - (bits + ends) / total,
            f"split_outside_acc_{suffix}": 1 - (acc + ends) / total,
        }
    found["layers"] = [split.as_json(time) for split, time in zip(splits, _binary(operators), strict=True)]
    return found


def _binary(operators: Sequence[OperatorTime]) -> Iterator[OperatorTime]:
    return (time for time in operators if _CONVOLUTION in time.name)


def _by_kind(operators: Sequence[OperatorTime]) -> dict[str, dict[str, Any]]:
    """Calls and microseconds of each operator, the longest first."""
    kinds: dict[str, list[OperatorTime]] = {}
    for time in operators:
        kinds.setdefault(time.name.partition("#")[0].strip(), []).append(time)
    sums = {
        name: {
            "calls": len(times),
            "median_us": sum(time.median_us for time in times),
            "min_us": sum(time.min_us for time in times),
        }
        for name, times in kinds.items()
    }
    return dict(sorted(sums.items(), key=lambda item: -item[1]["median_us"]))


def _median(time: OperatorTime) -> float:
    return time.median_us


def _minimum(time: OperatorTime) -> float:
    return time.min_us
