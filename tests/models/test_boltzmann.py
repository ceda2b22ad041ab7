"""Flows trained on energies: a Gaussian's log Z, a double well by quadrature, the estimators of the gradient, what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import gnomon
from gnomon.blocks.bijections import Continuous, LULinear
from gnomon.blocks.importance import effective_share, log_partition, weighted_mean
from gnomon.data import Categorical, Column, Examples, Image, Periodic, Positive, Spec, Vector, blank
from gnomon.errors import DataError, OptionError
from gnomon.models.boltzmann import Boltzmann

COVARIANCE = torch.tensor([[1.5, 0.6], [0.6, 0.8]])
PLANE = Spec(Vector.real(2))
FEW = {"transforms": 2, "hidden": (8,), "bins": 4}


def gaussian(x: Tensor) -> Tensor:
    """An energy whose log Z is that of a normal density with its normalisation left out."""
    return 0.5 * (torch.linalg.solve(COVARIANCE.to(x), (x - 1).T).T * (x - 1)).sum(1)


GAUSSIAN_LOG_Z = math.log(2 * math.pi) + 0.5 * float(torch.logdet(COVARIANCE))


def well(x: Tensor) -> Tensor:
    """Two wells, one deeper than the other."""
    return (x[:, 0].square() - 1.5).square() + 0.2 * x[:, 0] + 2 * (x[:, 1] - 0.5 * x[:, 0]).square()


def trained(model: Boltzmann, *, epochs: int, lr: float, rows: int = 2048) -> Boltzmann:
    gnomon.fit(model, blank(model.spec, rows), batch_size=256, epochs=epochs, lr=lr, validation=0, compile="off", progress=False)
    return model.eval()


def drawn(model: Boltzmann, n: int = 20_000) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    with torch.no_grad():
        return model.weighted_sample(n)


def test_a_gaussian_is_learned_exactly() -> None:
    """An affine map can be exact; with path gradients the noise then vanishes, and so do the differences of the weights."""
    model = trained(Boltzmann(PLANE, energy=gaussian, bijection=LULinear(2)), epochs=60, lr=0.03)
    log_weights = drawn(model)[1]
    assert float(log_weights.std()) < 1e-2
    assert log_partition(log_weights).value == pytest.approx(GAUSSIAN_LOG_Z, abs=2e-3)
    with torch.no_grad():
        loss = model.validate(Examples(torch.zeros(500, 2)))
    assert float(loss.total / loss.weight) == pytest.approx(-GAUSSIAN_LOG_Z, abs=2e-3)


def test_a_double_well_has_the_log_z_and_the_share_of_quadrature() -> None:
    torch.manual_seed(0)
    model = trained(Boltzmann(PLANE, energy=well, flow={"transforms": 4, "hidden": (16,), "bins": 8}), epochs=25, lr=1e-2)
    x, log_weights = drawn(model, 50_000)
    axis = torch.arange(-5, 5, 0.01, dtype=torch.float64) + 0.005
    grid = torch.cartesian_prod(axis, axis)
    density = torch.exp(-well(grid))
    log_z = math.log(float(density.sum()) * 1e-4)
    right = float(density[grid[:, 0] > 0].sum() / density.sum())
    assert effective_share(log_weights).value > 0.8
    measured, share = log_partition(log_weights), weighted_mean((x[:, 0] > 0).double(), log_weights)
    assert abs(measured.value - log_z) < 5 * measured.error
    assert abs(share.value - right) < 5 * share.error and 0.3 < right < 0.45
    with torch.no_grad():
        again = model.log_prob(Examples(x[:1000]))
    torch.testing.assert_close(-well(x[:1000]) - again, log_weights[:1000], rtol=0, atol=1e-3)


def parts(estimator: str, seeds: int, model: Boltzmann) -> Tensor:
    """Gradients of the loss on batches of 64, one row a seed."""
    model.estimator = estimator
    rows = []
    for seed in range(seeds):
        torch.manual_seed(seed)
        loss = model.loss(Examples(torch.zeros(64, 2, dtype=torch.float64)))
        rows.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss.total / 64, list(model.bijection.parameters()))]))
    return torch.stack(rows)


def test_both_estimators_have_one_mean_and_the_path_has_the_smaller_noise() -> None:
    torch.manual_seed(0)
    model = Boltzmann(PLANE, energy=gaussian, bijection=LULinear(2)).double()
    for p in model.bijection.parameters():
        p.data.normal_(0, 0.2)
    path, total = (parts(estimator, 400, model) for estimator in ("path", "total"))
    difference = path.mean(0) - total.mean(0)  # from the same draws, so that most of the noise cancels
    assert (difference.abs() < 4.5 * (path - total).std(0) / math.sqrt(400) + 1e-12).all()
    # At the optimum the path estimator is zero draw by draw, the other one is not.
    lower = torch.linalg.cholesky(torch.linalg.inv(COVARIANCE.double()))
    sign = torch.linalg.inv(torch.linalg.cholesky(COVARIANCE.double()))
    assert torch.allclose(sign.T @ sign, lower @ lower.T)
    with torch.no_grad():
        scale = sign.diagonal()
        model.bijection.log_diagonal.copy_(scale.log())
        model.bijection.factors.copy_((sign / scale).tril(-1))  # W = L U with U the diagonal
        model.bijection.bias.copy_(-sign @ torch.ones(2).double())
    path, total = (parts(estimator, 20, model) for estimator in ("path", "total"))
    assert path.abs().max() < 1e-10 < 1e-2 < total.abs().max()


def test_the_value_of_the_loss_does_not_depend_on_the_estimator() -> None:
    values = []
    for estimator in ("path", "total"):
        torch.manual_seed(1)
        model = Boltzmann(PLANE, energy=well, estimator=estimator, flow=FEW)
        torch.manual_seed(2)
        loss = model.loss(Examples(torch.zeros(50, 2)))
        values.append((loss.total.item(), loss.parts["energy"].item()))
    assert values[0] == pytest.approx(values[1], rel=1e-5)


@pytest.mark.slow
def test_a_condition_moves_the_target() -> None:
    spec = Spec(Vector.real(1), given=Vector.real(1))
    model = Boltzmann(spec, energy=lambda x, given: 2 * (x - given).square().sum(1), flow={"transforms": 2, "hidden": (16,), "bins": 4})
    conditions = np.random.default_rng(0).uniform(-1, 1, (1024, 1))
    data = blank(spec, 1024, given=conditions)
    learned = gnomon.fit(model, data, batch_size=128, epochs=40, lr=1e-2, validation=0, compile="off", progress=False)
    for asked in (-0.8, 0.8):
        made = np.asarray(learned.sample(2000, given=np.full((2000, 1), asked)))
        scaled = (asked - conditions.mean()) / conditions.std()
        assert made.mean() == pytest.approx(scaled, abs=0.1) and made.std() == pytest.approx(0.5, abs=0.06)


def test_angles_and_images_and_a_continuous_flow() -> None:
    circle = Spec(Vector((Column("phi", Periodic(-math.pi, math.pi)),)))
    model = trained(Boltzmann(circle, energy=lambda x: -2 * x.cos().sum(1), flow=FEW), epochs=10, lr=2e-2)
    log_weights = drawn(model)[1]
    expected = math.log(2 * math.pi * float(torch.special.i0(torch.tensor(2.0))))
    assert log_partition(log_weights).value == pytest.approx(expected, abs=0.01)
    assert effective_share(log_weights).value > 0.9
    image = Spec(Image(1, (2, 2)))
    model = Boltzmann(image, energy=lambda x: 0.5 * x.square().sum((1, 2, 3)), bijection=Continuous(4, hidden=(8,)))
    assert model.weighted_sample(3)[0].shape == (3, 1, 2, 2)
    assert float(drawn(model, 100)[1].std()) < 1e-5  # it starts as the identity, and the target is the noise


class Tilted(nn.Module):
    """An energy with a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(0.3))

    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * x.square().sum(1) + self.slope * x[:, 0]


