"""Scores of pairs of images: equal to torchmetrics' and to the definition; every dimension; what cannot be compared is named."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gnomon.checks.measures import image_quality as quality
from gnomon.errors import DataError


def _pair(shape: tuple[int, ...], seed: int = 0, noise: float = 0.2) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    one = rng.random(shape)
    return one, np.clip(one + noise * rng.normal(size=shape), 0, 1)


@pytest.mark.parametrize("shape", [(3, 1, 20, 17), (2, 3, 24, 24), (2, 1, 12, 13, 14)])
def test_ssim_and_psnr_equal_torchmetrics(shape: tuple[int, ...]) -> None:
    peer = pytest.importorskip("torchmetrics.functional.image")
    one, two = _pair(shape)
    a, b = torch.from_numpy(one), torch.from_numpy(two)
    theirs = peer.structural_similarity_index_measure(a, b, data_range=1.0, reduction="none")
    assert np.allclose(quality.ssim(one, two, data_range=1.0), theirs.numpy(), atol=1e-6)
    theirs = peer.peak_signal_noise_ratio(a, b, data_range=1.0, reduction="none", dim=tuple(range(1, a.dim())))
    assert np.allclose(quality.psnr(one, two, data_range=1.0), theirs.numpy(), atol=1e-6)


def test_ms_ssim_equals_torchmetrics() -> None:
    peer = pytest.importorskip("torchmetrics.functional.image")
    one, two = _pair((2, 1, 180, 184))
    theirs = peer.multiscale_structural_similarity_index_measure(
        torch.from_numpy(one), torch.from_numpy(two), data_range=1.0, reduction="none"
    )
    assert np.allclose(quality.ms_ssim(one, two, data_range=1.0), theirs.numpy(), atol=1e-6)


def test_ssim_is_its_definition_on_a_signal() -> None:
    """One window over a signal of eleven pixels: the formula can be written out."""
    one, two = _pair((1, 1, 11), noise=0.4)
    window = np.exp(-0.5 * ((np.arange(11) - 5) / 1.5) ** 2)
    window /= window.sum()
    x, y = one[0, 0], two[0, 0]
    mx, my = window @ x, window @ y
    vx, vy, cov = window @ x**2 - mx**2, window @ y**2 - my**2, window @ (x * y) - mx * my
    wanted = (2 * mx * my + 1e-4) * (2 * cov + 9e-4) / ((mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4))
    assert quality.ssim(one, two, data_range=1.0, edges="valid")[0] == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("shape", [(3, 1, 8), (3, 2, 8, 8), (3, 1, 5, 6, 4), (2, 1, 1, 9)])
def test_small_images_of_every_dimension_have_a_similarity(shape: tuple[int, ...]) -> None:
    one, two = _pair(shape)
    assert np.allclose(quality.ssim(one, one, data_range=1.0), 1) and np.isinf(quality.psnr(one, one, data_range=1.0)).all()
    worse = _pair(shape, noise=0.6)[1]
    assert (quality.ssim(one, worse, data_range=1.0) < quality.ssim(one, two, data_range=1.0) + 0.2).all()


def test_scores_do_not_depend_on_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = _pair((7, 1, 12, 12))
    whole = quality.ssim(one, two, data_range=1.0)
    monkeypatch.setattr(quality, "_CHUNK", 300)
    assert np.array_equal(whole, quality.ssim(one, two, data_range=1.0))


def test_the_perceptual_distance_by_hand_and_by_a_network() -> None:
    one, two = _pair((4, 2, 6, 6))
    a, b = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in (one, two))
    by_hand = np.square(a - b).sum(1).mean((1, 2))
    assert np.allclose(quality.perceptual_distance(one, two, lambda x: [x]), by_hand, atol=1e-5)
    from gnomon import networks
    from gnomon.data import Image

    encoder = networks.make("encoder", Image(2, (6, 6)), outputs=3).eval()
    made = quality.perceptual_distance(one, two, encoder, chunk=3)
    assert made.shape == (4,) and (made > 0).all() and np.allclose(quality.perceptual_distance(one, one, encoder), 0)
    nearer = quality.perceptual_distance(one, one + 0.1 * (two - one), encoder)
    assert (nearer < made).all()


def test_what_cannot_be_compared_is_named() -> None:
    one, two = _pair((2, 1, 20, 20))
    with pytest.raises(DataError, match="one shape"):
        quality.ssim(one, two[:, :, :-1], data_range=1.0)
    with pytest.raises(DataError, match="one shape"):
        quality.psnr(one[:0], two[:0], data_range=1.0)
    with pytest.raises(DataError, match="data_range"):
        quality.ssim(one, two, data_range=0.0)
    with pytest.raises(DataError, match="at least 88 pixels"):
        quality.ms_ssim(one, two, data_range=1.0)
    with pytest.raises(DataError, match="no stages"):
        quality.perceptual_distance(one, two, torch.nn.Identity())
