"""Networks that judge sentences, away from the reviews of films that they were trained on.

  products  is a sentence of a product review positive? Its reviews share no sentence of a review with the test
  tweets    the same of tweets; which taps there are was decided on these, so they are no proof
  topic     another meaning of the labels: is a snippet about a film (0) or a product (1)?

Sentiment is the mean of twenty people's ratings; between -.8 and .8 of +-4 a snippet is neutral and left out, as SST-2
leaves out what lies between .4 and .6. Data: vaderSentiment's archive (`edgeq.datasets.snippets`) and SST-2.
EDGEQ_RUNS: a folder with a training run for each model, for backpropagation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache

import numpy as np
import torch
from torch import nn

from edgeq import hub, models
from edgeq.bench.tasks.text_classification import padded
from edgeq.datasets import snippets, sst2
from edgeq.text import VOCABULARY, WordPieces, parse_vocabulary
from edgeq.tune import Samples

from ._adaptation import BATCH, Array, Case, Predict, Setting, Subject, asked_for
from ._picture_cases import has_run, latents
from .harness import Options

TEXTS, TESTED, VALIDATED, BASE_SENTENCES, DRAWS = 200, 600, 200, 2000, 3
NEUTRAL = 0.8
STEPS, STEP_BATCH = 50, 32
FRESH = 10  # draws from here on are those of `_limits`
Task = tuple[list[str], Array, Array]  # texts, labels, numbers of their documents


def cases(options: Options) -> Iterator[Case]:
    """200 labelled texts to learn from, 3 draws."""
    yield from _draws(options, "bit-sst2", {"products": _products, "tweets": _tweets, "topic": _topic})


def fresh(options: Options, model: str) -> Iterator[Case]:
    """Reviews of products, draws that no choice has seen."""
    yield from _draws(options, model, {"products": _products}, FRESH)


def _draws(options: Options, model: str, worlds: Mapping[str, Callable[[], Task]], since: int = 0) -> Iterator[Case]:
    package = hub.pull(model)
    config = package.config()
    tokenizer = WordPieces(parse_vocabulary(package.read(VOCABULARY), VOCABULARY))
    tokens = int(config["network"]["positions"])

    @cache
    def subject() -> Subject:
        network = models.from_package(config, package.tensors())
        known = sst2.load("train")[:BASE_SENTENCES]
        labels = np.array([s.label for s in known])
        return Subject.of(network, padded(tokenizer, [s.text for s in known], tokens), labels)

    tested = 200 if options.quick else TESTED
    films = sst2.load("test")[:tested]
    home = (padded(tokenizer, [s.text for s in films], tokens), np.array([s.label for s in films]))
    for task, load in worlds.items():
        if not asked_for(options.only, task, model):
            continue
        texts, labels, documents = load()
        ids, mask = padded(tokenizer, texts, tokens)
        for draw in range(1 if options.quick else DRAWS):
            learn, check, test = split(documents, since + draw, tested)
            seen, y = (ids[learn], mask[learn]), labels[learn]

            def ceiling(setting: Setting, seen: tuple[Array, Array] = seen, y: Array = y) -> Predict:
                return backpropagate(latents(model), seen, y, setting)

            yield Case(
                f"fresh, {model}, {task}" if since else f"text, {task}, {TEXTS} texts",
                f"draw {draw}",
                subject,
                Samples(seen, y.astype(np.int32), task),
                (ids[test], mask[test]),
                labels[test],
                draw,
                ceiling=ceiling if has_run(model) else None,
                norms=False,
                validation=((ids[check], mask[check]), labels[check]),
                home=home,
            )


def _products() -> Task:
    return _sentiment("products")


def _tweets() -> Task:
    return _sentiment("tweets")


def _sentiment(kind: snippets.Kind) -> Task:
    rows = [row for row in snippets.rated(kind) if abs(row.rating) > NEUTRAL]
    return _task([row.text for row in rows], [int(row.rating > 0) for row in rows], [row.document for row in rows])


def _topic() -> Task:
    films, products = snippets.rated("movies"), snippets.rated("products")
    texts = [row.text for row in (*films, *products)]
    documents = [f"{label} {row.document}" for label, rows in ((0, films), (1, products)) for row in rows]
    return _task(texts, [0] * len(films) + [1] * len(products), documents)


def _task(texts: list[str], labels: list[int], documents: list[str]) -> Task:
    return texts, np.array(labels), np.unique(documents, return_inverse=True)[1]


def split(documents: Array, draw: int, tested: int) -> tuple[Array, Array, Array]:
    """Rows to learn from, to choose the ceiling's rate by, and to test: no document is in two of them."""
    rng = np.random.default_rng(4000 + draw)
    order = rng.permutation(documents.max() + 1)[documents].argsort(kind="stable")  # document by document
    parts, start = [], 0
    for count in (TEXTS, VALIDATED, tested):
        end = start + count
        while end < len(order) and documents[order[end]] == documents[order[end - 1]]:
            end += 1
        parts.append(rng.permutation(order[start:end])[:count])
        start = end
    return parts[0], parts[1], parts[2]


def backpropagate(model: nn.Module, inputs: tuple[Array, Array], labels: Array, setting: Setting) -> Predict:
    """As `_adaptation.backpropagate`, for ids and mask."""
    model.train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d) and not setting.norms:
            module.eval()
    ids, mask, y = (torch.from_numpy(array) for array in (*inputs, labels))
    optimiser = torch.optim.Adam(model.parameters(), lr=setting.rate)
    generator = torch.Generator().manual_seed(1)
    for step in range(STEPS):
        rows = torch.randint(0, len(y), (STEP_BATCH,), generator=generator)
        for group in optimiser.param_groups:
            group["lr"] = setting.rate * 0.5 * (1 + np.cos(np.pi * step / STEPS))
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(ids[rows], mask[rows]), y[rows]).backward()
        optimiser.step()
    model.eval()

    def predict(asked: tuple[Array, Array]) -> Array:
        with torch.no_grad():
            batches = (tuple(torch.from_numpy(a[i : i + BATCH]) for a in asked) for i in range(0, len(asked[0]), BATCH))
            return np.concatenate([model(*batch).numpy() for batch in batches])

    return predict
