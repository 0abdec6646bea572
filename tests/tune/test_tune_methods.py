"""What each method computes, against numpy in double precision or an independent replay."""

import struct
from dataclasses import replace

import numpy as np
import pytest
from toy import F, Memory, Toy, packed_triangle, tuned

from edgeq._errors import UsageError
from edgeq._native import tune
from edgeq._native.tune_types import TuneData

CHANNELS = 34
RIDGES, WEIGHTS = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1), (3.0, 30.0, 300.0)


@pytest.fixture(scope="module")
def toy():
    return Toy()


def test_statistics_bring_channels_back(toy):
    x, y = toy.sample(120, 1, "gain")
    _, delta, _, _ = tuned(toy, x, y, "stats", flags=["unguarded"])
    w, at = 120 / (120 + 16), 0
    ac = np.zeros((1, 2 * CHANNELS), F)
    for layer, (mean, deviation) in enumerate(toy.stats):  # layers below are corrected first
        o, b = len(mean), toy.biases[layer].astype(np.float64)
        pre = toy.run(x, ac)["pre"][layer].astype(np.float64)
        m, s = pre.mean(0), pre.std(0)
        gain = np.clip(deviation / np.maximum(s, 1e-6), 1 / 3, 3) ** w
        c = (m + w * (mean - m) - gain * (m - b) - b) / toy.sigmas[layer]
        assert np.abs(delta.ac[at : at + o] - np.log(gain)).max() < 1e-5
        assert np.abs(delta.ac[at + o : at + 2 * o] - c).max() < 1e-4
        ac[0, at : at + 2 * o] = delta.ac[at : at + 2 * o]
        at += 2 * o


def test_layers_of_one_depth_share_a_sweep(toy):
    x, y = toy.sample(60, 1, "gain")
    model = toy.model()
    flat = toy.model(layers=[replace(layer, depth=3) for layer in model.layers])
    two, _, _, _ = tuned(toy, x, y, "solve", model=model)
    one, _, _, _ = tuned(toy, x, y, "solve", model=flat)
    grouped, _, _, _ = tuned(toy, x, y, "solve", sweeps=1)
    assert (two.forwards, one.forwards) == (180, 120)
    assert grouped.best == one.best


def test_a_deep_network_takes_eight_sweeps_with_the_first_layer_alone(monkeypatch):
    monkeypatch.setattr("toy.WIDTHS", (16,) * 12)
    deep = Toy()
    x, y = deep.sample(40, 1, "gain")
    eight, few, _, _ = tuned(deep, x, y, "stats", flags=["unguarded"])
    each, every, _, _ = tuned(deep, x, y, "stats", flags=["unguarded"], sweeps=12)
    assert (eight.forwards, each.forwards) == (9 * 40, 13 * 40)
    same = (few.ac == every.ac).reshape(12, -1).all(1)
    assert list(same) == [True] * 3 + [False] * 9  # 0 | 1 | 2 3 | ...: the fourth layer does not wait for the third


def test_more_features_than_samples_do_not_fool_leave_one_out(monkeypatch):
    monkeypatch.setattr("toy.WIDTHS", (256, 256))
    wide = Toy()
    x, _ = wide.sample(40, 3, "gain")
    labels = np.random.default_rng(5).integers(0, wide.classes, 40).astype(np.int32)
    report, *_ = tuned(wide, x, labels, "solve", flags=["unguarded"], base_weight=0.0)
    assert report.leave_one_out and report.ridge > 1e-3
    assert report.best.metric < 0.4  # nothing to learn: one in five is luck


def features(toy, x, ac):
    taps = toy.run(x, ac)["taps"]
    blocks = [t.astype(np.float64) / r for t, r in zip(taps, toy.rms, strict=True)]
    return np.concatenate([*blocks, np.ones((len(x), 1))], 1)


def solved(toy, z, y, m, r):
    """D of the specification's section 4 in double precision, and the Gram matrix with its ridge."""
    base, one = toy.features, np.eye(toy.classes)
    gram = z.T @ z + m / len(base) * base.T @ base
    right = z.T @ (one[y] - 1 / toy.classes) + m / len(base) * base.T @ (one[toy.base_labels] - 1 / toy.classes)
    a = gram + r * np.trace(gram) / len(gram) * np.eye(len(gram))
    return np.linalg.solve(a, right), a


