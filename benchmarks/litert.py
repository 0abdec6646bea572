"""`.tflite` beside `.pte`, and EdgeQ's operators beside LiteRT's own and Larq's: those of a row in one process.

model     a bundled model as both files on the local agent, as `edgeq compare` does it: both loaded anew in each round,
          short blocks in turn, the ratio with its interval from the signed-rank test of the rounds
linear    float in and out through LiteRT's interpreter, 2048 x 2048: ternary beside stock INT2, INT4 (one scale a row,
          or for 128 weights) beside stock INT4
conv2d    bits in, float out, beside stock int8 with float in and out
larq      float in and out: sign, binary convolution. Larq Compute Engine 0.16 wants numpy 1: pip makes an environment
          for it, where EdgeQ's delegate runs in tflite-runtime 2.14
Speed says nothing about accuracy: a binary layer does not replace an int8 layer one to one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgeq import _paths, hub, litert, models, ops
from edgeq._errors import UnsupportedError
from edgeq.bench import compare, comparison, host
from edgeq.compile import build
from edgeq.compile import litert as compiler
from edgeq.compile.tflite_file import TfliteFile, schema
from edgeq.device import Device, Net, SentOnce, connect

from . import _conditions, _core
from .harness import Engine, Options, Row, Session, Timing, measure, row

ROOT = Path(__file__).parents[1]
MODELS = ("pokebnn-fashion", "denseshift-kws", "bit-sst2")
BATCHES = (1, 16, 64, 128)
WIDTH = 2048
GROUPS = (WIDTH, 128)  # weights with one scale
CONV = ((28, 128), (14, 256))
LARQ_CONV = ((28, 128), (14, 256), (56, 64))
LARQ = ("larq-compute-engine==0.16.0", "numpy<2", "tqdm", "flatbuffers", "platformdirs", "tflite-runtime==2.14.0")
Op, T = schema.BuiltinOperator, schema.TensorType


class Ternary(nn.Module):
    def __init__(self, k: int, o: int) -> None:
        super().__init__()
        planes = torch.randint(0, 256, (2, o, ops.row_bytes(k)), dtype=torch.uint8)
        planes[0] &= planes[1]
        self.register_buffer("w", planes)
        self.register_buffer("params", torch.rand(2, o))

    def forward(self, x: Tensor) -> Tensor:
        codes, rows = torch.ops.edgeq.quantise_rows_i8(x, 1, 0.0)
        y: Tensor = torch.ops.edgeq.linear_t2i8(codes, self.w, rows, 0, self.params, None, None, None, 1)[0]
        return y


class Int4(nn.Module):
    def __init__(self, k: int, o: int, group: int) -> None:
        super().__init__()
        self.group = group
        self.register_buffer("w", torch.randint(0, 256, (o, k // 2), dtype=torch.uint8))
        self.register_buffer("scale", torch.rand(o, k // group).half())
        self.register_buffer("params", torch.rand(2, o))

    def forward(self, x: Tensor) -> Tensor:
        codes, rows = torch.ops.edgeq.quantise_rows_i8(x, 1, 0.0)
        arguments = (codes, self.w, self.scale, None, self.group, None, rows, 0, self.params, None, None, None, 1)
        y: Tensor = torch.ops.edgeq.linear_i4i8(*arguments)[0]
        return y


class Binary(nn.Module):
    def __init__(self, c: int) -> None:
        super().__init__()
        self.c = c
        self.register_buffer("w", torch.randint(0, 256, (c, 3, 3, ops.row_bytes(c)), dtype=torch.uint8))
        self.register_buffer("params", torch.rand(2, c))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = torch.ops.edgeq.conv2d_b1b1_fused(x, self.w, self.c, 1, 1, 0, self.params, None, None, None, 1)[0]
        return y


class Signed(Binary):
    """The same from floats."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(torch.ops.edgeq.pack_sign(x, None))


def run(options: Options) -> list[Row]:
    """--quick: the first model, batch and convolution of each kind. EDGEQ_TEST_MINILM: a folder with one model more."""
    with _isa(_core.isas(options.isas)[0]):
        return _rows(options)


@contextmanager
def _isa(name: str) -> Iterator[None]:
    """What the delegate and the agent begin with meanwhile."""
    before = os.environ.get("EDGEQ_ISA")
    os.environ["EDGEQ_ISA"] = name
    try:
        yield
    finally:
        os.environ.pop("EDGEQ_ISA")
        if before is not None:
            os.environ["EDGEQ_ISA"] = before


