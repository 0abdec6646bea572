"""The statistics of `edgeq compare`, on samples whose effect is known."""

import numpy as np
import pytest

from edgeq._errors import UsageError
from edgeq.bench import comparison

REPEATS = 100


def _rounds(rng: np.random.Generator, effect: float, n: int = 12, noise: float = 0.02) -> np.ndarray:
    """Log ratios with a heavy tail: an idle machine still has interrupts."""
    return np.log(effect) + noise * rng.standard_t(4, n)


def test_identical_ones_are_no_difference_and_five_percent_is_found() -> None:
    rng = np.random.default_rng(0)
    same = [comparison.paired(_rounds(rng, 1.0)).verdict for _ in range(REPEATS)]
    slow = [comparison.paired(_rounds(rng, 1.05)).verdict for _ in range(REPEATS)]
    fast = [comparison.paired(_rounds(rng, 1 / 1.05)).verdict for _ in range(REPEATS)]
    assert same.count("no difference") >= 95
    assert slow.count("slower") >= 90 and fast.count("faster") >= 90


def test_two_stored_runs_with_the_same_bulk_and_outliers() -> None:
    rng = np.random.default_rng(1)

    def run(scale: float) -> list[int]:
        ns = 1e6 * scale * rng.lognormal(0, 0.03, 200)
        ns[rng.random(200) < 0.03] *= 5
        return [int(x) for x in ns]

    same = [comparison.samples(run(1), run(1)).verdict for _ in range(REPEATS)]
    slow = [comparison.samples(run(1), run(1.05)).verdict for _ in range(REPEATS)]
    assert same.count("no difference") >= 95 and slow.count("slower") >= 90


def test_a_significant_trifle_is_no_difference() -> None:
    found = comparison.paired([0.004, 0.0041, 0.0039, 0.004, 0.0042, 0.0038, 0.004, 0.004])
    assert found.p < 0.05 and found.verdict == "no difference"
    assert "one below 1.0 % would not have been seen" in found.line()


def test_the_sign_flip_is_exact() -> None:
    found = comparison.paired([0.05] * 6)
    assert found.p == 2 / 64 and found.verdict == "slower"
    assert found.line().startswith("B is slower by 5.1 % (B / A = 1.051")
    assert comparison.paired([0.05, -0.05] * 6).p == 1.0


def test_the_same_samples_give_the_same_verdict() -> None:
    rng = np.random.default_rng(2)
    a, b = ([int(x) for x in rng.normal(1e6, 1e4, 50)] for _ in range(2))
    assert comparison.samples(a, b) == comparison.samples(a, b)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: comparison.paired([0.1] * 5), "at least 6 rounds with finite ratios, got 5"),
        (lambda: comparison.paired([0.1] * 6 + [float("nan")]), "finite"),
        (lambda: comparison.samples([5] * 20, [5] * 19), "B has 19 timings"),
        (lambda: comparison.samples([0] * 20, [5] * 20), "A has 20 timings"),
    ],
)
def test_too_little_to_compare(call, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        call()


def test_shares_by_newcombe() -> None:
    gap = comparison.shares(56, 70, 48, 80)  # Newcombe 1998, table II, example (a): 56/70 - 48/80
    assert (gap.points, gap.low, gap.high) == pytest.approx((-20.0, -33.39, -5.24), abs=0.01)
    assert gap.differs and gap.line().startswith("B is less accurate")
    assert not comparison.shares(90, 100, 91, 100).differs
