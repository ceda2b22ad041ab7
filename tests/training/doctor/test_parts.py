"""Parts of the doctor against closed forms: leakage and chance, curves, lengths of steps, profiles and landscapes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import gnomon
from gnomon.data import Column, Examples, Integer, Label, Ragged, Spec, Vector
from gnomon.errors import OptionError
from gnomon.models import Loss, Model
from gnomon.training.doctor import before, curves, gradient_profile, loss_landscape, rates
from gnomon.training.doctor.rates import Level, Step
from tests.training.doctor.models_for_the_doctor import Net, regression

R = regression()


# ---- before -------------------------------------------------------------------------------------------------------------


def test_one_twin_is_no_leakage_but_six_are() -> None:
    spec, train, held_out = R
    for count, expected in ((0, False), (1, False), (6, True)):
        mixed = Examples.cat([held_out, train[:count]])
        assert (before.leakage(spec, train, mixed) is not None) is expected


def test_rows_that_repeat_on_their_own_are_no_leakage() -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(0, 4, (2000, 3), generator=generator).float()
    spec = Spec(Vector(tuple(Column(n, Integer(0, 3)) for n in "abc")))
    assert before.leakage(spec, Examples(rows[:1600]), Examples(rows[1600:])) is None


def test_a_table_doubled_before_the_split_leaks() -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(500, 3, generator=generator).repeat(2, 1)[torch.randperm(1000, generator=generator)]
    assert before.leakage(Spec(Vector.real(3)), Examples(rows[:800]), Examples(rows[800:])) is not None


def test_sets_leak_in_any_order_of_their_elements() -> None:
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(1, 5, (100,), generator=generator)
    sets = Ragged(torch.randn(int(lengths.sum()), 2, generator=generator), lengths)
    turned = Ragged(torch.cat([part.flip(0) for part in sets.split()[:20]]), lengths[:20])
    spec = Spec(Label((0, 1)))  # what x is called does not matter here
    assert before.leakage(spec, Examples(sets[:50]), Examples(sets[50:])) is None
    assert before.leakage(spec, Examples(sets[:50]), Examples(turned)) is not None


def test_rows_that_differ_in_their_condition_are_no_twins() -> None:
    spec = Spec(Vector.real(2), given=Vector.real(1))
    x = torch.randn(60, 2, generator=torch.Generator().manual_seed(0))
    train = Examples(x, given=torch.zeros(60, 1))
    assert before.leakage(spec, train, Examples(x, given=torch.ones(60, 1))) is None
    assert before.leakage(spec, train, Examples(x, given=torch.zeros(60, 1))) is not None


def test_targets_without_content_are_faults_and_rare_classes_are_notes() -> None:
    spec, train, _ = R
    still = train.with_(y=torch.zeros(len(train), 1))
    assert [kind for kind, _ in before.faults(spec, still, None)] == ["constant"]
    classes = Spec(Vector.real(6), Label(("no", "yes")))
    rare = train.with_(y=(torch.arange(len(train)) < 10).long())
    assert before.faults(classes, rare, None) == [] and "'yes' has 10 rows" in before.notes(classes, rare)[0]


# ---- curves and rates -----------------------------------------------------------------------------------------------------


def records(train: np.ndarray, held: np.ndarray) -> list[dict[str, float]]:
    return [{"train/loss": float(t), "validation/loss": float(h)} for t, h in zip(train, held, strict=True)]


def test_overfitting_is_a_rise_and_not_noise() -> None:
    epoch = np.arange(60.0)
    noise = 0.02 * np.random.default_rng(0).standard_normal(60)
    train = np.exp(-epoch / 10)
    assert curves.overfitting(records(train, 0.5 + 0.5 * np.exp(-epoch / 5) + noise)) is None
    assert curves.overfitting(records(train, 0.5 + 0.5 * np.exp(-epoch / 5) + 0.02 * epoch + noise)) is not None
    assert curves.overfitting(records(train, 0.5 + 0.5 * np.exp(-epoch / 5) + 0.001 * epoch + noise)) is None  # a little is no fault


@pytest.mark.parametrize("seed", range(5))
def test_a_flat_noisy_curve_is_not_overfitting(seed: int) -> None:
    noise = np.random.default_rng(seed).standard_normal((2, 80))
    assert curves.overfitting(records(1 + 0.05 * noise[0], 1 + 0.05 * noise[1])) is None


def step(**parts: float) -> Step:
    return Step(**{"turn": 9, "before": 1.0, "after": 1.0, "rise": -0.1, "ratio": 0.01, "factor": 1.0, **parts})  # type: ignore[arg-type]


def test_the_rate_is_judged_over_the_whole_fit() -> None:
    small = [step(turn=t, ratio=1e-6) for t in (2, 9, 29)]
    assert rates.too_low(small, 1e-7, 1000, rivals=False) is not None
    assert rates.too_low(small, 1e-7, 100_000, rivals=False) is None  # many small steps add up
    assert rates.too_low([step(turn=t, ratio=1e-8, factor=1e-2) for t in (2, 9, 29)], 1e-3, 1000, rivals=False) is not None
    assert (
        rates.too_low([step(turn=t, ratio=1e-5, factor=1e-2) for t in (2, 9, 29)], 1e-3, 1000, rivals=False) is None
    )  # warm-up is no fault


def test_one_overshot_step_is_no_fault_and_two_are() -> None:
    level = Level(1.0, 0.1)
    bad, good = step(rise=3.0, after=5.0, before=2.0), step()
    assert rates.too_high([good, bad], level, 1.0, rivals=False) is None
    assert rates.too_high([bad, bad], level, 1.0, rivals=False) is not None
    assert rates.too_high([bad, bad], level, 1.0, rivals=True) is None


def test_cauchy_schwarz_bounds_the_rise_of_a_straight_loss(visit) -> None:
    """Of a loss linear in its weights the rise is the cosine between step and gradient, whatever the rate."""

    class Linear(Model):
        def __init__(self, spec: Spec) -> None:
            super().__init__(spec)
            self.net = nn.Linear(len(spec.x), 1, bias=False)  # type: ignore[arg-type]

        def loss(self, batch: Examples) -> Loss:
            return Loss.mean(self.net(batch.x).squeeze(1) * batch.y.squeeze(1))  # type: ignore[union-attr]

    made = visit(Linear(R[0]), R[0], R[1], optimizer="sgd", lr=1e3, clip=None, epochs=1, schedule="constant")
    steps = made.doctor._steps["model"]
    assert steps and all(s.rise == pytest.approx(-1.0, abs=1e-4) for s in steps)


# ---- pictures ---------------------------------------------------------------------------------------------------------------


def test_a_profile_shows_the_factor_of_every_layer(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Net(R[0], widths=(256,) * 6, act=nn.Identity())
    with torch.no_grad():
        for layer in model.layers:
            layer.weight.normal_(0, 0.5 / layer.weight.shape[1] ** 0.5)
            layer.bias.zero_()
    made = gradient_profile(model, R[1])
    assert made.layers == tuple(f"layers.{i}" for i in range(7))
    assert np.allclose(made.signals[1:6] / made.signals[:5], 0.5, rtol=0.15)
    assert np.allclose(made.slopes[:5] / made.slopes[1:6], 0.5, rtol=0.25)
    made.save(tmp_path / "profile.png")
    assert (tmp_path / "profile.png").stat().st_size > 1000
    assert all(p.grad is None for p in model.parameters()) and model.training


def test_a_landscape_does_not_see_the_scale_of_weights(tmp_path: Path) -> None:
    """Two nets that are the same function, one with doubled first and halved second weights, have one landscape."""
    torch.manual_seed(0)
    model = Net(R[0], widths=(16,))
    with torch.no_grad():
        model.layers[0].bias.zero_()
    first = loss_landscape(model, R[1], points=5)
    with torch.no_grad():
        model.layers[0].weight.mul_(2.0)
        model.layers[1].weight.div_(2.0)
    second = loss_landscape(model, R[1], points=5)
    assert np.allclose(first.loss, second.loss, rtol=1e-4)
    model.eval()
    assert first.centre == pytest.approx(float((model(R[1].x) - R[1].y).detach().square().mean()), rel=1e-5)
    first.save(tmp_path / "landscape.svg")
    assert (tmp_path / "landscape.svg").stat().st_size > 1000


def test_a_landscape_leaves_normalisation_alone() -> None:
    torch.manual_seed(0)
    model = Net(R[0], norm=True)
    kept = {k: v.clone() for k, v in model.state_dict().items()}
    loss_landscape(model, R[1], points=3)
    assert all(torch.equal(kept[k], v) for k, v in model.state_dict().items()) and model.training
    with pytest.raises(OptionError, match="odd"):
        loss_landscape(model, R[1], points=4)


def test_pictures_open_what_fit_gives_back() -> None:
    import gnomon

    learned = gnomon.fit("classifier", "iris", epochs=2, progress=False)
    made = gradient_profile(learned, "iris")
    assert len(made.layers) >= 2 and np.isfinite(made.slopes).all()
    assert np.isfinite(loss_landscape(learned, "iris", points=3).loss).all()


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_weights_that_start_and_stay_at_zero_are_named(activation) -> None:
    options = {"net": {"hidden": (16, 16), "activation": activation, "initialiser": "zeros"}}
    learned = gnomon.fit("classifier", "wine", options=options, epochs=5, progress=False)
    said = [line for record in learned.history for line in record.get("doctor", ())]
    assert len(said) == 1 and said[0].startswith("zero weights: those of layer 'encoder.net.0'")