def test_the_parameters_of_an_energy_stay_as_they_are() -> None:
    model = Boltzmann(PLANE, energy=Tilted(), flow=FEW)
    (player,) = model.players()
    assert all(name.startswith("bijection.") for name in player.parameters(model))
    trained(model, epochs=1, lr=1e-2)
    assert model.energy.slope.item() == pytest.approx(0.3)


def test_what_cannot_be_is_refused_by_name() -> None:
    with pytest.raises(OptionError, match="'energy' of Boltzmann must be a function or module of x, given from Python; got 'ising'"):
        Boltzmann(PLANE, energy="ising")
    with pytest.raises(OptionError, match="unknown estimator 'pathwise' of Boltzmann; did you mean 'path'"):
        Boltzmann(PLANE, energy=well, estimator="pathwise")
    with pytest.raises(OptionError, match="'bijection' of Boltzmann must be a blocks.bijections.Bijection; got Linear"):
        Boltzmann(PLANE, energy=well, bijection=nn.Linear(2, 2))
    for option, value in (("dropout", 0.1), ("actnorm", True)):
        with pytest.raises(OptionError, match=f"has no {option}"):
            Boltzmann(PLANE, energy=well, flow={option: value})
    for support in (Categorical((1, 2)), Positive()):
        with pytest.raises(DataError, match=f"wants real and periodic columns; 'c' is {support.name}"):
            Boltzmann(Spec(Vector((Column("a"), Column("c", support)))), energy=well)
    with pytest.raises(DataError, match="one of 17 levels"):
        Boltzmann(Spec(Image(1, (2, 2), levels=17)), energy=well)
    with pytest.raises(OptionError, match="unknown option 'layers'"):
        Boltzmann(PLANE, energy=well, flow={"layers": 3})


