"""A run as a whole: what it accepts, what stops it, what it leaves behind, and what it refuses."""

from dataclasses import replace

import numpy as np
import pytest
from toy import F, Memory, PowerCut, Toy, data, tuned

from edgeq import FormatError, UsageError
from edgeq._errors import IntegrityError
from edgeq._native import tune
from edgeq._native.tune_types import METHODS

SHORT = {"steps": 12, "head_steps": 12, "evaluate_every": 4, "batch": 16}


@pytest.fixture(scope="module")
def toy():
    return Toy()


@pytest.fixture(scope="module")
def turned(toy):
    return toy.sample(70, 1, "turn")


@pytest.mark.parametrize("method", METHODS)
def test_the_micro_batch_never_changes_a_bit(toy, turned, method):
    results = set()
    for micro in (1, 7, 64):
        _, _, store, tuner = tuned(toy, *turned, method, micro=micro, flags=["unguarded"], **SHORT)
        results.add((store.areas["delta"], tuner.state_hash()))
    assert len(results) == 1


def test_the_automatic_mode_keeps_the_head_where_statistics_are_better(toy):
    """A head that hardly says anything is right as often as another, and its loss tells."""
    x, y = toy.sample(60, 1, "gain")
    report, delta, _, _ = tuned(toy, x, y, "auto", ridge=1e6)
    _, alone, _, _ = tuned(toy, x, y, "stats", flags=["unguarded"])
    assert delta.over is None and np.array_equal(delta.ac, alone.ac)
    assert report.best == report.stats and not report.leave_one_out
    assert tuned(toy, x, y, "auto", ridge=1e6, flags=["unguarded"])[1].over == "taps"
    assert tuned(toy, x, y, "solve", ridge=1e6)[0].leave_one_out


@pytest.mark.parametrize("shift", ["gain", "turn"])
@pytest.mark.parametrize("count", [14, 40, 200])
def test_the_automatic_mode_helps_with_any_number_of_samples(toy, shift, count):
    x, y = toy.sample(count, 1, shift)
    test = toy.sample(500, 2, shift)
    report, delta, _, _ = tuned(toy, x, y, "auto")
    assert report.outcome == "committed"
    assert toy.accuracy(*test, delta) >= toy.accuracy(*test) + 0.2
    assert report.forwards <= 4 * count


def test_steps_after_the_solve(toy, turned):
    report, delta, _, _ = tuned(toy, *turned, "auto", steps=20, batch=16)
    assert report.outcome == "committed"
    assert report.leave_one_out
    assert report.best.samples == 70
    assert delta.over == "taps"


def test_a_head_where_there_are_no_taps(toy):
    x, y = toy.sample(200, 1, "turn")
    bare = toy.model(taps=(), base_triangle=None, base_samples=0, moments=False)
    report, delta, _, _ = tuned(toy, x, y, "auto", model=bare)
    assert (report.outcome, delta.over, report.base.samples) == ("committed", "hidden", 40)
    assert tuned(toy, x, y, "auto", flags=["prefer_head"])[1].over == "hidden"


def test_few_samples_teach_a_head_in_folds(toy):
    x, y = toy.sample(25, 1, "turn")
    report, delta, _, _ = tuned(toy, x, y, "head")
    assert report.outcome == "committed"
    assert report.best.samples == report.base.samples == 25
    assert toy.accuracy(*toy.sample(500, 2, "turn"), delta) > 0.6


@pytest.mark.parametrize(
    ("method", "count", "changes"),
    [
        ("auto", 25, {}),
        ("auto", 100, {}),
        ("head", 25, {"head_steps": 100}),
        ("head", 100, {"head_steps": 200}),
        ("t1", 50, {"steps": 50, "batch": 16}),
        ("t1", 100, {"steps": 50, "batch": 16}),
    ],
)
def test_shuffled_labels_are_rejected(toy, method, count, changes):
    x, _ = toy.sample(count, 1, "turn")
    kept = 0
    for seed in range(20):
        y = np.random.RandomState(seed).randint(0, 5, count).astype(np.int32)
        kept += tuned(toy, x, y, method, seed=seed, **changes)[0].outcome == "committed"
    assert kept <= 1


