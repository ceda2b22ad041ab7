"""Losses against their formulas written out, least at the right answer, with right gradients."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.func import vmap

from gnomon.blocks.losses import RAW, as_probabilities, class_losses, cross_entropy, euclidean, number_losses

SOFT = sorted(set(class_losses) - {"squared_log", "expectation", "absolute", "hinge", "squared_hinge", "cubed_hinge"})
"""Losses that are least where the prediction is the target, for targets that are probabilities."""

Formula = Callable[[list[float], list[float]], float]  # of outputs (or their softmax) and target


def overlap(p: list[float], y: list[float]) -> float:
    common = sum(a * b for a, b in zip(p, y, strict=True))
    return common / (sum(a * a for a in p) + sum(b * b for b in y) - common)


def hinge(power: int) -> Formula:
    return lambda o, y: sum(max(0.0, 0.5 - (2 * b - 1) * a) ** power for a, b in zip(o, y, strict=True))


FORMULAS: dict[str, Formula] = {
    "cross_entropy": lambda p, y: -sum(b * math.log(a) for a, b in zip(p, y, strict=True)),
    "squared": lambda o, y: sum((a - b) ** 2 for a, b in zip(o, y, strict=True)),
    "absolute": lambda o, y: sum(abs(a - b) for a, b in zip(o, y, strict=True)),
    "euclidean": math.dist,
    "expectation": lambda p, y: sum(abs(a - b) for a, b in zip(p, y, strict=True)),
    "regularised_expectation": lambda p, y: sum((a - b) ** 2 for a, b in zip(p, y, strict=True)),
    "chebyshev": lambda p, y: max(abs(a - b) for a, b in zip(p, y, strict=True)),
    "hinge": hinge(1),
    "squared_hinge": hinge(2),
    "cubed_hinge": hinge(3),
    "squared_log": lambda p, y: sum((b * math.log(a)) ** 2 for a, b in zip(p, y, strict=True)),
    "tanimoto": lambda p, y: 1 - overlap(p, y),
    "cauchy_schwarz": lambda p, y: -math.log(sum(a * b for a, b in zip(p, y, strict=True)) / math.hypot(*p) / math.hypot(*y)),
}


def drawn(seed: int = 0, n: int = 6, classes: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    outputs = torch.randn(n, classes, dtype=torch.float64, generator=generator)
    return outputs, torch.randint(0, classes, (n,), generator=generator)


def test_the_table_holds_the_thirteen_of_the_paper() -> None:
    assert set(class_losses) == set(FORMULAS) and len(class_losses) == 13


@pytest.mark.parametrize("name", class_losses)
def test_values_are_the_formulas(name: str) -> None:
    outputs, y = drawn()
    seen = outputs if name in RAW else outputs.softmax(-1)
    one_hot = torch.nn.functional.one_hot(y, 4)
    expected = [FORMULAS[name](o, t) for o, t in zip(seen.tolist(), one_hot.double().tolist(), strict=True)]
    for targets in (y, one_hot.double()):
        values = class_losses[name](outputs, targets)
        assert values.shape == (6,) and values.tolist() == pytest.approx(expected, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("name", sorted(set(class_losses) - {"hinge", "squared_hinge", "cubed_hinge"}))
def test_values_for_soft_targets_are_the_formulas(name: str) -> None:
    outputs, _ = drawn()
    y = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(3)).softmax(-1)
    seen = outputs if name in RAW else outputs.softmax(-1)
    expected = [FORMULAS[name](o, t) for o, t in zip(seen.tolist(), y.tolist(), strict=True)]
    assert class_losses[name](outputs, y).tolist() == pytest.approx(expected, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("name", ["hinge", "squared_hinge", "cubed_hinge"])
def test_hinges_of_soft_targets_are_expectations(name: str) -> None:
    outputs, _ = drawn(n=1, classes=3)
    p = torch.tensor([[0.2, 0.5, 0.3]], dtype=torch.float64)
    each = torch.stack([class_losses[name](outputs, torch.tensor([c])) for c in range(3)])
    torch.testing.assert_close(class_losses[name](outputs, p), (p[0] @ each).reshape(1), rtol=1e-12, atol=1e-12)


def descended(loss: Callable[[Tensor, Tensor], Tensor], targets: Tensor, start: Tensor, steps: int = 800) -> Tensor:
    outputs = start.clone().requires_grad_()
    optimiser = torch.optim.Adam([outputs], lr=0.05)
    decay = torch.optim.lr_scheduler.ExponentialLR(optimiser, 0.996)
    for _ in range(steps):
        optimiser.zero_grad()
        loss(outputs, targets).sum().backward()
        optimiser.step()
        decay.step()
    return outputs.detach()


@pytest.mark.parametrize("name", class_losses)
def test_least_at_the_right_class(name: str) -> None:
    start, y = drawn(1, n=8, classes=3)
    loss = class_losses[name]
    found = descended(loss, y, 0.3 * start)
    assert (found.argmax(-1) == y).all()
    right = as_probabilities(y, start)
    best = right if name in ("squared", "absolute", "euclidean") else 40 * (right - 0.5)
    assert loss(best, y).max() < 1e-6
    generator = torch.Generator().manual_seed(2)
    for _ in range(200):  # nothing anywhere is better than the right answer
        assert (loss(3 * torch.randn(8, 3, dtype=torch.float64, generator=generator), y) >= loss(best, y)).all()
    wrong = best.roll(1, -1)
    assert (loss(wrong, y) > 0.4).all()


@pytest.mark.parametrize("name", SOFT)
def test_least_where_the_prediction_is_a_soft_target(name: str) -> None:
    y = torch.tensor([[0.2, 0.5, 0.3], [0.9, 0.05, 0.05]], dtype=torch.float64)
    exact = y if name in RAW else y.log()
    loss = class_losses[name]
    generator = torch.Generator().manual_seed(0)
    least = loss(exact, y)
    for size in (1e-3, 0.1, 1.0):
        for _ in range(50):
            assert (loss(exact + size * torch.randn(2, 3, dtype=torch.float64, generator=generator), y) >= least - 1e-12).all()


@pytest.mark.parametrize("name", [*class_losses, *(f"numbers {name}" for name in number_losses)])
def test_gradients_of_both_orders(name: str) -> None:
    outputs, y = drawn(4)
    loss = number_losses[name.split()[1]] if name.startswith("numbers") else class_losses[name]
    soft = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(5)).softmax(-1)
    for targets in (soft,) if name.startswith("numbers") else (y, soft):
        assert torch.autograd.gradcheck(lambda o, t=targets: loss(o, t), outputs.clone().requires_grad_())
        assert torch.autograd.gradgradcheck(lambda o, t=targets: loss(o, t), outputs.clone().requires_grad_())


@pytest.mark.parametrize("name", class_losses)
def test_far_from_right_is_finite_and_pulls_back(name: str) -> None:
    outputs = torch.tensor([[-200.0, 200.0, 0.0]], requires_grad=True)
    value = class_losses[name](outputs, torch.tensor([0]))
    value.sum().backward()
    assert torch.isfinite(value).all() and torch.isfinite(outputs.grad).all()
    assert name not in ("cross_entropy", "cauchy_schwarz", "squared_log", *RAW) or outputs.grad[0, 0] < 0


@pytest.mark.parametrize("name", class_losses)
def test_vmap_takes_them(name: str) -> None:
    outputs, y = drawn(n=6)
    together = vmap(class_losses[name])(outputs.reshape(3, 2, 4), y.reshape(3, 2))
    torch.testing.assert_close(together.flatten(), class_losses[name](outputs, y))


def test_cross_entropy_is_torchs() -> None:
    outputs, y = drawn()
    assert torch.equal(cross_entropy(outputs, y), torch.nn.functional.cross_entropy(outputs, y, reduction="none"))


def test_huber_is_torchs() -> None:
    outputs, y = drawn()[0] * 3, torch.zeros(6, 4, dtype=torch.float64)
    expected = torch.nn.functional.huber_loss(outputs, y, reduction="none").sum(-1)
    torch.testing.assert_close(number_losses["huber"](outputs, y), expected, rtol=1e-12, atol=1e-12)


def test_the_distance_has_a_gradient_at_the_target() -> None:
    x = torch.zeros(1, 2, requires_grad=True)
    (slope,) = torch.autograd.grad(euclidean(x, torch.zeros(1, 2)).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(slope.sum(), x)
    assert slope.tolist() == [[0, 0]] and torch.isfinite(second).all()


@pytest.mark.parametrize(
    ("name", "expected"), [("squared", 3.06), ("absolute", 1.0), ("huber", 1.1), ("chebyshev", 1.0), ("euclidean", 1.0)]
)
def test_numbers_are_least_at_their_own_centre(name: str, expected: float) -> None:
    y = torch.tensor([[0.0], [0.8], [1.0], [1.5], [12.0]], dtype=torch.float64)  # mean 3.06, median 1

    def loss(value: Tensor, _: Tensor) -> Tensor:
        return number_losses[name](value.expand(5, 1), y)

    found = descended(loss, y, torch.zeros(1, 1, dtype=torch.float64))
    assert found.item() == pytest.approx(expected, abs=0.02)
