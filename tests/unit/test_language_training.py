"""The language tasks on a few words and sentences: data, batches, losses, distillation, and the zoo's recipes."""

import io
import json
import tarfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from edgeq._errors import EdgeQError, FormatError, IntegrityError, NotFoundError, UsageError
from edgeq.datasets import cmudict, snippets, sst2
from edgeq.datasets.cmudict import Entry, error_rates
from edgeq.datasets.sst2 import Sentence
from edgeq.importers.bert_checkpoint import foreign_name
from edgeq.models import _bert
from edgeq.models._bert import BertConfig
from edgeq.nn.elastic import Elastic
from edgeq.schemes import elastic
from edgeq.text import PHONEMES, Spelling, WordPieces, format_vocabulary
from edgeq.train import load_trained, read_recipe, run
from edgeq.train.g2p import Words
from edgeq.train.sentences import UNLABELLED, Sentences, needed_pieces
from edgeq.train.tasks import cmudict as pronouncing
from edgeq.train.tasks import sst2 as sentiment

ROOT = Path(__file__).parents[2]
ZOO = (
    *("ternary-bart-g2p/recipe", "ternary-bart-g2p/twin", "ternary-bart-g2p/w2a2"),
    *("bit-sst2/recipe", "bit-sst2/twin", "bit-sst2/w1a4", "bibert-sst2/recipe"),
)

DICTIONARY = """\
'bout B AW1 T
a AH0
a(2) EY1
aalborg AO1 L B AO0 R G # place, danish
a.m. EY2 EH1 M
"""


@pytest.mark.parametrize("name", ZOO)
def test_the_recipes_of_the_zoo_are_read(name):
    assert read_recipe(ROOT / "zoo" / f"{name}.toml").training.seed == 1


def test_the_dictionary_is_read_without_stress_comments_and_foreign_signs():
    entries = cmudict.parse(DICTIONARY)
    assert entries[0] == Entry("'bout", (("B", "AW", "T"),)) and [e.word for e in entries] == ["'bout", "a", "aalborg"]
    assert entries[1].pronunciations == (("AH",), ("EY",)) and entries[2].pronunciations[0][-1] == "G"
    with pytest.raises(FormatError, match="line 1: not a pronunciation"):
        cmudict.parse("a XX\n")


@pytest.mark.parametrize(("module", "name"), [(cmudict, "cmudict.dict"), (snippets, snippets.FILE)])
def test_another_file_is_not_the_published_one(tmp_path, module, name):
    ask = (lambda: cmudict.load("test", tmp_path)) if module is cmudict else (lambda: snippets.load(tmp_path))
    with pytest.raises(NotFoundError, match="pip "):
        ask()
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(IntegrityError, match="sha256"):
        ask()


def test_sentences_are_read_line_by_line(tmp_path):
    assert sst2.parse("1\tgood .\n0\tcaf\u00e9\x85bad\n", "x") == [
        Sentence("good .", 1),
        Sentence("caf\u00e9\x85bad", 0),
    ]
    for text in ("2\tgood\n", "1 good\n", "1\t \n"):
        with pytest.raises(FormatError, match="x: line 1"):
            sst2.parse(text, "x")
    with pytest.raises(NotFoundError, match="SST-2"):
        sst2.load("train", tmp_path)


def test_snippets_that_occur_in_the_known_sentences_are_left_out():
    known = ["The plot is thin , but the acting carries it all the way .", "A mess ."]
    kept = [
        "the acting carries the plot all the way to the end, somehow.",
        "The plot is thin. But that is fine with me.",
    ]
    leaks = ["the plot is thin, but the acting CARRIES me", "I say the acting carries it all the way", "a mess!", "..."]
    assert snippets.without([*kept, *leaks, kept[0].upper()], known) == kept


def test_an_archive_is_read_without_unpacking(monkeypatch, tmp_path):
    def tar(files):
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w:gz") as out:
            for name, content in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                out.addfile(member, io.BytesIO(content))
        return stream.getvalue()

    files = (f"hutto_ICWSM_2014/{name}_GroundTruth.txt" for name in snippets._FILES.values())
    inner = tar({name: b"1_2\t0.5\tFine film.\n2\tbroken line\n" for name in files})
    raw = tar({snippets._INNER: inner})
    (tmp_path / snippets.FILE).write_bytes(raw)
    monkeypatch.setattr(snippets, "SHA256", snippets.hashlib.sha256(raw).hexdigest())
    assert snippets.load(tmp_path) == ["Fine film.", "Fine film."]
    assert snippets.rated("tweets", tmp_path) == [snippets.Rated("Fine film.", 0.5, "1")]


def words(part, count=96):
    """A made-up language: every letter has one sound."""
    letters = "abcdef"
    rng = torch.Generator().manual_seed(len(part))
    out = []
    for _ in range(count):
        length = int(torch.randint(1, 5, (), generator=rng))
        word = "".join(letters[int(i)] for i in torch.randint(0, 6, (length,), generator=rng))
        out.append(Entry(word, (tuple(PHONEMES[letters.index(c)] for c in word),)))
    return out


