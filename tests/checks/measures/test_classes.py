"""Scores by classes: against sums of divergences written out, and at their ends."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import rel_entr, softmax

from gnomon.checks.measures.classes import certainty_of, inception_score, mode_score
from gnomon.errors import DataError


def _probabilities(seed: int, rows: int, classes: int = 5) -> np.ndarray:
    return softmax(2 * np.random.default_rng(seed).normal(size=(rows, classes)), axis=1)


@pytest.mark.parametrize("weighted", [False, True])
def test_scores_are_their_divergences(weighted: bool) -> None:
    generated, real = _probabilities(0, 300), _probabilities(1, 200)
    w, v = (np.random.default_rng(2).exponential(size=n) if weighted else None for n in (300, 200))
    mean, truth = np.average(generated, axis=0, weights=w), np.average(real, axis=0, weights=v)
    certain = np.average(rel_entr(generated, mean).sum(axis=1), weights=w)
    assert inception_score(generated, w) == pytest.approx(np.exp(certain), rel=1e-10)
    assert mode_score(generated, real, (w, v)) == pytest.approx(np.exp(certain - rel_entr(mean, truth).sum()), rel=1e-10)


def test_the_inception_score_agrees_with_torchmetrics_on_one_split() -> None:
    torch, module = pytest.importorskip("torch"), pytest.importorskip("torchmetrics.image.inception")
    logits = np.random.default_rng(3).normal(size=(80, 6))

    class Known(torch.nn.Module):
        def forward(self, images):  # noqa: ANN001, ANN202
            return torch.from_numpy(logits)

    try:
        metric = module.InceptionScore(feature=Known(), splits=1)
    except (ModuleNotFoundError, ImportError, TypeError) as error:
        pytest.skip(str(error))
    metric.update(torch.zeros(80, 3, 4, 4, dtype=torch.uint8))
    assert inception_score(softmax(logits, axis=1)) == pytest.approx(float(metric.compute()[0]), rel=1e-6)


def test_ends() -> None:
    sure = np.eye(4)[np.arange(400) % 4]
    assert inception_score(sure) == pytest.approx(4) and inception_score(np.full((9, 4), 0.25)) == pytest.approx(1)
    assert mode_score(sure, sure) == pytest.approx(4)
    lost = sure[sure[:, 3] == 0]
    assert inception_score(lost) == pytest.approx(3) and mode_score(lost, sure) == pytest.approx(3 * 3 / 4)
    assert certainty_of(sure[:2]).tolist() == [0.0, 0.0]


def test_what_are_no_probabilities_is_refused() -> None:
    with pytest.raises(DataError, match="sum to 1"):
        inception_score(np.ones((3, 2)))
    with pytest.raises(DataError, match=r"shape \(rows, classes\); got \(3,\)"):
        inception_score(np.ones(3))
    with pytest.raises(DataError, match="expected the same"):
        mode_score(np.eye(3), np.eye(4))
