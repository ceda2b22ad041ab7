"""What a VAE may minimise, each against a closed form: weighted draws, discrepancy, total correlation, free nats, warm-up."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gnomon.data import Examples, Spec, Vector
from gnomon.errors import OptionError
from gnomon.models.objectives import doubly_reparametrised, squared_mmd, total_correlation
from gnomon.models.posteriors import Gaussian
from gnomon.models.vae import VAE
from gnomon.training import fit
from tests.models.test_vae import LATENT, linear


def exact(**options: Any) -> tuple[VAE, torch.distributions.MultivariateNormal]:
    """A VAE with other options on the networks of `linear`, whose posterior is too wide, and its p(x)."""
    model, density = linear(orthogonal=False, inflation=1.5)
    made = VAE(model.spec, latent=LATENT, spread="shared", encoder=model.encoder, decoder=model.decoder, **options)
    made.head.load_state_dict(model.head.state_dict())
    return made, density


# ---- weighted draws ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("objective", ["iwae", "dreg"])
def test_the_weighted_bound_rises_to_the_log_probability(objective: str) -> None:
    torch.manual_seed(0)
    gaps = []
    for k in (1, 8, 128):
        model, density = exact(objective=objective, draws=k)
        x = density.sample((2000,))
        loss = model.loss(Examples(x))
        gaps.append((-loss.total / loss.weight - density.log_prob(x).mean()).item())
    assert gaps[0] < gaps[1] < gaps[2] < 0.05
    assert gaps[0] < -0.3 and abs(gaps[2]) < 0.05


def _slopes(objective: str, x: Tensor, draws: int, seed: int) -> dict[str, Tensor]:
    model, _ = exact(objective=objective, draws=draws)
    torch.manual_seed(seed)
    model.zero_grad()
    loss = model.loss(Examples(x))
    (loss.total / loss.weight).backward()
    return {name: p.grad.clone() for name, p in model.named_parameters()}


def test_both_gradients_for_the_decoder_are_the_same_draw_by_draw() -> None:
    x = exact()[1].sample((50,))
    a, b = _slopes("iwae", x, 5, 0), _slopes("dreg", x, 5, 0)
    for name in ("decoder.weights", "head.log_spread"):
        torch.testing.assert_close(a[name], b[name], rtol=1e-4, atol=1e-5)


def test_both_gradients_for_the_encoder_are_the_same_in_the_mean_and_dreg_varies_less() -> None:
    torch.manual_seed(1)
    x = exact()[1].sample((1,)).expand(400, -1)  # one example, many draws
    made = {name: [_slopes(name, x, 32, seed) for seed in range(60)] for name in ("iwae", "dreg")}
    for name in ("encoder.matrix", "encoder.log_spread"):
        values = {objective: torch.stack([one[name].flatten() for one in slopes]) for objective, slopes in made.items()}
        error = sum(v.var(0) / len(v) for v in values.values()).sqrt()
        difference = values["iwae"].mean(0) - values["dreg"].mean(0)
        assert (difference.abs() < 4 * error + 1e-6).all(), name
        assert values["dreg"].var(0).sum() < 0.5 * values["iwae"].var(0).sum(), name


def test_the_doubly_reparametrised_gradient_is_that_of_the_formula() -> None:
    torch.manual_seed(0)
    z, slope = torch.randn(6, 4, 2, requires_grad=True), torch.tensor(0.7, requires_grad=True)

    def log_weights(codes: Tensor) -> Tensor:
        return -slope * codes.square().sum(-1)

    total = doubly_reparametrised(log_weights, z)
    weights = log_weights(z.detach()).detach()
    torch.testing.assert_close(total.detach(), -(weights.logsumexp(0) - math.log(6)))
    total.sum().backward()
    shares = weights.softmax(0)
    torch.testing.assert_close(z.grad, 2 * slope.detach() * shares.square().unsqueeze(-1) * z.detach())
    torch.testing.assert_close(slope.grad, (shares * z.detach().square().sum(-1)).sum())


def test_of_weighted_draws_there_are_eight_where_nobody_says() -> None:
    assert VAE(Spec(Vector.real(2)), objective="iwae").draws == 8


# ---- discrepancy and total correlation --------------------------------------------------------------------------------


def test_the_discrepancy_is_the_double_sum() -> None:
    torch.manual_seed(0)
    a, b = torch.randn(7, 3).double(), torch.randn(5, 3).double() + 1

    def kernel(u: Tensor, v: Tensor) -> float:
        return math.exp(-float((u - v).square().sum()) / 6)

    own = sum(kernel(u, v) for i, u in enumerate(a) for j, v in enumerate(a) if i != j) / 42
    others = sum(kernel(u, v) for i, u in enumerate(b) for j, v in enumerate(b) if i != j) / 20
    between = sum(kernel(u, v) for u in a for v in b) / 35
    assert squared_mmd(a, b).item() == pytest.approx(own + others - 2 * between, abs=1e-12)


def test_the_discrepancy_of_the_same_density_is_zero_in_the_mean() -> None:
    torch.manual_seed(0)
    values = torch.stack([squared_mmd(torch.randn(40, 4), torch.randn(40, 4)) for _ in range(300)])
    assert abs(values.mean()) < 4 * values.std() / math.sqrt(300)
    assert squared_mmd(torch.randn(1, 4), torch.randn(1, 4)).isfinite()


@pytest.mark.parametrize("correlation", [0.0, 0.6, 0.9])
def test_the_total_correlation_is_that_of_a_gaussian(correlation: float) -> None:
    torch.manual_seed(0)
    n, width = 2500, 0.4
    covariance = torch.tensor([[1.0, correlation], [correlation, 1.0]])
    narrow = covariance - width**2 * torch.eye(2)  # of the means: the sum with the width of each posterior has the covariance wanted
    eigenvalues, axes = torch.linalg.eigh(narrow)
    means = torch.randn(n, 2) * eigenvalues.clamp_min(0).sqrt() @ axes.T
    wanted = means.T.cov() + width**2 * torch.eye(2)
    exactly = -0.5 * torch.log(torch.linalg.det(wanted) / wanted.diagonal().prod())
    q = Gaussian(means, torch.full((n, 2), math.log(width)))
    made = total_correlation(q.rsample(), q).mean()
    assert made.item() == pytest.approx(exactly.item(), abs=0.05)


def test_what_is_added_has_its_strength() -> None:
    x = exact()[1].sample((50,))
    for objective in ("mmd", "tc"):
        model, _ = exact(objective=objective, strength=3.0)
        torch.manual_seed(0)
        loss = model.loss(Examples(x))
        torch.testing.assert_close(loss.total, loss.parts["kl"] + loss.parts["reconstruction"] + 3 * loss.parts[objective])
        assert not model.separable


# ---- free nats and warm-up --------------------------------------------------------------------------------------------


def test_free_nats_are_counted_for_each_dimension_in_training_only() -> None:
    x = exact()[1].sample((200,))
    model, _ = exact(free_bits=100.0)
    torch.manual_seed(0)
    loss = model.loss(Examples(x))
    torch.testing.assert_close(loss.total, 200 * LATENT * 100.0 + loss.parts["reconstruction"])
    assert loss.parts["kl"] < loss.weight * 100
    torch.manual_seed(0)
    told = model.eval().loss(Examples(x))
    torch.testing.assert_close(told.total, told.parts["kl"] + told.parts["reconstruction"])
    small, plain = exact(free_bits=1e-6)[0], exact()[0]
    values = []
    for each in (small, plain):
        torch.manual_seed(0)
        values.append(each.loss(Examples(x)).total)
    torch.testing.assert_close(*values)


def test_the_kl_term_rises_with_the_share_of_the_training() -> None:
    x = exact()[1].sample((50,))
    model, _ = exact(kl_warmup=0.5, beta=2.0)
    for elapsed, factor in ((0.0, 0.0), (0.25, 1.0), (0.5, 2.0), (1.0, 2.0)):
        model.elapsed.fill_(elapsed)
        loss = model.loss(Examples(x))
        torch.testing.assert_close(loss.total, factor * loss.parts["kl"] + loss.parts["reconstruction"])
    model.elapsed.fill_(0.0)
    loss = model.eval().loss(Examples(x))
    torch.testing.assert_close(loss.total, 2 * loss.parts["kl"] + loss.parts["reconstruction"])


@pytest.mark.parametrize("seeds", [None, 2])
def test_fit_tells_how_much_of_the_training_is_over(seeds: int | None) -> None:
    x = np.random.default_rng(0).normal(size=(256, 4)).astype(np.float32)
    learned = fit(
        "vae", x, options={"latent": 2, "kl_warmup": 1.0}, epochs=4, batch_size=32, seeds=seeds, validation=0.0, seed=0, progress=False,
        doctor=False,
    )  # fmt: skip
    history = (learned[0] if seeds else learned).history
    for epoch, record in enumerate(history):
        loss, told, kl = (np.atleast_1d(record[f"train/{name}"]) for name in ("loss", "reconstruction", "kl"))
        factor = (loss - told) / kl
        assert np.all(factor > (epoch - 0.1) / 4) and np.all(factor < (epoch + 1.1) / 4)


# ---- options ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, words",
    [
        ({"objective": "hope"}, "unknown objective 'hope'"),
        ({"prior": "hope"}, "unknown prior 'hope'"),
        ({"posterior": "hope"}, "unknown posterior 'hope'"),
        ({"likelihood": "hope"}, "unknown likelihood 'hope'"),
        ({"spread": "hope"}, "unknown spread 'hope'"),
        ({"free_bits": -1.0}, "'free_bits' of VAE must be a finite number from 0; got -1"),
        ({"kl_warmup": 2.0}, "'kl_warmup' of VAE is a share of the training, 0 … 1; got 2"),
        ({"beta": math.nan}, "'beta' of VAE must be a finite number from 0; got nan"),
        ({"draws": 0}, "'draws' of VAE must be 1 or more; got 0"),
        ({"draws": 20}, "'draws' of VAE has no effect with objective='elbo'; it is for iwae and dreg"),
        ({"draws": 20, "objective": "tc"}, "'draws' of VAE has no effect with objective='tc'"),
        ({"strength": 2.0}, "no effect with objective='elbo'"),
        ({"objective": "iwae", "beta": 2.0}, "no KL term of its own"),
        ({"free_bits": 0.1, "prior": "mixture"}, "wants prior='normal' and posterior='diagonal'"),
        ({"prior": "vamp", "posterior": "full"}, "'vamp' of VAE wants posterior='diagonal'; got 'full'"),
        ({"objective": "dreg", "posterior": "flow"}, "'dreg' of VAE wants posterior='diagonal' or 'full'; got 'flow'"),
        ({"components": 3}, "'components' of VAE has no effect with prior='normal'; got 3"),
        ({"components": 0, "prior": "mixture"}, "'components' of VAE must be 1 or more; got 0"),
        ({"likelihood": "bernoulli"}, "likelihood 'bernoulli' is for images; x is a Vector"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        VAE(Spec(Vector.real(2)), **options)