def test_what_does_not_help_is_rejected(toy):
    x, y = toy.sample(200, 1)  # the base's own world
    report, delta, store, _ = tuned(toy, x, y, "stats")
    assert (report.outcome, delta) == ("rejected", None) or report.best.metric >= report.base.metric
    x, y = toy.sample(200, 1, "turn")
    report, _, store, _ = tuned(toy, x, y, "stats")
    assert report.outcome == "rejected"
    assert "delta" not in store.areas


def test_statistics_need_no_labels_but_a_word(toy):
    x, y = toy.sample(100, 1, "gain")
    nameless = replace(data(x, y), labels=None)
    model, store = toy.model(), Memory()
    with pytest.raises(UsageError, match="no labels"):
        tune.Tuner(model, nameless, tune.settings("stats"))
    tuner = tune.Tuner(model, nameless, tune.settings("stats", flags=["unguarded"]))
    assert tune.converse(tuner, toy.forward(x), store).outcome == "committed"
    assert toy.accuracy(*toy.sample(500, 2, "gain"), tune.read_delta(model, store.areas["delta"])) > 0.8


@pytest.mark.parametrize(
    ("method", "broken"), [("auto", "taps"), ("stats", "moments"), ("head", "hidden"), ("t0", "logits")]
)
def test_nan_in_the_base_fails_in_one_line(toy, turned, method, broken):
    report, _, store, _ = tuned(toy, *turned, method, forward=toy.forward(turned[0], broken=broken), **SHORT)
    assert report.outcome == "failed"
    assert "NaN" in report.status
    assert "delta" not in store.areas


def test_nan_in_steps_drops_them_and_in_the_end_diverges(toy, turned):
    plain, broken = toy.forward(turned[0]), toy.forward(turned[0], broken="logits")

    def sometimes(request):
        return (broken if len(request.ac) > 1 and sometimes.left() else plain)(request)

    def left():
        sometimes.count -= 1
        return sometimes.count >= 0

    sometimes.left, sometimes.count = left, 2
    report, _, _, _ = tuned(toy, *turned, "t1", forward=sometimes, micro=64, **SHORT)
    assert (report.dropped_steps, report.rate_halvings, report.restores) == (2, 2, 0)
    sometimes.count = 1000
    report, _, store, _ = tuned(toy, *turned, "t1", forward=sometimes, micro=64, **SHORT)
    assert (report.outcome, report.restores) == ("diverged", 3)
    assert "delta" not in store.areas


@pytest.mark.parametrize("method", ["head", "t0", "t1", "t3", "mezo"])
def test_a_thousandfold_learning_rate_leaves_no_worse_model(toy, turned, method):
    """Over epsilon the steps are nonsense: restored, halved, and kept only if the held-out part says so."""
    settings = tune.settings(method)
    rates = {name: 1000 * getattr(settings.values, name) for name in ("lr_ac", "lr_head", "lr_bias", "lr_latent")}
    report, delta, _, _ = tuned(toy, *turned, method, steps=60, head_steps=60, evaluate_every=4, batch=16, **rates)
    assert report.outcome in ("diverged", "rejected", "committed")
    if delta is not None:
        assert report.best.loss <= report.base.loss
        assert report.best.metric >= report.base.metric