@pytest.mark.parametrize(("m", "r"), [(0, 1e-3), (30, 1e-3), (30, 0.03), (400, 0.1)])
def test_solve_agrees_with_double_precision(toy, m, r):
    x, y = toy.sample(150, 1, "turn")
    report, delta, _, _ = tuned(toy, x, y, "solve", base_weight=m, ridge=r, flags=["unguarded"])
    z = features(toy, x, delta.ac[None])
    exact, _ = solved(toy, z, y, m, r)
    raw = np.concatenate(toy.run(x, delta.ac[None])["taps"], 1)
    logits = tune.head_logits(raw, delta.weight, delta.bias) / report.temperature
    assert np.abs(logits - z @ exact).max() <= 1e-4


@pytest.mark.parametrize("m", [3, 30])
def test_leave_one_out_is_what_leaving_out_gives(toy, m):
    """Against refits without each sample, lambda held fixed as PRESS holds it."""
    x, y = toy.sample(40, 1, "turn")
    report, delta, _, _ = tuned(toy, x, y, "solve", base_weight=m, ridge=0.01, flags=["unguarded"])
    z, one = features(toy, x, delta.ac[None]), np.eye(toy.classes)
    d, a = solved(toy, z, y, m, 0.01)
    said = []
    for i in range(len(y)):
        without = np.linalg.solve(a - np.outer(z[i], z[i]), a @ d - np.outer(z[i], one[y[i]] - 1 / toy.classes))
        said.append(z[i] @ without)
    said = np.array(said)
    assert report.best.metric == pytest.approx((said.argmax(1) == y).mean())
    warm = said * report.temperature
    loss = np.log(np.exp(warm - warm.max(1, keepdims=True)).sum(1)) + warm.max(1) - warm[np.arange(len(y)), y]
    assert report.best.loss == pytest.approx(loss.mean(), rel=1e-3, abs=1e-5)


def test_leave_one_out_chooses_as_in_double_precision(toy):
    x, y = toy.sample(80, 1, "turn")
    report, delta, _, _ = tuned(toy, x, y, "solve")
    z, one = features(toy, x, delta.ac[None]), np.eye(toy.classes)
    press = {}
    for m in WEIGHTS:
        for r in RIDGES:
            d, a = solved(toy, z, y, m, r)
            h = np.minimum(np.einsum("ij,ij->i", z, np.linalg.solve(a, z.T).T), 0.999)
            press[m, r] = ((((one[y] - 1 / toy.classes) - z @ d) / (1 - h)[:, None]) ** 2).sum()
    best = min(press, key=press.get)
    assert (report.base_weight, pytest.approx(report.ridge)) == best


def test_few_samples_take_the_fixed_numbers(toy):
    x, y = toy.sample(14, 1, "turn")  # below three a class
    report, _, _, _ = tuned(toy, x, y, "solve")
    assert (report.base_weight, report.ridge) == (30, pytest.approx(0.03))


@pytest.mark.parametrize(
    ("count", "seen", "weight"),
    [
        (14, (0, 1, 2, 3), 30),  # of 12 samples one class of five may well be missing by chance
        (40, (0, 1), 80),  # of 16 hardly three: the base counts as five times the samples
        (125, (0, 1, 2, 3), 400),  # as much as it has at most
    ],
)
def test_classes_missing_by_chance_and_on_purpose(toy, count, seen, weight):
    x, y = toy.sample(count, 1, "turn")
    shown = np.isin(y, seen)
    report, _, _, _ = tuned(toy, x[shown], y[shown], "solve", flags=["unguarded"])
    assert report.base_weight == weight


