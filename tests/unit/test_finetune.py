"""Fine-tuning on the host's side: samples, journal, runs that are cut, deltas and what they are bound to."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_tunable import CLASSES, Eager, shift_network, task, tuning_of

from edgeq import cli, deltas, keys
from edgeq._errors import FormatError, IntegrityError, NotFoundError, UsageError
from edgeq._native.tune import head_logits, read_delta
from edgeq.bench.tuned import tune_model, widened
from edgeq.compile.layout import Tuning
from edgeq.results import DeviceRecord, ModelRecord, Provenance, RunRecord, Store
from edgeq.tune import Learner, Samples, Wishes
from edgeq.tune.journal import Journal
from edgeq.tune.samples import _arrays


@pytest.fixture(scope="module")
def model():
    return shift_network()


@pytest.fixture(scope="module")
def tuning(model) -> Tuning:
    return tuning_of(model)


@pytest.fixture(scope="module")
def shifted() -> Samples:
    x, y = task(60, 11, gain=0.6, offset=0.7)
    return Samples((x,), y, "shifted")


def learn(model, tuning, samples, wishes, journal):
    learner = Learner(tuning, samples, wishes, Eager(model, tuning, samples))
    return learner.run(journal), journal.whole("delta")


@torch.no_grad()
def test_what_was_learned_helps_on_other_data(model, tuning, shifted, tmp_path):
    report, blob = learn(model, tuning, shifted, Wishes("auto"), Journal(tmp_path / "run"))
    assert report.outcome == "committed"
    delta = read_delta(tune_model(tuning), blob)
    x, y = task(300, 12, gain=0.6, offset=0.7)
    eager = Eager(model, tuning, Samples((x,), y, "test"))
    fixed = (torch.from_numpy(a) for a in (delta.ac[None].copy(), tuning.head_weight, tuning.head_bias))
    taps = eager.net(eager.x, *fixed)[2]
    after = (head_logits(taps.numpy(), delta.weight, delta.bias).argmax(1) == y).mean()
    before = (model(eager.x).argmax(1).numpy() == y).mean()
    assert after >= before + 0.2


def test_a_run_that_was_cut_ends_in_the_same_bytes(model, tuning, shifted, tmp_path):
    wishes = Wishes("head", changes={"steps": 40}, flags=("unguarded",))
    whole = learn(model, tuning, shifted, wishes, Journal(tmp_path / "whole"))[1]
    assert whole
    rng = np.random.default_rng(4)
    for attempt in range(6):
        journal = Cut(tmp_path / f"cut{attempt}", rng)
        for _ in range(200):
            try:
                learn(model, tuning, shifted, wishes, journal)
                break
            except Killed:
                continue
        assert journal.whole("delta") == whole


class Killed(BaseException):
    """As good as kill -9: nothing of this process is asked."""


class Cut(Journal):
    """A journal whose process dies now and then in the middle of a write."""

    def __init__(self, folder, rng) -> None:
        super().__init__(folder)
        self.rng = rng

    def write(self, area, offset, data) -> None:
        if self.rng.random() < 0.3:
            super().write(area, offset, data[: self.rng.integers(0, len(data) + 1)])
            raise Killed
        super().write(area, offset, data)


def test_another_seed_or_set_is_another_run(tuning, shifted):
    from edgeq.tune.session import journal_key

    part = shifted.part(np.arange(40))
    keys_ = {
        journal_key(tuning, shifted, Wishes(), "local"),
        journal_key(tuning, shifted, Wishes(seed=2), "local"),
        journal_key(tuning, part, Wishes(), "local"),
        journal_key(replace(tuning, base_sha256="cd" * 32), shifted, Wishes(), "local"),
    }
    assert len(keys_) == 4


@pytest.mark.parametrize(
    ("x", "y", "text"),
    [
        (np.zeros((0, 2, 2, 2), np.float32), np.zeros(0, np.int32), "holds no sample"),
        (np.full((2, 2, 2, 2), np.nan, np.float32), np.zeros(2, np.int32), "2 of 2 samples hold NaN"),
        (np.zeros((2, 2, 2, 2), np.float32), np.array([0, 4], np.int32), "label 1 is 4, the model knows 0 to 3"),
        (np.zeros((2, 2, 2, 2), np.float32), np.array([-1, 0], np.int32), "label 0 is -1"),
    ],
)
def test_bad_samples_are_refused_in_one_line(x, y, text):
    with pytest.raises(UsageError, match=text) as caught:
        Samples((x,), y, "mine.npz").check(CLASSES)
    assert "\n" not in str(caught.value)


def test_too_few_samples_and_unknown_settings_are_refused(model, tuning, shifted):
    few = shifted.part(np.arange(12))
    with pytest.raises(UsageError, match="too few"):
        Learner(tuning, few, Wishes("t1"), Eager(model, tuning, few))
    with pytest.raises(UsageError, match="unknown setting 'lr'"):
        Wishes("t1", changes={"lr": 1.0}).settings()
    with pytest.raises(UsageError, match='method "sgd"'):
        Wishes("sgd").settings()
    with pytest.raises(UsageError, match="latents"):
        Learner(tuning, shifted, Wishes("t3"), Eager(model, tuning, shifted))


def test_files_that_are_no_samples(tmp_path):
    path = tmp_path / "mine.npz"
    np.savez(path, z=np.zeros(3))
    with pytest.raises(FormatError, match="no array 'x'"):
        _arrays(path)
    np.savez(path, x=np.array([{}], dtype=object))
    with pytest.raises(FormatError, match=r"x\.npy is not a plain array"):
        _arrays(path)
    np.savez(path, x=np.zeros((2, 3)))
    with pytest.raises(FormatError, match="float64, expected uint8 or float32"):
        _arrays(path)


@pytest.fixture
def kept(model, tuning, shifted, tmp_path):
    """A delta in a home of its own, signed."""
    blob = learn(model, tuning, shifted, Wishes("solve"), Journal(tmp_path / "run"))[1]
    facts = {
        "model": "tiny",
        "base_sha256": tuning.base_sha256,
        "layout_sha256": tuning.layout.sha256,
        "identity": tuning.identity.hex(),
        "parts": list(tuning.layout.parts),
        "classes": None,
        "method": "solve",
    }
    pair = keys.keygen("device")
    return deltas.keep(blob, facts, keys.load_private(pair.private))


def test_a_delta_is_a_small_signed_package_that_can_be_taken_back(kept, tmp_path):
    assert kept.signed_by is not None and not kept.active
    assert deltas.chosen("tiny", None) is None
    assert deltas.activate(kept).active
    assert deltas.chosen("tiny", None).id == kept.id
    assert deltas.chosen("tiny", "none") is None
    assert deltas.roll_back("tiny") == kept.id and deltas.chosen("tiny", None) is None
    assert [d.id for d in deltas.listed()] == [kept.id]
    copy = deltas.export(kept, tmp_path / "copy", None)
    assert copy.blob == kept.blob and copy.signed_by == kept.signed_by
    assert sum(f.stat().st_size for f in copy.path.iterdir()) < len(kept.blob) + 6000
    with pytest.raises(NotFoundError, match="none of tiny"):
        deltas.find("tiny", "0123")


def test_a_delta_belongs_to_its_base(kept, tuning):
    kept.check(base_sha256=tuning.base_sha256, identity=tuning.identity)
    with pytest.raises(IntegrityError, match="learned on base"):
        kept.check(base_sha256="cd" * 32, identity=tuning.identity)
    with pytest.raises(IntegrityError, match="another layout"):
        kept.check(base_sha256=tuning.base_sha256, identity=bytes(32))
    with pytest.raises(IntegrityError):
        read_delta(tune_model(replace(tuning, base_sha256="cd" * 32)), kept.blob)


def test_an_altered_delta_is_refused(kept, tuning):
    file = kept.path / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(IntegrityError, match="sha256"):
        deltas.read(kept.path)
    blob = bytearray(kept.blob)
    blob[len(blob) // 2] ^= 1
    with pytest.raises(FormatError, match="delta"):
        read_delta(tune_model(tuning), bytes(blob))


def test_new_classes_have_empty_right_hand_sides(tuning):
    d, classes = tuning.layout.width + 1, tuning.layout.classes
    wide = widened(tuning.base.triangle, d, classes, 2)
    assert len(wide) == len(tuning.base.triangle) + 2 * d
    first = d + classes
    assert np.array_equal(wide[:first], tuning.base.triangle[:first]) and not wide[first : first + 2].any()
    assert tune_model(tuning, classes + 2).head_weight.shape == (classes + 2, tuning.layout.hidden)


def test_the_base_is_not_touched(model, tuning, shifted, tmp_path):
    def digest() -> str:
        return hashlib.sha256(b"".join(b.numpy().tobytes() for b in model.buffers())).hexdigest()

    before = digest()
    learn(model, tuning, shifted, Wishes("t1", changes={"steps": 3, "batch": 8}), Journal(tmp_path / "run"))
    assert digest() == before


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["finetune"], 2, "finetune needs MODEL and --data"),
        (["finetune", "denseshift-kws"], 2, "finetune needs MODEL and --data"),
        (["finetune", "denseshift-kws", "--data", "no.npz", "--set", "steps"], 2, "expected NAME=NUMBER"),
        (["finetune", "denseshift-kws", "--data", "no.npz", "--set", "optimiser=fast"], 2, "adam, scalar, sgd"),
        (["finetune", "denseshift-kws", "--data", "no.npz", "--method", "mezo", "--flag", "weights"], 2, "zeroqat is"),
        (["finetune", "denseshift-kws", "--data", "no.npz", "--method", "sgd"], 2, 'method "sgd" is not known'),
        (["finetune", "denseshift-kws", "--data", "no.npz"], 3, "no.npz: no such file"),
        (["finetune", "--rollback", "7"], 8, "results"),
        (["delta", "apply", "denseshift-kws", "ab12"], 3, "none of denseshift-kws here"),
        (["delta", "verify", "denseshift-kws", "ab12"], 3, "none of denseshift-kws here"),
        (["eval", "denseshift-kws", "--delta", "ab12"], 3, "none of denseshift-kws here"),
        (["compile", "denseshift-kws", "--tunable", "weights"], 2, 'part "weights" is not known'),
        (["compile", "denseshift-kws", "--tunable", "all", "--target", "litert"], 7, "for executorch and micro so far"),
    ],
)
def test_mistakes_are_told_in_one_line(capsys, words, code, text):
    assert cli.run(words) == code
    told = capsys.readouterr().err.strip().splitlines()
    assert text in told[-1]


def test_deltas_on_the_command_line(kept, capsys, tmp_path):
    assert cli.run(["delta", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["id"] == kept.id
    assert cli.run(["delta", "apply", "tiny", kept.id[:4]]) == 0
    assert cli.run(["delta", "list", "tiny"]) == 0
    assert "yes" in capsys.readouterr().out
    assert cli.run(["delta", "export", "tiny", kept.id, "-o", str(tmp_path / "out"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["size_bytes"] == kept.size_bytes
    assert cli.run(["delta", "rollback", "tiny"]) == 0
    assert f"delta {kept.id} rolled back" in capsys.readouterr().out
    assert cli.run(["delta", "apply", "other", str(tmp_path / "out")]) == 2


def test_rolling_back_one_run_leaves_the_delta_of_another(kept, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEQ_DB", str(tmp_path / "results.db"))
    digest = hashlib.sha256(kept.blob).hexdigest()
    with Store.open() as store:
        for learned in (digest, "ab" * 32, ""):
            store.add_run(finetuned(learned))
    deltas.activate(kept)
    assert cli.run(["finetune", "--rollback", "2"]) == 0
    assert f"delta abababababab of run 2 is not in use; delta {kept.id} is" in capsys.readouterr().out
    assert deltas.in_use("tiny") == kept.id
    assert cli.run(["finetune", "--rollback", "3"]) == 2
    assert "run 3 kept no delta" in capsys.readouterr().err
    assert cli.run(["finetune", "--rollback", "1"]) == 0
    assert f"delta {kept.id} rolled back" in capsys.readouterr().out and deltas.in_use("tiny") is None


def finetuned(delta_sha256: str) -> RunRecord:
    return RunRecord(
        device=DeviceRecord("laptop", "host", "x86_avx2"),
        model=ModelRecord("tiny", "1", "ab" * 32, "shift", 1000),
        verb="finetune",
        backend="edgeq-runner",
        target="executorch",
        isa="x86_avx2",
        threads=1,
        started_utc="2026-01-01T00:00:00Z",
        warmup=0,
        n=10,
        provenance=Provenance("0.1.0", "c0ffee"),
        values=(),
        details={"verdict": "kept", "delta_sha256": delta_sha256},
    )
