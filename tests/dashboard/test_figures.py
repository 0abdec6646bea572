"""What the pages show, computed without Streamlit."""

from dataclasses import replace
from pathlib import Path

from sample_runs import LAPTOP, METERED, MIXED, RUN, SIMULATED, another

from edgeq.dashboard import charts, figures, labels, queries
from edgeq.results import Store, Value

TASK = "top1 on fashion-mnist test"


def load(path: Path) -> list[figures.Figure]:
    with Store.open(path, readonly=True) as store:
        return figures.load(store)


def top1(value: float, low: float, high: float, n: int = 1000) -> Value:
    return Value("top1", value, "%", "measured", "top-1", n=n, low=low, high=high)


def latency(ms: float) -> Value:
    return Value("latency_p50", ms, "ms", "measured", "clock", n=100)


def test_a_figure_is_the_newest_value_with_the_range_of_all(path, fill):
    fill(RUN, another(values=[latency(4.0)]), another(values=[latency(2.0)]))
    (found,) = (f for f in load(path) if f.metric == "latency_p50")
    assert (found.value, found.run, found.runs, found.smallest, found.largest) == (2.0, 3, 3, 1.5, 4.0)


def test_only_recent_runs_count(path, fill, multiply):
    fill(another(values=[latency(100.0)]), RUN)
    multiply(figures.RECENT)
    fill(*[RUN] * figures.RECENT)
    (found,) = (f for f in load(path) if f.metric == "latency_p50")
    assert (found.runs, found.largest) == (figures.RECENT, 1.5)


def test_an_old_accuracy_survives_any_number_of_newer_benches(path, fill):
    fill(RUN, *[another(verb="bench", drop=["top1"])] * (figures.RECENT + 1))
    assert [f.value for f in load(path) if f.metric == "top1"] == [90.0]


def test_times_of_eval_and_profile_are_not_costs(path, fill):
    fill(another(verb="eval"), another(verb="profile"))
    assert {f.metric for f in load(path)} == {"top1"}


def test_what_a_fine_tuning_reached_is_no_figure_of_the_file(path, fill):
    fill(RUN, another(verb="finetune", values=[top1(99.0, 98.0, 99.5)]))
    assert [f.value for f in load(path) if f.metric == "top1"] == [90.0]


def test_configurations_stay_apart(path, fill):
    fill(RUN, replace(RUN, threads=2), another(byte=1), replace(RUN, device=replace(LAPTOP, name="other")))
    found = figures.points(load(path), "latency_p50", TASK)
    assert len({p.cost.configuration for p in found}) == len(found) == 4
    of_laptop = {p.label for p in found if p.cost.device == "laptop"}
    assert len(of_laptop) == 3 and "net-a" not in of_laptop
    assert {p.label for p in found if p.cost.device == "other"} == {"net-a"}


def test_the_accuracy_over_more_items_is_shown_though_a_quick_one_is_newer(path, fill):
    fill(RUN, another(values=[top1(50.0, 20.0, 80.0, n=10)]))
    (point,) = figures.points(load(path), "latency_p50", TASK)
    assert point.quality is not None and (point.quality.value, point.quality.n) == (90.0, 1000)


def test_a_point_with_an_estimated_coordinate_is_an_estimate(path, fill):
    fill(RUN)
    (energy,) = figures.points(load(path), "energy", TASK)
    (time,) = figures.points(load(path), "latency_p50", TASK)
    assert (energy.source, time.source) == ("estimated", "measured")
    assert energy.quality is not None and energy.quality.source == "measured"


def test_the_best_names_those_it_cannot_be_told_from(path, fill):
    fill(
        another(model="first", byte=1, values=[top1(93.0, 92.0, 94.0)]),
        another(model="level", byte=2, values=[top1(92.5, 91.5, 93.5)]),
        another(model="behind", byte=3, values=[top1(80.0, 79.0, 81.0)]),
    )
    (best,) = figures.bests(load(path))
    assert best.first.model == "first" and [f.model for f in best.level] == ["level"]