@pytest.mark.parametrize("shift", ["none", "gain", "turn"])
def test_auto_solves_with_and_without_statistics(toy, shift):
    x, y = toy.sample(80, 1, shift)
    with_them, a, _, _ = tuned(toy, x, y, "solve", flags=["unguarded"])
    without, b, _, _ = tuned(toy, x, y, "solve", flags=["unguarded", "no_stats"])
    best, kept = min(((with_them, a), (without, b)), key=lambda run: run[0].best.loss)
    report, delta, _, _ = tuned(toy, x, y, "auto", flags=["unguarded"])
    assert report.forwards == with_them.forwards + len(x)
    if report.stats.loss <= best.best.loss:  # then it is what auto keeps
        best, kept = with_them, a
    assert (report.best, report.base_weight, report.ridge) == (best.best, best.base_weight, best.ridge)
    assert report.temperature == best.temperature
    assert delta.ac.tobytes() == kept.ac.tobytes() and delta.weight.tobytes() == kept.weight.tobytes()


def test_auto_keeps_statistics_that_unseen_classes_need(toy):
    """Leave-one-out does not see what they do for classes that are not there."""
    x, y = toy.sample(80, 1, "turn")
    solve, _, _, _ = tuned(toy, x[y < 3], y[y < 3], "solve", flags=["unguarded"])
    auto, delta, _, _ = tuned(toy, x[y < 3], y[y < 3], "auto", flags=["unguarded"])
    assert auto.forwards == solve.forwards and delta.ac.any()


def test_without_cache_the_same_head(toy):
    x, y = toy.sample(60, 1, "turn")
    fixed = {"base_weight": 30, "ridge": 0.01}
    kept, a, _, big = tuned(toy, x, y, "solve", **fixed)
    again, b, _, small = tuned(toy, x, y, "solve", flags=["no_cache"], **fixed)
    assert a.weight.tobytes() == b.weight.tobytes()
    assert kept.best == again.best
    assert small.bytes < big.bytes
    assert again.forwards == kept.forwards + 60


def one_class_short(toy):
    """The toy as a base that knows all but the last class: it, its model, its features and one-hot targets."""
    keep = toy.base_labels < 4
    z, y = toy.features[keep], toy.base_labels[keep]
    target = np.eye(5)[y] - 1 / 4
    target[:, 4] = 0
    toy.head[0][4], toy.head[1][4] = 0, -20
    head = {"head_weight": toy.head[0], "head_bias": toy.head[1]}
    triangle = packed_triangle(z, target)
    return toy.model(**head, base_triangle=triangle, base_samples=len(z)), z, np.eye(5)[y]


def test_a_new_class_without_forgetting():
    old = Toy()
    model, _, _ = one_class_short(old)
    x, y = old.sample(100, 1)
    new = y == 4
    test_x, test_y = old.sample(500, 2)
    report, delta, _, _ = tuned(old, x[new][:10], y[new][:10], "solve", model=model, flags=["no_stats"], base_classes=4)
    assert report.outcome == "committed"
    known = test_y < 4
    assert old.accuracy(test_x[~known], test_y[~known], delta) >= 0.7
    assert old.accuracy(test_x[known], test_y[known], delta) >= old.accuracy(test_x[known], test_y[known]) - 0.02


@pytest.mark.parametrize("flags", [["no_stats"], ["no_stats", "no_cache"]], ids=["cache", "no cache"])
def test_a_new_class_is_lifted_by_half_of_what_leave_one_out_says_it_misses(flags):
    old = Toy()
    model, z0, one0 = one_class_short(old)
    x, y = old.sample(50, 1)
    x, y = x[y == 4], y[y == 4]
    report, delta, _, _ = tuned(old, x, y, "solve", model=model, flags=[*flags, "unguarded"], base_classes=4)
    z, one = features(old, x, delta.ac[None]), np.eye(5)[y]
    weight = len(z0) / 4 / len(z)
    gram = z0.T @ z0 + weight * z.T @ z
    a = gram + 1e-3 * np.trace(gram) / len(gram) * np.eye(len(gram))
    d = np.linalg.solve(a, z0.T @ one0 + weight * z.T @ one)
    h = weight * np.einsum("ij,ij->i", z, np.linalg.solve(a, z.T).T)
    left_out = one - (one - z @ d) / (1 - h)[:, None]
    missed = (z @ d - left_out)[:, 4].mean()
    assert missed > 0.05
    expected = d[-1] + np.array([0, 0, 0, 0, missed / 2])
    assert delta.bias / report.temperature == pytest.approx(expected, abs=2e-4)


