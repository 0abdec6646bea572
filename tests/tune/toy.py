"""A small tunable network in numpy with a base that knows its task, and storage that can be cut."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from edgeq._native import tune
from edgeq._native.tune_types import TuneData, TuneLatent, TuneLayer, TuneModel, TuneTap

F = np.float32
CLASSES, INPUTS, WIDTHS = 5, 12, (20, 14)
STEP = F(0.05)  # of the 8-bit activations


def packed_triangle(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Rows of the triangle of x (n, d) with the right-hand sides of y (n, classes), as tune.h packs them."""
    d = x.shape[1]
    gram = x.T @ x + 1e-9 * np.eye(d)
    t = np.linalg.cholesky(gram).T
    rhs = np.linalg.solve(t.T, x.T @ y)
    return np.concatenate([np.concatenate([t[i, i:], rhs[i]]) for i in range(d)]).astype(F)


def digest(*arrays: np.ndarray) -> bytes:
    h = hashlib.sha256()
    for a in arrays:
        h.update(np.ascontiguousarray(a).tobytes())
    return h.digest()


@dataclass
class Toy:
    """Two ternary layers and a float head over points of a mixture; `shift` moves the device's world."""

    seed: int = 0
    classes: int = CLASSES
    codes: list[np.ndarray] = field(init=False)

    def __post_init__(self) -> None:
        r = np.random.RandomState(self.seed)
        self.centres = r.randn(self.classes, INPUTS)
        sizes = (INPUTS, *WIDTHS)
        self.codes = [r.randint(-1, 2, (o, k)).astype(np.int8) for k, o in pairwise(sizes)]
        self.scales = [(0.5 + r.rand(o)).astype(F) / F(np.sqrt(k)) for k, o in pairwise(sizes)]
        self.biases = [(0.3 * r.randn(o)).astype(F) for o in sizes[1:]]
        self.sigmas = [1.0] * len(WIDTHS)
        self.head = np.zeros((self.classes, WIDTHS[-1]), F), np.zeros(self.classes, F)
        x, y = self.sample(400, 100)
        h = self.run(x)
        self.sigmas = [float(p.std()) for p in h["pre"]]
        feats = h["hidden"].astype(np.float64)
        one = np.concatenate([feats, np.ones((len(x), 1))], 1)
        target = np.eye(self.classes)[y] - 1 / self.classes
        solution = 6 * np.linalg.solve(one.T @ one + 0.1 * np.eye(one.shape[1]), one.T @ target)
        self.head = np.ascontiguousarray(solution[:-1].T, F), solution[-1].astype(F)
        self.stats = [(p.mean(0).astype(F), p.std(0).astype(F)) for p in h["pre"]]
        self.rms = [float(np.sqrt((a.astype(np.float64) ** 2).mean())) for a in h["taps"]]
        scaled = np.concatenate([a / q for a, q in zip(h["taps"], self.rms, strict=True)] + [np.ones((len(x), 1))], 1)
        self.features, self.base_labels = scaled.astype(np.float64), y
        self.triangle = packed_triangle(self.features, target)

    def sample(self, n: int, seed: int, shift: str = "none") -> tuple[np.ndarray, np.ndarray]:
        """n points (n, INPUTS) and labels (n,) int32."""
        r = np.random.RandomState(seed)
        y = np.concatenate([np.arange(self.classes)] * (n // self.classes + 1))[:n]
        x = self.centres[y] + 0.6 * r.randn(n, INPUTS)
        if shift == "gain":
            x = 0.4 * x + 0.5
        elif shift == "turn":
            x = x[:, ::-1] * np.where(np.arange(INPUTS) % 3, 1, -1)
        order = r.permutation(n)
        return x[order].astype(F), y[order].astype(np.int32)

    def run(self, x, ac=None, head=None, latents=None):
        """What `forward_tune` gives: x (n, INPUTS), ac (1 or n, 2 * channels), in single precision."""
        channels = sum(WIDTHS)
        ac = np.zeros((1, 2 * channels), F) if ac is None else ac
        h, at, taps, pre, inputs = x, 0, [], [], []
        for layer, o in enumerate(WIDTHS):
            codes = self.codes[layer] if latents is None else np.clip(np.rint(latents[layer]), -1, 1)
            inputs.append(h)
            acc = np.stack([(h * row).sum(1, dtype=F) for row in codes.astype(F)], 1)
            a, c = ac[:, at : at + o], ac[:, at + o : at + 2 * o]
            y = self.scales[layer] * np.exp(a, dtype=F) * acc + self.biases[layer] + F(self.sigmas[layer]) * c
            pre.append(y.astype(F))
            h = (np.clip(np.rint(y / STEP), 0, 255) * STEP).astype(F)
            taps.append(h)
            at += 2 * o
        w, b = self.head if head is None else head
        logits = np.stack([(h * row).sum(1, dtype=F) for row in w], 1) + b
        return {"logits": logits.astype(F), "hidden": h, "taps": taps, "pre": pre, "inputs": inputs}

    def model(self, **changes) -> TuneModel:
        layers = [
            TuneLayer(o, s, b, *stats)
            for o, s, b, stats in zip(WIDTHS, self.sigmas, self.biases, self.stats, strict=True)
        ]
        model = TuneModel(
            base=digest(*self.codes),
            layout=digest(np.array(WIDTHS)),
            layers=layers,
            head_weight=self.head[0],
            head_bias=self.head[1],
            head_scale=(np.abs(self.head[0]).mean(1) + 1e-3).astype(F),
            head_sigma=1.0,
            taps=[TuneTap(o, r) for o, r in zip(WIDTHS, self.rms, strict=True)],
            latents=[TuneLatent(i, c, s, -1, 1) for i, (c, s) in enumerate(zip(self.codes, self.scales, strict=True))],
            moments=True,
            base_triangle=self.triangle,
            base_samples=400,
        )
        return replace(model, **changes)

    def forward(self, x, *, broken=None):
        """The `forward` of `converse` over the points x. `broken` names an output that comes as NaN."""

        def answer(request: tune.Forward) -> tune.Outputs:
            rows = x[request.samples]
            out = self.run(rows, request.ac_rows, (request.head_weight, request.head_bias), request.latents)
            pre = np.concatenate(out["pre"], 1)
            given = {
                "logits": out["logits"],
                "hidden": np.ascontiguousarray(out["hidden"]),
                "taps": np.concatenate(out["taps"], 1),
                "moments": np.stack([pre, np.zeros_like(pre)], 1),
                "inputs": [np.ascontiguousarray(i) for i in out["inputs"]],
            }
            if broken is not None:
                given[broken] = given[broken] * F(np.nan)
            return tune.Outputs(**{name: value for name, value in given.items() if name in request.outputs})

        return answer

    def accuracy(self, x, y, delta=None) -> float:
        if delta is None:
            return float((self.run(x)["logits"].argmax(1) == y).mean())
        codes = [c.astype(F) for c in delta.codes] or None
        out = self.run(x, delta.ac[None], None if delta.over != "hidden" else (delta.weight, delta.bias), codes)
        logits = out["logits"]
        if delta.over == "taps":
            logits = tune.head_logits(np.concatenate(out["taps"], 1), delta.weight, delta.bias)
        return float((logits.argmax(1) == y).mean())


def data(x, y) -> TuneData:
    return TuneData(digest(x, y), len(y), y)


class PowerCut(Exception):
    """The store lost power."""


class Memory:
    """A store in memory. Power goes after `budget` written bytes; what was not flushed may then be lost or torn."""

    def __init__(self, areas=None, budget=None, lose_unflushed=False) -> None:
        self.areas = dict(areas or {})
        self.flushed = dict(self.areas)
        self.budget, self.lose = budget, lose_unflushed
        self.written = 0

    def read(self, area, offset, size):
        return self.areas.get(area, b"")[offset : offset + size]

    def write(self, area, offset, payload):
        if self.budget is not None and self.written + len(payload) >= self.budget:
            self._put(area, offset, payload[: self.budget - self.written])
            if self.lose:
                self.areas = dict(self.flushed)
            raise PowerCut
        self.written += len(payload)
        self._put(area, offset, payload)

    def _put(self, area, offset, payload):
        old = self.areas.get(area, b"").ljust(offset, b"\xff")
        self.areas[area] = old[:offset] + payload + old[offset + len(payload) :]

    def erase(self, area):
        self.areas[area] = b""

    def flush(self, area):
        self.flushed[area] = self.areas[area]


def tuned(toy, x, y, method, store=None, forward=None, model=None, flags=(), **changes):
    """A run to its end: (report, delta or None, store, tuner)."""
    store = Memory() if store is None else store
    model = toy.model() if model is None else model
    tuner = tune.Tuner(model, data(x, y), tune.settings(method, flags=flags, **changes))
    report = tune.converse(tuner, forward or toy.forward(x), store)
    blob = store.areas.get("delta", b"")
    delta = tune.read_delta(model, blob) if report.outcome == "committed" else None
    return report, delta, store, tuner
