"""Texts against references: BLEU, chrF, ROUGE, edit distance and error rates, perplexity; each with its standard error.

Texts are compared as given: no stemming, no word lists, nothing is downloaded. Errors are over sentences.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Hashable, Sequence

import numpy as np

from gnomon.checks.measures.estimate import Estimate, Floats, jackknife, mean_of
from gnomon.errors import DataError

References = Sequence[str] | Sequence[Sequence[str]]
Tokens = Sequence[Hashable]


def bleu(candidates: Sequence[str], references: References, *, order: int = 4, smooth: bool = False) -> Estimate:
    """BLEU of a corpus: geometric mean of clipped n-gram precisions, with the brevity penalty. Words are what blanks separate.

    Args:
        candidates: one text each.
        references: for each candidate one text or several.
        order: longest n-gram.
        smooth: add one to matches and counts of n-grams longer than one (Lin & Och 2004), so that short corpora are not all 0.

    Returns:
        value in [0, 1] and its jackknife error over sentences.

    Raises:
        DataError: no candidates, or another number of references.

    Reference: Papineni et al. 2002, https://aclanthology.org/P02-1040.

    Example:
        >>> round(bleu(["the cat is on the mat"], [["the cat sat on the mat", "a cat is on the mat"]]).value, 4)
        0.8409
    """
    rows = []
    for candidate, own in _pairs(candidates, references):
        words = candidate.split()
        choices = [reference.split() for reference in own]
        nearest = min((abs(len(words) - len(c)), len(c)) for c in choices)[1]
        row = [float(len(words)), float(nearest)]
        for n in range(1, order + 1):
            most: Counter[Tokens] = Counter()
            for choice in choices:
                most |= _grams(choice, n)
            found = _grams(words, n)
            row += [float((found & most).total()), float(found.total())]
        rows.append(row)

    def value(sums: Floats) -> Floats:
        matches, counts = sums[:, 2::2], sums[:, 3::2]
        if smooth:
            more = np.arange(order) > 0
            matches, counts = matches + more, counts + more
        with np.errstate(divide="ignore", invalid="ignore"):
            precision = np.where((matches > 0).all(axis=1), np.exp(np.log(matches / counts).mean(axis=1)), 0.0)
            penalty = np.where(sums[:, 0] > sums[:, 1], 1.0, np.exp(1.0 - sums[:, 1] / sums[:, 0]))
        return np.where(sums[:, 0] > 0, precision * penalty, 0.0)

    return jackknife(np.array(rows), value)


def chrf(candidates: Sequence[str], references: References, *, characters: int = 6, words: int = 0, beta: float = 2.0) -> Estimate:
    """chrF of a corpus: F-score of n-grams of characters (blanks left out), averaged over n; with ``words=2`` it is chrF++.

    With several references the one with the best score of each sentence counts.

    Args:
        candidates: one text each.
        references: for each candidate one text or several.
        characters: longest n-gram of characters.
        words: longest n-gram of words (punctuation at either end of a word is a word of its own).
        beta: how much more recall weighs than precision.

    Returns:
        value in [0, 1] and its jackknife error over sentences.

    Reference: Popović 2015, https://aclanthology.org/W15-3049; 2017, https://aclanthology.org/W17-4770.

    Example:
        >>> round(chrf(["the cat"], ["the cat"]).value, 6)
        1.0
    """
    orders = characters + words

    def value(sums: Floats) -> Floats:
        matches, ours, theirs = sums[:, :orders], sums[:, orders : 2 * orders], sums[:, 2 * orders :]
        precision, recall = (np.where(count > 0, matches / np.maximum(count, 1), 0.0) for count in (ours, theirs))
        bottom = np.square(beta) * precision + recall
        scores = np.where(bottom > 0, (1 + np.square(beta)) * precision * recall / np.maximum(bottom, 1e-300), 0.0)
        there = (ours > 0) & (theirs > 0)  # texts shorter than n have no n-grams, and that is no fault of theirs
        return scores.sum(axis=1) / np.maximum(there.sum(axis=1), 1)

    rows = []
    for candidate, own in _pairs(candidates, references):
        mine = _character_and_word_grams(candidate, characters, words)
        choices = []
        for reference in own:
            other = _character_and_word_grams(reference, characters, words)
            both = [float((a & b).total()) for a, b in zip(mine, other, strict=True)]
            choices.append([*both, *(float(a.total()) for a in mine), *(float(b.total()) for b in other)])
        rows.append(choices[int(np.argmax(value(np.array(choices))))])
    return jackknife(np.array(rows), value)


def rouge(candidates: Sequence[str], references: References) -> dict[str, Estimate]:
    """ROUGE-1, ROUGE-2 and ROUGE-L F-scores: means over sentences of the best reference's. Lower case, letters and digits only.

    Returns:
        "rouge1", "rouge2", "rougeL", each in [0, 1].

    Reference: Lin 2004, https://aclanthology.org/W04-1013.

    Example:
        >>> [round(score.value, 3) for score in rouge(["the cat sat"], ["the cat sat on the mat"]).values()]
        [0.667, 0.571, 0.667]
    """
    scores: dict[str, list[float]] = {"rouge1": [], "rouge2": [], "rougeL": []}
    for candidate, own in _pairs(candidates, references):
        words = _plain_words(candidate)
        choices = [_plain_words(reference) for reference in own]
        for n in (1, 2):
            mine = _grams(words, n)
            scores[f"rouge{n}"].append(max(_f1((mine & _grams(c, n)).total(), mine.total(), _grams(c, n).total()) for c in choices))
        scores["rougeL"].append(max(_f1(longest_common_subsequence(words, c), len(words), len(c)) for c in choices))
    return {name: mean_of(np.array(values)) for name, values in scores.items()}


def edit_distance(one: Tokens, two: Tokens) -> int:
    """Levenshtein's distance: fewest insertions, deletions and substitutions that turn `one` into `two` (texts or lists of tokens).

    Example:
        >>> edit_distance("kitten", "sitting")
        3
    """
    other = np.fromiter(_codes(one, two), dtype=np.int64, count=len(one) + len(two))
    first, second = other[: len(one)], other[len(one) :]
    row = np.arange(len(second) + 1)
    steps = np.arange(len(second) + 1)
    for i, token in enumerate(first, 1):
        change = np.concatenate([[i], np.minimum(row[:-1] + (second != token), row[1:] + 1)])
        row = np.minimum.accumulate(change - steps) + steps  # an insertion costs one a step to the right
    return int(row[-1])


def error_rate(candidates: Sequence[str], references: Sequence[str], *, unit: str = "word") -> Estimate:
    """Edits needed per word (or character) of the references: word error rate, character error rate.

    Args:
        candidates: one text each.
        references: one text each.
        unit: "word" or "character".

    Raises:
        DataError: another unit, no texts, as many references are not there, or they are all empty.

    Example:
        >>> error_rate(["the cat sat"], ["the cat sat down"]).value
        0.25
    """
    if unit not in ("word", "character"):
        raise DataError(f"unit is 'word' or 'character'; got {unit!r}")
    cut: Callable[[str], Tokens] = str.split if unit == "word" else list
    sums = np.array([[edit_distance(cut(a), cut(own[0])), len(cut(own[0]))] for a, own in _pairs(candidates, references)], dtype=float)
    if not sums[:, 1].sum() > 0:
        raise DataError(f"the references hold no {unit}s; an error rate needs some")
    return jackknife(sums, lambda s: s[:, 0] / np.maximum(s[:, 1], 1e-300))


def perplexity(log_probs: Sequence[Sequence[float]] | Sequence[Floats]) -> Estimate:
    """exp of minus the mean log-probability per token; the error is over texts, whose tokens depend on each other.

    Args:
        log_probs: for each text the log-probabilities of its tokens, in nats.

    Raises:
        DataError: there is no token.

    Example:
        >>> import math
        >>> round(perplexity([[math.log(0.25)] * 3, [math.log(0.25)]]).value, 6)
        4.0
    """
    sums = np.array([[float(np.sum(part)), float(len(part))] for part in log_probs])
    if not len(sums) or not sums[:, 1].sum() > 0:
        raise DataError("perplexity needs the log-probability of at least one token")
    return jackknife(sums, lambda s: np.exp(-s[:, 0] / np.maximum(s[:, 1], 1e-300)))


def longest_common_subsequence(one: Tokens, two: Tokens) -> int:
    """Length of the longest sequence of tokens that both hold in this order.

    Example:
        >>> longest_common_subsequence("nematode", "empty")
        3
    """
    codes = np.fromiter(_codes(one, two), dtype=np.int64, count=len(one) + len(two))
    row = np.zeros(len(two) + 1, dtype=np.int64)
    for token in codes[: len(one)]:
        grown = np.concatenate([[0], row[:-1] + (codes[len(one) :] == token)])
        row = np.maximum.accumulate(np.maximum(grown, row))
    return int(row[-1])


# ---- parts -----------------------------------------------------------------------------------------------------------


def _pairs(candidates: Sequence[str], references: References) -> list[tuple[str, list[str]]]:
    """Each candidate with the list of its references."""
    if isinstance(candidates, str) or isinstance(references, str):
        raise DataError("candidates and references are lists of texts; put a single text into a list")
    if not len(candidates) or len(candidates) != len(references):
        raise DataError(f"each candidate needs its reference; got {len(candidates)} candidates and {len(references)} references")
    made = [(one, [own] if isinstance(own, str) else list(own)) for one, own in zip(candidates, references, strict=True)]
    for i, (_, own) in enumerate(made):
        if not own:
            raise DataError(f"candidate {i} has no reference; give each at least one")
    return made


def _grams(tokens: Tokens, n: int) -> Counter[Tokens]:
    return Counter(tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1))


def _character_and_word_grams(text: str, characters: int, words: int) -> list[Counter[Tokens]]:
    plain = "".join(text.split())
    apart = [piece for word in text.split() for piece in _ends_apart(word)]
    return [_grams(plain, n) for n in range(1, characters + 1)] + [_grams(apart, n) for n in range(1, words + 1)]


def _ends_apart(word: str) -> list[str]:
    """A word with the punctuation at its end, or else at its start, split off."""
    if len(word) > 1 and _PUNCTUATION.match(word[-1]):
        return [word[:-1], word[-1]]
    if len(word) > 1 and _PUNCTUATION.match(word[0]):
        return [word[0], word[1:]]
    return [word]


_PUNCTUATION = re.compile(r"[!-/:-@\[-`{-~]")


def _plain_words(text: str) -> list[str]:
    return re.sub(r"[^a-z0-9]+", " ", text.lower()).split()


def _f1(matches: int, ours: int, theirs: int) -> float:
    return 2.0 * matches / (ours + theirs) if matches else 0.0


def _codes(one: Tokens, two: Tokens) -> list[int]:
    known: dict[Hashable, int] = {}
    return [known.setdefault(token, len(known)) for part in (one, two) for token in part]
