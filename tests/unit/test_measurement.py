"""The measurement protocol: warm-up until steady, the temperature gate, blocks, outliers."""

from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from edgeq.bench import latency, protocol
from edgeq.bench.protocol import State
from edgeq.device import Timing


class ScriptedNet:
    """Takes the given nanoseconds, one after the other, the last one for ever."""

    def __init__(self, times: Sequence[int]) -> None:
        self._times: Iterator[int] = iter(times)
        self._last, self.calls, self.untimed = times[-1], [], 0

    def bench(self, inputs: object, *, warmup: int, runs: int) -> Timing:
        self.calls.append(runs)
        self.untimed += warmup
        return Timing([next(self._times, self._last) for _ in range(runs)], 7_000)


def test_a_steady_net_needs_two_blocks_of_warm_up() -> None:
    net, seen = ScriptedNet([1000]), []
    timed = protocol.time_runs(net, (), warmup=10, runs=100, watch=seen.extend)
    assert net.calls == [10, 10] + [10] * 10
    assert net.untimed == protocol.REWARM * protocol.BLOCKS  # a pause has cooled the caches
    assert (timed.warmup, len(timed.ticks), timed.peak_bytes, timed.warnings) == (20, 100, 7_000, ())
    assert seen == list(timed.ticks)


def test_falling_times_are_warmed_up_until_they_stand() -> None:
    net = ScriptedNet([2000] * 10 + [1500] * 10 + [1100] * 10 + [1000] * 10)
    timed = protocol.time_runs(net, (), warmup=10, runs=20)
    assert timed.warmup == 50 and set(timed.ticks) == {1000}


def test_times_that_never_stand_are_said() -> None:
    rising = ScriptedNet([1000 + 20 * i for i in range(1000)])
    timed = protocol.time_runs(rising, (), warmup=5, runs=20)
    assert "not steady after 40 warm-up runs" in timed.warnings[0]
    assert protocol.time_runs(ScriptedNet([5]), (), warmup=0, runs=3).warmup == 0


def test_noise_is_steady_and_a_step_is_not() -> None:
    rng = np.random.default_rng(0)
    noisy = [rng.normal(1000, 100, 30).tolist() for _ in range(200)]
    steady = sum(protocol.is_steady(a, b) for a, b in zip(noisy[::2], noisy[1::2], strict=True))
    assert steady >= 90
    assert not protocol.is_steady([1000] * 10, [1050] * 10)


def test_the_gate_waits_until_it_is_cool_and_the_curve_is_kept() -> None:
    degrees = iter([45.0, 40.0, 36.0, *[36.5] * 100])
    slept, now = [], iter(range(1000))
    timed = protocol.time_runs(
        ScriptedNet([10]),
        (),
        warmup=3,
        runs=20,
        state=lambda: State(next(degrees), 2_000_000_000),
        max_temp_c=protocol.MAX_TEMP_C,
        clock=lambda: float(next(now)),
        sleep=slept.append,
    )
    assert len(slept) == 2 and timed.warnings == ()
    curves = {curve.name: curve for curve in timed.series}
    assert (curves["temperature"].unit, curves["frequency"].unit) == ("degC", "Hz")
    assert len(curves["temperature"].points) == 11 and curves["temperature"].points[1] == (1.0, 36.5)


def test_a_gate_that_cannot_close_is_said() -> None:
    hot = protocol.time_runs(
        ScriptedNet([10]), (), warmup=3, runs=3, state=lambda: State(50.0, None), max_temp_c=37.0, sleep=lambda s: None
    )
    assert "50.0 degC after a wait of 300 s, above 37" in hot.warnings[0]
    blind = protocol.time_runs(ScriptedNet([10]), (), warmup=3, runs=3, max_temp_c=37.0)
    assert "temperature is not known" in blind.warnings[0] and blind.series == ()


def test_outliers_are_counted_never_removed() -> None:
    samples = [1000 + i % 7 for i in range(95)] + [9000] * 5
    found = latency.summarise(samples, warmup=3)
    assert (found.outliers, found.n, found.p99_ms) == (5, 100, pytest.approx(0.009))
    assert latency.outlier_warning(found) is None
    many = latency.summarise([*samples, 9000], warmup=3)
    assert "6 of 101 timings lie far above" in (latency.outlier_warning(many) or "")


def test_the_interval_widens_for_times_that_hang_together() -> None:
    rng = np.random.default_rng(3)
    alone = 1_000_000 + rng.normal(0, 10_000, 400)
    drift = np.repeat(1_000_000 + rng.normal(0, 10_000, 40), 10)
    widths = [
        found.p50_high_ms - found.p50_low_ms
        for found in (latency.summarise([int(x) for x in times], warmup=3) for times in (alone, drift))
    ]
    assert widths[1] > 1.5 * widths[0]
