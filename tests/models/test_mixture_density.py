"""Mixture densities: against scikit-learn and torch.distributions with the same parameters, by formula, on grids; σ(b) recovered."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.mixture import GaussianMixture
from torch import Tensor, distributions

import gnomon
from gnomon.blocks.gaussian_mixtures import GaussianMixtures
from gnomon.data import Categorical, Column, Examples, Image, Periodic, Real, Spec, Vector
from gnomon.errors import DataError, OptionError
from gnomon.models.mixture_density import MixtureDensity

LINE, ANGLE, LABEL = Real(), Periodic(-math.pi, math.pi), Categorical(("a", "b", "c"))


def vector(*supports: Any) -> Vector:
    return Vector(tuple(Column(f"c{i}", support) for i, support in enumerate(supports)))


def moved_off(spec: Spec, scale: float = 0.3, seed: int = 0, **options: Any) -> MixtureDensity:
    """A model in float64 with every parameter moved off its start."""
    torch.manual_seed(seed)
    model = MixtureDensity(spec, **{"hidden": (16,), "components": 3, **options}).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(scale * torch.randn_like(parameter))
    return model


def mixtures(n: int = 4, components: int = 3, columns: int = 4, seed: int = 0) -> tuple[GaussianMixtures, Tensor, Tensor, Tensor]:
    """Mixtures with the weights, means and covariances they were made of."""
    torch.manual_seed(seed)
    root = torch.randn(n, components, columns, columns).double()
    covariance = root @ root.mT + 0.3 * torch.eye(columns).double()
    logits, means = torch.randn(n, components).double(), 2 * torch.randn(n, components, columns).double()
    return GaussianMixtures.of(logits, means, covariance), logits, means, covariance


# ---- the mixtures themselves -----------------------------------------------------------------------------------------------------


def test_density_is_torchs_mixture_with_the_same_parameters() -> None:
    mixture, logits, means, covariance = mixtures()
    x = 2 * torch.randn(4, 4).double()
    peer = distributions.MixtureSameFamily(
        distributions.Categorical(logits=logits), distributions.MultivariateNormal(means, covariance_matrix=covariance)
    )
    torch.testing.assert_close(mixture.log_prob(x), peer.log_prob(x), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(mixture.mean(), peer.mean, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(mixture.covariance().diagonal(dim1=-2, dim2=-1), peer.variance, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(mixture.covariances(), covariance, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_density_is_scikit_learns_with_the_same_parameters(covariance: str) -> None:
    model = moved_off(Spec(Vector.real(3)), components=4, covariance=covariance)
    x = 2 * torch.randn(50, 3).double()
    with torch.no_grad():
        mixture = model.conditional(x, ())
        ours = model.log_prob(Examples(x)).numpy()
    peer = GaussianMixture(4)
    peer.weights_, peer.means_ = mixture.logits[0].softmax(-1).numpy(), mixture.means[0].numpy()
    peer.precisions_cholesky_ = np.linalg.inv(np.linalg.cholesky(mixture.covariances()[0].numpy())).swapaxes(-1, -2)
    np.testing.assert_allclose(ours, peer.score_samples(x.numpy()), rtol=1e-10, atol=1e-10)


def test_conditional_and_marginal_are_a_quotient() -> None:
    mixture, *_ = mixtures(columns=4)
    x = torch.randn(4, 4).double()
    for known in ([2], [3, 0], [0, 1, 3]):
        rest = [i for i in range(4) if i not in known]
        conditional = mixture.conditional(known, x[:, known]).log_prob(x[:, rest])
        expected = mixture.log_prob(x) - mixture.marginal(known).log_prob(x[:, known])
        torch.testing.assert_close(conditional, expected, rtol=1e-10, atol=1e-10)


def test_conditional_of_one_gaussian_is_the_textbooks() -> None:
    mixture, _, means, covariance = mixtures(1, 1, 3)
    value = torch.tensor([[0.7, -0.4]]).double()
    made = mixture.conditional([2, 0], value)
    mu, c = means[0, 0].numpy(), covariance[0, 0].numpy()
    gain = c[1, [2, 0]] @ np.linalg.inv(c[np.ix_([2, 0], [2, 0])])
    assert made.mean().item() == pytest.approx(mu[1] + gain @ (value[0].numpy() - mu[[2, 0]]), abs=1e-12)
    assert made.covariance().item() == pytest.approx(c[1, 1] - gain @ c[[2, 0], 1], abs=1e-12)


def test_quantiles_and_cdf_are_scipys() -> None:
    mixture, *_ = mixtures(2, 1, 3)
    one = mixture.marginal([1])
    p = torch.tensor([1e-4, 0.1, 0.5, 0.9, 1 - 1e-4]).double()
    expected = np.stack([stats.norm.ppf(p.numpy(), m, s) for m, s in zip(one.means[:, 0, 0], one.log_scales[:, 0, 0].exp(), strict=True)])
    np.testing.assert_allclose(one.quantile(p).numpy(), expected, rtol=1e-9, atol=1e-9)
    several = mixtures(5, 4, 2)[0].marginal([0])
    torch.testing.assert_close(several.cdf(several.quantile(p)), p.expand(5, 5), rtol=0, atol=1e-9)
    points = torch.linspace(-40, 40, 20_001, dtype=torch.float64)
    density = 0.004 * torch.stack([_each(several, i, points) for i in range(5)])
    torch.testing.assert_close(density.sum(1), torch.ones(5).double(), rtol=0, atol=1e-9)


def _each(mixture: GaussianMixtures, row: int, points: Tensor) -> Tensor:
    one = GaussianMixtures(
        *(t[row : row + 1].expand(len(points), *t.shape[1:]) for t in (mixture.logits, mixture.means, mixture.log_scales))
    )
    return one.log_prob(points[:, None]).exp()


def test_samples_have_the_moments_that_are_told() -> None:
    mixture, logits, means, covariance = mixtures(1, 3, 3)
    many = GaussianMixtures.of(*(t.expand(100_000, *t.shape[1:]) for t in (logits, means, covariance)))
    torch.manual_seed(1)
    x = many.sample()
    error = (x.var(0) / 1e5).sqrt()
    assert ((x.mean(0) - mixture.mean()[0]).abs() < 4 * error).all()
    torch.testing.assert_close(torch.cov(x.T), mixture.covariance()[0], rtol=0.05, atol=0.1)


# ---- the model -------------------------------------------------------------------------------------------------------------------

SUPPORTS = {"line": (LINE,), "circle": (ANGLE,), "plane": (LINE, LINE), "cylinder": (LINE, ANGLE), "torus": (ANGLE, ANGLE)}


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("supports", SUPPORTS.values(), ids=SUPPORTS)
def test_density_integrates_to_one(supports: tuple[Any, ...], given: bool) -> None:
    model = moved_off(Spec(vector(*supports), given=vector(LINE, LABEL) if given else None))
    halves = [math.pi if s is ANGLE else 12.0 for s in supports]
    axes = [(torch.arange(600).double() + 0.5) / 300 * half - half for half in halves]
    grid = torch.cartesian_prod(*axes).view(-1, len(axes))
    condition = torch.tensor([[0.4, 2.0]]).double().expand(len(grid), 2) if given else None
    with torch.no_grad():
        total = model.log_prob(Examples(grid, given=condition)).exp().sum().item() * math.prod(half / 300 for half in halves)
    assert abs(total - 1) < 1e-6


def test_categories_share_one_probability_with_numbers() -> None:
    model = moved_off(Spec(vector(LABEL, LINE)))
    points = torch.linspace(-15, 15, 6001).double()
    with torch.no_grad():
        parts = [model.log_prob(Examples(torch.stack([torch.full_like(points, code), points], 1))).exp().sum() * 0.005 for code in range(3)]
    assert abs(sum(parts).item() - 1) < 1e-6 and max(parts) > 1.1 * min(parts)


def test_conditionals_know_angles_and_categories() -> None:
    model = moved_off(Spec(vector(LINE, ANGLE, LABEL, LINE, ANGLE)))
    x = torch.tensor([[0.3, 1.0, 2.0, -0.5, 2.5]]).double()
    (first, second), points = (torch.linspace(-15, 15, 1201).double(), torch.linspace(-math.pi, math.pi, 401).double()[:-1]), 400
    with torch.no_grad():
        made = model.conditional(x, ["c1", "c2", 3]).log_prob(x[:, :1])
        grid = torch.cartesian_prod(first, second)
        rows = torch.stack([grid[:, 0], *(x[0, i].expand(len(grid)) for i in (1, 2, 3)), grid[:, 1]], 1)
        density = model.log_prob(Examples(rows)).exp().view(1201, points)
        at = model.log_prob(Examples(torch.cat([x[:, :4].expand(points, 4), second[:, None]], 1))).exp().sum()
    assert made.exp().item() == pytest.approx((at / (density.sum() * 0.025)).item(), rel=1e-4)


def test_sample_and_log_prob_is_both() -> None:
    spec = Spec(vector(LINE, ANGLE, LABEL, LINE), given=vector(LINE))
    model, given = moved_off(spec).float(), torch.randn(500, 1)
    torch.manual_seed(3)
    x, log_prob = model.sample_and_log_prob(500, given)
    torch.manual_seed(3)
    assert torch.equal(model.sample(500, given), x)
    torch.testing.assert_close(log_prob, model.log_prob(Examples(x, given=given)), rtol=1e-5, atol=1e-5)


def test_components_start_apart_and_near_the_data() -> None:
    torch.manual_seed(0)
    model = MixtureDensity(Spec(Vector.real(2)), components=8)
    mixture = model.conditional(torch.zeros(1, 2), ())
    assert mixture.means.abs().max() < 2 and torch.cdist(mixture.means[0], mixture.means[0]).add(9 * torch.eye(8)).min() > 0.1
    x = torch.randn(2000, 2)
    assert model.log_prob(Examples(x)).mean() > -3.4  # the standard normal has -2.84
    one = MixtureDensity(Spec(Vector.real(2), given=Vector.real(1)))
    expected = distributions.Normal(0.0, 1.0).log_prob(x).sum(1)
    torch.testing.assert_close(one.log_prob(Examples(x, given=torch.randn(2000, 1))), expected, rtol=1e-5, atol=1e-4)


def test_no_component_collapses_below_the_floor() -> None:
    model = MixtureDensity(Spec(Vector.real(2)), components=2, floor=0.01)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(-1e4)
    mixture = model.conditional(torch.zeros(1, 2), ())
    assert mixture.log_scales.exp().min() >= 0.0099
    batch = Examples(torch.tensor([[1e6, -1e6], [0.0, 0.0]]))
    log_prob = model.log_prob(batch)
    gradients = torch.autograd.grad(log_prob.sum(), list(model.parameters()))
    assert log_prob.isfinite().all() and all(g.isfinite().all() for g in gradients)


def test_a_known_spread_is_recovered() -> None:
    rng = np.random.default_rng(0)
    b = rng.uniform(-1, 1, 8000)
    a = 3 * b**2 + (0.2 + 0.5 * b**2) * rng.normal(size=8000)
    learned = gnomon.fit("mixture_density", {"x": a[:, None], "given": b[:, None]}, seed=0, epochs=40, progress=False, compile="off")
    grid = np.linspace(-5, 8, 2001)
    for where in (-0.8, 0.0, 0.6):
        density = np.exp(learned.log_prob({"x": grid[:, None], "given": np.full((2001, 1), where)}))
        density /= density.sum()
        mean = (density * grid).sum()
        assert mean == pytest.approx(3 * where**2, abs=0.08)
        assert np.sqrt((density * (grid - mean) ** 2).sum()) == pytest.approx(0.2 + 0.5 * where**2, rel=0.12)


def test_what_cannot_be_is_refused_by_name() -> None:
    with pytest.raises(DataError, match="MixtureDensity wants x to be Vector; got Image"):
        MixtureDensity(Spec(Image(1, (4, 4))))
    with pytest.raises(DataError, match="at least one column"):
        MixtureDensity(Spec(Vector(())))
    for options in ({"components": 0}, {"floor": 0.0}, {"size": 0.0}):
        with pytest.raises(OptionError, match=f"'{next(iter(options))}' of MixtureDensity must be .* got {next(iter(options.values()))}"):
            MixtureDensity(Spec(Vector.real(2)), **options)
    with pytest.raises(OptionError, match="unknown covariance 'ful' of MixtureDensity; did you mean 'full'"):
        MixtureDensity(Spec(Vector.real(2)), covariance="ful")
    model = MixtureDensity(Spec(vector(LINE, LINE, LABEL)))
    with pytest.raises(OptionError, match="'c2' wants a value"):
        model.marginal(["c0"])
    with pytest.raises(OptionError, match="no number"):
        model.marginal(["c2"])
    with pytest.raises(OptionError, match="unknown column 'c9'"):
        model.conditional(torch.zeros(1, 3), ["c9"])
    with pytest.raises(OptionError, match="nothing is left"):
        model.conditional(torch.zeros(1, 3), ["c0", "c1", "c2"])
    with pytest.raises(OptionError, match="take marginal"):
        model.conditional(torch.zeros(1, 3), ["c2"]).quantile([0.5])
    with pytest.raises(OptionError, match="between 0 and 1"):
        model.conditional(torch.zeros(1, 3), ["c2", "c1"]).quantile([1.0])


def test_numbers_out_of_reach_are_improbable_not_undefined() -> None:
    model = moved_off(Spec(vector(LINE, LINE, ANGLE)))
    far = model.log_prob(Examples(torch.tensor([[1e30, 0.0, 1.0]]).double()))
    assert torch.isfinite(far).all() and far.item() < -1e6