def test_of_error_rates_the_smallest_is_best_and_the_axis_is_turned_over(path, fill):
    def per(name, byte, value, low, high):
        rate = Value("phoneme_error_rate", value, "%", "measured", "edit distance", n=500, low=low, high=high)
        return another(model=name, byte=byte, values=[rate], drop=["top1"])

    fill(per("worse", 1, 12.0, 11.0, 13.0), per("best", 2, 7.8, 7.0, 8.6), per("level", 3, 8.9, 8.0, 9.8))
    found = load(path)
    (best,) = figures.bests(found)
    assert best.first.model == "best" and [f.model for f in best.level] == ["level"]
    task = "phoneme_error_rate on fashion-mnist test"
    assert figures.tasks(found) == [task]
    y = charts.pareto(figures.points(found, "latency_p50", task), (6.0, 14.0))["layer"][1]["encoding"]["y"]
    assert y["scale"]["reverse"] and y["title"] == "Phonemes wrong (%), less is better"


def test_of_cosines_the_largest_is_best(path, fill):
    def cosine(name, byte, value):
        return another(model=name, byte=byte, values=[Value("mean_cosine", value, "1", "measured", "500 sentences")])

    fill(cosine("near", 1, 0.994), cosine("far", 2, 0.95))
    found = load(path)
    assert {b.first.metric: b.first.model for b in figures.bests(found)}["mean_cosine"] == "near"
    assert figures.tasks(found) == [TASK, "mean_cosine on fashion-mnist test"]


def test_scores_on_other_data_devices_or_sources_are_other_contests(path, fill):
    guess = Value("top1", 99.0, "%", "estimated", "a guess", n=1000)
    fill(RUN, replace(RUN, split="train"), SIMULATED, another(values=[guess], drop=["top1"]))
    assert len(figures.bests(load(path))) == 4


def test_devices_and_counts(path, fill):
    fill(*MIXED)
    with Store.open(path, readonly=True) as store:
        assert queries.counts(store) == queries.Counts(2, 2, 3, RUN.started_utc)
        assert [(d["device"], d["runs"], d["models"]) for d in queries.devices(store)] == [
            ("simulated-m4", 1, 1),
            ("laptop", 2, 2),
        ]


def test_no_timing_is_lost_and_an_outlier_does_not_hide_the_rest(path, fill):
    fill(RUN)
    with Store.open(path, readonly=True) as store:
        found = queries.timings(store, 1)
        assert queries.timings(store, 2) is None
    assert found is not None and found.count == 101
    assert sum(n for *_, n in found.bins) + found.beyond == 101
    assert found.beyond == 1 and found.largest == 9_000_000 and found.bins[-1][1] < 2_000_000
    assert sum(1 for _ in found.course) == 101 and found.course[0] == (0, 1_400_000.0, 1_400_000, 1_400_000)


def test_equal_timings_make_one_bin(path, fill):
    fill(SIMULATED)
    with Store.open(path, readonly=True) as store:
        found = queries.timings(store, 1)
    assert found is not None and [n for *_, n in found.bins] == [3] and found.beyond == 0


def test_every_point_that_was_not_measured_says_so_in_words_and_shape(path, fill):
    fill(RUN, METERED)
    spec = charts.dots(figures.points(load(path), "energy", TASK))
    rows = {row["label"]: row for row in spec["data"]["values"]}
    assert (rows["net-a"]["doubt"], rows["net-b"]["doubt"]) == ("estimated", "")
    shape = spec["layer"][1]["encoding"]["shape"]["scale"]
    assert len(set(shape["range"])) == 3 and rows["net-a"]["source"] in shape["domain"]


def test_an_axis_is_logarithmic_only_above_zero(path, fill):
    net = Value("energy_net", 0.5, "mJ", "measured", "rapl", scope="package", low=-0.5, high=1.5)
    fill(another(values=[net]))
    scales = [
        charts.dots(figures.points(load(path), metric, None))["layer"][1]["encoding"]["x"]["scale"]
        for metric in ("energy", "energy_net")
    ]
    assert scales == [{"type": "log"}, {"zero": True}]


def test_quantities_read_well():
    assert labels.quantity(1.5, "ms") == "1.5 ms" and labels.quantity(3000, "MHz") == "3,000 MHz"
    assert labels.quantity(999, "B") == "999 B" and labels.quantity(84_000, "B") == "84 kB"
    assert labels.quantity(5_000_000, "1") == "5,000,000"
    assert labels.quantity(None, "mJ") == "-"


def test_foreign_text_commands_nothing():
    assert labels.literal("![x](http://a.example)\n# b") == r"\!\[x\]\(http\://a\.example\) \# b"
