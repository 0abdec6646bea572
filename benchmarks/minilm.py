"""INT4 MiniLM beside float and int8 engines: all of all-MiniLM-L6-v2's shape, one sentence, random weights.

EdgeQ's time includes word embedding, mean and normalisation, which the peers leave out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import torch

from edgeq import _paths
from edgeq.compile import artefact, executorch
from edgeq.models import minilm
from edgeq.nn.int4_linear import Int4Linear

from . import _conditions, _core, _encoder, _executorch, _probe
from .harness import Engine, Options, Row, measure, row

LENGTHS = (32, 128)  # tokens


def run(options: Options) -> list[Row]:
    """--quick measures the shorter text."""
    rows: list[Row] = []
    for tokens in LENGTHS[: options.count(1, len(LENGTHS))]:
        config = minilm.MiniLMConfig(tokens=tokens)
        shape = _encoder.Shape(config.layers, config.hidden, config.heads, config.intermediate, tokens)
        if options.only not in str(shape):
            continue
        rows += _rows(config, shape, options)
    return rows


def _rows(config: minilm.MiniLMConfig, shape: _encoder.Shape, options: Options) -> list[Row]:
    _executorch.set_threads(options.threads)
    isas = _core.isas(options.isas)
    program = _program(config, options)
    inputs = torch.ones(1, config.tokens, dtype=torch.int64), torch.ones(1, config.tokens, dtype=torch.int64)
    method = _executorch.method(program)
    ours = [Engine(f"edgeq {isa}", lambda: method.execute(inputs), _selecting(isa)) for isa in isas]
    peers: list[Engine] = []
    if options.peers:
        peers = _encoder.engines(shape, threads=options.threads, say=options.say, with_8da4w=True)
    options.say("timing")
    probes = _probe.engines(isas) if options.threads == 1 else []
    session = measure([*ours, *peers, *probes], rounds=options.count(3, 21), threads=options.threads, cold=options.cold)
    return [
        row(
            session,
            work="minilm-int4",
            shape=str(shape),
            isa=isa,
            ours=engine.name,
            peers=[peer.name for peer in peers],
            floor_us=None,
            extra={"artefact_bytes": len(program), "artefact_sha256": hashlib.sha256(program).hexdigest()},
            conditions=_conditions.conditions(),
        )
        for isa, engine in zip(isas, ours, strict=True)
    ]


def _selecting(isa: str) -> Callable[[], None]:
    return lambda: _executorch.select_isa(isa)


def _program(config: minilm.MiniLMConfig, options: Options) -> bytes:
    """The compiled network with random weights, cached under the hash of everything that makes it."""
    key = hashlib.sha256(Path(__file__).read_bytes() + artefact.fingerprint().encode()).hexdigest()[:16]
    file = _paths.cache() / "benchmarks" / f"minilm-{config.tokens}-{key}.pte"
    if not file.is_file():
        options.say(f"compiling MiniLM for {config.tokens} tokens (once)")
        model = _random(minilm.packed(config))
        inputs = torch.ones(1, config.tokens, dtype=torch.int64), torch.ones(1, config.tokens, dtype=torch.int64)
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".part")
        part.write_bytes(executorch.lower(model.eval(), inputs))
        part.replace(file)
    return file.read_bytes()


def _random(model: minilm.MiniLM) -> minilm.MiniLM:
    random = torch.Generator().manual_seed(1)
    for layer in model.modules():
        if isinstance(layer, Int4Linear):
            for codes in (layer.codes, layer.zero):
                if codes is not None:
                    codes.copy_(torch.randint(0, 256, codes.shape, generator=random))
            layer.scale.fill_(0.2 / layer.in_features**0.5)
            layer.params[0] = 1
    assert isinstance(model.word.codes, torch.Tensor) and isinstance(model.word.scale, torch.Tensor)
    model.word.codes.copy_(torch.randint(-127, 128, model.word.codes.shape, generator=random))
    model.word.scale.fill_(0.01)
    return model