def test_batches_hold_every_word_once_and_nearly_no_padding():
    table = Words(words("train"), Spelling())
    batches = list(table.batches(8, torch.Generator().manual_seed(3)))
    assert len(batches) == 12 and all(len(sources) == 8 for sources, _, _ in batches)
    rows = [tuple(row[row != 0].tolist()) for sources, _, _ in batches for row in sources]
    assert sorted(rows) == sorted(tuple(Spelling().encode(entry.word)) for entry in table.entries)
    padding = sum(int((sources == 0).sum()) for sources, _, _ in batches)
    assert padding < 0.1 * sum(sources.numel() for sources, _, _ in batches)
    for sources, given, wanted in batches:
        assert (given[:, 0] == 1).all() and torch.equal(
            given[:, 1:][wanted[:, 1:] != 0], wanted[:, :-1][wanted[:, 1:] != 0]
        )
        assert torch.equal(table.mask(sources) == 1, sources != 0)


def test_error_rates_know_alternates():
    entries = [Entry("a", (("AH",), ("EY",))), Entry("ab", (("AE", "B"),))]
    rates = error_rates([["EY"], ["AE", "B", "D"]], entries)
    assert rates.phoneme_error_rate == pytest.approx(2 / 3) and rates.word_error_rate == 1
    assert rates.phoneme_error_rate_any == pytest.approx(1 / 3) and rates.word_error_rate_any == 0.5


G2P = """
name = "tiny"
[model]
family = "ternary_bart"
vocabulary = 69
hidden = 32
encoder_layers = 1
decoder_layers = 1
encoder_heads = 2
decoder_heads = 2
encoder_ffn = 32
decoder_ffn = 32
positions = 24
scales = "row"
head = "int8"
padding = 0
start = 1
end = 2
activation_bits = {bits}
[data]
name = "cmudict"
[training]
seed = 3
epochs = {epochs}
batch = 16
learning_rate = 5e-3
[distillation]
weight = 0.5
hidden = 1.0
start = true
"""


@pytest.mark.parametrize("bits", [2, 8])
def test_a_student_of_a_pronouncing_network_learns(tmp_path, bits):
    path = tmp_path / "recipe.toml"
    path.write_text(G2P.format(bits=bits, epochs=12))
    result = run(path, tmp_path / "out", make_task=lambda recipe: pronouncing.make(recipe, words))
    assert result.test is not None and result.test["phoneme_error_rate"] < 0.5
    assert (tmp_path / "out/vocab.txt").read_bytes() == format_vocabulary(Spelling().symbols)
    model = load_trained(result.weights).model
    table = Words(words("test", 4), Spelling())
    sources, given, _ = table.batch(torch.arange(4))
    together = model(sources, table.mask(sources), given)
    alone = table.batch(torch.tensor([1]))
    torch.testing.assert_close(
        model(alone[0], table.mask(alone[0]), alone[1])[0], together[1, : alone[1].shape[1]], atol=1e-5, rtol=1e-5
    )


def test_a_pronouncing_network_needs_the_symbols(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(G2P.format(bits=8, epochs=1).replace("vocabulary = 69", "vocabulary = 70"))
    with pytest.raises(UsageError, match="vocabulary = 69"):
        pronouncing.make(read_recipe(path), words)


FULL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "film", "##s", "never", ".", "x", "plot", "dull")


def sources(folder: Path) -> sentiment.Sources:
    """Sentences whose label hangs on one word, and a checkpoint of two layers."""
    texts = [f"{'good' if i % 2 else 'bad'} film{'s' if i % 3 else ''} {'. ' * (i % 5)}" for i in range(72)]
    sentences = [Sentence(text, i % 2) for i, text in enumerate(texts)]
    config = BertConfig(vocabulary=len(FULL), hidden=32, heads=2, layers=2, intermediate=32, positions=16)
    torch.manual_seed(0)
    state = _bert.build(config).state_dict()
    tensors = {
        foreign_name(name).removeprefix("bert."): tensor for name, tensor in state.items() if "pooler" not in name
    }
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    (folder / "vocab.txt").write_bytes(format_vocabulary(FULL))
    return sentiment.Sources(sentences[:48], sentences[48:60], sentences[60:], ["dull plot never good"], folder)


SENTIMENT = """
name = "tiny"
{quantised}
[model]
family = "{family}"
vocabulary = 13
hidden = 32
heads = 2
layers = 1
intermediate = 32
positions = 12
pooling = "mean"
{model}
[data]
name = "sst2"
length = 12
{data}
[training]
seed = 3
epochs = 6
batch = 8
learning_rate = 3e-3
keep = "best"
[training.rates]
"classifier.*" = 10.0
"embeddings.word.weight" = {words}
{distillation}
"""