def test_a_saved_run_wants_its_energy_again(tmp_path) -> None:
    options = {"energy": well, "flow": FEW}
    learned = gnomon.fit("boltzmann", blank(PLANE, 256), options=options, epochs=1, compile="off", progress=False)
    learned.save(tmp_path / "run")
    with pytest.raises(gnomon.GnomonError, match="energy"):
        gnomon.load(tmp_path / "run")
    again = gnomon.load(tmp_path / "run", model=lambda spec: Boltzmann(spec, **options))
    assert np.array_equal(np.asarray(again.sample(5, seed=1)), np.asarray(learned.sample(5, seed=1)))


def test_blank_data_leave_numbers_as_they_are() -> None:
    spec = Spec(Vector((Column("r"), Column("phi", Periodic(-math.pi, math.pi)), Column("turn", Periodic(1.0, 2.0)))), given=Vector.real(1))
    prepared = blank(spec, 4, given=np.ones((4, 1)))
    assert prepared.raw.x.tolist() == [[0.0, 0.0, 1.0]] * 4
    energy = lambda x, given: 0.5 * x[:, :1].square().sum(1)  # noqa: E731
    learned = gnomon.fit(Boltzmann(spec, energy=energy, flow=FEW), prepared, epochs=1, progress=False, compile="off")
    raw = Examples(torch.tensor([[2.5, 1.0, 1.25]]).double(), given=torch.ones(1, 1).double())
    assert learned.scaling.forward(raw).x[0, :2].tolist() == [2.5, 1.0]
    for wrong, message in (({"rows": 0}, "rows of 1 or more"), ({"rows": 3}, r"conditions of shape \(3, 1\); got shape \(4, 1\)")):
        with pytest.raises((DataError, OptionError), match=message):
            blank(spec, **wrong, given=np.ones((4, 1)))
    with pytest.raises(DataError, match="column 'e' is positive"):
        blank(Spec(Vector((Column("e", Positive()),))), 3)


def test_a_missing_energy_is_named() -> None:
    with pytest.raises(OptionError, match="Boltzmann wants option 'energy', which has no default"):
        Boltzmann(Spec(Vector.real(2)))  # type: ignore[call-arg]
