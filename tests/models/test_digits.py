"""What the defaults reach on handwritten digits, trained as a user would."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from gnomon.training import fit

pytestmark = pytest.mark.slow

Split = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def digits() -> Split:
    """Training and test pixels, training and test labels."""
    x, y = load_digits(return_X_y=True)
    return tuple(train_test_split(x, y, test_size=0.2, stratify=y, random_state=0))  # type: ignore[return-value]


def test_the_vae_beats_the_full_gaussian_by_ten_nats(digits: Split) -> None:
    noise = np.random.default_rng(0)
    train, test = (x + noise.random(x.shape) for x in digits[:2])
    gaussian = multivariate_normal(train.mean(0), np.cov(train.T)).logpdf(test).mean()
    learned = fit("vae", train, progress=False)
    value, error = learned.log_prob_bound(test)
    assert -132 < gaussian < -129
    assert value.mean() - 3 * error.mean() > gaussian + 10


def test_the_classifier_reads_digits(digits: Split) -> None:
    train, test, labels, truth = digits
    images = [x.astype(np.uint8).reshape(-1, 1, 8, 8) for x in (train, test)]
    learned = fit("classifier", (images[0], labels), progress=False)
    assert (np.asarray(learned.predict(images[1])) == truth).mean() >= 0.985
