"""The statistics of `edgeq compare`, on samples whose effect is known."""

from types import SimpleNamespace

import numpy as np
import pytest

from edgeq._errors import UsageError
from edgeq.bench import compare, comparison

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


class Restless:
    """A device whose times drift, jump up, and are a little different after every load, as a virtual machine's do."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._drift = 0.0
        self.info = SimpleNamespace(nets=2)

    def load(self, effect: float) -> "RestlessNet":
        return RestlessNet(self, np.log(2e5 * effect) + self._rng.normal(0, 0.012))

    def block(self, level: float, runs: int) -> SimpleNamespace:
        """Neighbouring blocks differ by 5 %, one in twenty is disturbed; all drift by a random walk."""
        self._drift = 0.99 * self._drift + self._rng.normal(0, 0.01)
        jump = 0.5 * self._rng.exponential() if self._rng.random() < 0.05 else 0.0
        return SimpleNamespace(ticks=[round(np.exp(level + self._drift + self._rng.normal(0, 0.04) + jump))] * runs)


class RestlessNet:
    def __init__(self, device: Restless, level: float) -> None:
        self._device, self._level = device, level

    def bench(self, inputs: object, *, warmup: int, runs: int) -> SimpleNamespace:
        return self._device.block(self._level, runs)

    def unload(self) -> None:
        pass


@pytest.mark.parametrize(("effect", "verdict", "wanted"), [(1.0, "no difference", 49), (1.05, "slower", 47)])
def test_in_turn_on_a_restless_machine(effect: float, verdict: str, wanted: int) -> None:
    """50 repeats each: at least 98 %, and 94 %."""
    loaders = [lambda device: (device.load(1.0), ()), lambda device: (device.load(effect), ())]

    def compared(seed: int) -> str:
        logs, _ = compare.in_turn(Restless(seed), loaders, compare.ROUNDS, lambda *_: None, seed=seed)
        return comparison.paired(logs).verdict

    assert [compared(seed) for seed in range(50)].count(verdict) >= wanted


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
    found = comparison.paired([0.014, 0.0141, 0.0139, 0.014, 0.0142, 0.0138, 0.014, 0.014])
    assert found.p < 0.01 and found.verdict == "no difference"
    assert "one below 2.0 % would not have been seen" in found.line()


def test_a_large_effect_of_few_rounds_is_no_difference() -> None:
    assert comparison.paired([0.3, -0.1, 0.2, 0.1, -0.05, 0.2, 0.1, 0.02]).verdict == "no difference"


def test_one_disturbed_round_moves_little() -> None:
    found = comparison.paired([0.05 + 0.001 * i for i in range(15)] + [-3.0])
    assert found.verdict == "slower" and found.value == pytest.approx(np.exp(0.057), abs=0.002)


def test_the_signed_rank_test_is_exact() -> None:
    """The depths of Wilcoxon's table: for n = 8 a sum of 0 has a two-sided p of 2/256; for n = 12, 7 has 0.00928."""
    found = comparison.paired([0.05] * 8)
    assert found.p == 2 / 256 and found.verdict == "slower"
    assert found.line().startswith("B is slower by 5.1 % (B / A = 1.051, 99 %: 1.051 to 1.051")
    seven = [-i if i in (3, 4) else i for i in range(1, 13)]
    assert comparison.paired([0.01 * x for x in seven]).p == pytest.approx(0.00928, abs=5e-6)
    assert comparison.paired([0.05, -0.05] * 6).p == 1.0
    assert comparison.paired([0.0] * 8).p == 1.0


def test_the_interval_is_the_test_turned_inside_out() -> None:
    """A shift just inside an end of the interval is not significant at 1 %, one just outside is."""
    d = np.random.default_rng(3).normal(0.03, 0.02, 14)
    found = comparison.paired(d)
    for end, out in ((found.low, -1e-9), (found.high, 1e-9)):
        assert comparison.paired(d - np.log(end) - out).p < 0.01 <= comparison.paired(d - np.log(end) + out).p


def test_the_same_samples_give_the_same_verdict() -> None:
    rng = np.random.default_rng(2)
    a, b = ([int(x) for x in rng.normal(1e6, 1e4, 50)] for _ in range(2))
    assert comparison.samples(a, b) == comparison.samples(a, b)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: comparison.paired([0.1] * 7), "at least 8 rounds with finite ratios, got 7"),
        (lambda: comparison.paired([0.1] * 8 + [float("nan")]), "finite"),
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
