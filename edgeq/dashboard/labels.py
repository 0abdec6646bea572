"""How a number, its source and a foreign text are written, on every page alike."""

from __future__ import annotations

import re

SOURCES = ("measured", "simulated", "estimated")
MARKS = {"measured": "●", "simulated": "■", "estimated": "▲"}
LEGEND = "Marks: " + "   ".join(f"{MARKS[source]} {source}" for source in SOURCES)
SIGNATURES = {
    "trusted": "✔ signed by a trusted key",
    "untrusted": "⚠ signed, but by a key that is not trusted",
    "unsigned": "⚠ not signed: nobody vouches for the package",
    None: "- no package was involved",
}
HEADLINE = ("latency_p50", "instructions", "top1", "phoneme_error_rate", "mean_cosine", "energy")
METRICS = {
    "latency_p50": "Latency, median",
    "latency_p90": "Latency, 90th percentile",
    "latency_p99": "Latency, 99th percentile",
    "latency_min": "Latency, smallest",
    "energy": "Energy per inference",
    "energy_net": "Energy per inference, idle subtracted",
    "model_size": "Size of the deployed file",
    "ram_peak": "Memory, peak",
    "ram_before": "Memory, before loading",
    "ram_planned": "Memory, planned arenas",
    "instructions": "Instructions",
    "latency_outliers": "Latency, outliers",
    "flash": "Flash",
    "top1": "Top-1 accuracy",
    "top1_before": "Top-1 accuracy before",
    "held_out_top1": "Held-out accuracy",
    "train_top1": "Accuracy on the samples",
    "loss": "Loss",
    "memory": "Memory, planned",
    "delta_size": "Size of the delta",
    "seconds": "Duration",
    "temperature": "Temperature",
    "frequency": "Clock",
    "f1": "F1",
    "phoneme_error_rate": "Phonemes wrong",
    "word_error_rate": "Words wrong",
    "mean_cosine": "Cosine to the float vectors, mean",
    "neighbours_kept": "Nearest neighbours kept",
}
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~$:])")


def metric(name: str) -> str:
    """The metric in words, or its own name."""
    return METRICS.get(name, name)


def marked(source: str) -> str:
    """The source with its mark, e.g. "▲ estimated"."""
    return f"{MARKS[source]} {source}"


def quantity(value: float | None, unit: str) -> str:
    """A value with its unit for people: three digits, bytes in decimal steps, "-" for nothing."""
    if value is None:
        return "-"
    if unit == "B":
        for step, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
            if abs(value) >= 0.9995 * step:
                return f"{value / step:.3g} {name}"
        return f"{value:.0f} B"
    if unit == "1":
        return f"{value:,.0f}"
    if unit == "%":
        return f"{value:.2f} %"
    return f"{value:,.0f} {unit}" if abs(value) >= 999.5 else f"{value:.3g} {unit}"


def interval(low: float | None, high: float | None, unit: str) -> str:
    """The 95 % interval, or nothing."""
    return "" if low is None or high is None else f"{quantity(low, unit)} to {quantity(high, unit)}"


def literal(text: object) -> str:
    """Text of a device, a package or a file for a place that reads Markdown: shown as it is, commanding nothing."""
    return _MARKDOWN.sub(r"\\\1", " ".join(str(text).split()))
