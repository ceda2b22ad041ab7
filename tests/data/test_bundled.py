"""Bundled data: known shapes and values, and what `prepare` makes of them."""

import numpy as np
import pytest

from gnomon.data import Categorical, Image, Label, Scaling, Vector, load, prepare
from gnomon.registry import datasets

# rows, kind of x, columns or shape of x, classes of the target
EXPECTED = {
    "digits": (1797, Image, (1, 8, 8), 10),
    "breast_cancer": (569, Vector, (30,), 2),
    "wine": (178, Vector, (13,), 3),
    "iris": (150, Vector, (4,), 3),
    "diabetes": (442, Vector, (10,), None),
    "moons": (10_000, Vector, (2,), None),
    "gaussians": (10_000, Vector, (2,), None),
    "checkerboard": (10_000, Vector, (2,), None),
    "coin": (10_000, Vector, (1,), None),
}


def test_every_data_set_is_checked_here():
    assert set(datasets) == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_bundled_data_can_be_scaled(name):
    rows, kind, shape, classes = EXPECTED[name]
    found = prepare(name, wanted="label" if classes else "numbers" if name == "diabetes" else None)
    assert len(found.raw) == rows and isinstance(found.spec.x, kind) and found.spec.x.shape == shape
    if name == "diabetes":
        assert found.spec.y.names == ("progression",)
    if classes:
        assert isinstance(found.spec.y, Label) and len(found.spec.y.classes) == classes
    scaling = Scaling.fit(found.spec, found.raw)
    assert bool(scaling.forward(found.raw).x.isfinite().all()) and not bool(scaling.outside(found.raw).any())


def test_values_are_the_published_ones():
    assert prepare("digits").spec.x.levels == 17
    assert load("digits")["x"][0, 0, 0].tolist() == [0, 0, 5, 13, 9, 1, 0, 0] and load("digits")["y"][:3].tolist() == [0, 1, 2]
    iris = load("iris").to_pylist()[0]
    assert iris == {"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2, "species": "setosa"}
    assert load("breast_cancer").column("diagnosis").to_pylist().count("malignant") == 212
    assert load("wine").column("cultivar").to_pylist().count("class_1") == 71
    diabetes = load("diabetes").to_pylist()[0]
    assert (diabetes["age"], diabetes["bmi"], diabetes["progression"]) == (59.0, 32.1, 151.0)
    assert isinstance(prepare("coin").spec.x.columns[0].support, Categorical)


def test_loading_twice_gives_the_same():
    assert load("moons").equals(load("moons")) and np.array_equal(load("digits")["x"], load("digits")["x"])
