"""Statistics of a measurement, against values computed by hand or in another way."""

from math import comb

import numpy as np
import pytest

from edgeq._errors import UsageError
from edgeq.bench import accuracy, latency


def test_quantiles_of_known_timings() -> None:
    result = latency.summarise(range(1_000_000, 102_000_000, 1_000_000), warmup=3)  # 1..101 ms
    assert (result.p50_ms, result.p90_ms, result.p99_ms) == pytest.approx((51.0, 91.0, 100.0))
    assert (result.min_ms, result.n, result.warmup) == (1.0, 101, 3)
    assert result.p50_low_ms < 51 < result.p50_high_ms


def test_the_median_interval_covers_the_true_median_about_95_times_in_100() -> None:
    rng = np.random.default_rng(1)
    true = np.exp(10.0)
    hits = 0
    for seed in range(200):
        result = latency.summarise(rng.lognormal(10, 0.3, 41).astype(np.int64), warmup=3, seed=seed)
        hits += result.p50_low_ms * 1e6 <= true <= result.p50_high_ms * 1e6
    assert 180 <= hits <= 199  # Binomial(200, 0.95) is outside of this with a chance below 0.3 %


def test_the_same_timings_give_the_same_interval() -> None:
    ns = np.random.default_rng(2).integers(1_000, 9_000, 50)
    assert latency.summarise(ns, warmup=3) == latency.summarise(ns, warmup=3)


@pytest.mark.parametrize("bad", [[], [[1, 2]], [5, 0], [5, -3]])
def test_timings_that_cannot_be(bad: list[int]) -> None:
    with pytest.raises(UsageError):
        latency.summarise(bad, warmup=0)


def test_short_protocols_are_called_short() -> None:
    assert latency.protocol_warning(warmup=3, runs=20) is None
    assert "19 timed runs" in (latency.protocol_warning(warmup=3, runs=19) or "")
    assert "2 warm-ups" in (latency.protocol_warning(warmup=2, runs=20) or "")


def test_busy_share_of_two_proc_stat_readings() -> None:
    before = "cpu  100 0 50 800 50 0 0 0 0 0\ncpu0 1 2 3"
    after = "cpu  130 0 60 850 60 0 0 0 30 0\ncpu0 1 2 3"
    assert latency.busy_share(before, after) == pytest.approx(0.4)  # 30 + 10 busy of 100, guest not twice
    assert latency.busy_share(before, before) == 0.0
    with pytest.raises(UsageError):
        latency.busy_share("memory 1 2", after)


def test_top1_counts_first_of_equals_and_refuses_nan() -> None:
    logits = np.array([[1, 3, 2], [5, 5, 0], [np.nan, 9, 0], [0, np.inf, 0], [0, 0, 1]], np.float32)
    result = accuracy.top1(logits, np.array([1, 0, 1, 1, 0]))
    assert (result.correct, result.n, result.not_finite, result.top1) == (2, 5, 2, 40.0)
    assert result.low < 40 < result.high


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (np.zeros((2, 3)), np.zeros(3, int), r"got \(2, 3\) and \(3,\)"),
        (np.zeros((0, 3)), np.zeros(0, int), "needs logits"),
        (np.zeros(3), np.zeros(3, int), "needs logits"),
        (np.zeros((2, 3)), np.array([0, 3]), "label 1 is 3, the model has 3 classes"),
        (np.zeros((2, 3)), np.array([-1, 0]), "label 0 is -1"),
    ],
)
def test_top1_refuses_what_does_not_fit(logits: np.ndarray, labels: np.ndarray, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        accuracy.top1(logits, labels)


def test_wilson_is_the_root_of_the_score_equation() -> None:
    for correct, n in ((9, 10), (911, 1000), (1, 3)):
        for bound in accuracy.wilson(correct, n):
            score = (correct / n - bound) ** 2 * n / (bound * (1 - bound))
            assert score == pytest.approx(accuracy.Z95**2, rel=1e-9)


def test_wilson_at_the_ends_and_its_coverage() -> None:
    assert accuracy.wilson(0, 10)[0] == 0.0 and accuracy.wilson(10, 10)[1] == 1.0
    n, p = 50, 0.9
    inside = [low <= p <= high for low, high in (accuracy.wilson(k, n) for k in range(n + 1))]
    coverage = sum(comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1) if inside[k])
    assert 0.93 <= coverage <= 0.98


def test_counts_that_are_no_accuracy() -> None:
    for correct, n in ((1, 0), (-1, 5), (6, 5)):
        with pytest.raises(UsageError):
            accuracy.of(correct, n)