def test_stop_and_go_on(toy, turned):
    """Stopped at every request in turn, a run ends in the bytes of one that never stopped."""
    x, y = turned
    _, _, whole, tuner = tuned(toy, x, y, "t1", flags=["unguarded"], **SHORT)
    expected, store, lives = tuner.state_hash(), Memory(), 0
    while True:
        lives += 1
        tuner = tune.Tuner(toy.model(), data(x, y), tune.settings("t1", flags=["unguarded"], **SHORT))
        passes = 0

        def forward(request, tuner=tuner):
            nonlocal passes
            passes += 1
            if passes > 5:
                tuner.stop()
            return toy.forward(x)(request)

        report = tune.converse(tuner, forward, store)
        if report.outcome != "stopped":
            break
        assert passes == 6
    assert lives > 2
    assert tuner.state_hash() == expected
    assert store.areas["delta"] == whole.areas["delta"]
    assert tune.converse(tuner, forward, store).outcome == "committed"  # a finished run says so again


def test_power_that_goes_while_writing(toy, turned):
    """A sample of cuts; tests/tune/faults.c does every byte."""
    knobs = {"flags": ["unguarded"], **SHORT}
    _, _, whole, tuner = tuned(toy, *turned, "auto", **knobs)
    for budget in range(1, whole.written, 4003):
        for lose in (False, True):
            store = Memory(budget=budget, lose_unflushed=lose)
            with pytest.raises(PowerCut):
                tuned(toy, *turned, "auto", store=store, **knobs)
            after = Memory(store.areas)
            _, _, _, again = tuned(toy, *turned, "auto", store=after, **knobs)
            assert after.areas["delta"] == whole.areas["delta"]
            assert again.state_hash() == tuner.state_hash()


def refusal(toy, x, y, store, *, model=None, labels=None, **knobs):
    model = model or toy.model()
    tuner = tune.Tuner(model, data(x, y if labels is None else labels), tune.settings("head", **SHORT, **knobs))
    return tune.converse(tuner, toy.forward(x), store).status


def test_a_journal_of_something_else_is_refused(toy, turned):
    x, y = turned
    _, _, store, _ = tuned(toy, x, y, "head", **SHORT)
    kept = dict(store.areas)
    other = toy.model()
    assert "another base" in refusal(toy, x, y, store, model=replace(other, base=bytes(32)))
    assert "another layout" in refusal(toy, x, y, store, model=replace(other, layout=bytes(32)))
    assert "other settings" in refusal(toy, x, y, store, seed=1)
    assert "other samples" in refusal(toy, x, y, store, labels=(y + 1) % 5)
    assert store.areas == kept
    assert refusal(toy, x, y, store, seed=1, flags=["fresh"]) == "ok"


def test_a_storage_that_fails_or_lies(toy, turned):
    class Full(Memory):
        def write(self, area, offset, payload):
            raise OSError("no space left")

    class Liar(Memory):
        def read(self, area, offset, size):
            got = super().read(area, offset, size)
            return got[:-1] + bytes([got[-1] ^ 1]) if area == "delta" and got else got

    for store in (Full(), Liar()):
        report, _, _, _ = tuned(toy, *turned, "solve", store=store)
        assert report.outcome == "failed"
        assert "storage" in report.status


def test_a_corrupt_delta_is_refused_byte_by_byte(toy, turned):
    _, _, store, _ = tuned(toy, *turned, "t3", flags=["unguarded"], **SHORT)
    blob, model = store.areas["delta"], toy.model()
    for at in range(len(blob)):
        bad = bytearray(blob)
        bad[at] ^= 1 << at % 8
        with pytest.raises((FormatError, IntegrityError)):
            tune.read_delta(model, bytes(bad))
    for bad in (b"", blob[:100], blob[:-1], blob + b"\0"):
        with pytest.raises(FormatError):
            tune.read_delta(model, bad)
    with pytest.raises(IntegrityError, match="another base"):
        tune.read_delta(replace(model, base=bytes(32)), blob)
    with pytest.raises(IntegrityError, match="another layout"):
        tune.read_delta(replace(model, layout=bytes(32)), blob)


