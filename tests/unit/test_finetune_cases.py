"""What `benchmarks finetune` compares: splits, the best head there could be, costs and F1, who wins; at toy size."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tiny_tunable import CLASSES, shift_network, task

from benchmarks import _controls, _limits, _looks, _picture_cases, _risk, _speech_cases, _text_cases, finetune
from benchmarks._adaptation import Case, Raw, Setting, Subject, accuracy, asked_for, hidden, learn, scores
from benchmarks._best_head import FOLDS, best_head, crossed, fit
from benchmarks._cells import Cells, mean_and_error
from benchmarks.harness import Options
from edgeq._native.tune import decide
from edgeq.tune import Samples, Wishes


@pytest.fixture(scope="module")
def case() -> Case:
    """Patterns that the toy network was calibrated on, in a world with less contrast."""
    subject = Subject.of(shift_network(), *task(200, 1))
    learnt, tested, home = task(80, 2, gain=0.3, offset=0.4), task(120, 3, gain=0.3, offset=0.4), task(60, 4)
    samples = Samples((learnt[0],), learnt[1], "toy")
    parts = {"seen": tested[1] < 2, "unseen": tested[1] >= 2}
    known = task(200, 1)
    return Case("toy", "draw 0", lambda: subject, samples, *tested, parts=parts, home=home, known=lambda: known)


def test_what_was_computed_once_is_read_afterwards(tmp_path):
    file = tmp_path / "cells.json"
    first = Cells(file).get("a", lambda: {"accuracy": 0.5})
    again = Cells(file).get("a", lambda: pytest.fail("computed again"))
    assert again == first and again["accuracy"] == 0.5 and again["cpu_s"] >= 0


def test_a_standard_error_is_taken_over_groups():
    mean, error = mean_and_error([[0.2, 0.4], [0.5], [0.7]])
    assert mean == pytest.approx(0.5) and error == pytest.approx(0.2 / np.sqrt(3))
    assert np.isnan(mean_and_error([[0.2, 0.4]])[1])


def test_enrolment_has_two_or_three_of_each_digit_and_draws_differ():
    y = np.repeat(np.arange(10), 50)
    sets = []
    for draw in (0, 1, _speech_cases.FRESH, _speech_cases.FRESH + 1):
        first, rest = _speech_cases.enrolment(y, draw)
        assert len(first) == 25 and set(np.bincount(y[first])) == {2, 3}
        assert sorted([*first, *rest]) == list(range(500))
        sets.append(frozenset(first.tolist()))
    assert len(set(sets)) == 4


def test_no_review_is_in_two_parts():
    documents = np.random.default_rng(1).integers(0, 300, 1500)
    learnt = set()
    for draw in (0, 1, _text_cases.FRESH):
        parts = _text_cases.split(documents, draw, 400)
        assert [len(part) for part in parts] == [200, 200, 400]
        owned = [set(documents[part]) for part in parts]
        assert not (owned[0] & owned[1] or owned[0] & owned[2] or owned[1] & owned[2])
        learnt.add(frozenset(parts[0].tolist()))
    assert len(learnt) == 3


@pytest.fixture
def numbered(monkeypatch):
    """Pictures whose first two pixels are their number, and the third whether the base was measured on them."""

    def pictures(part: str) -> tuple[np.ndarray, np.ndarray]:
        number = np.arange({"train": 3000, "t10k": 4500}[part])
        x = np.zeros((len(number), 28, 28), np.uint8)
        x[:, 0, 0], x[:, 0, 1], x[:, 0, 2] = number // 256, number % 256, 255 * (number < 2000)
        return x, number % 10

    monkeypatch.setattr(_picture_cases, "pictures", pictures)


def rows(x: np.ndarray) -> frozenset[bytes]:
    return frozenset(picture.tobytes() for picture in x)


@pytest.mark.parametrize("model", _limits.PICTURES)
def test_fresh_pictures_were_never_tested_on(numbered, model):
    old = list(_picture_cases.fashion(Options(only="fashion:inverted")))
    new = [case for case in _picture_cases.fresh(Options(only="limits:inverted"), model) if not case.parts]
    assert len(old) == len(new) == 3 and len(rows(new[0].test)) == _picture_cases.TESTED
    assert not rows(old[0].test) & rows(new[0].test)
    learnt = [case.learn_from.inputs[0] for case in (*old, *new)]
    assert len({rows(x) for x in learnt}) == 6
    assert all((x[:, 0, 2] == x[:, 0, 3]).all() for x in learnt)  # none that the base was measured on
    assert all(np.array_equal(case.home[1], case.labels) and case.ceiling is None for case in new)


def test_half_of_the_classes_are_enrolled_and_all_are_asked(numbered):
    found = [case for case in _picture_cases.fresh(Options(only="limits:inverted"), "bivit-fashion") if case.parts]
    assert [case.draw for case in found] == [0, 1, 2]
    for case in found:
        assert set(case.learn_from.labels) == set(range(5)) and set(case.labels) == set(range(10))
        assert set(case.labels[case.parts["seen"]]) == set(range(5))


@pytest.mark.parametrize(("only", "asked"), [("limits", True), ("limits:dim", True), ("limits:noisy", False)])
def test_parts_of_a_task_can_be_asked_for(only, asked):
    assert asked_for(only, "dim", "bivit-fashion") is asked


def test_a_fitted_head_finds_what_can_be_told_apart():
    rng = np.random.default_rng(1)
    y = rng.integers(0, 3, 300)
    x = (np.eye(3)[y] * 4 + rng.standard_normal((300, 3))).astype(np.float32)
    predict = fit(x[:200], y[:200], 3, 1e-3)
    assert accuracy(predict(x[200:]), y[200:]) > 0.95


def test_no_head_is_scored_by_labels_that_it_was_fitted_to():
    rng = np.random.default_rng(2)
    x, y = rng.standard_normal((40 * FOLDS, 30)).astype(np.float32), rng.integers(0, 2, 40 * FOLDS)
    nothing = x[:0], y[:0]
    assert accuracy(fit(x, y, 2, 1e-4)(x), y) > 0.65  # what it would be
    assert abs(accuracy(crossed(x, y, nothing, 2), y) - 0.5) < 0.12


def test_hidden_is_what_the_head_reads(case):
    subject = case.subject()
    x = hidden(subject, case.test)
    logits = x @ subject.tuning.head_weight.T + subject.tuning.head_bias
    np.testing.assert_allclose(logits, scores(subject, None, case.test), rtol=1e-4, atol=1e-4)
    assert best_head(case).shape == (len(case.labels), CLASSES)


@pytest.mark.parametrize("count", [0.0, 30.0, _controls.EVERY])
def test_a_ridge_is_the_one_that_misses_least_of_what_it_has_not_seen(case, count):
    """Against heads that were solved once more without each of the samples."""
    few = replace(case, learn_from=Samples((case.learn_from.inputs[0][:24],), case.learn_from.labels[:24], "few"))
    seen = _controls.features(few, None, ("taps",))
    x, y = seen(few.learn_from.inputs[0]), np.eye(CLASSES)[few.learn_from.labels] - 1 / CLASSES
    x0, y0 = seen(few.known()[0]), np.eye(CLASSES)[few.known()[1]] - 1 / CLASSES
    share = min(count / len(x0), 1.0)
    gram = x.T @ x + share * x0.T @ x0

    def solved(rows: np.ndarray, penalty: float) -> np.ndarray:
        left = x[rows].T @ x[rows] + share * x0.T @ x0 + penalty * np.eye(len(gram))
        return np.linalg.solve(left, x[rows].T @ y[rows] + share * x0.T @ y0)

    ridges, everything = (1e-3, 1e-1, 1e1), np.arange(24)
    penalties = [r * np.trace(gram) / len(gram) for r in ridges]
    misses = [sum(((y[i] - x[i] @ solved(everything != i, p)) ** 2).sum() for i in everything) for p in penalties]
    best = solved(everything, penalties[int(np.argmin(misses))])
    predict = _controls.ridge(few, base=(count,), ridges=ridges)
    np.testing.assert_allclose(predict(case.test), seen(case.test) @ best, rtol=1e-6, atol=1e-8)


def test_a_balanced_class_weighs_as_if_its_samples_were_repeated(case):
    """The last class alone: 4 samples beside 16 of each of the others are each of them four."""
    x, y = case.known()
    old = np.concatenate([np.flatnonzero(y == c)[:16] for c in range(CLASSES - 1)])
    new = np.flatnonzero(y == CLASSES - 1)[:4]
    taught = replace(case, learn_from=Samples((x[new],), y[new], "new"), known=lambda: (x[old], y[old]))
    repeated = replace(taught, learn_from=Samples((np.repeat(x[new], 4, 0),), np.repeat(y[new], 4), "four times"))
    asked = [
        _controls.taught(taught, over=("taps",), balanced=True),
        _controls.taught(repeated, over=("taps",), balanced=False),
    ]
    np.testing.assert_allclose(*(predict(case.test) for predict in asked), rtol=1e-6, atol=1e-8)
    nearest = _controls.means(taught)(x[np.concatenate([old, new])])
    assert accuracy(nearest, y[np.concatenate([old, new])]) > 0.5  # chance: a quarter


@pytest.mark.parametrize("over", ["last", "taps"])
def test_a_head_by_steps_begins_at_the_bases_and_learns(case, over):
    base = scores(case.subject(), None, case.test)
    np.testing.assert_allclose(_controls.stepped(case, over=over, steps=1, rate=0)(case.test), base, atol=0.05)
    taught = accuracy(_controls.stepped(case, over=over)(case.test), case.labels)
    assert taught > accuracy(base, case.labels) + 0.05


def test_a_kernel_head_fits_what_it_has_seen(case):
    assert accuracy(_controls.kernel(case)(case.learn_from.inputs[0]), case.learn_from.labels) > 0.9


def columns(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Dark pictures with one bright column, and which."""
    y = np.random.default_rng(seed).integers(0, 9, count)
    x = np.zeros((count, 9, 9), np.uint8)
    x[np.arange(count), :, y] = 200
    return x, y


