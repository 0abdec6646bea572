"""The module's random numbers against the specification's vectors, and its arithmetic against numpy."""

import numpy as np
import pytest

from edgeq._native import tune

WORDS = {
    (1, 1, 1): "e7dcca9d0be2535e cce41223d2fb79ff 58f769ff0bd4456d 6714763b87b00215"
    " d4030786dc6bc16a 75053d04e93a0902 5a1de719b2b1fc13 276e176f820ce9c0",
    (1, 2, 7): "82a227b44fd8c3a5 b819f4f31a7056c7 e02aa58a630638b1 3e1c520438368d3b"
    " ddac4b78ce04130b b6cc804250b11fb3 6344d6ca0ee25ce7 5d01fcfd562fed17",
    (0x0123456789ABCDEF, 1, 1): "59bea0b1c374c284 ef3be5f779f4b723 c708f072d79249e3 ada4cc47a2948a66"
    " 5fcde9aa12719d79 104a4eee86fb03c9 ae9ee5ea8bfcde71 64ccef883074aa99",
    (0x0123456789ABCDEF, 2, 7): "06d2ea343e2467b1 293bb790be8fdde2 8ffeb6514336b0f1 22fd1707fc63d435"
    " 49105b9c7230f580 8e8ecb8e694cbcc6 ff6063b4fd74405a 3f078e6f7ac475c8",
}


@pytest.mark.parametrize("at", WORDS)
def test_words(at):
    assert [f"{tune.word(*at, k):016x}" for k in range(8)] == WORDS[at].split()


def test_conversions():
    word = tune.word(1, 1, 1, 0)
    assert "".join("+" if word >> e & 1 else "-" for e in range(16)) == "-++++-+-++--+-+-"
    gauss = np.array([tune.gauss(tune.word(1, 2, 7, k)) for k in range(4)], np.float32)
    assert [f"{bits:08x}" for bits in gauss.view(np.uint32)] == ["bee53672", "3e51b6ac", "3e6794aa", "bf9397d7"]
    assert [tune.pick(tune.word(1, 0, 1, k), 350) for k in range(8)] == [304, 85, 288, 189, 171, 36, 65, 11]


def of(kind, x):
    return np.array([tune.function(kind, float(v)) for v in x], np.float32)


def test_square_root_is_correctly_rounded():
    bits = np.random.RandomState(0).randint(0x00800000, 0x7F800000, 20000).astype(np.uint32)
    x = np.concatenate([bits.view(np.float32), np.float32([0, 1, 2, 4, 0.25, 3e38, 1.1754944e-38, 1 - 2**-24])])
    assert (of("sqrt", x) == np.sqrt(x)).all()


def test_exponential_and_logarithm():
    x = np.linspace(-80, 80, 4001, dtype=np.float32)
    assert np.abs(of("exp", x) / np.exp(x.astype(np.float64)) - 1).max() < 2.2e-7
    x = np.exp(np.linspace(-60, 60, 4001)).astype(np.float32)
    exact = np.log(x.astype(np.float64))
    assert (np.abs(of("log", x) - exact) <= 2e-7 * np.maximum(np.abs(exact), 0.1)).all()


def test_the_short_exponential_is_the_long_one():
    """As every one of the 2 * 1051721728 arguments below 0.34375 was found to be, once."""
    x = np.concatenate([np.arange(0, 0x3EB00000, 104729, dtype=np.uint32), np.uint32([0x3EAFFFFF])]).view(np.float32)
    for signed in (x, -x):
        assert (of("exp_near", signed) == of("exp", signed)).all()


def test_rounding_to_half_precision():
    r = np.random.RandomState(1)
    x = np.concatenate(
        [
            (r.randn(8000) * 10.0 ** r.uniform(-9, 5, 8000)).astype(np.float32),
            np.float32([0, 65519.996, 65520, 5.9604645e-8, 2.9802322e-8, 2.98023259e-8, 1 + 2**-11, 1 + 3 * 2**-11]),
        ]
    )
    with np.errstate(over="ignore"):
        assert (of("half", x) == x.astype(np.float16).astype(np.float32)).all()
