"""Binary BERT beside float and int8 engines: BiT and BiBERT with 1-bit weights and activations, random weights.

BERT-base's shape, one text. EdgeQ's time includes embeddings, pooler and classifier, which the peers leave out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from edgeq import _paths
from edgeq.compile import artefact, executorch
from edgeq.models import bibert, bit
from edgeq.models._bert import BertConfig

from . import _conditions, _core, _encoder, _executorch, _probe
from .harness import Engine, Options, Row, measure, row

TOKENS = 128
VOCABULARY = 30522


def run(options: Options) -> list[Row]:
    """--quick measures four layers of the twelve."""
    layers = options.count(4, 12)
    sizes = {"hidden": 768, "heads": 12, "layers": layers, "intermediate": 3072, "positions": 512}
    networks: dict[str, tuple[ModuleType, BertConfig]] = {
        "bit-w1a1": (bit, bit.BiTConfig(vocabulary=VOCABULARY, **sizes, activation="relu", bits=1)),
        "bibert-w1a1": (bibert, bibert.BiBERTConfig(vocabulary=VOCABULARY, **sizes)),
    }
    wanted = {name: network for name, network in networks.items() if options.only in name}
    shape = _encoder.Shape(layers, 768, 12, 3072, TOKENS)
    _executorch.set_threads(options.threads)
    isas = _core.isas(options.isas)
    inputs = torch.randint(1, VOCABULARY, (1, TOKENS)), torch.ones(1, TOKENS, dtype=torch.int64)
    programs = {name: _program(name, *network, inputs, options) for name, network in wanted.items()}
    methods = {name: _executorch.method(program) for name, program in programs.items()}
    ours = {
        (name, isa): Engine(f"{name} {isa}", _running(methods[name], inputs), _selecting(isa))
        for name in programs
        for isa in isas
    }
    peers = _encoder.engines(shape, threads=options.threads, say=options.say) if options.peers else []
    options.say("timing")
    probes = _probe.engines(isas) if options.threads == 1 else []
    session = measure(
        [*ours.values(), *peers, *probes], rounds=options.count(3, 15), threads=options.threads, cold=options.cold
    )
    return [
        row(
            session,
            work=name,
            shape=str(shape),
            isa=isa,
            ours=engine.name,
            peers=[peer.name for peer in peers],
            floor_us=None,
            extra={
                "artefact_bytes": len(programs[name]),
                "artefact_sha256": hashlib.sha256(programs[name]).hexdigest(),
            },
            conditions=_conditions.conditions(),
        )
        for (name, isa), engine in ours.items()
    ]


def _running(method: Any, inputs: tuple[torch.Tensor, ...]) -> Callable[[], object]:
    return lambda: method.execute(inputs)


def _selecting(isa: str) -> Callable[[], None]:
    return lambda: _executorch.select_isa(isa)


def _program(
    name: str, family: ModuleType, config: BertConfig, inputs: tuple[torch.Tensor, ...], options: Options
) -> bytes:
    """The compiled network with random weights, cached under the hash of everything that makes it."""
    key = hashlib.sha256(Path(__file__).read_bytes() + artefact.fingerprint().encode()).hexdigest()[:16]
    file = _paths.cache() / "benchmarks" / f"{name}-{config.layers}-{key}.pte"
    if not file.is_file():
        options.say(f"compiling {name} with {config.layers} layers (once)")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            model = family.build(config).eval()
        with torch.no_grad():
            model(*inputs)  # learnt steps take their first values from an input
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".part")
        part.write_bytes(executorch.lower(family.pack(model).eval(), inputs))
        part.replace(file)
    return file.read_bytes()