@pytest.mark.parametrize(
    ("shift", "wanted"),
    [(lambda x: 255 - x, "inverted"), (lambda x: x, _looks.AS_IT_IS), (lambda x: 0 * x, _looks.AS_IT_IS)],
)
def test_the_input_is_put_right_where_that_clearly_helps(case, monkeypatch, shift, wanted):
    (x, y), (tested, answers) = columns(60, 1), columns(20, 2)
    raw = Raw(shift(x), shift(tested), lambda pictures: pictures.astype(np.float32))
    given = replace(case, learn_from=Samples((raw.network(raw.learn_from),), y.astype(np.int32), "x"), raw=raw)
    monkeypatch.setattr(_looks, "scores", lambda _subject, _delta, pictures: pictures.mean(1))
    seen, passes = _looks.corrected(given)
    assert seen.learn_from.name == wanted and passes == _looks.TRIED * len(_looks.corrections()) / 60
    if wanted == "inverted":
        assert (seen.test.mean(1).argmax(1) == answers).all() and np.array_equal(seen.learn_from.inputs[0], x)


def test_luck_is_no_reason_to_turn_the_input():
    labels = np.array([0] * 15 + [1, 2, 3, 4, 5, 6, 7] * 5)
    assert _looks.luck(labels) == pytest.approx(0.3 + 3 * np.sqrt(0.3 * 0.7 / 50))


