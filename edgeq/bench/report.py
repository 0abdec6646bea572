"""What a measuring verb found out, as JSON for scripts and as values for the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from edgeq.bench.accuracy import Accuracy
from edgeq.bench.energy import EnergySample
from edgeq.bench.latency import Latency
from edgeq.results import Value


@dataclass(frozen=True)
class Memory:
    """Bytes on the device: the most its agent had resident, what it had before the model, and the planned arenas."""

    peak_bytes: int
    before_bytes: int
    planned_bytes: int


@dataclass(frozen=True)
class Energy:
    """What a provider gave for a number of inferences, and the share of one."""

    sample: EnergySample
    provider: str
    inferences: int

    @property
    def kind(self) -> str:
        return self.sample.kind

    @property
    def scope(self) -> str:
        return self.sample.scope

    @property
    def millijoules(self) -> float:
        return 1e3 * self.sample.joules / self.inferences

    @property
    def uncertainty_millijoules(self) -> float:
        return 1e3 * self.sample.uncertainty / self.inferences

    @property
    def net_millijoules(self) -> float | None:
        net = self.sample.net_joules
        return None if net is None else 1e3 * net / self.inferences

    @property
    def net_uncertainty_millijoules(self) -> float:
        return 1e3 * self.sample.net_uncertainty / self.inferences


@dataclass(frozen=True)
class Figure:
    """A figure of quality, such as an error rate, with the 95 % interval where one is known; method in words."""

    name: str
    value: float
    unit: str
    method: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Evaluation:
    """What n items of a data set gave: an accuracy where every item has one label, other figures elsewhere."""

    dataset: str
    split: str
    n: int
    accuracy: Accuracy | None = None
    figures: Sequence[Figure] = ()


@dataclass(frozen=True)
class Report:
    """One run; None stands for what its verb does not measure or its device cannot tell.

    latency_method  in words, e.g. "clock of the device, 100 runs"
    signed_by       the trusted key of the package; None is said aloud in every face
    simulated       the device is a simulator: it counts instructions, and its memory is an emulated one
    firmware_bytes  flash of the device's agent, beside the deployed file; 0 where there is none, or it is not known
    """

    verb: str
    model: str
    device: str
    target: str
    isa: str
    threads: int
    size_bytes: int
    artefact_sha256: str
    package_sha256: str
    signed_by: str | None
    simulated: bool = False
    firmware_bytes: int = 0
    latency: Latency | None = None
    latency_method: str = ""
    instructions: float | None = None
    memory: Memory | None = None
    energy: Energy | None = None
    evaluation: Evaluation | None = None
    warnings: Sequence[str] = ()
    run_id: int | None = None

    @property
    def source(self) -> Literal["measured", "simulated"]:
        """The label of what was counted on the device itself."""
        return "simulated" if self.simulated else "measured"

    def as_json(self) -> dict[str, object]:
        """The document that `edgeq deploy|eval|bench --json` prints; `accuracy` is a share, 0..1."""
        a = self.evaluation.accuracy if self.evaluation else None
        t, e = self.latency, self.energy
        return {
            "verb": self.verb,
            "model": self.model,
            "device": self.device,
            "target": self.target,
            "isa": self.isa,
            "threads": self.threads,
            "accuracy": a and a.correct / a.n,
            "accuracy_interval": a and [a.low / 100, a.high / 100],
            "dataset": self.evaluation and self.evaluation.dataset,
            "split": self.evaluation and self.evaluation.split,
            "n": self.evaluation and self.evaluation.n,
            "figures": {f.name: {"value": f.value, "unit": f.unit, "interval": _interval(f)} for f in self._figures()},
            "latency_ms": {"p50": t and t.p50_ms, "p90": t and t.p90_ms, "p99": t and t.p99_ms},
            "latency": t
            and {
                "min_ms": t.min_ms,
                "p50_interval_ms": [t.p50_low_ms, t.p50_high_ms],
                "runs": t.n,
                "warmup": t.warmup,
                "outliers": t.outliers,
                "kind": "measured",
                "method": self.latency_method,
            },
            "instructions": self.instructions,
            "peak_memory_bytes": self.memory and self.memory.peak_bytes,
            "memory": self.memory
            and {"before_bytes": self.memory.before_bytes, "planned_bytes": self.memory.planned_bytes},
            "size_bytes": self.size_bytes,
            "energy_mj": {"value": e and e.millijoules, "kind": e and e.kind},
            "energy": e
            and {
                "uncertainty_mj": e.uncertainty_millijoules,
                "net_mj": e.net_millijoules,
                "net_uncertainty_mj": None if e.net_millijoules is None else e.net_uncertainty_millijoules,
                "idle_w": e.sample.idle_w,
                "window_s": e.sample.seconds,
                "samples": e.sample.n_samples,
                "inferences": e.inferences,
                "kind": e.kind,
                "scope": e.scope,
                "provider": e.provider,
                "method": e.sample.source,
            },
            "artefact_sha256": self.artefact_sha256,
            "package_sha256": self.package_sha256,
            "signed_by": self.signed_by,
            "source": self.source,
            "flash_bytes": self.size_bytes + self.firmware_bytes if self.firmware_bytes else None,
            "warnings": list(self.warnings),
            "run_id": self.run_id,
        }

    def values(self) -> list[Value]:
        """Every figure with its label, in the store's metric names."""
        found = [Value("model_size", self.size_bytes, "B", "measured", "size of the deployed file")]
        if t := self.latency:
            how = self.latency_method
            found += [
                Value(f"latency_{name}", ms, "ms", "measured", how, n=t.n, warmup=t.warmup, low=low, high=high)
                for name, ms, low, high in (
                    ("p50", t.p50_ms, t.p50_low_ms, t.p50_high_ms),
                    ("p90", t.p90_ms, None, None),
                    ("p99", t.p99_ms, None, None),
                    ("min", t.min_ms, None, None),
                )
            ]
            far = "timings more than 5 standard deviations of the bulk above the median; none is left out"
            found.append(Value("latency_outliers", t.outliers, "1", "measured", far, n=t.n))
        if self.instructions is not None:
            how = "median of the simulator's instruction counts"
            found.append(Value("instructions", self.instructions, "1", "simulated", how))
        if self.firmware_bytes:
            flash = self.size_bytes + self.firmware_bytes
            found.append(Value("flash", flash, "B", self.source, "deployed file and firmware"))
        if m := self.memory:
            found += [
                Value("ram_peak", m.peak_bytes, "B", self.source, "highest resident memory of the device's agent"),
                Value("ram_before", m.before_bytes, "B", self.source, "resident memory before the model was loaded"),
            ]
            if m.planned_bytes:  # a .tflite does not tell
                how = "sum of the program's planned arenas"
                found.append(Value("ram_planned", m.planned_bytes, "B", "estimated", how))
        if j := self.energy:
            source, n, scope = f"{j.provider}: {j.sample.source}", j.inferences, j.scope
            for name, mj, half in (
                ("energy", j.millijoules, j.uncertainty_millijoules),
                ("energy_net", j.net_millijoules, j.net_uncertainty_millijoules),
            ):
                if mj is not None:
                    low, high = mj - half, mj + half
                    found.append(Value(name, mj, "mJ", j.kind, source, n=n, scope=scope, low=low, high=high))
        if e := self.evaluation:
            where = f"of the deployed file on {e.dataset} {e.split}"
            if a := e.accuracy:
                how = f"top-1 {where}, Wilson interval"
                found.append(Value("top1", a.top1, "%", self.source, how, n=a.n, low=a.low, high=a.high))
            for f in e.figures:
                how = f"{f.method} {where}"
                found.append(Value(f.name, f.value, f.unit, self.source, how, n=e.n, low=f.low, high=f.high))
        return found

    def _figures(self) -> Sequence[Figure]:
        return self.evaluation.figures if self.evaluation else ()


def _interval(figure: Figure) -> list[float] | None:
    return None if figure.low is None or figure.high is None else [figure.low, figure.high]
