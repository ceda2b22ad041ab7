"""Scores of texts: equal to torchmetrics' on the same texts, known cases, errors that are those of repetition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.checks.measures import text
from gnomon.errors import DataError

WORDS = "the a cat dog sat ran on under mat tree, quickly slowly. (very) Big old".split()


def _sentences(seed: int, count: int, least: int = 4) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, size=rng.integers(least, 14))) for _ in range(count)]


def _noisy(sentences: list[str], seed: int, share: float = 0.25) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS) if rng.random() < share else word for word in sentence.split()) for sentence in sentences]


REFERENCES = [list(pair) for pair in zip(_sentences(0, 40), _sentences(1, 40), strict=True)]
CANDIDATES = _noisy([pair[i % 2] for i, pair in enumerate(REFERENCES)], 2)


@pytest.mark.parametrize("order", [1, 2, 4])
@pytest.mark.parametrize("smooth", [False, True])
def test_bleu_equals_torchmetrics(order: int, smooth: bool) -> None:
    functional = pytest.importorskip("torchmetrics.functional.text")
    theirs = float(functional.bleu_score(CANDIDATES, REFERENCES, n_gram=order, smooth=smooth))
    assert text.bleu(CANDIDATES, REFERENCES, order=order, smooth=smooth).value == pytest.approx(theirs, abs=1e-6)


@pytest.mark.parametrize(("words", "beta"), [(0, 2.0), (2, 2.0), (2, 1.0)])
def test_chrf_equals_torchmetrics(words: int, beta: float) -> None:
    functional = pytest.importorskip("torchmetrics.functional.text")
    theirs = float(functional.chrf_score(CANDIDATES, REFERENCES, n_word_order=words, beta=beta))
    assert text.chrf(CANDIDATES, REFERENCES, words=words, beta=beta).value == pytest.approx(theirs, abs=1e-6)


def test_rouge_equals_torchmetrics() -> None:
    functional = pytest.importorskip("torchmetrics.functional.text.rouge")
    theirs = functional.rouge_score(CANDIDATES, REFERENCES, accumulate="best", rouge_keys=("rouge1", "rouge2", "rougeL"))
    for name, ours in text.rouge(CANDIDATES, REFERENCES).items():
        assert ours.value == pytest.approx(float(theirs[f"{name}_fmeasure"]), abs=1e-6), name


def test_rates_and_perplexity_equal_torchmetrics() -> None:
    functional = pytest.importorskip("torchmetrics.functional.text")
    import torch

    first = [own[0] for own in REFERENCES]
    for unit, peer in (("word", functional.word_error_rate), ("character", functional.char_error_rate)):
        assert text.error_rate(CANDIDATES, first, unit=unit).value == pytest.approx(float(peer(CANDIDATES, first)), abs=1e-6)
    logits = torch.randn(5, 7, 11, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    target = torch.randint(11, (5, 7), generator=torch.Generator().manual_seed(1))
    own = logits.log_softmax(-1).gather(-1, target[..., None])[..., 0].numpy()
    assert text.perplexity(list(own)).value == pytest.approx(float(functional.perplexity(logits, target)), rel=1e-6)


def _slow_edit_distance(one: str, two: str) -> int:
    """The definition, by recursion."""
    if not one or not two:
        return len(one) + len(two)
    if one[-1] == two[-1]:
        return _slow_edit_distance(one[:-1], two[:-1])
    shorter = (_slow_edit_distance(one[:-1], two), _slow_edit_distance(one, two[:-1]), _slow_edit_distance(one[:-1], two[:-1]))
    return 1 + min(shorter)


@given(st.text("abc", max_size=5), st.text("abc", max_size=5))
def test_edit_distance_is_its_definition(one: str, two: str) -> None:
    assert text.edit_distance(one, two) == _slow_edit_distance(one, two)
    assert text.edit_distance(one, two) == text.edit_distance(two, one)


@given(st.text("ab", max_size=7), st.text("ab", max_size=7))
def test_common_subsequences_by_brute_force(one: str, two: str) -> None:
    from itertools import combinations

    def within(short: tuple[str, ...]) -> bool:
        rest = iter(two)
        return all(letter in rest for letter in short)

    longest = max(n for n in range(len(one) + 1) for part in combinations(one, n) if within(part))
    assert text.longest_common_subsequence(one, two) == longest


def test_errors_are_those_of_repetition() -> None:
    made = {"bleu": [], "chrf": [], "rouge1": [], "rate": []}
    for seed in range(60):
        references = _sentences(100 + seed, 60)
        candidates = _noisy(references, 500 + seed)
        made["bleu"].append(text.bleu(candidates, references))
        made["chrf"].append(text.chrf(candidates, references, characters=4))
        made["rouge1"].append(text.rouge(candidates, references)["rouge1"])
        made["rate"].append(text.error_rate(candidates, references))
    for name, estimates in made.items():
        values, errors, _ = np.array(estimates).T
        assert np.median(errors) == pytest.approx(values.std(ddof=1), rel=0.3), name


def test_the_same_text_is_perfect_and_another_is_nothing() -> None:
    same, other = ["a b c d e"] * 3, ["v w x y z"] * 3
    assert text.bleu(same, same).value == pytest.approx(1) and text.bleu(same, other).value == 0
    assert text.chrf(same, same).value == pytest.approx(1) and text.chrf(same, other).value == 0
    assert text.rouge(same, other)["rougeL"].value == 0 and text.bleu([""], ["a b"]).value == 0


def test_what_cannot_be_compared_is_named() -> None:
    with pytest.raises(DataError, match="2 candidates and 1 references"):
        text.bleu(["a", "b"], ["a"])
    with pytest.raises(DataError, match="lists of texts"):
        text.rouge("a b", "a b")
    with pytest.raises(DataError, match="no reference"):
        text.chrf(["a"], [[]])
    with pytest.raises(DataError, match="hold no words"):
        text.error_rate(["a"], [" "])
    with pytest.raises(DataError, match="at least one token"):
        text.perplexity([[]])