@pytest.mark.parametrize("method", [name for name in _limits.METHODS if name != _looks.INPUT])
def test_every_method_of_the_suite_gives_its_figures(case, method):
    figures = finetune._one(case, method)
    assert 0 <= figures["accuracy"] <= 1 and set(figures) >= {"accuracy", "passes"}
    assert method == "home" or {"seen", "unseen"} <= set(figures)


def test_the_table_tells_who_wins(case, tmp_path):
    def trained(setting: Setting):
        return lambda x: np.eye(CLASSES, dtype=np.float32)[case.labels[: len(x)]]  # always right

    cases = [replace(case, ceiling=trained, norms=False, validation=case.home)]
    cells = Cells(tmp_path / "cells.json")
    results = finetune._results(cases, _limits.METHODS, Options(), cells)
    table = _limits.table({"toy": (len(case.labels), results)})
    assert [cell.split(" = ")[-1] for cell in table.columns[-1].cells] == ["backpropagation"]
    assert list(table.columns[-2].cells) == ["1.000"]
    tried = [key for key in cells._known if "backpropagation" in key]
    assert len(tried) == len(finetune.RATES)  # and no setting with batch norms


def runs(**accuracies: list[float]) -> _limits.Results:
    return {m: {f"draw {i}": [{"accuracy": a}] for i, a in enumerate(values)} for m, values in accuracies.items()}


