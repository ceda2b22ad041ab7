"""Reconstructions and validity, against SciPy, scikit-learn and known truth."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from gnomon.checks import Case, Reconstruction, Report, Sides
from gnomon.checks.statistics.reconstruction import reconstruction
from gnomon.checks.statistics.validity import missing, outside
from gnomon.data import Bounded, Categorical, Column, Periodic, Positive

# ---- reconstructions and validity -------------------------------------------------------------------------------------------


def test_reconstruction_is_the_share_of_variance_explained() -> None:
    rng = np.random.default_rng(0)
    real = rng.normal(size=(500, 2)) * [1, 5]
    again = real + [0.5, 0.0] * rng.normal(size=(500, 2))
    columns = (Column("a"), Column("b"))
    row = reconstruction(Case(reconstruction=Reconstruction(columns, real, again)))[0]
    assert row.value == pytest.approx(np.mean(metrics.r2_score(real, again, multioutput="raw_values")))
    assert Report(reconstruction(Case(reconstruction=Reconstruction(columns, real, real[::-1])))).findings


def test_reconstruction_of_categories_and_angles() -> None:
    rng = np.random.default_rng(1)
    angle = rng.vonmises(np.pi, 3, size=300) % (2 * np.pi)
    code = rng.integers(0, 3, size=300).astype(float)
    real = np.stack([angle, code], axis=1)
    again = np.stack([(angle + 2 * np.pi - 1e-4) % (2 * np.pi), code], axis=1)
    columns = (Column("angle", Periodic(0, 2 * np.pi)), Column("c", Categorical(("u", "v", "w"))))
    assert reconstruction(Case(reconstruction=Reconstruction(columns, real, again)))[0].value > 0.999


def test_missing_and_outside_values_are_counted_and_found() -> None:
    rng = np.random.default_rng(2)
    columns = [Column("share", Bounded(0, 1)), Column("energy", Positive()), Column("free")]
    real, generated = rng.random((400, 3)), rng.random((400, 3))
    generated[:30, 0] += 1
    generated[:40, 1] *= -1
    made = Sides.of(real, generated, columns)
    rows = outside(Case(made))
    assert {row.where: row.value for row in rows} == {"share": pytest.approx(30 / 400, abs=0.01), "energy": 0.1}
    assert all("outside its range" in finding for finding in Report(rows).findings) and len(Report(rows).findings) == 2
    lost = Sides(made.columns, made.real, made.generated, missing=(0, 25))
    assert Report(missing(Case(lost))).findings[0].startswith("All columns: 25 of 425 generated rows hold missing values")
    assert not Report(missing(Case(Sides(made.columns, made.real, made.generated, missing=(20, 25))))).findings
    assert missing(Case(made)) == []


@pytest.mark.parametrize("weighted", [False, True])
def test_reconstructed_images_are_compared_pair_by_pair(weighted: bool) -> None:
    from gnomon.checks.measures.image_quality import psnr as ratio
    from gnomon.checks.statistics.reconstruction import psnr, ssim

    rng = np.random.default_rng(0)
    images = rng.random((40, 2, 12, 11))
    again = np.clip(images + 0.1 * rng.normal(size=images.shape), 0, 1)
    weight = rng.exponential(size=40) if weighted else None
    flat = [part.reshape(40, -1) for part in (images, again)]
    case = Case(reconstruction=Reconstruction((), *flat, weight, shape=(2, 12, 11), data_range=1.0))
    (row,) = psnr(case)
    assert row.value == pytest.approx(np.average(ratio(images, again, data_range=1.0), weights=weight))
    assert row.value > row.null + 5 and ssim(case)[0].value > ssim(case)[0].null
    assert psnr(Case(reconstruction=Reconstruction((), *flat))) == []
