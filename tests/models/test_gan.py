"""The GAN's losses against formulas written out with autograd, its columns, and that it learns a mixture."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import gnomon
from gnomon.data import Categorical, Column, Examples, Image, Integer, Periodic, Spec, Vector
from gnomon.errors import OptionError
from gnomon.models.gan import GAN

MIXED = Vector((Column("pt"), Column("phi", Periodic(0, 1)), Column("charge", Categorical(("-", "0", "+"))), Column("hits", Integer(0, 9))))


@pytest.mark.parametrize("kind", [Vector.real(3), Image(2, (5, 4))], ids=["vector", "image"])
def test_losses_equal_the_formulas_with_penalties_per_example(kind) -> None:
    torch.manual_seed(0)
    model = GAN(Spec(kind), gamma=0.7, latent=3).double()
    x = torch.randn(6, *kind.shape, dtype=torch.float64)
    torch.manual_seed(1)
    found = model.critic_loss(Examples(x))
    torch.manual_seed(1)
    fake = model.fake(6, None).detach()
    penalty = torch.zeros(6, dtype=torch.float64)
    for side in (x, fake):
        for i in range(6):
            one = side[i : i + 1].clone().requires_grad_()
            (slope,) = torch.autograd.grad(model.critic(one).sum(), one)
            penalty[i] += 0.35 * slope.square().sum()
    gap = (model.critic(x) - model.critic(fake)).squeeze(1)
    torch.testing.assert_close(found.total, (torch.log1p(torch.exp(-gap)) + penalty).sum())
    torch.testing.assert_close(found.parts["penalty"], penalty.sum())
    torch.manual_seed(1)
    torch.testing.assert_close(model.generator_loss(Examples(x)).total, F.softplus(gap).sum())


def test_the_penalty_reaches_the_critics_weights() -> None:
    torch.manual_seed(0)
    model = GAN(Spec(Vector.real(2)), gamma=1.0)
    batch = Examples(torch.randn(8, 2))
    gradients = []
    for gamma in (0.0, 1.0):
        model.gamma = gamma
        torch.manual_seed(1)
        gradients.append(torch.autograd.grad(model.critic_loss(batch).total, next(model.critic.parameters()))[0])
    assert not torch.allclose(*gradients)


def test_samples_are_legal_columns() -> None:
    torch.manual_seed(0)
    model = GAN(Spec(MIXED))
    x = model.sample(200)
    assert x.shape == (200, 4)
    assert ((x[:, 1] >= -math.pi) & (x[:, 1] < math.pi)).all()
    assert set(x[:, 2].tolist()) <= {0.0, 1.0, 2.0}


def test_the_critic_sees_soft_classes_that_the_generator_can_move() -> None:
    model = GAN(Spec(MIXED))
    soft = model.fake(5, None)
    classes = soft[:, -3:]
    torch.testing.assert_close(classes.sum(1), torch.ones(5))
    assert torch.autograd.grad(classes[:, 0].sum(), list(model.generator.parameters()))[0].abs().sum() > 0


def test_options_out_of_range_are_named() -> None:
    with pytest.raises(OptionError, match="latent=0"):
        GAN(Spec(Vector.real(2)), latent=0)
    with pytest.raises(OptionError, match="gamma=-1"):
        GAN(Spec(Vector.real(2)), gamma=-1.0)


def test_any_module_serves_as_generator_and_critic() -> None:
    model = GAN(Spec(Vector.real(2)), generator=nn.Linear(4, 2), critic=nn.Linear(2, 1), latent=4)
    assert model.sample(3).shape == (3, 2)
    assert torch.isfinite(model.critic_loss(Examples(torch.randn(3, 2))).total)


@pytest.mark.slow
def test_it_finds_all_eight_gaussians() -> None:
    learned = gnomon.fit("gan", "gaussians", epochs=40, batch_size=256, progress=False)
    x = torch.as_tensor(learned.sample(4000).to_pandas().to_numpy())
    angle = torch.atan2(x[:, 1], x[:, 0])
    mode = (angle / (math.pi / 4)).round().long() % 8
    share = torch.bincount(mode, minlength=8) / len(x)
    assert share.min() > 0.06, share