def test_cost_decides(toy):
    logits = np.array([[2.0, 1.9, -1.0], [0.0, -3.0, 1.0]], F)
    cost = np.array([[0, 1, 1], [10, 0, 10], [1, 1, 0]], F)
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert (tune.decide(logits, cost) == (p @ cost).argmin(1)).all()
    assert (tune.decide(logits) == [0, 2]).all()
    x, y = toy.sample(100, 1, "turn")
    weights = (1 - np.eye(5, dtype=F)) * np.where(np.arange(5) == 1, 10, 1).astype(F)[:, None]
    report, _, _, _ = tuned(toy, x, y, "solve", cost=weights)
    assert report.base.metric < report.best.metric <= 0


def softmax(z):
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def test_head_is_adam_on_the_exact_gradient(toy):
    x, y = toy.sample(100, 1, "turn")
    _, delta, _, _ = tuned(
        toy, x, y, "head", head_steps=30, evaluate_every=30, held_out=0.1, seed=4, flags=["unguarded"]
    )
    order = list(range(100))
    for i in range(99, 0, -1):
        j = tune.pick(tune.word(4, 0, 0, i), i + 1)
        order[i], order[j] = order[j], order[i]
    model = toy.model()
    h, v = toy.run(x)["hidden"].astype(np.float64), model.head_weight.astype(np.float64)
    b, s = model.head_bias.astype(np.float64), model.head_scale.astype(np.float64)[:, None]
    moments = [np.zeros_like(v), np.zeros_like(v), np.zeros_like(b), np.zeros_like(b)]
    for t in range(1, 31):
        rows = [order[10 + tune.pick(tune.word(4, 0, t, i), 90)] for i in range(64)]
        p = (softmax(h[rows] @ v.T + b) - np.eye(5)[y[rows]]) / 64
        rate = 0.5 * (1 + np.cos(np.pi * (t - 1) / 30))
        for value, g, unit, lr, m, q in (
            (v, p.T @ h[rows], s, 0.1, *moments[:2]),
            (b, p.sum(0), 1, 0.01, *moments[2:]),
        ):
            g = g * unit
            m += 0.1 * (g - m)
            q += 0.01 * (g * g - q)
            value -= lr * unit * rate * (m / (1 - 0.9**t)) / (np.sqrt(q / (1 - 0.99**t)) + 1e-8)
    assert np.abs(delta.weight - v).max() < 1e-4
    assert np.abs(delta.bias - b).max() < 1e-4


