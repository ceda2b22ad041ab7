"""Walks through a latent space, against a linear model in which every code is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gnomon
from gnomon.errors import AbilityError, DataError, OptionError
from gnomon.learned import Learned
from gnomon.learned.exploring import Latent


@pytest.fixture(scope="module")
def plane() -> tuple[Learned, np.ndarray]:
    """PCA of points in a plane: codes and examples are one linear map of each other."""
    chance = np.random.default_rng(0)
    x = chance.normal(size=(200, 2)) @ chance.normal(size=(2, 4)) + 3.0
    return gnomon.fit("pca", x, options={"components": 2}, progress=False, validation=0), x


def test_straight_walks_are_straight_from_end_to_end(plane: tuple[Learned, np.ndarray]) -> None:
    learned, x = plane
    walk = Latent(learned).interpolate(x[:3], x[10:13], steps=5).reshape(3, 5, 4)
    t = np.linspace(0, 1, 5)[:, None]
    for i in range(3):
        np.testing.assert_allclose(walk[i], (1 - t) * x[i] + t * x[10 + i], atol=1e-4)


def test_spherical_walks_turn_evenly_and_keep_their_length(plane: tuple[Learned, np.ndarray]) -> None:
    learned, _ = plane
    ends = learned.decode([[2.0, 0.0], [0.0, 2.0], [1.0, 0.0], [3.0, 0.0]])
    latent = Latent(learned)
    codes = latent.encode(latent.interpolate(ends[:1], ends[1:2], steps=7, spherical=True))
    np.testing.assert_allclose(np.linalg.norm(codes, axis=1), 2.0, atol=1e-4)
    np.testing.assert_allclose(np.arctan2(codes[:, 1], codes[:, 0]), np.linspace(0, np.pi / 2, 7), atol=1e-4)
    same_way = latent.encode(latent.interpolate(ends[2:3], ends[3:4], steps=3, spherical=True))
    np.testing.assert_allclose(same_way[:, 0], [1, 2, 3], atol=1e-4)


def test_a_traversal_changes_one_number_by_standard_deviations(plane: tuple[Learned, np.ndarray]) -> None:
    learned, x = plane
    latent = Latent(learned, x)
    start, spread = latent.encode(x[:2]), latent.encode(x).std(0)
    codes = latent.encode(latent.traverse(x[:2], 1, (-1.0, 0.0, 2.0))).reshape(2, 3, 2)
    np.testing.assert_allclose(codes[:, :, 0], np.repeat(start[:, :1], 3, axis=1), atol=1e-4)
    np.testing.assert_allclose(codes[:, :, 1], np.tile(np.array([-1.0, 0.0, 2.0]) * spread[1], (2, 1)), atol=1e-3)
    prior = Latent(learned)
    np.testing.assert_allclose(prior.encode(prior.traverse(x[:1], 0, [2.0]))[0, 0], 2.0, atol=1e-4)


def test_an_analogy_is_a_parallelogram_of_means(plane: tuple[Learned, np.ndarray]) -> None:
    learned, x = plane
    made = Latent(learned).analogy(x[:20], x[20:50], x[50:53])
    np.testing.assert_allclose(made, x[50:53] + x[20:50].mean(0) - x[:20].mean(0), atol=1e-3)


def test_a_grid_runs_from_the_top_left(plane: tuple[Learned, np.ndarray]) -> None:
    learned, _ = plane
    for latent in (Latent(learned), Latent(learned, plane[1])):
        codes = latent.encode(latent.grid((1, 0), steps=3, reach=1.0)) / latent.spread - latent.centre / latent.spread
        np.testing.assert_allclose(codes.reshape(3, 3, 2)[0, 0], [1, -1], atol=1e-3)  # up is the first number, left the second
        np.testing.assert_allclose(codes.reshape(3, 3, 2)[2, 1], [-1, 0], atol=1e-3)


def test_conditions_stay_those_of_the_start() -> None:
    chance = np.random.default_rng(0)
    table = {"a": chance.normal(size=120), "b": chance.normal(size=120), "e": chance.uniform(1, 2, 120)}
    learned = gnomon.fit("autoencoder", table, given=["e"], options={"latent": 1}, epochs=2, progress=False)
    rows = {name: values[:2] for name, values in table.items()}
    other = {name: values[2:4] for name, values in table.items()}
    walk = Latent(learned).interpolate(rows, other, steps=4)
    assert walk.num_rows == 8
    np.testing.assert_allclose(walk["e"].to_numpy(), np.repeat(table["e"][:2], 4))


def test_what_cannot_be_walked_is_said(plane: tuple[Learned, np.ndarray]) -> None:
    learned, x = plane
    latent = Latent(learned)
    with pytest.raises(DataError, match="as many examples on both ends; got 2 and 1"):
        latent.interpolate(x[:2], x[:1])
    with pytest.raises(OptionError, match="steps wants a whole number of 2 or more; got 1"):
        latent.interpolate(x[:1], x[1:2], steps=1)
    with pytest.raises(OptionError, match="dimension wants a position from 0 to 1; got 2"):
        latent.traverse(x[:1], 2)
    with pytest.raises(DataError, match="a walk wants at least one example; got none"):
        latent.analogy(learned.read(x)[:0], x[:2], x[:1])
    with pytest.raises(DataError, match="a walk wants at least one example; got none"):
        Latent(learned, learned.read(x)[:0])
    mixture = gnomon.fit("mixture_density", x[:, :2], epochs=1, progress=False)
    with pytest.raises(AbilityError, match="mixture_density cannot encode, so its codes cannot be explored"):
        Latent(mixture)


TRAVERSALS: dict[str, tuple[tuple[Any, ...], str]] = {
    "a fraction": ((1.5,), "dimension wants a whole number of 0 or more; got 1.5"),
    "a text": (("0",), "dimension wants a whole number of 0 or more; got '0'"),
    "before the first": ((-1,), "dimension wants a whole number of 0 or more; got -1"),
    "past the last": ((2,), "dimension wants a position from 0 to 1; got 2"),
    "no values": ((0, []), r"values want finite numbers in a row, at least one; got \[\]"),
    "texts": ((0, ["a"]), r"values want numbers; got \['a'\]"),
    "two axes": ((0, [[1.0, 2.0]]), "values want finite numbers in a row"),
    "not finite": ((0, [0.0, float("nan")]), "values want finite numbers in a row"),
}


@pytest.mark.parametrize("name", TRAVERSALS)
def test_traversals_out_of_range_are_named(name: str, plane: tuple[Learned, np.ndarray]) -> None:
    arguments, message = TRAVERSALS[name]
    with pytest.raises(OptionError, match=message):
        Latent(plane[0]).traverse(plane[1][:1], *arguments)


GRIDS: dict[str, tuple[dict[str, Any], str]] = {
    "fractions": ({"dimensions": (0.0, 1.0)}, "dimensions wants a whole number of 0 or more; got 0.0"),
    "three": ({"dimensions": (0, 1, 2)}, r"dimensions want two different positions; got \(0, 1, 2\)"),
    "one": ({"dimensions": (0,)}, "dimensions want two different positions"),
    "a number": ({"dimensions": 0}, "dimensions want two different positions; got 0"),
    "twice the same": ({"dimensions": (1, 1)}, "dimensions want two different positions"),
    "past the last": ({"dimensions": (0, 2)}, "dimensions wants a position from 0 to 1; got 2"),
    "reach": ({"reach": "far"}, "reach wants a number; got 'far'"),
}


@pytest.mark.parametrize("name", GRIDS)
def test_grids_out_of_range_are_named(name: str, plane: tuple[Learned, np.ndarray]) -> None:
    options, message = GRIDS[name]
    with pytest.raises(OptionError, match=message):
        Latent(plane[0]).grid(**options)


def test_numpy_numbers_are_numbers(plane: tuple[Learned, np.ndarray]) -> None:
    latent = Latent(plane[0])
    np.testing.assert_array_equal(latent.traverse(plane[1][:1], np.int64(1), np.float32(2)), latent.traverse(plane[1][:1], 1, 2.0))
    np.testing.assert_array_equal(latent.grid(np.array([0, 1]), 3, reach=np.float32(1)), latent.grid((0, 1), 3, reach=1))


def test_the_middle_and_the_spread_have_the_shapes_that_are_told(plane: tuple[Learned, np.ndarray]) -> None:
    learned, x = plane
    for latent, shape in ((Latent(learned), ()), (Latent(learned, x), (2,)), (Latent(learned, x[:1]), (2,))):
        assert latent.centre.shape == latent.spread.shape == shape
    assert (Latent(learned, x[:1]).spread == 1).all()
