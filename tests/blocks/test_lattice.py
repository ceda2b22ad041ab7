"""Velocities on a lattice: the symmetries they keep, the divergence by autograd, the sum written out."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gnomon.blocks.lattice import LatticeVelocity, displacements
from gnomon.errors import OptionError
from tests.module_contract import Case, ModuleContract


def lively(size: tuple[int, ...], **options: object) -> LatticeVelocity:
    torch.manual_seed(0)
    velocity = LatticeVelocity(size, frequencies=3, **options).double()
    velocity.weight.data.normal_()
    return velocity


def fields(size: tuple[int, ...], n: int = 5) -> Tensor:
    return torch.randn(n, math.prod(size), generator=torch.Generator().manual_seed(1), dtype=torch.float64)


NOW = torch.tensor(0.3, dtype=torch.float64)


class AtATime(torch.nn.Module):
    """The velocity as a function of the field alone."""

    def __init__(self, size: tuple[int, ...]) -> None:
        super().__init__()
        self.velocity = LatticeVelocity(size, frequencies=2)
        self.velocity.weight.data.normal_()  # the block itself draws nothing
        self.velocity.omega.data.uniform_(1, 3)

    def forward(self, x: Tensor) -> Tensor:
        moved, divergence = self.velocity.with_divergence(x.new_full((), 0.3), x)
        return torch.cat([moved, divergence[:, None]], 1)


CASES = {
    "signal": Case(lambda: AtATime((5,)), lambda g: (torch.randn(4, 5, generator=g),)),
    "plane": Case(lambda: AtATime((2, 3)), lambda g: (torch.randn(4, 6, generator=g),)),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


class TestLatticeVelocity(ModuleContract):
    """The contract."""


@pytest.mark.parametrize(("size", "count"), [((8, 8), 15), ((4, 6), 12), ((4,), 3), ((4, 4, 4), 10)])
def test_there_is_one_class_for_displacements_that_symmetries_join(size: tuple[int, ...], count: int) -> None:
    orbits, found = displacements(size)
    assert found == count == len(orbits.unique()) and torch.equal(orbits, orbits.T) and (orbits.diagonal() == 0).all()
    assert all(torch.equal(row.bincount(), orbits[0].bincount()) for row in orbits)


@pytest.mark.parametrize("size", [(6,), (4, 4), (3, 5)])
def test_the_velocity_turns_with_the_lattice(size: tuple[int, ...]) -> None:
    velocity, x = lively(size), fields(size)
    moved, divergence = velocity.with_divergence(NOW, x)
    grid = x.unflatten(1, size)
    axes = tuple(range(1, 1 + len(size)))
    changes = {"shift": lambda v: v.roll(tuple(range(1, 1 + len(size))), axes), "mirror": lambda v: v.flip(1)}
    if size == (4, 4):
        changes["turn"] = lambda v: v.rot90(1, (1, 2))
    for name, change in changes.items():
        other, other_divergence = velocity.with_divergence(NOW, change(grid).flatten(1))
        torch.testing.assert_close(other, change(moved.unflatten(1, size)).flatten(1), msg=name)
        torch.testing.assert_close(other_divergence, divergence)
    other, other_divergence = velocity.with_divergence(NOW, -x)
    torch.testing.assert_close(other, -moved)
    torch.testing.assert_close(other_divergence, divergence)


def test_it_is_the_sum_written_out() -> None:
    velocity, x = lively((3, 3)), fields((3, 3))
    clock = torch.cos(math.pi * torch.arange(3).double() * NOW)
    expected = torch.zeros_like(x)
    for i in range(9):
        for j in range(9):
            kernel = clock @ velocity.weight[:, velocity.orbits[i, j]]
            seen = torch.stack([x[:, j], *((omega * x[:, j]).sin() for omega in velocity.omega)], 1)
            expected[:, i] += seen @ kernel
    torch.testing.assert_close(velocity(NOW, x), expected)


@pytest.mark.parametrize("size", [(5,), (2, 3), (2, 2, 2)])
def test_the_divergence_is_autograds(size: tuple[int, ...]) -> None:
    velocity, x = lively(size), fields(size)
    divergence = velocity.with_divergence(NOW, x)[1]
    for row, value in zip(x, divergence, strict=True):
        jacobian = torch.autograd.functional.jacobian(lambda v: velocity(NOW, v[None])[0], row)
        torch.testing.assert_close(value, jacobian.trace())


def test_rows_may_have_times_of_their_own() -> None:
    velocity, x, times = lively((2, 3)), fields((2, 3)), torch.linspace(0, 1, 5, dtype=torch.float64)
    moved, divergence = velocity.with_divergence(times, x)
    for i in range(5):
        one, its = velocity.with_divergence(times[i], x[i : i + 1])
        torch.testing.assert_close(moved[i : i + 1], one)
        torch.testing.assert_close(divergence[i : i + 1], its)


def test_it_starts_as_a_stretch() -> None:
    x = fields((3,))
    velocity = LatticeVelocity((3,), spread=0.5).double()
    moved, divergence = velocity.with_divergence(NOW, x)
    torch.testing.assert_close(moved, math.log(2) * x, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(divergence, torch.full((5,), 3 * math.log(2), dtype=torch.float64), rtol=1e-6, atol=1e-6)


def test_bad_options_are_named() -> None:
    for options in ({"spread": 0.0}, {"times": 0}, {"frequencies": -1}):
        with pytest.raises(OptionError, match="LatticeVelocity wants"):
            LatticeVelocity((4, 4), **options)
