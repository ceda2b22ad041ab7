"""The linear way of a VQVAE: its start is scikit-learn's PCA and ridge regression, and it is there for numbers told by default networks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge

import gnomon
from gnomon.data import Categorical, Column, Examples, Image, Spec, Vector
from gnomon.models.principal_path import PrincipalPath
from gnomon.models.vqvae import VQVAE


def mixed(rows: int, columns: int, seed: int = 0) -> np.ndarray:
    chance = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(size=(columns, columns)) * np.geomspace(3, 0.1, columns)
    return (chance.normal(size=(rows, columns)) @ mixing.T + 2.0).astype(np.float32)


@pytest.mark.parametrize(("rows", "columns"), [(300, 12), (10, 40)])
def test_numbers_start_as_whitened_principal_components(rows: int, columns: int) -> None:
    x = mixed(rows, columns)
    path = PrincipalPath((columns,), positions=2, size=3)
    path.start_reading(torch.from_numpy(x))
    own = path.read(torch.from_numpy(x)).detach().numpy().reshape(rows, 2, 3).swapaxes(1, 2).reshape(rows, 6)
    whitened = PCA(6, whiten=True, svd_solver="full").fit_transform(x.astype(float)) * np.sqrt(rows / (rows - 1))
    np.testing.assert_allclose(np.abs(own), np.abs(whitened), atol=2e-3)


def test_numbers_without_a_component_are_zero_and_constant_data_are_finite() -> None:
    path = PrincipalPath((3,), positions=4, size=2)
    path.start_reading(torch.from_numpy(mixed(50, 3)))
    read = path.read(torch.from_numpy(mixed(50, 3, 1)))
    assert bool(read[:, [0, 2, 4]].any(0).all()) and not bool(read[:, [1, 3, 5, 6, 7]].any())
    path.start_reading(torch.ones(5, 3))
    path.start_telling(path.read(torch.ones(5, 3)), torch.ones(5, 3))
    torch.testing.assert_close(path.tell(path.read(torch.ones(2, 3))), torch.ones(2, 3))


def test_what_is_told_starts_as_ridge_regression() -> None:
    z, x = torch.from_numpy(mixed(400, 4, 1)), torch.from_numpy(mixed(400, 6, 2)).view(400, 1, 2, 3)
    x = x + 0.5 * z[:, :1, None, None]
    path = PrincipalPath((1, 2, 3), positions=2, size=2)
    path.start_telling(z, x)
    expected = Ridge(alpha=400 * 1e-3).fit(z.double().numpy(), x.flatten(1).double().numpy())
    np.testing.assert_allclose(path.tell(z).detach().flatten(1).numpy(), expected.predict(z.double().numpy()), atol=1e-4)


CLASSES = Vector((Column("a"), Column("kind", Categorical(("x", "y")))))


@pytest.mark.parametrize(
    ("kind", "options", "there"),
    [
        (Vector.real(5), {}, True),
        (Image(1, (8, 8)), {}, True),
        (Image(1, (8, 8), levels=2), {}, False),
        (Image(1, (8, 8), levels=17), {"likelihood": "continuous_bernoulli"}, False),
        (CLASSES, {}, False),
        (Vector.real(5), {"spread": "example"}, False),
        (Vector.real(5), {"quantiser": "vq"}, False),
        (Vector.real(5), {"encoder": "mlp"}, False),
        (Image(3, (128, 128)), {"net": {"longest": 16}}, False),
    ],
)
def test_it_is_there_for_numbers_told_by_default_networks(kind: Any, options: dict[str, Any], there: bool) -> None:
    model = VQVAE(Spec(kind), **options)
    assert (model.straight is not None) == there
    assert model.codes >= 512


def test_training_begins_at_what_a_linear_code_tells() -> None:
    torch.manual_seed(0)
    x = torch.from_numpy(mixed(2000, 8))
    x = (x - x.mean(0)) / x.std(0)
    missed = {}
    for encoder in (None, "mlp"):
        model = VQVAE(Spec(Vector.real(8)), encoder=encoder)
        model.begin(Examples(x))
        missed[encoder] = float((model.eval().reconstruct(Examples(x)) - x).detach().square().mean())
    assert missed[None] < 0.05 < 0.5 < missed["mlp"]


def test_held_out_errors_are_less_than_half_of_those_without_it() -> None:
    train, held_out = mixed(1000, 8), mixed(500, 8, 1)
    missed = {}
    for encoder in (None, "mlp"):
        options = {"encoder": encoder, "prior": {"width": 8, "layers": 1}}
        learned = gnomon.fit("vqvae", train, options=options, epochs=20, seed=0, progress=False)
        missed[encoder] = float(np.square(np.asarray(learned.reconstruct(held_out)) - held_out).mean())
    assert missed[None] < 0.5 * missed["mlp"]
