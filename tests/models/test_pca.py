"""PCA against scikit-learn, numpy and scipy, and its density against the maximum that it claims to be."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.decomposition import PCA as SklearnPCA

from gnomon.data import Categorical, Column, Examples, Image, Periodic, Spec, Vector
from gnomon.errors import DataError, OptionError
from gnomon.models import abilities
from gnomon.models.pca import PCA


def correlated(n: int, width: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(width, width, generator=generator) * torch.linspace(2, 0.1, width)[:, None]
    return torch.randn(n, width, generator=generator) @ mixing + torch.arange(width)


def solved(x: torch.Tensor, spec: Spec | None = None, **options: object) -> PCA:
    model = PCA(spec or Spec(Vector.real(x.shape[1])), **options)  # type: ignore[arg-type]
    model.solve(Examples(x))
    return model


def covariance(model: PCA) -> np.ndarray:
    """W Wᵀ + σ² 1 of the model, written out."""
    u, variances, noise = model.directions.double(), model.variances.double(), model.noise.double()
    w = u.T * (variances - noise).sqrt()
    return (w @ w.T + noise * torch.eye(u.shape[1])).numpy()


@pytest.mark.parametrize("n", [200, 5])  # more examples than features, and fewer
def test_directions_variances_and_projection_are_those_of_scikit_learn(n: int) -> None:
    x = correlated(n, 8)
    model, peer = solved(x, components=3), SklearnPCA(3, svd_solver="full").fit(x.numpy().astype(float))
    signs = np.sign((model.directions.numpy() * peer.components_).sum(1))
    np.testing.assert_allclose(model.directions.numpy() * signs[:, None], peer.components_, atol=1e-5)
    np.testing.assert_allclose(model.variances.numpy(), peer.explained_variance_ * (n - 1) / n, rtol=1e-5)
    batch = Examples(x)
    np.testing.assert_allclose(model.encode(batch).numpy() * signs, peer.transform(x.numpy()), atol=1e-4)
    np.testing.assert_allclose(model.reconstruct(batch).numpy(), peer.inverse_transform(peer.transform(x.numpy())), atol=1e-4)


def test_directions_are_orthonormal_with_a_positive_largest_entry() -> None:
    directions = solved(correlated(100, 6), components=6).directions
    torch.testing.assert_close(directions @ directions.T, torch.eye(6), atol=1e-6, rtol=0)
    assert (directions.gather(1, directions.abs().argmax(1, keepdim=True)) > 0).all()


@pytest.mark.parametrize("components", [1, 3, 6])
def test_the_density_is_the_gaussian_with_that_covariance(components: int) -> None:
    x = correlated(300, 6)
    model = solved(x, components=components)
    oracle = multivariate_normal(x.double().mean(0).numpy(), covariance(model))
    np.testing.assert_allclose(model.log_prob(Examples(x)).numpy(), oracle.logpdf(x.double().numpy()), atol=2e-3)


def test_all_components_are_the_full_gaussian_of_maximal_likelihood() -> None:
    x = correlated(300, 4)
    np.testing.assert_allclose(covariance(solved(x, components=4)), np.cov(x.double().numpy().T, bias=True), rtol=1e-4, atol=1e-5)


def test_the_closed_form_is_a_maximum_of_the_likelihood() -> None:
    x = correlated(300, 6)
    model = solved(x, components=2)
    best = model.log_prob(Examples(x)).double().mean()
    generator = torch.Generator().manual_seed(0)
    for name in ("mean", "variances", "noise"):
        for _ in range(4):
            moved = solved(x, components=2)
            value = getattr(moved, name)
            value.mul_(1 + 0.05 * torch.randn(value.shape, generator=generator))
            assert moved.log_prob(Examples(x)).double().mean() < best, name
    for _ in range(4):
        moved = solved(x, components=2)
        tilted = moved.directions + 0.05 * torch.randn(2, 6, generator=generator)
        moved.directions = torch.linalg.qr(tilted.T)[0].T.contiguous()
        assert moved.log_prob(Examples(x)).double().mean() < best


def test_samples_have_the_models_moments() -> None:
    model = solved(correlated(300, 5), components=2)
    torch.manual_seed(0)
    draws = model.sample(200_000).double()
    np.testing.assert_allclose(draws.mean(0).numpy(), model.mean.numpy(), atol=0.05)
    expected = covariance(model)
    np.testing.assert_allclose(np.cov(draws.numpy().T), expected, atol=0.02 * np.abs(expected).max())


def test_a_share_of_the_variance_takes_as_few_components_as_reach_it() -> None:
    x = correlated(200, 8)
    explained = SklearnPCA().fit(x.numpy()).explained_variance_ratio_.cumsum()
    for share in (0.5, 0.9, 0.99):
        assert len(solved(x, components=share).variances) == 1 + int((explained < share).sum())


def test_a_share_survives_saving() -> None:
    x = correlated(200, 8)
    model, other = solved(x, components=0.9), PCA(Spec(Vector.real(8)), components=0.9)
    other.load_state_dict(model.state_dict())
    assert torch.equal(model.encode(Examples(x)), other.encode(Examples(x)))


def test_weights_count_as_repetitions() -> None:
    x, weight = correlated(60, 4), torch.tensor([1.0, 2.0, 3.0]).repeat(20)
    weighted = PCA(Spec(Vector.real(4)), components=2)
    weighted.solve(Examples(x, weight=weight / weight.mean()))
    repeated = solved(x.repeat_interleave(weight.long(), 0), components=2)
    for name in ("mean", "directions", "variances", "noise"):
        torch.testing.assert_close(getattr(weighted, name), getattr(repeated, name), rtol=1e-4, atol=1e-5)


def test_signed_weights_cancel() -> None:
    x, extra = correlated(60, 4), correlated(9, 4, seed=1)
    model = PCA(Spec(Vector.real(4)), components=2)
    model.solve(Examples(torch.cat([x, extra, extra]), weight=torch.cat([torch.ones(69), -torch.ones(9)])))
    torch.testing.assert_close(model.directions, solved(x, components=2).directions, rtol=1e-3, atol=1e-4)


def test_with_a_condition_the_components_are_those_of_what_it_leaves() -> None:
    generator = torch.Generator().manual_seed(0)
    given = torch.randn(300, 2, generator=generator)
    x = correlated(300, 5) + given @ torch.randn(2, 5, generator=generator) * 4
    model = PCA(Spec(Vector.real(5), given=Vector.real(2)), components=3)
    model.solve(Examples(x, given=given))
    design = np.column_stack([np.ones(300), given.double().numpy()])
    fit, *_ = np.linalg.lstsq(design, x.double().numpy(), rcond=None)
    left = x.double().numpy() - design @ fit
    peer = SklearnPCA(3).fit(left)
    signs = np.sign((model.directions.numpy() * peer.components_).sum(1))
    np.testing.assert_allclose(model.directions.numpy() * signs[:, None], peer.components_, atol=1e-4)
    oracle = multivariate_normal(np.zeros(5), covariance(model))
    np.testing.assert_allclose(model.log_prob(Examples(x, given=given)).numpy(), oracle.logpdf(left), atol=5e-3)
    torch.manual_seed(0)
    draws = model.sample(50_000, torch.tensor([[1.0, -2.0]]).expand(50_000, -1)).double().mean(0)
    np.testing.assert_allclose(draws.numpy(), np.array([1, 1.0, -2.0]) @ fit, atol=0.1)


def test_angles_and_categories_are_read_as_features_and_come_back() -> None:
    kind = Vector((Column("phi", Periodic(0, 1)), Column("kind", Categorical(("a", "b", "c"))), Column("e")))
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(200, 3, generator=generator) * 6 - 3
    x[:, 1] = torch.randint(0, 3, (200,), generator=generator).float()
    model = solved(x, Spec(kind), components=6)
    torch.testing.assert_close(model.reconstruct(Examples(x)), x, atol=1e-4, rtol=0)
    assert "log_prob" not in abilities(model) and "sample" in abilities(model)


def test_an_image_keeps_its_shape() -> None:
    x = correlated(50, 12).view(50, 2, 2, 3)
    model = solved(x, Spec(Image(2, (2, 3))), components=12)
    torch.testing.assert_close(model.reconstruct(Examples(x)), x, atol=1e-4, rtol=1e-4)
    assert model.sample(4).shape == (4, 2, 2, 3)


def test_columns_without_variance_leave_a_finite_density() -> None:
    x = correlated(50, 4)
    x[:, 1] = 0
    for components in (2, 4):
        assert torch.isfinite(solved(x, components=components).log_prob(Examples(x))).all()


@pytest.mark.parametrize("components", [0, 9, 0.0, 1.0, -1])
def test_components_out_of_range_are_refused(components: float) -> None:
    with pytest.raises(OptionError, match="'components' of PCA must be a whole number from 1 to 8, or a share"):
        PCA(Spec(Vector.real(8)), components=components)


def test_too_few_examples_are_refused() -> None:
    with pytest.raises(DataError, match="at least 2 examples; got 1"):
        solved(torch.zeros(1, 4), components=2)
    with pytest.raises(DataError, match="at most 3 components here; got components=4"):
        solved(torch.randn(3, 8), components=4)
