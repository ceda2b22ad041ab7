"""The anomaly detector against scikit-learn's robust covariance and neighbours, and on planted anomalies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.covariance import EmpiricalCovariance, LedoitWolf, MinCovDet
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

import gnomon
from gnomon.data import Categorical, Column, Examples, Image, Spec, Vector
from gnomon.errors import DataError, OptionError
from gnomon.models.anomaly_detector import AnomalyDetector


def rows(n: int, width: int = 5, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(width, width, generator=torch.Generator().manual_seed(99))
    return torch.randn(n, width, generator=generator) @ mixing + torch.arange(float(width))


def solved(x: torch.Tensor, spec: Spec | None = None, *, weight: torch.Tensor | None = None, **options: object) -> AnomalyDetector:
    model = AnomalyDetector(spec or Spec(Vector.real(x.shape[1])), **options)  # type: ignore[arg-type]
    model.solve(Examples(x, weight=weight))
    return model


def distances(model: AnomalyDetector, x: torch.Tensor) -> np.ndarray:
    return model._rounded(Examples(x)).square().sum(1).numpy()


def mahalanobis(values: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Squared distances of x from the mean of the rows, by their covariance with that of the imagined rows."""
    (n, d), left = values.shape, x - values.mean(0)
    covariance = EmpiricalCovariance().fit(values).covariance_
    seen = min(d, n - 1)  # so many eigenvalues are not zero
    median = np.linalg.eigvalsh(np.corrcoef(values.T))[d - seen :][(seen - 1) // 2]
    covariance = (n * covariance + seen * median * np.diag(np.diag(covariance))) / (n + d)
    return np.einsum("ni,ij,nj->n", left, np.linalg.inv(covariance), left)


@pytest.mark.parametrize("n", [12, 15, 60, 1000])
def test_without_trimming_the_core_is_the_gaussian_with_a_few_imagined_rows(n: int) -> None:
    x = rows(n, 20)
    wanted, model = mahalanobis(x.double().numpy(), x.double().numpy()), solved(x, trim=0.0)
    assert model.dimension.item() == pytest.approx(wanted.mean(), rel=1e-3)
    np.testing.assert_allclose(distances(model, x), wanted * wanted.mean() / np.sort(wanted)[(n - 1) // 2], rtol=1e-3)


def test_the_core_is_that_of_the_minimum_covariance_determinant() -> None:
    x = rows(1000)
    x[:200] += 40 * torch.randn(200, 5, generator=torch.Generator().manual_seed(1))
    values, fresh = x.double().numpy(), rows(500, seed=2)
    core = values[np.argsort(MinCovDet(support_fraction=0.75, random_state=0).fit(values).dist_)[:750]]
    wanted = mahalanobis(core, fresh.double().numpy())
    assert np.corrcoef(distances(solved(x), fresh), wanted)[0, 1] > 0.99
    assert np.corrcoef(distances(solved(x, trim=0.0), fresh), wanted)[0, 1] < 0.9


def test_the_score_is_half_the_squared_distances_and_their_logarithm() -> None:
    x, fresh = rows(300), rows(50, seed=3)
    model = solved(x, neighbours=7)
    near, z = (model._rounded(Examples(part)).double().numpy() for part in (x, fresh))
    apart = NearestNeighbors(n_neighbors=7).fit(near).kneighbors(z)[0]
    d = model.dimension.item()
    wanted = 0.5 * np.square(z).sum(1) + 0.5 * d * np.log(np.square(apart).mean(1) + 1e-3 * d)
    np.testing.assert_allclose(model.score(Examples(fresh)).numpy(), wanted, rtol=1e-4, atol=1e-4)


def test_scores_do_not_depend_on_units() -> None:
    x, fresh, units = rows(2000), rows(100, seed=3), torch.tensor([1.0, 100.0, 0.01, 3.0, -2.0])
    one, other = (solved(part).score(Examples(new)) for part, new in ((x, fresh), (x * units - 7, fresh * units - 7)))
    torch.testing.assert_close(one, other, rtol=1e-3, atol=2e-2)


def test_what_lies_in_a_gap_of_the_data_is_strange_though_it_is_central() -> None:
    generator = torch.Generator().manual_seed(0)
    angle = 2 * np.pi * torch.rand(1000, generator=generator)
    ring = torch.stack([angle.cos(), angle.sin()], 1) + 0.05 * torch.randn(1000, 2, generator=generator)
    model = solved(ring)
    middle, on, out = model.score(Examples(torch.tensor([[0.0, 0.0], [1.0, 0.0], [3.0, 0.0]]))).tolist()
    assert middle > on + 1 and out > middle


def test_anomalies_among_the_training_rows_are_found() -> None:
    x, truth = rows(1000), np.arange(1000) < 150
    x[:150] = x[:150].mean(0) + 12 + torch.randn(150, 5, generator=torch.Generator().manual_seed(1))  # a tight heap of their own
    assert roc_auc_score(truth, solved(x).score(Examples(x)).numpy()) > 0.99
    assert roc_auc_score(truth, solved(x, trim=0.0).score(Examples(x)).numpy()) < 0.9


def test_with_a_condition_the_core_moves() -> None:
    given = torch.linspace(-3, 3, 500)[:, None]
    x = 4 * given + 0.1 * torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
    model = AnomalyDetector(Spec(Vector.real(2), given=Vector.real(1)))
    model.solve(Examples(x, given=given))
    usual, strange = model.score(Examples(torch.tensor([[8.0, 8.0], [8.0, 8.0]]), given=torch.tensor([[2.0], [-2.0]]))).tolist()
    assert strange > usual + 1000


def test_weights_count_and_rows_of_none_are_forgotten() -> None:
    x = torch.cat([rows(200), rows(200, seed=1) + 100])
    weight = torch.cat([torch.ones(200), torch.zeros(200)])
    fresh = Examples(rows(20, seed=2))
    torch.testing.assert_close(solved(x, weight=weight).score(fresh), solved(x[:200]).score(fresh))


def test_a_rare_class_is_no_endless_anomaly_and_a_class_beside_its_kind_is_one() -> None:
    generator = torch.Generator().manual_seed(0)
    kind = (torch.rand(2000, generator=generator) < 0.05).float()
    x = torch.stack([3 * kind + torch.randn(2000, generator=generator), kind], 1)
    spec = Spec(Vector((Column("pt"), Column("kind", Categorical(("usual", "rare"))))))
    score = solved(x, spec).score(Examples(torch.tensor([[0.0, 0.0], [3.0, 1.0], [9.0, 0.0]])))
    assert score[1] - score[0] < 40 and score[2] > score[1] and torch.isfinite(score).all()


@pytest.mark.parametrize(("width", "n"), [(60, 50), (60, 36), (60, 20), (300, 60), (300, 150)])
@pytest.mark.parametrize("factors", [0, 5])
def test_few_rows_of_many_features_will_do(width: int, n: int, factors: int) -> None:
    generator = np.random.default_rng(0)
    mixing = generator.normal(size=(factors, width))
    x = generator.normal(size=(n + 600, factors)) @ mixing
    noise = generator.normal(size=x.shape)
    noise[n + 300 :] *= 1.25  # 300 usual rows, then 300 that leave the plane, or the ball, of the others
    x = (x + 0.3 * noise) / (x[:n] + 0.3 * noise[:n]).std(0)
    model = solved(torch.tensor(x[:n], dtype=torch.float32))
    learned, fresh = np.split(model.score(Examples(torch.tensor(x, dtype=torch.float32))).numpy(), [n])
    assert np.median(fresh[:300]) < 2 * np.median(learned)
    truth, peer = np.arange(600) >= 300, LedoitWolf().fit(x[:n]).mahalanobis(x[n:])
    assert roc_auc_score(truth, fresh) > roc_auc_score(truth, peer) - 0.1


@pytest.mark.parametrize(("n", "directions"), [(300, 150), (1100, 512)])
def test_images_of_more_numbers_than_directions_are_projected_first(n: int, directions: int) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(n + 100, 3, generator=generator) @ torch.randn(3, 900, generator=generator)
    images = (images + 0.1 * torch.randn(n + 100, 900, generator=generator)).view(-1, 1, 30, 30)
    model = solved(images[:n], Spec(Image(1, (30, 30))))
    assert model.basis.shape == (900, directions) and model.near.shape == (n, directions + 1)
    strange = images[n:].flip(-1)
    scores = model.score(Examples(torch.cat([images[n:], strange]))).numpy()
    assert roc_auc_score(np.arange(200) >= 100, scores) > 0.99
    assert np.median(scores[:100]) < 2 * model.score(Examples(images[:n])).median()


def test_only_so_many_rows_are_kept_and_a_run_comes_back(tmp_path: Path) -> None:
    x = rows(500).numpy()
    learned = gnomon.fit("anomaly_detector", x, options={"rows": 100, "neighbours": 5}, progress=False)
    assert learned.model.near.shape == (100, 5)
    again = gnomon.load(learned.save(tmp_path / "run"))
    assert np.array_equal(again.score(x), learned.score(x)) and again.abilities == ("score",)


def test_columns_that_never_vary_and_repeated_rows_do_no_harm() -> None:
    x = rows(50).repeat(4, 1)
    x[:, 2] = 1.0
    assert torch.isfinite(solved(x).score(Examples(x))).all()
    assert torch.isfinite(solved(torch.ones(30, 2)).score(Examples(torch.zeros(3, 2)))).all()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"trim": 1.0}, "'trim'.*from 0 to below 1"),
        ({"neighbours": 0}, "'neighbours'.*1 or more"),
        ({"rows": 10}, "more than neighbours=10"),
    ],
)
def test_options_out_of_range_are_named(options: dict[str, float], says: str) -> None:
    with pytest.raises(OptionError, match=says):
        AnomalyDetector(Spec(Vector.real(2)), **options)  # type: ignore[arg-type]


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(DataError, match="more examples than neighbours=10; got 10"):
        solved(rows(10))
