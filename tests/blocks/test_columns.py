"""Columns read and written: features against loops, likelihoods against torch.distributions, scipy and integrals."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor, distributions

from gnomon.blocks import ColumnFeatures, ColumnHead, hard
from gnomon.data import Bounded, Categorical, Column, Image, Integer, NonNegative, Periodic, Positive, Real, Vector
from gnomon.errors import DataError

SUPPORTS = [
    Real(),
    Positive(),
    NonNegative(),
    Bounded(0, 1),
    Integer(0, 5),
    Periodic(-1, 1),
    Periodic(0, 360),
    Categorical((0, 1)),
    Categorical("abc"),
]
MIXED = Vector(
    (
        Column("phi", Periodic(-1, 1)),
        Column("pt", Positive()),
        Column("c", Categorical("abc")),
        Column("eta"),
        Column("b", Categorical("uv")),
    )
)
SPREADS = ("example", "column", "shared", "fixed")

kinds = st.lists(st.sampled_from(SUPPORTS), min_size=1, max_size=6).map(
    lambda s: Vector(tuple(Column(f"c{i}", x) for i, x in enumerate(s)))
)


def rows_of(kind: Vector, rows: int, seed: int = 0) -> Tensor:
    """Network-space rows that every support allows."""
    generator = torch.Generator().manual_seed(seed)
    columns = []
    for column in kind.columns:
        if isinstance(column.support, Categorical):
            columns.append(torch.randint(0, len(column.support.values), (rows,), generator=generator).double())
        elif isinstance(column.support, Periodic):
            columns.append((torch.rand(rows, generator=generator, dtype=torch.float64) * 2 - 1) * math.pi)
        else:
            columns.append(torch.randn(rows, generator=generator, dtype=torch.float64))
    return torch.stack(columns, 1)


def loose(head: ColumnHead, seed: int = 0) -> ColumnHead:
    """The head with its own parameters moved off zero, in float64."""
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed)))
    return head.double()


# ---- reading ------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(kind=kinds)
def test_features_equal_a_loop_and_hard_undoes_them(kind: Vector) -> None:
    z = rows_of(kind, 5)
    numbers, sines, cosines, one_hot, owners = [], [], [], [], ([], [], [])
    for i, column in enumerate(kind.columns):
        if isinstance(column.support, Categorical):
            classes = len(column.support.values)
            one_hot.append(torch.nn.functional.one_hot(z[:, i].long(), classes).double())
            owners[2].extend([i] * classes)
        elif isinstance(column.support, Periodic):
            sines.append(z[:, i : i + 1].sin())
            cosines.append(z[:, i : i + 1].cos())
            owners[1].append(i)
        else:
            numbers.append(z[:, i : i + 1])
            owners[0].append(i)
    features = ColumnFeatures(kind)
    torch.testing.assert_close(features(z), torch.cat(numbers + sines + cosines + one_hot, 1))
    assert features.outputs == features(z).shape[1]
    assert features.owner.tolist() == owners[0] + owners[1] + owners[1] + owners[2]
    torch.testing.assert_close(hard(kind, features(z)), z)


def test_plain_kinds_are_read_for_nothing() -> None:
    x, image = torch.randn(3, 2), torch.randn(3, 2, 4)
    assert ColumnFeatures(Vector.real(2))(x) is x and hard(Vector.real(2), x) is x
    assert ColumnFeatures(Image(2, (4,)))(image) is image and ColumnFeatures(Image(2, (4,))).outputs == 2


def test_angles_lie_below_pi() -> None:
    kind = Vector((Column("phi", Periodic(-1, 1)),))
    z = hard(kind, torch.tensor([[0.0, -1.0], [-0.0, -1.0]], dtype=torch.float64))
    assert z.flatten().tolist() == [-math.pi, -math.pi]


def test_index_tensors_are_no_part_of_the_state() -> None:
    assert not ColumnFeatures(MIXED).state_dict() and set(ColumnHead(MIXED, spread="column").state_dict()) == {
        "log_spread",
        "log_angle_spread",
    }


def test_a_category_without_values_is_refused_by_name() -> None:
    with pytest.raises(DataError, match="column 'kind' is categorical"):
        ColumnFeatures(Vector((Column("kind", Categorical(())),)))


# ---- likelihoods --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(3,), (2, 5), (2, 3, 4), (1, 2, 3, 2)])
@pytest.mark.parametrize("spread", SPREADS)
def test_numbers_are_gaussian(shape: tuple[int, ...], spread: str) -> None:
    kind = Vector.real(3) if len(shape) == 1 else Image(shape[0], shape[1:])
    torch.manual_seed(0)
    head = loose(ColumnHead(kind, spread=spread))
    raw = torch.randn(6, head.outputs, *shape[1:], dtype=torch.float64)
    x = torch.randn(6, *shape, dtype=torch.float64)
    if spread == "example":
        assert head.outputs == 2 * shape[0]
        log_spread = raw[:, shape[0] :]
    else:
        assert head.outputs == shape[0]
        log_spread = torch.zeros(()) if spread == "fixed" else head.log_spread
        assert log_spread.shape == (shape if spread == "column" else ())
    density = head(raw)
    assert torch.equal(density.location, raw[:, : shape[0]])
    if spread == "fixed":
        assert density.log_spread is None
    else:
        torch.testing.assert_close(density.log_spread, log_spread, atol=0.2, rtol=0)  # the limits pull a little
    exact = distributions.Normal(density.location, 1.0 if spread == "fixed" else density.log_spread.exp())
    torch.testing.assert_close(density.log_prob(x), exact.log_prob(x).flatten(1).sum(1))


def test_spread_is_itself_inside_its_limits_and_never_beyond() -> None:
    head = ColumnHead(Vector.real(1))
    raw = torch.tensor([[0.0, s] for s in (-1e6, -50.0, -2.0, 0.0, 1.0, 50.0, 1e6)], requires_grad=True)
    held = head(raw).log_spread.flatten()
    torch.testing.assert_close(held[2:5], torch.tensor([-2.0, 0.0, 1.0]), atol=0.03, rtol=0)
    assert (held >= -7).all() and (held <= 5.0001).all() and (held.diff() >= 0).all()
    head(raw).log_prob(torch.zeros(7, 1)).sum().backward()
    assert torch.isfinite(raw.grad).all()


@pytest.mark.parametrize("spread", SPREADS)
def test_angles_are_von_mises(spread: str) -> None:
    kind = Vector((Column("phi", Periodic(-1, 1)), Column("psi", Periodic(0, 360))))
    head = loose(ColumnHead(kind, spread=spread))
    raw, z = torch.randn(7, head.outputs, dtype=torch.float64), rows_of(kind, 7)
    density = head(raw)
    location, concentration = torch.atan2(*density.natural[::-1]), torch.hypot(*density.natural)
    expected = distributions.VonMises(location, concentration).log_prob(z).sum(1)
    torch.testing.assert_close(density.log_prob(z), expected, rtol=1e-5, atol=1e-5)
    by_scipy = stats.vonmises.logpdf(z.numpy(), concentration.detach().numpy(), location.detach().numpy()).sum(1)
    np.testing.assert_allclose(density.log_prob(z).detach().numpy(), by_scipy, rtol=1e-9)
    torch.testing.assert_close(density.mean(), location)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-8), (torch.float32, 5e-3)])
def test_sharpest_angles_against_scipy(dtype: torch.dtype, tolerance: float) -> None:
    head = ColumnHead(Vector((Column("phi", Periodic(-1, 1)),))).to(dtype)
    raw = torch.tensor([[0.6e4, 0.8e4, -100.0]], dtype=dtype)  # concentration e^10 at the angle atan2(4, 3)
    centre = math.atan2(4, 3)
    concentration = torch.hypot(*head(raw).natural).item()
    assert concentration == pytest.approx(math.exp(10), rel=1e-3)
    for offset in (0.0, 0.003, -0.01):
        z = torch.tensor([[centre + offset]], dtype=dtype)
        expected = stats.vonmises.logpdf(z.double().item() - centre, concentration)
        assert head(raw).log_prob(z).item() == pytest.approx(expected, abs=tolerance * (1 + 40 * (dtype == torch.float32)))


def test_undecided_angles_are_uniform_with_finite_slopes() -> None:
    head = ColumnHead(Vector((Column("phi", Periodic(-1, 1)),)))
    raw = torch.zeros(3, 3, requires_grad=True)
    log_prob = head(raw).log_prob(torch.tensor([[-3.0], [0.0], [1.0]]))
    torch.testing.assert_close(log_prob, torch.full((3,), -math.log(2 * math.pi)))
    log_prob.sum().backward()
    slopes = torch.tensor([[math.cos(a), math.sin(a)] for a in (-3.0, 0.0, 1.0)])
    torch.testing.assert_close(raw.grad[:, :2], slopes * 1.1, rtol=0.02, atol=0.02)  # concentration one, pulled a little by its limits
    assert torch.isfinite(head(torch.zeros(3, 3)).soft()).all()


def test_classes_are_softmax() -> None:
    kind = Vector((Column("c", Categorical("abc")), Column("b", Categorical("uv"))))
    raw, z = torch.randn(6, 5), rows_of(kind, 6).float()
    expected = distributions.Categorical(logits=raw[:, :3]).log_prob(z[:, 0]) + distributions.Categorical(logits=raw[:, 3:]).log_prob(
        z[:, 1]
    )
    density = ColumnHead(kind)(raw)
    torch.testing.assert_close(density.log_prob(z), expected)
    assert torch.equal(density.mean(), torch.stack([raw[:, :3].argmax(1), raw[:, 3:].argmax(1)], 1).float())


@pytest.mark.parametrize("spread", SPREADS)
def test_columns_of_a_mixed_row_add_up(spread: str) -> None:
    """The likelihood of a row is the sum of those of its columns, each alone."""
    head = loose(ColumnHead(MIXED, spread=spread))
    raw, z = torch.randn(5, head.outputs, dtype=torch.float64), rows_of(MIXED, 5)
    density = head(raw)
    spreads = torch.ones(2, dtype=torch.float64) if density.log_spread is None else density.log_spread.exp().expand(5, 2)
    numbers = distributions.Normal(density.location, spreads).log_prob(z[:, [1, 3]]).sum(1)
    angle = stats.vonmises.logpdf(z[:, 0], torch.hypot(*density.natural)[:, 0].detach(), torch.atan2(*density.natural[::-1])[:, 0].detach())
    labels = raw[:, -5:-2].log_softmax(1).gather(1, z[:, 2:3].long()) + raw[:, -2:].log_softmax(1).gather(1, z[:, 4:5].long())
    torch.testing.assert_close(density.log_prob(z), numbers + torch.as_tensor(angle) + labels[:, 0])


@pytest.mark.parametrize("spread", SPREADS)
def test_a_mixed_row_integrates_to_one(spread: str) -> None:
    kind = Vector((Column("c", Categorical("abc")), Column("phi", Periodic(0, 1)), Column("x", Bounded(0, 1))))
    head = loose(ColumnHead(kind, spread=spread), seed=3)
    raw = torch.randn(1, head.outputs, generator=torch.Generator().manual_seed(5)).double()
    line, circle = torch.linspace(-15, 15, 301).double(), (torch.arange(200).double() / 200 * 2 - 1) * math.pi
    grid = torch.cartesian_prod(torch.arange(3).double(), circle, line)
    total = head(raw.expand(len(grid), -1)).log_prob(grid).exp().sum() * (30 / 300) * (2 * math.pi / 200)
    assert total.item() == pytest.approx(1, abs=1e-6)


# ---- draws --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("concentration", [0.0, 0.3, 2.0, 30.0, 5e3])
def test_drawn_angles_follow_their_density(concentration: float) -> None:
    head = ColumnHead(Vector((Column("phi", Periodic(-1, 1)),)), spread="column").double()
    direction = torch.tensor([[math.cos(3.0), math.sin(3.0)]]).double() * 1e6 * (concentration > 0)
    if concentration:
        head.log_angle_spread.data.fill_(-0.5 * math.log(concentration))
    torch.manual_seed(1)
    density = head(direction.expand(20000, -1))
    drawn = density.sample().detach().flatten()
    assert (-math.pi <= drawn).all() and (drawn < math.pi).all()
    turned = (drawn - 3.0 + math.pi).remainder(2 * math.pi) - math.pi
    exact = torch.hypot(*density.natural)[0].item()
    assert 0.4 * concentration <= exact <= 1.2 * concentration  # the limits pull the sharpest
    law = stats.vonmises(exact) if concentration else stats.uniform(-math.pi, 2 * math.pi)
    assert stats.kstest(turned.numpy(), law.cdf).pvalue > 1e-3


def test_drawn_numbers_and_classes_follow_their_density() -> None:
    head = ColumnHead(MIXED)
    raw = torch.randn(1, head.outputs, generator=torch.Generator().manual_seed(2))
    torch.manual_seed(1)
    density = head(raw.expand(20000, -1))
    drawn = density.sample()
    for column, i in ((1, 0), (3, 1)):
        law = stats.norm(density.location[0, i].item(), density.log_spread[0, i].exp().item())
        assert stats.kstest(drawn[:, column].numpy(), law.cdf).pvalue > 1e-3
    for column, logits in ((2, raw[0, -5:-2]), (4, raw[0, -2:])):
        counts = torch.bincount(drawn[:, column].long(), minlength=len(logits))
        assert stats.chisquare(counts.numpy(), 20000 * logits.double().softmax(0).numpy()).pvalue > 1e-3


@pytest.mark.parametrize("kind", [MIXED, Vector.real(2), Image(2, (3, 4))], ids=["mixed", "real", "image"])
@pytest.mark.parametrize("spread", SPREADS)
def test_draws_repeat_with_the_seed_and_vmap(kind: Vector | Image, spread: str) -> None:
    head = ColumnHead(kind, spread=spread)
    raw = torch.randn(5, 4, head.outputs, *(kind.size if isinstance(kind, Image) else ()))
    torch.manual_seed(3)
    first = head(raw[0]).sample()
    torch.manual_seed(3)
    assert torch.equal(first, head(raw[0]).sample()) and not torch.equal(first, head(raw[0]).sample())
    assert first.shape == head(raw[0]).mean().shape == (4, *kind.shape)
    many = torch.func.vmap(lambda r: head(r).sample(), randomness="different")(raw)
    assert many.shape == (5, 4, *kind.shape)
    torch.testing.assert_close(torch.func.vmap(lambda r, x: head(r).log_prob(x))(raw, many)[2], head(raw[2]).log_prob(many[2]))


@settings(max_examples=40, deadline=None)
@given(kind=kinds, spread=st.sampled_from(SPREADS))
def test_soft_features_are_read_back_as_the_mean(kind: Vector, spread: str) -> None:
    head = ColumnHead(kind, spread=spread)
    density = head(torch.randn(5, head.outputs, generator=torch.Generator().manual_seed(0)))
    soft = density.soft()
    assert soft.shape == (5, ColumnFeatures(kind).outputs)
    torch.testing.assert_close(hard(kind, soft), density.mean(), atol=1e-4, rtol=1e-4)


def test_leading_axes_are_free() -> None:
    head = ColumnHead(MIXED)
    raw, z = torch.randn(3, 5, head.outputs), rows_of(MIXED, 15).float().reshape(3, 5, -1)
    torch.testing.assert_close(head(raw).log_prob(z)[1], head(raw[1]).log_prob(z[1]))
    assert head(raw).sample().shape == head(raw).mean().shape == (3, 5, 5)
