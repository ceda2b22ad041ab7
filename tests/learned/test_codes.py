"""Codes that are handed to decode: what is taken, and what is refused in one line; what the last chunk of an encoder costs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import gnomon
from gnomon.data import Examples, Ragged
from gnomon.errors import DataError
from gnomon.learned import Latent, Learned
from gnomon.learned.chunks import each


@pytest.fixture(scope="module")
def learned() -> Learned:
    x = np.random.default_rng(0).normal(size=(60, 4))
    return gnomon.fit("autoencoder", x, options={"latent": 2}, epochs=1, progress=False)


@pytest.mark.parametrize("given", [[[0, 1]], np.zeros((1, 2), np.float16), torch.zeros(1, 2), np.ones((1, 2), bool)])
def test_numbers_of_every_kind_are_taken(learned: Learned, given: Any) -> None:
    assert learned.decode(given).shape == (1, 4)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "real numbers; got NoneType of object"),
        ("abc", "real numbers; got str"),
        ([["a", "b"]], "real numbers; got list"),
        ([[1j, 0]], "real numbers; got list of complex128"),
        ([[0.0], [0.0, 1.0]], "make no array"),
        (torch.zeros(1, 2, requires_grad=True), "make no array"),
        (np.zeros((0, 2)), r"shape \(n, 2\) with n from 1; got \(0, 2\)"),
        (np.zeros((3, 9)), r"shape \(n, 2\) with n from 1; got \(3, 9\)"),
        (np.zeros(2), r"got \(2,\)"),
        ([[0.0, 0.0], [0.0, np.nan]], "code 2 has nan in place 2"),
        ([[1e300, 0.0]], r"code 1 has 1e\+300 in place 1"),
    ],
)
def test_what_is_no_code_is_named(learned: Learned, given: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        learned.decode(given)


@pytest.mark.parametrize(("model", "options"), [("pca", {"components": 3}), ("two_stage", {"latent": 3})])
def test_a_model_knows_how_long_its_codes_are(model: str, options: dict[str, Any]) -> None:
    x = np.random.default_rng(0).normal(size=(60, 4))
    learned = gnomon.fit(model, x, options=options, progress=False, **({} if model == "pca" else {"epochs": 1}))
    assert learned.encode(x).shape[1] == learned.model.latent == 3
    assert len(Latent(learned).grid(steps=2)) == 4
    with pytest.raises(DataError, match=r"\(n, 3\)"):
        learned.decode(np.zeros((1, 4)))


def test_the_last_chunk_does_not_carry_copies_of_a_long_set() -> None:
    seen: list[int] = []

    def work(part: Examples) -> tuple[torch.Tensor]:
        assert isinstance(part.x, Ragged)
        seen.append(len(part.x.values))
        return (part.x.lengths.float(),)

    lengths = torch.tensor([3, 0, 5000])
    sets = Examples(Ragged(torch.zeros(5003, 2), lengths))
    (out,) = each(work, sets, 256, device=torch.device("cpu"))
    assert out.tolist() == lengths.tolist() and seen == [5003 + 253]
    (out,) = each(work, sets[:2], 256, device=torch.device("cpu"))
    assert out.tolist() == [3, 0] and seen[1] == 3