def _rows(options: Options) -> list[Row]:
    rows: list[Row] = []
    more = [os.environ["EDGEQ_TEST_MINILM"]] if "EDGEQ_TEST_MINILM" in os.environ else []
    for name in [*MODELS, *more][: options.count(1, len(MODELS) + 1)]:
        rows += _wanted(options, f"model {Path(name).name}", partial(_model, name, options))
    for m in BATCHES[: options.count(1, len(BATCHES))]:
        shape = f"{m}x{WIDTH}x{WIDTH}"
        rows += _wanted(options, f"linear ternary {shape}", partial(_linear, m, 2, Ternary(WIDTH, WIDTH), options))
        for group in GROUPS:
            layer = Int4(WIDTH, WIDTH, group)
            rows += _wanted(options, f"linear int4 g{group} {shape}", partial(_linear, m, 4, layer, options))
    for size, c in CONV[: options.count(1, len(CONV))]:
        rows += _wanted(options, f"conv2d {size}x{size}x{c} k3", partial(_conv, size, c, options))
    if options.peers:
        for size, c in LARQ_CONV[: options.count(1, len(LARQ_CONV))]:
            rows += _wanted(options, f"larq {size}x{size}x{c} k3", partial(_larq, size, c, options))
    return rows


def _wanted(options: Options, what: str, take: Callable[[], tuple[Session, list[str]]]) -> list[Row]:
    """take() gives timings, and the names of the engines in them, ours first."""
    if options.only not in what:
        return []
    options.say(f"litert {what}")
    session, (ours, *peers) = take()
    work, _, shape = what.partition(" ")
    isa = _core.isas(options.isas)[0]
    found = row(
        session, work=f"litert-{work}", shape=shape, isa=isa, ours=ours, peers=peers, floor_us=None,
        extra={}, conditions=_conditions.conditions(),
    )  # fmt: skip
    if isinstance(paired := session.conditions.get("paired"), dict):  # says more than the ratio of two medians
        ratio = 1 / paired["value"]
        found = replace(found, ratio_to_best=ratio, ratios=dict.fromkeys(found.ratios, ratio), extra={"paired": paired})
    return [found]


def _taken(engines: list[Engine], options: Options) -> tuple[Session, list[str]]:
    session = measure(engines, rounds=options.count(5, 21), threads=options.threads, cold=options.cold)
    return session, [engine.name for engine in engines]


def _session(samples: dict[str, list[float]], threads: int, **conditions: object) -> tuple[Session, list[str]]:
    """Nanoseconds that another process measured, by turns."""
    timings = {name: Timing(tuple(ns), tuple(ns), 1, threads) for name, ns in samples.items()}
    return Session(timings, {"caches": "warm", **conditions}), list(samples)


def _model(name: str, options: Options) -> tuple[Session, list[str]]:
    package = hub.pull(name, allow_unsigned=True)
    model = models.from_package(package.config(), package.tensors())
    _, example = models.methods(package.config(), model)["forward"]
    inputs = [(torch.randn_like(x) if x.is_floating_point() else x).numpy() for x in example]
    files = {"pte": build(package, "executorch").path, "tflite": build(package, "litert").path}
    rounds = options.count(comparison.MIN_ROUNDS, compare.ROUNDS)
    idle = host.load_warning() is None

    def load(path: Path, device: Device) -> tuple[Net, list[Any]]:
        return device.deploy(path), inputs

    with connect(f"local:?threads={options.threads}") as device:
        nets = [device.deploy(path) for path in files.values()]
        a, b = (net.run(*inputs).outputs for net in nets)
        assert all(np.abs(x - y).max() <= 1e-5 * np.abs(y).max() for x, y in zip(a, b, strict=True))
        for net in nets:
            net.unload()
        loaders = [partial(load, path) for path in files.values()]
        logs, medians = compare.in_turn(SentOnce(device), loaders, rounds, lambda *_: None)
    samples = {name: [1e6 * ms for ms in medians[i]] for i, name in enumerate(files)}
    return _session(
        {name: samples[name] for name in ("tflite", "pte")}, options.threads, clock="wall clock of the agent",
        rounds=rounds, untimed_calls=1, idle=idle, paired=asdict(comparison.paired(logs)),
    )  # fmt: skip