@pytest.mark.parametrize(
    ("method", "changes", "text"),
    [
        ("auto", {"micro": 0}, "setting"),
        ("t1", {"eps": 0.0}, "setting"),
        ("t1", {"eps": float("nan")}, "setting"),
        ("t1", {"optimiser": "sgd"}, "setting"),
        ("head", {"lr_head": -1.0}, "setting"),
        ("head", {"loss": "score"}, "setting"),
        ("solve", {"ridge": 0.0}, "setting"),
        ("head", {"held_out": 2.0}, "setting"),
        ("t0", {"steps": 0}, "setting"),
        ("auto", {"loss": "squares"}, "no labels or targets"),
    ],
)
def test_bad_settings_are_refused(toy, turned, method, changes, text):
    with pytest.raises(UsageError, match=text):
        tune.Tuner(toy.model(), data(*turned), tune.settings(method, **changes))


def test_bad_samples_are_refused(toy, turned):
    x, y = turned
    for labels in (y * 0 - 1, y * 0 + 5):
        with pytest.raises(UsageError, match="not a class"):
            tune.Tuner(toy.model(), data(x, labels.astype(np.int32)), tune.settings("auto"))
    with pytest.raises(UsageError, match="empty"):
        tune.Tuner(toy.model(), data(x[:0], y[:0]), tune.settings("auto"))
    with pytest.raises(UsageError, match="too few"):
        tune.Tuner(toy.model(), data(x[:20], y[:20]), tune.settings("t1"))
    tune.Tuner(toy.model(), data(x[:20], y[:20]), tune.settings("t1", flags=["few_samples"]))


def test_bad_models_are_refused(toy, turned):
    model, layer = toy.model(), toy.model().layers[0]
    nan = model.head_weight * F(np.nan)
    bad = [
        {"layers": [replace(layer, sigma=0.0), model.layers[1]]},
        {"layers": [replace(layer, deviation=None), model.layers[1]]},
        {"head_weight": nan},
        {"head_scale": model.head_scale * 0},
        {"taps": [replace(model.taps[0], rms=0.0), model.taps[1]]},
        {"base_samples": 0},
        {"latents": [replace(model.latents[0], layer=1)]},
        {"latents": [replace(model.latents[0], codes=model.latents[0].codes * 2)]},
        {"latents": [replace(model.latents[0], layer=7)]},
    ]
    for changes in bad:
        with pytest.raises(UsageError, match="manifest"):
            tune.Tuner(toy.model(**changes), data(*turned), tune.settings("auto"))
    for method, changes in (
        ("stats", {"moments": False}),
        ("solve", {"taps": (), "base_triangle": None}),
        ("t3", {"latents": ()}),
    ):
        with pytest.raises(UsageError, match="does not deliver"):
            tune.Tuner(toy.model(**changes), data(*turned), tune.settings(method))
    with pytest.raises(UsageError, match="unknown method"):
        tune.settings("magic")
    with pytest.raises(UsageError, match="unknown setting"):
        tune.settings("auto", learning_rate=1.0)
    with pytest.raises(UsageError, match="unknown flag"):
        tune.settings("auto", flags=["fast"])


def test_wrong_answers_are_refused(toy, turned):
    x, y = turned
    tuner = tune.Tuner(toy.model(), data(x, y), tune.settings("head", **SHORT))
    with pytest.raises(UsageError, match="without a question"):
        tuner.reply_store(b"")
    request = tuner.next()
    while isinstance(request, tune.StoreRequest):
        tuner.reply_store(None)
        request = tuner.next()
    assert isinstance(request, tune.Forward)
    with pytest.raises(UsageError, match="missing"):
        tuner.reply(tune.Outputs())
    with pytest.raises(UsageError, match="without a question"):
        tuner.reply_store(b"")
    with pytest.raises(UsageError, match="shape"):
        tuner.reply(tune.Outputs(logits=np.zeros((1, 5), F)))
    assert np.array_equal(tuner.next().samples, request.samples)  # the question stands
    assert tune.tune_bytes(toy.model(), data(x, y), tune.settings("head", **SHORT)) == tuner.bytes