@pytest.mark.parametrize(
    ("found", "wins"),
    [
        (runs(stats=[0.5, 0.6], head=[0.7, 0.8], auto=[0.9, 0.9]), "auto"),
        (runs(stats=[0.5, 0.6], head=[0.7, 0.8], auto=[0.6, 0.9]), "head = auto"),
        (runs(stats=[0.9], head=[0.5], auto=[0.5], backpropagation=[0.89]), "stats = backpropagation"),
    ],
)
def test_within_a_standard_error_nobody_wins(found, wins):
    assert _limits.winner(_limits.common(found), tested=500) == wins


def test_the_ceiling_is_compared_on_the_draws_it_was_trained_on():
    found = {**runs(stats=[0.5, 0.9], head=[0.1, 0.1], auto=[0.4, 0.1]), **runs(backpropagation=[0.6])}
    shared = _limits.common(found)
    assert {name: list(groups) for name, groups in shared.items()} == {name: ["draw 0"] for name in found}


def test_costs_for_f1_draw_the_line_at_half_of_it():
    cost = _risk.f1_costs(2, (1,), 0.6)
    shares = np.array([0.25, 0.29, 0.31, 0.35, 0.6])
    logits = np.log(np.stack([1 - shares, shares], 1)).astype(np.float32)
    assert decide(logits, cost).tolist() == [0, 0, 1, 1, 1]


def test_a_linear_score_stands_for_f1():
    rng = np.random.default_rng(3)
    logits, labels = rng.standard_normal((200, 4)).astype(np.float32), rng.integers(0, 4, 200)
    reached = _risk.f1(logits.argmax(1), labels, (1, 2))
    score = _risk.scored("F1", _risk.costs(4, (1, 2)), (1, 2), reached)
    assert score(logits, labels).mean() == pytest.approx(0, abs=1e-7)
    better = np.eye(4, dtype=np.float32)[labels]
    assert score(better, labels).mean() < -0.05
    expected = _risk.scored("expected F1", _risk.costs(4, (1, 2)), (1, 2), reached)
    assert expected(50 * better, labels) == pytest.approx(score(better, labels), abs=1e-6)


def test_saying_yes_to_everything_is_the_least_that_f1_aims_at():
    labels, logits = np.array([0, 1, 2, 3, 0]), np.tile(np.array([0, 9, 0, 0], np.float32), (5, 1))
    reached = _risk.always(labels, (1, 2))
    assert reached == pytest.approx(_risk.f1(logits.argmax(1), labels, (1, 2))) == pytest.approx(4 / 7)
    score = _risk.scored("F1", _risk.costs(4, (1, 2)), (1, 2), reached)
    assert score(logits, labels).mean() == pytest.approx(0)


def test_costs_of_what_is_said_and_of_what_is_expected():
    cost = _risk.costs(3, (2,))
    assert cost.tolist() == [[0, 1, 1], [1, 0, 1], [10, 10, 0]]
    logits, labels = np.array([[9, 0, 0], [0, 0, 9]], np.float32), np.array([2, 2])
    assert _risk.scored("cost", cost, (2,), 1)(logits, labels).tolist() == [10, 0]
    expected = _risk.scored("expected cost", cost, (2,), 1)(logits, labels)
    assert expected == pytest.approx([10, 0], abs=0.02)


@pytest.mark.parametrize("method", ["base", "auto", "t0, cost", "t0, expected F1"])
def test_risk_is_measured(case, monkeypatch, method):
    monkeypatch.setattr(_risk, "ZEROTH", {"steps": 3})
    figures = _risk.measured(case, method, (1,))
    assert figures["decided"] >= 0 and 0 <= figures["f1"] <= 1 and (figures["passes"] > 0) is (method != "base")


def test_a_score_of_ones_own_is_what_counts(case):
    """A score that says nothing moves nothing; one that the base's first class lowers is followed."""
    subject, wishes = case.subject(), Wishes("t0", flags=("few_samples",), changes={"steps": 30, "lr_ac": 0.05})
    flat = learn(subject, case.learn_from, wishes, score=lambda logits, labels: np.ones(len(labels)))
    assert flat.delta is None and flat.report.outcome == "rejected"
    drawn = learn(subject, case.learn_from, wishes, score=lambda logits, labels: -logits[:, 0])
    assert drawn.delta is not None
    before, after = (scores(subject, delta, case.test)[:, 0].mean() for delta in (None, drawn.delta))
    assert after > before