def sentiment_recipe(path: Path, family: str, *, twin: bool = False, model: str = "", data: str = "") -> Path:
    taught = '[distillation]\nteacher = "twin.toml"\nweight = 0.5\nhidden = 0.5\nstart = true'
    path.write_text(
        SENTIMENT.format(
            quantised="quantised = false" if twin else "",
            family=family,
            model=model,
            data=data,
            words=0.0 if twin else 1.0,
            distillation="" if twin else taught,
        )
    )
    return path


@pytest.mark.parametrize(
    ("family", "model", "data"),
    [
        ("bit", "scale_per_row = true", "snippets = true\ncrops = 0.5"),
        ("bit", 'bits = 4\nminima = "zero"', ""),
        ("bibert", "", 'distance = "direction"'),
    ],
)
def test_a_binary_student_of_a_float_twin_learns(tmp_path, family, model, data):
    found = sources(tmp_path)
    sentiment_recipe(tmp_path / "twin.toml", "bit", twin=True)
    path = sentiment_recipe(tmp_path / "recipe.toml", family, model=model, data=data)
    result = run(path, tmp_path / "out", make_task=lambda recipe: sentiment.make(recipe, found))
    assert result.test is not None and result.test["accuracy"] >= 0.8
    teacher = load_trained(tmp_path / "out/teacher/model.safetensors")
    assert not teacher.recipe.quantised and isinstance(teacher.model.embeddings.word, torch.nn.Embedding)
    checkpoint_row = FULL.index("film")
    own = read_rows(found, teacher.model)
    assert torch.equal(own["film"], own["checkpoint"][checkpoint_row])  # frozen, and the right row
    vocabulary = (tmp_path / "out/vocab.txt").read_text().splitlines()
    assert vocabulary[:4] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]"] and "[MASK]" not in vocabulary
    model = load_trained(result.weights).model
    alphas = [module.alpha for module in model.modules() if isinstance(module, Elastic)]
    assert all(bool(alpha.isfinite()) for alpha in alphas) and bool(alphas) == (family == "bit")


def read_rows(found, model):
    from safetensors.torch import load_file

    vocabulary = needed_pieces([*(s.text for s in found.train), *found.snippets], FULL)
    table = load_file(found.pretrained / "model.safetensors")["embeddings.word_embeddings.weight"]
    return {"film": model.embeddings.word.weight[vocabulary.index("film")], "checkpoint": table}


def test_the_vocabulary_of_a_recipe_must_fit_the_sentences(tmp_path):
    found = sources(tmp_path)
    path = sentiment_recipe(tmp_path / "recipe.toml", "bit")
    path.write_text(path.read_text().replace("vocabulary = 13", "vocabulary = 11"))
    with pytest.raises(UsageError, match="need 13 word pieces"):
        sentiment.make(read_recipe(path), found)


def test_a_checkpoint_that_does_not_fit_is_refused(tmp_path):
    found = sources(tmp_path)
    path = sentiment_recipe(tmp_path / "recipe.toml", "bit", twin=True)
    path.write_text(path.read_text().replace("intermediate = 32", "intermediate = 48"))
    with pytest.raises(EdgeQError, match=r"intermediate\.dense.weight has shape"):
        run(path, tmp_path / "out", make_task=lambda recipe: sentiment.make(recipe, found))


def test_crops_are_runs_of_their_sentence_between_the_special_tokens():
    tokenizer = WordPieces(FULL)
    text = "good bad film never . x plot dull"
    table = Sentences([text] * 64, [1] * 64, tokenizer, 16)
    whole = tokenizer.encode(text, 16)
    seen = set()
    for ids, mask, labels in table.batches(16, 0.5, torch.Generator().manual_seed(1)):
        for row, real, label in zip(ids, mask, labels, strict=True):
            tokens = row[: int(real.sum())].tolist()
            inner = tokens[1:-1]
            starts = [i for i in range(len(whole)) if whole[i : i + len(inner)] == inner]
            assert tokens[0] == 2 and tokens[-1] == 3 and starts and not row[int(real.sum()) :].any()
            assert (int(label) == 1) == (tokens == whole) and int(label) in (1, UNLABELLED)
            seen.add(len(tokens))
    assert min(seen) >= 4 and len(seen) > 3
    plain = list(table.batches(16, 0.0, torch.Generator().manual_seed(1)))
    assert all((labels == 1).all() for _, _, labels in plain)


def test_a_fitted_step_has_no_larger_error_than_the_first_one():
    x = torch.randn(64, 32, generator=torch.Generator().manual_seed(2))
    for bits, signed in ((1, True), (1, False), (4, True), (4, False)):
        grid = elastic.full_grid(bits, signed=signed)
        errors = [
            float((elastic.quantise(x, alpha, grid).values - x).square().mean())
            for alpha in (elastic.fitted_alpha(x, grid), elastic.initial_alpha(x, grid))
        ]
        assert errors[0] <= errors[1]
    fitted = elastic.fitted_alpha(x, elastic.full_grid(1, signed=True))
    assert float(fitted) == pytest.approx(float(x.abs().mean()), rel=0.07)  # least squares of a sign: mean |x|
