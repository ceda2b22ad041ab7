"""Quantisers: codes and vectors tell each other, gradients pass straight through, tables follow the means, unused codes come back."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from torch import Tensor
from torch.func import functional_call, stack_module_state, vmap

from gnomon.blocks.quantisers import FSQ, ResidualQuantiser, VectorQuantiser, falling_levels_for, k_means, levels_for
from gnomon.errors import OptionError


def clouds(rows: int = 600, centres: int = 6, size: int = 2, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    places = 4 * torch.randn(centres, size, generator=generator)
    return places[torch.randint(centres, (rows,), generator=generator)] + 0.3 * torch.randn(rows, size, generator=generator)


def made(name: str) -> Any:
    torch.manual_seed(0)
    if name == "fsq":
        quantiser: Any = FSQ((4, 3))
    elif name == "vq":
        quantiser = VectorQuantiser(16, 2)
    elif name == "residual":
        quantiser = ResidualQuantiser([VectorQuantiser(5, 2) for _ in range(3)])
    else:
        quantiser = ResidualQuantiser([FSQ((4, 3)), FSQ((4, 3), reach=(1 / 4, 1 / 3))])
    quantiser.begin(clouds())
    return quantiser


NAMES = ("fsq", "vq", "residual", "residual fsq")


@pytest.mark.parametrize("name", NAMES)
def test_indices_and_vectors_tell_each_other(name: str) -> None:
    quantiser = made(name).eval()
    found = quantiser(clouds(200, seed=1).view(20, 10, 2))
    assert found.indices.shape == (20, 10, quantiser.depth) and found.indices.dtype == torch.int64
    assert found.loss.shape == (20, 10)
    assert int(found.indices.min()) >= 0 and int(found.indices.max()) < quantiser.codes
    torch.testing.assert_close(quantiser.vectors(found.indices), found.vectors)


def test_every_code_of_an_fsq_has_a_vector_that_is_that_code() -> None:
    quantiser = FSQ((4, 3, 2)).eval()
    indices = torch.arange(quantiser.codes)[:, None]
    vectors = quantiser.vectors(indices)
    assert len(torch.unique(vectors, dim=0)) == 24
    inverse = math.sqrt(2) * torch.erfinv(vectors)  # what is squashed to the vector itself
    torch.testing.assert_close(quantiser(inverse).indices, indices)
    expected = [[(2 * k + 1) / n - 1 for k in range(n)] for n in (4, 3, 2)]
    torch.testing.assert_close(vectors, torch.tensor(list(itertools.product(*expected))))


def test_an_fsq_makes_all_codes_of_correlated_normal_numbers_alike() -> None:
    quantiser = FSQ((8, 8))
    mixing = torch.tensor([[3.0, 1.0], [2.0, 2.0]])
    z = torch.randn(40_000, 2, generator=torch.Generator().manual_seed(0)) @ mixing + 5
    quantiser.begin(z)
    counts = torch.bincount(quantiser.eval()(z).indices.flatten(), minlength=64).double()
    chi_squared = float((counts - 625).square().sum() / 625)
    assert chi_squared < 63 + 5 * math.sqrt(2 * 63)


def test_wider_levels_tell_normal_numbers_with_a_smaller_error() -> None:
    z = torch.randn(40_000, 1, generator=torch.Generator().manual_seed(0))
    missed, most = {}, {}
    for wider in (1.0, 1.25, math.sqrt(3.0)):
        quantiser = FSQ((16,), wider=wider)
        quantiser.begin(z)
        index = quantiser.eval()(z).indices[:, 0]
        counts = torch.bincount(index, minlength=16).double()
        means = torch.zeros(16).index_add(0, index, z[:, 0]) / counts.float()
        missed[wider], most[wider] = float((z[:, 0] - means[index]).square().mean()), float(counts.max() / counts.min())
    assert missed[math.sqrt(3.0)] < 0.85 * missed[1.25] < 0.85 * 0.85 * missed[1.0]
    assert missed[math.sqrt(3.0)] == pytest.approx(math.sqrt(3.0) * math.pi / 2 / 16**2, rel=0.15)  # Panter & Dite
    assert most[1.0] < 1.3 < most[1.25] < most[math.sqrt(3.0)]


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_those_of_what_was_quantised(name: str) -> None:
    quantiser = made(name).eval()
    z = clouds(50, seed=2).requires_grad_()
    towards = torch.randn(50, 2, generator=torch.Generator().manual_seed(3))
    found = quantiser(z)
    (straight,) = torch.autograd.grad((found.vectors * towards).sum(), z, retain_graph=True)
    (expected,) = torch.autograd.grad((found.told * towards).sum(), z)
    torch.testing.assert_close(straight, expected)
    assert bool(straight.any())


def test_the_commitment_is_the_squared_distance_and_moves_vectors_only() -> None:
    quantiser = VectorQuantiser(8, 2, commitment=0.5).eval()
    z = clouds(30).requires_grad_()
    found = quantiser(z)
    distance = (z.detach()[:, None] - quantiser.table).square().sum(-1)
    assert torch.equal(found.indices[:, 0], distance.argmin(1))
    torch.testing.assert_close(found.loss, 0.5 * distance.min(1).values, rtol=1e-4, atol=1e-4)
    (slope,) = torch.autograd.grad(found.loss.sum(), z)
    torch.testing.assert_close(slope, z.detach() - found.vectors.detach(), rtol=1e-4, atol=1e-5)
    assert not list(quantiser.parameters())


def test_the_table_follows_the_means_as_a_plain_loop_does() -> None:
    quantiser = VectorQuantiser(6, 2, decay=0.9, least=0.0)
    quantiser.begin(clouds())
    table, counts, sums = (t.double().numpy().copy() for t in (quantiser.table, quantiser.counts, quantiser.sums))
    for step in range(5):
        z = clouds(64, seed=step) + 0.2 * step
        quantiser(z)
        number, total = np.zeros(6), np.zeros((6, 2))
        for row in z.double().numpy():
            code = int(np.argmin(((table - row) ** 2).sum(1)))
            number[code] += 1
            total[code] += row
        counts, sums = 0.9 * counts + 0.1 * number * 6 / 64, 0.9 * sums + 0.1 * total * 6 / 64
        table = sums / counts[:, None]
    np.testing.assert_allclose(quantiser.table.numpy(), table, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(quantiser.counts.numpy(), counts, rtol=1e-5)


def test_nothing_follows_in_evaluation() -> None:
    for name in NAMES:
        quantiser = made(name).eval()
        before = {key: value.clone() for key, value in quantiser.state_dict().items()}
        quantiser(clouds(seed=4))
        assert all(torch.equal(before[key], value) for key, value in quantiser.state_dict().items())


def test_a_dead_code_comes_back_with_its_sum_and_count() -> None:
    torch.manual_seed(0)
    quantiser = VectorQuantiser(8, 2, least=0.1)
    quantiser.begin(clouds())
    with torch.no_grad():
        for each in (quantiser.table, quantiser.sums):
            each[3] = 1e4
        quantiser.counts[3] = 1e-3
    z = clouds(seed=5)
    quantiser(z)
    assert float((z - quantiser.table[3]).square().sum(1).min()) < 1e-6
    torch.testing.assert_close(quantiser.sums[3], quantiser.table[3] * quantiser.counts[3])
    torch.testing.assert_close(quantiser.counts[3], quantiser.counts.sum() / 8, rtol=0.2, atol=0)
    quantiser.eval()
    assert 3 in quantiser(z).indices


def test_without_the_reset_the_same_code_stays_dead() -> None:
    quantiser = VectorQuantiser(8, 2, least=0.0)
    quantiser.begin(clouds())
    with torch.no_grad():
        for each in (quantiser.table, quantiser.sums):
            each[3] = 1e4
    quantiser(clouds(seed=5))
    assert 3 not in quantiser.eval()(clouds(seed=5)).indices


def test_k_means_falls_with_every_round_and_ends_where_another_implementation_does() -> None:
    z = clouds(1000, centres=9)

    def inertia(centres: Tensor) -> float:
        return float(torch.cdist(z, centres).square().min(1).values.sum())

    found = [inertia(k_means(z, 9, rounds=rounds, most=1000)[0]) for rounds in range(8)]
    assert all(later <= earlier * (1 + 1e-5) for earlier, later in itertools.pairwise(found))
    start = k_means(z, 9, rounds=0, most=1000)[0].numpy()
    other = KMeans(9, init=start, n_init=1, max_iter=7, tol=0.0, algorithm="lloyd").fit(z.numpy())
    assert found[-1] == pytest.approx(other.inertia_, rel=1e-3)
    first, second = k_means(z, 9), k_means(z, 9)
    assert torch.equal(first[0], second[0]) and int(first[1].sum()) == min(1000, 16 * 9)


def test_k_means_of_fewer_vectors_than_clusters_is_finite() -> None:
    quantiser = VectorQuantiser(16, 2)
    quantiser.begin(clouds(5))
    assert torch.isfinite(quantiser.table).all()
    assert torch.allclose(quantiser.eval()(clouds(5)).vectors, clouds(5), atol=1e-4)


def test_a_residual_quantiser_of_levels_has_levels_within_levels() -> None:
    coarse, fine = FSQ((4, 3)), FSQ((4, 3), reach=(1 / 4, 1 / 3))
    both, whole = ResidualQuantiser([coarse, fine]).eval(), FSQ((16, 9)).eval()
    z = clouds(300, seed=6) / 4
    torch.testing.assert_close(both(z).vectors, whole(z).vectors, atol=1e-5, rtol=0)


def test_each_further_table_of_a_residual_quantiser_comes_nearer() -> None:
    z, missed = clouds(1000, size=4), []
    for depth in (1, 2, 3, 4):
        quantiser = ResidualQuantiser([VectorQuantiser(8, 4) for _ in range(depth)])
        quantiser.begin(z)
        missed.append(float((quantiser.eval()(z).vectors - z).square().mean()))
    assert all(later < 0.9 * earlier for earlier, later in itertools.pairwise(missed))


@pytest.mark.parametrize("name", NAMES)
def test_copies_learn_together(name: str) -> None:
    quantisers = [made(name) for _ in range(3)]
    parameters, buffers = stack_module_state(quantisers)
    z = torch.stack([clouds(64, seed=seed) for seed in range(3)])

    def call(p: dict[str, Tensor], b: dict[str, Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
        out = functional_call(quantisers[0], (p, b), (x,))
        return out.vectors, out.indices

    vectors, indices = vmap(call, randomness="different")(parameters, buffers, z)
    for i, quantiser in enumerate(quantisers):
        alone = quantiser(z[i])
        torch.testing.assert_close(vectors[i], alone.vectors, atol=1e-5, rtol=1e-4)
        assert torch.equal(indices[i], alone.indices)
        if name in ("fsq", "vq") and not any(key.startswith("quantisers") for key in buffers):
            torch.testing.assert_close(
                buffers.get("counts", buffers.get("centre"))[i], quantiser.state_dict().get("counts", quantiser.state_dict().get("centre"))
            )


def test_levels_come_to_at_least_the_codes_that_were_wished() -> None:
    for codes in (2, 3, 8, 9, 64, 100, 256, 512, 1000, 1024, 4096, 65536):
        levels = levels_for(codes)
        assert codes <= math.prod(levels) <= 1.25 * codes + 1 and min(levels) >= 2 and max(levels) <= 8
    assert levels_for(512) == (8, 8, 8)


@pytest.mark.parametrize("axes", [1, 2, 3, 4, 6])
def test_falling_levels_fall_and_come_to_at_least_the_codes_that_were_wished(axes: int) -> None:
    for codes in (2, 3, 9, 64, 100, 512, 1000, 4096, 65536):
        if 8 ** (axes - 2) < codes and 2 ** (2 * axes - 1) <= codes:
            levels = falling_levels_for(codes, axes)
            assert len(levels) == axes and codes <= math.prod(levels) <= 1.25 * codes + 1 and min(levels) >= 2
            assert list(levels) == sorted(levels, reverse=True)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: FSQ(()), "two levels"),
        (lambda: FSQ((4, 1)), "two levels"),
        (lambda: VectorQuantiser(1, 2), "2 codes"),
        (lambda: VectorQuantiser(4, 2, decay=1.0), "decay"),
        (lambda: ResidualQuantiser([]), "residual"),
        (lambda: ResidualQuantiser([VectorQuantiser(4, 2), VectorQuantiser(4, 3)]), "one size"),
        (lambda: levels_for(1), "2 codes"),
        (lambda: falling_levels_for(8, 4), "2 levels for each"),
        (lambda: FSQ((4,), wider=0.0), "wider"),
    ],
)
def test_what_cannot_be_is_named(build: Any, words: str) -> None:
    with pytest.raises(OptionError, match=words):
        build()