def _larq(size: int, c: int, options: Options) -> tuple[Session, list[str]]:
    from ._larq import UNTIMED_CALLS, larq_file

    module, x = Signed(c), torch.randn(1, size, size, c)
    module.params[0], module.params[1] = 1, 0
    bits = np.unpackbits(module.w.numpy(), axis=-1, bitorder="little")[..., :c]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "ours.tflite").write_bytes(compiler.lower({"forward": (module, (x,))}, {}))
        (Path(folder) / "larq.tflite").write_bytes(larq_file(size, c, 1 - bits))
        np.save(Path(folder) / "x.npy", x.numpy())
        library = _paths.native("libedgeq_litert.so", "EDGEQ_LITERT")
        settings = {**os.environ, "PYTHONPATH": str(ROOT), "EDGEQ_LITERT": str(library)}
        rounds, idle = options.count(5, 21), host.load_warning() is None
        words = [str(_larq_python()), "-m", "benchmarks._larq", folder, str(rounds)]
        done = subprocess.run([*words, str(options.threads)], env=settings, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise UnsupportedError(f"Larq does not run: {done.stderr.strip().splitlines()[-1:]}")
    samples = json.loads(done.stdout.splitlines()[-1])
    clock = "thread CPU time" if options.threads == 1 else "wall clock"
    return _session(samples, options.threads, clock=clock, rounds=rounds, untimed_calls=UNTIMED_CALLS, idle=idle)


def _larq_python() -> Path:
    """The interpreter of Larq's environment, which pip makes once: 120 MB."""
    folder = ROOT / ".cache" / "larq"
    python, ready = folder / "bin" / "python", folder / "ready"
    if not ready.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--no-deps", LARQ[0]], check=True)  # its dependencies are for training
        subprocess.run([*pip, *LARQ[1:]], check=True)
        ready.touch()
    return python


def _linear(m: int, bits: int, layer: nn.Module, options: Options) -> tuple[Session, list[str]]:
    x = torch.randn(m, WIDTH)
    ours = _interpreter(compiler.lower({"forward": (layer, (x,))}, {}), [x.numpy()], options)
    file, graph = _stock_graph()
    given, result = graph.tensor("x", (m, WIDTH), "float32"), graph.tensor("y", (m, WIDTH), "float32")
    drawn = np.random.default_rng(0).integers(0, 256, WIDTH * WIDTH * bits // 8, np.uint8)
    packed = (drawn & 0x55 if bits == 2 else drawn).tobytes()  # no code -2
    kind = T.INT4 if bits == 4 else T.INT2
    w = graph.raw_constant("w", (WIDTH, WIDTH), kind, packed, np.full(WIDTH, 0.01))
    options_of = schema.FullyConnectedOptionsT()
    inputs = [given, w, graph.constant("b", np.zeros(WIDTH, np.float32))]
    graph.operator(Op.FULLY_CONNECTED, inputs, [result], options_of, version=12 if bits == 4 else 14)
    stock = _interpreter(_finished(file, graph, given, result), [x.numpy()], options, with_edgeq=False)
    return _taken([Engine("edgeq", ours), Engine(f"stock int{bits}", stock)], options)


def _conv(size: int, c: int, options: Options) -> tuple[Session, list[str]]:
    x = torch.randint(0, 256, (1, size, size, ops.row_bytes(c)), dtype=torch.uint8)
    ours = _interpreter(compiler.lower({"forward": (Binary(c), (x,))}, {}), [x.numpy()], options)
    file, graph = _stock_graph()
    shape = (1, size, size, c)
    given, result = graph.tensor("x", shape, "float32"), graph.tensor("y", shape, "float32")
    packed = np.random.default_rng(0).integers(0, 256, c * 9 * c, np.uint8).tobytes()
    w = graph.raw_constant("w", (c, 3, 3, c), T.INT8, packed, np.full(c, 0.01))
    options_of = schema.Conv2DOptionsT()
    options_of.strideH = options_of.strideW = options_of.dilationHFactor = options_of.dilationWFactor = 1
    inputs = [given, w, graph.constant("b", np.zeros(c, np.float32))]
    graph.operator(Op.CONV_2D, inputs, [result], options_of, version=5)
    floats = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    stock = _interpreter(_finished(file, graph, given, result), [floats], options, with_edgeq=False)
    return _taken([Engine("edgeq", ours), Engine("stock int8", stock)], options)


def _stock_graph() -> tuple[TfliteFile, Any]:
    file = TfliteFile("stock")
    return file, file.subgraph("main")


def _finished(file: TfliteFile, graph: Any, given: int, result: int) -> bytes:
    graph.boundary([given], [result])
    return file.finish()


def _interpreter(
    tflite: bytes, inputs: list[Any], options: Options, *, with_edgeq: bool = True
) -> Callable[[], object]:
    """One execution by LiteRT's interpreter; the inputs are set once."""
    module = litert.runtime("ai_edge_litert")
    delegates = [litert.delegate(threads=options.threads, module=module)] if with_edgeq else []
    interpreter = module.Interpreter(
        model_content=tflite, experimental_delegates=delegates, num_threads=options.threads
    )
    interpreter.allocate_tensors()
    for detail, value in zip(interpreter.get_input_details(), inputs, strict=True):
        interpreter.set_tensor(detail["index"], value)
    interpreter.invoke()

    def invoke() -> object:
        return interpreter.invoke()

    return invoke
