"""Energy of one inference on a device: which provider, how long, and what the device draws without the load."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from math import ceil
from typing import Any

import numpy as np

from edgeq._errors import EnergyError
from edgeq.bench import energy
from edgeq.bench.energy import EnergyProvider, Marked, estimate, mcu
from edgeq.bench.protocol import Benched
from edgeq.bench.record import Subject, is_local
from edgeq.bench.report import Energy, Report

AUTO, NONE = "auto", "none"
IDLE_S = 0.5
MAX_RUNS = 1_000_000


def named(text: str, url: str) -> EnergyProvider | None:
    """The provider that was asked for by name; None for "auto" and "none".

    raises  UsageError for an unknown name, EnergyError for a sensor that is silent or watches another machine
    """
    if text in (AUTO, NONE):
        return None
    provider = energy.get(text)
    if provider.watches == "host" and not is_local(url):
        raise EnergyError(f"{text}: watches this host, and the model runs on {url}")
    if provider.watches == "phone" and not url.startswith("adb:"):
        raise EnergyError(f"{text}: watches a phone, and the model runs on {url}")
    return provider


def per_inference(
    net: Benched,
    inputs: Sequence[np.ndarray[Any, Any]],
    subject: Subject,
    report: Report,
    *,
    wanted: str,
    provider: EnergyProvider | None,
    runs: int,
) -> Energy | None:
    """Energy of one inference: sensors watch a pass of their own, models need only the time or the count.

    provider  the one that was asked for by name
    runs      of that pass at least; a slow sensor gets as many as fill its window
    return    None when none is wanted, or "auto" finds no provider for this device
    raises    EnergyError, also when a marker's pulses are not as many as the inferences
    """
    if wanted == NONE:
        return None
    if report.instructions is not None:
        return Energy(_of_instructions(subject, report.instructions), "mcu", 1)
    if report.latency is None:
        return None
    seconds = report.latency.p50_ms / 1e3
    if provider is None:
        try:
            provider = energy.best_available(
                on_this_host=subject.on_this_host, isa=subject.arch, threads=report.threads
            )
        except EnergyError:
            return None
    if provider.kind == "estimated":
        return Energy(estimate.for_cpu(subject.arch, report.threads).of(seconds), provider.name, 1)
    idle_token = provider.start()
    time.sleep(max(IDLE_S, provider.window_s))
    idle = provider.stop_idle(idle_token) if isinstance(provider, Marked) else provider.stop(idle_token)
    runs = min(max(runs, ceil(provider.window_s / seconds)), MAX_RUNS)
    token = provider.start()
    net.bench(inputs, warmup=0, runs=runs)
    sample = provider.stop(token)
    if sample.pulses not in (None, runs):
        raise EnergyError(f"{provider.name}: {sample.pulses} pulses of the marker in {runs} inferences; is it wired?")
    half_w = idle.uncertainty / idle.seconds if idle.seconds else 0.0
    return Energy(replace(sample, idle_w=idle.avg_w, idle_uncertainty_w=half_w), provider.name, runs)


def _of_instructions(subject: Subject, count: float) -> energy.EnergySample:
    """By the model of the device's core, or by the span of all of them where it is not known."""
    core = subject.url.partition(":")[2]
    try:
        return mcu.cost(core, round(count)).energy
    except EnergyError:
        return estimate.of_instructions(count)