def signs(run, step, row, n):
    words = [tune.word(run, 1, step, row * -(-n // 64) + k) for k in range(-(-n // 64))]
    return np.array([1 if words[e // 64] >> (e % 64) & 1 else -1 for e in range(n)], F)


def test_t0_replays_from_two_bytes_a_step(toy):
    """The log of a run and its seed give the tuned vector bit for bit, in numpy."""
    x, y = toy.sample(100, 1, "gain")
    _, delta, store, _ = tuned(toy, x, y, "t0", steps=40, evaluate_every=40, batch=16, seed=9, flags=["unguarded"])
    log = store.areas["log"][160:]
    assert len(log) == 4 * 40
    ac, second, power = np.zeros(2 * CHANNELS, F), F(0), F(1)
    for t in range(1, 41):
        g = F(np.frombuffer(log, np.float16, 1, 4 * t - 4)[0])
        power = power * F(0.99)
        second = F(0.99) * second + (F(1) - F(0.99)) * (g * g)
        factor = g / (np.sqrt(second / (F(1) - power)) + F(1e-8))
        ac = ac - cosine(t, 40) * F(0.01) * factor * signs(9, t, 0, 2 * CHANNELS)
    assert ac.tobytes() == delta.ac.tobytes()


def cosine(step, steps):
    u = F(step - 1) / F(steps) - F(0.5)
    q = u * u
    c = [F(v) for v in (3.14159265, 5.16771278, 2.55016404, 0.599264529, 0.0821458866, 0.00737043095)]
    sine = u * (c[0] - q * (c[1] - q * (c[2] - q * (c[3] - q * (c[4] - q * c[5])))))
    return min(max(F(0.5) - F(0.5) * sine, F(0)), F(1))


def test_a_lost_snapshot_is_replayed_from_the_log(toy):
    x, y = toy.sample(100, 1, "gain")
    knobs = {"steps": 20, "evaluate_every": 10, "batch": 16, "flags": ["unguarded"]}
    _, _, store, whole = tuned(toy, x, y, "t0", **knobs)
    served = []

    def counted(request):
        served.append(len(request.samples))
        return toy.forward(x)(request)

    _, _, again, replayed = tuned(toy, x, y, "t0", store=Memory({"log": store.areas["log"]}), forward=counted, **knobs)
    assert again.areas["delta"] == store.areas["delta"]
    assert replayed.state_hash() == whole.state_hash()
    assert sum(served) == 100 + 3 * 20  # baseline and evaluations; not one step


def test_t1_takes_its_gradient_from_noise_per_sample(toy):
    x, y = toy.sample(60, 1, "turn")
    _, delta, _, _ = tuned(
        toy, x, y, "t1", steps=1, batch=8, seed=3, held_out=0, lr_head=0, lr_bias=0, flags=["unguarded"]
    )
    # unguarded, yet the best evaluation stays: one step of Adam is lr * sign of the gradient, or nothing
    assert set(np.unique(np.round(np.abs(delta.ac), 6))) <= {F(0), F(0.003)}


@pytest.mark.parametrize("method", ["t2", "t3", "zeroqat"])
def test_codes_are_learned(toy, method):
    x, y = toy.sample(150, 1, "turn")
    knobs = {"steps": 60, "evaluate_every": 10, "lr_latent": 0.1, "batch": 32}
    report, delta, _, _ = tuned(toy, x, y, method, flags=["unguarded"], **knobs)
    assert report.best.loss < report.base.loss
    assert [c.shape for c in delta.codes] == [c.shape for c in toy.codes]
    assert any((c != base).any() for c, base in zip(delta.codes, toy.codes, strict=True))
    assert all(np.isin(c, (-1, 0, 1)).all() for c in delta.codes)


def begun(toy: Toy, by: float, shift: float):
    """A model that says where zeroqat begins: latents `by` above the codes, all of ac at `shift`."""
    model = toy.model()
    latents = [replace(latent, start=(latent.codes + by).astype(F)) for latent in model.latents]
    return replace(model, latents=latents, start_ac=np.full(2 * CHANNELS, shift, F))


def test_zeroqat_begins_where_the_model_says(toy):
    x, y = toy.sample(100, 1, "turn")
    seen = []

    def watched(request):
        seen.append((request.ac_rows.copy(), [a.copy() for a in request.latents]))
        return toy.forward(x)(request)

    knobs = {"steps": 4, "evaluate_every": 2, "batch": 16, "micro": 128, "flags": ["unguarded"], "forward": watched}
    plain, delta, _, _ = tuned(toy, x, y, "zeroqat", **knobs)
    requests = len(seen)
    _, same, _, _ = tuned(toy, x, y, "zeroqat", model=begun(toy, 0, 0), **knobs)
    assert same.ac.tobytes() == delta.ac.tobytes() and all(map(np.array_equal, same.codes, delta.codes))
    report, moved, other, _ = tuned(toy, x, y, "zeroqat", model=begun(toy, 0.3, 0.1), **knobs)
    base, first = seen[2 * requests], seen[2 * requests + 1]
    assert not base[0].any() and all((a == c).all() for a, c in zip(base[1], toy.codes, strict=True))
    assert report.base == plain.base  # what it must beat is the base
    assert (first[0] == F(0.1)).all()
    assert all((a == (c + F(0.3)).astype(F)).all() for a, c in zip(first[1], toy.codes, strict=True))
    assert (moved.ac == F(0.1)).all()
    knobs["flags"] = ["unguarded", "no_start"]
    _, off, _, _ = tuned(toy, x, y, "zeroqat", model=begun(toy, 0.3, 0.1), **knobs)
    assert off.ac.tobytes() == delta.ac.tobytes() and all(map(np.array_equal, off.codes, delta.codes))
    slots = Memory({name: other.areas[name] for name in ("slot-a", "slot-b")})
    knobs["flags"] = ["unguarded"]
    report, *_ = tuned(toy, x, y, "zeroqat", store=slots, model=begun(toy, 0.2, 0.1), **knobs)
    assert "other settings" in report.status  # a journal of another start is not gone on with


@pytest.mark.parametrize(("optimiser", "head"), [("adam", ["exact_head"]), ("sgd", ["exact_head"]), ("adam", [])])
def test_mezo_moves_weights_around_their_codes(toy, optimiser, head):
    x, y = toy.sample(150, 1, "turn")
    seen = []

    def unrounded(request):
        seen.append([a.copy() for a in request.latents])
        h = x[request.samples]
        for latent, scale, bias in zip(request.latents, toy.scales, toy.biases, strict=True):
            h = np.maximum(h @ latent.T * scale + bias, 0).astype(F)
        logits = (h @ request.head_weight.T + request.head_bias).astype(F)
        given = {"logits": logits, "hidden": h}
        return tune.Outputs(**{name: value for name, value in given.items() if name in request.outputs})

    knobs = {"steps": 40, "evaluate_every": 10, "batch": 32, "micro": 256, "eps": 0.05, "lr_latent": 0.1}
    flags = ["unguarded", "weights", *head]
    report, delta, _, _ = tuned(
        toy, x, y, "mezo", forward=unrounded, flags=flags, optimiser=optimiser, **knobs, lr_head=0.1
    )
    clean, plus, minus = seen[0], seen[2], seen[3]
    assert all((a == c).all() for a, c in zip(clean, toy.codes, strict=True))
    middle = [(a + b) / 2 for a, b in zip(plus, minus, strict=True)]
    assert all(np.abs(a - c).max() < 1e-6 for a, c in zip(middle, toy.codes, strict=True))
    noise = np.concatenate([((a - b) / 0.1).ravel() for a, b in zip(plus, minus, strict=True)])
    assert abs(noise.mean()) < 0.15 and abs(noise.std() - 1) < 0.15
    assert not delta.ac.any() and report.best.loss < report.base.loss
    assert (delta.over == "hidden") is bool(head)  # without its gradient the head stays the base's
    assert all(np.isin(c, (-1, 0, 1)).all() for c in delta.codes)


def test_what_goes_with_which_method(toy):
    x, y = toy.sample(60, 1)
    with pytest.raises(UsageError, match="range"):
        tuned(toy, x, y, "zeroqat", flags=["weights"])
    half = replace(begun(toy, 0.1, 0.1), start_ac=None)
    with pytest.raises(UsageError, match="does not fit together"):
        tuned(toy, x, y, "zeroqat", model=half)
    bad = replace(begun(toy, 0.1, 0.1), start_ac=np.full(2 * CHANNELS, np.nan, F))
    with pytest.raises(UsageError, match="does not fit together"):
        tuned(toy, x, y, "zeroqat", model=bad)


@pytest.mark.parametrize("method", ["t0", "zeroqat", "mezo"])
def test_any_score_may_be_learned_from(toy, method):
    """Errors are no differentiable loss; the module sees only a number a sample."""
    x, y = toy.sample(150, 1, "gain")

    def answer(request):
        out = toy.forward(x)(tune.Forward(**{**request.__dict__, "outputs": frozenset({"logits"})}))
        wrong = (out.logits.argmax(1) != y[request.samples]).astype(F)
        return tune.Outputs(scores=wrong)

    report, _, _, _ = tuned(
        toy, x, y, method, loss="score", steps=60, optimiser="adam", lr_ac=0.02, forward=answer, flags=["unguarded"]
    )
    assert report.best.loss <= report.base.loss
    assert report.best.metric == -report.best.loss


def test_regression(toy):
    x, _ = toy.sample(100, 1, "turn")
    targets = (x[:, :5] * 0.5).astype(F)
    store = Memory()
    data = TuneData(bytes(32), 100, targets=targets)
    tuner = tune.Tuner(toy.model(base_triangle=None), data, tune.settings("solve", loss="squares"))
    report = tune.converse(tuner, toy.forward(x), store)
    assert report.outcome == "committed"
    assert report.best.loss < 0.5 * report.base.loss
    assert struct.unpack_from("<4s", store.areas["delta"])[0] == b"EQTD"
