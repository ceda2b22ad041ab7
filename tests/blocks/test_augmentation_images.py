"""Random changes of images: each against an independent computation, and all against the few promises that all make."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import vmap

from gnomon.blocks.augmentation import (
    RandomBlur,
    RandomColour,
    RandomContrast,
    RandomCrop,
    RandomDownsampling,
    RandomEdge,
    RandomErasing,
    RandomFlip,
    RandomNoise,
    RandomPCA,
    RandomRotation,
    RandomScale,
    RandomTranslation,
)
from gnomon.blocks.augmentation.change import box, uniform
from gnomon.blocks.augmentation.resampling import blurred, downsampled, edges, interpolated, turned
from gnomon.errors import OptionError

CHANGES = {
    RandomFlip: {"axes": ()},
    RandomRotation: {"degrees": 0.0},
    RandomCrop: {"share": 0.0},
    RandomScale: {"share": 0.0},
    RandomTranslation: {"share": 0.0},
    RandomErasing: {"share": 0.0},
    RandomColour: {"share": 0.0},
    RandomPCA: {"spread": 0.0},
    RandomContrast: {"share": 0.0},
    RandomNoise: {"spread": 0.0},
    RandomBlur: {"width": 0.0},
    RandomEdge: {"share": 0.0},
    RandomDownsampling: {"factor": 0},
}
SIZES = [(16,), (9, 12), (5, 6, 7)]
CASES = [(change, size) for change in CHANGES for size in SIZES if len(size) in getattr(change, "dimensions", (1, 2, 3))]
each_change = pytest.mark.parametrize(("change", "size"), CASES, ids=lambda v: v.__name__ if isinstance(v, type) else f"{len(v)}d")


def images(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def drawn(change: nn.Module, x: Tensor, seed: int = 0) -> Tensor:
    torch.manual_seed(seed)
    return change(x)


# ---- what all promise ---------------------------------------------------------------------------------------------


@each_change
def test_strength_zero_and_evaluation_leave_images_alone(change, size) -> None:
    x = images(3, 2, *size)
    assert torch.equal(change(len(size), **CHANGES[change])(x), x)
    usual = change(len(size)) if change is not RandomTranslation else change(len(size), share=0.3)
    assert usual.eval()(x) is x
    assert not torch.equal(drawn(usual.train(), x), x)


@each_change
def test_the_same_draws_repeat_and_examples_have_their_own(change, size) -> None:
    x = images(1, 2, *size).expand(64, *[-1] * (1 + len(size)))
    usual = change(len(size)) if change is not RandomTranslation else change(len(size), share=0.3)
    kept = x.clone()
    first = drawn(usual, x)
    assert first.dtype == x.dtype and first.shape == x.shape and first.isfinite().all()
    assert torch.equal(first, drawn(usual, x)) and not torch.equal(first, drawn(usual, x, seed=1))
    assert torch.equal(x, kept)  # the argument is not written to
    different = {tuple(image.flatten().tolist()) for image in first}
    assert len(different) > (1 if change in (RandomFlip, RandomDownsampling) else 8)


@each_change
def test_it_works_under_vmap_and_compiles_without_a_break(change, size) -> None:
    x = images(3, 2, *size)
    usual = change(len(size)) if change is not RandomTranslation else change(len(size), share=0.3)
    torch.manual_seed(0)
    out = vmap(lambda _: usual(x), randomness="different")(torch.zeros(8))
    assert out.shape == (8, *x.shape)
    assert not all(torch.equal(out[0], other) for other in out[1:])
    both = vmap(usual, randomness="different")(x.expand(2, *x.shape).clone())
    assert both.shape == (2, *x.shape)
    torch.compiler.reset()  # or the many changes of this file count as one that is compiled again and again
    compiled = torch.compile(usual, backend="eager", fullgraph=True)
    assert torch.equal(drawn(compiled, x), drawn(usual, x))


@each_change
def test_one_pixel_one_channel_no_rows_and_double_precision(change, size) -> None:
    for shape in ((4, 1, *[1] * len(size)), (0, 3, *size), (2, 1, 1, *size[1:])):
        out = drawn(change(len(size)), images(*shape))
        assert out.shape == shape and out.isfinite().all()
    assert drawn(change(len(size)), images(2, 2, *size).double()).dtype == torch.float64


@pytest.mark.parametrize("change", [c for c in CHANGES if c is not RandomFlip])
def test_a_strength_out_of_range_is_refused(change) -> None:
    (name,) = CHANGES[change]
    for wrong in (-1, math.inf, math.nan):
        with pytest.raises(OptionError, match=r"0|from 0"):
            change(2, **{name: wrong})


def test_wrong_axes_and_dimensions_are_refused() -> None:
    with pytest.raises(OptionError, match="axes 0 to 1; got 2"):
        RandomFlip(2, axes=(2,))
    with pytest.raises(OptionError, match="images of 2 or 3 dimensions; got 1"):
        RandomRotation(1)


# ---- geometry -----------------------------------------------------------------------------------------------------


def test_flips_are_fair_and_along_the_chosen_axes_only() -> None:
    x = images(1, 1, 3, 4).expand(2000, -1, -1, -1)
    both = drawn(RandomFlip(2, axes=(0, -1)), x)
    wanted = [x[0], x[0].flip(-1), x[0].flip(-2), x[0].flip(-2, -1)]
    counts = [sum(torch.equal(image, one) for image in both) for one in wanted]
    assert sum(counts) == 2000 and min(counts) > 400  # 500 ± 19
    last = drawn(RandomFlip(2), x)
    counts = [sum(torch.equal(image, one) for image in last) for one in wanted]
    assert counts[0] + counts[1] == 2000 and abs(counts[0] - 1000) < 120


@pytest.mark.parametrize("shape", [(7, 12), (8, 8), (1, 5)])
@pytest.mark.parametrize("degrees", [0.0, 10.0, -37.5, 90.0, 180.0])
def test_a_turned_image_is_scipys(shape, degrees) -> None:
    from scipy import ndimage

    x, angle = images(2, 3, *shape).double(), math.radians(degrees)
    c, s = math.cos(angle), math.sin(angle)
    made = turned(x, [[torch.full((2,), v, dtype=torch.float64) for v in row] for row in ((c, -s), (s, c))])
    centre = (np.array(shape) - 1) / 2
    matrix = np.array([[c, -s], [s, c]])
    for i in range(2):
        for channel in range(3):
            image = x[i, channel].numpy()
            wanted = ndimage.affine_transform(
                image, matrix, centre - matrix @ centre, order=1, mode="grid-constant", cval=image.min(), prefilter=False
            )
            np.testing.assert_allclose(made[i, channel].numpy(), wanted, atol=1e-10)


def test_a_turned_volume_is_scipys() -> None:
    from scipy import ndimage
    from scipy.spatial.transform import Rotation

    x = images(1, 1, 5, 6, 7).double()
    matrix = Rotation.from_rotvec([0.3, -0.2, 0.5]).as_matrix()
    made = turned(x, [[torch.tensor([v], dtype=torch.float64) for v in row] for row in matrix])
    centre = (np.array((5, 6, 7)) - 1) / 2
    image = x[0, 0].numpy()
    wanted = ndimage.affine_transform(image, matrix, centre - matrix @ centre, order=1, mode="grid-constant", cval=image.min())
    np.testing.assert_allclose(made[0, 0].numpy(), wanted, atol=1e-10)


def test_rotations_are_rotations_with_uniform_angles(monkeypatch) -> None:
    from gnomon.blocks.augmentation import geometry

    seen: list[Tensor] = []
    monkeypatch.setattr(geometry, "turned", lambda x, rows: (seen.append(torch.stack([torch.stack(r, 1) for r in rows], 1)), x)[1])
    for size in ((2, 2), (2, 2, 2)):
        drawn(RandomRotation(len(size), degrees=30.0), torch.zeros(20000, 1, *size).double())
    for matrices in seen:
        d = matrices.shape[-1]
        torch.testing.assert_close(matrices @ matrices.mT, torch.eye(d).double().expand_as(matrices))
        torch.testing.assert_close(torch.linalg.det(matrices), torch.ones(20000).double())
        cosine = (matrices.diagonal(dim1=1, dim2=2).sum(1) - (d - 2)) / 2
        angles = cosine.clamp(-1, 1).acos().rad2deg()
        assert angles.max() <= 30 + 1e-6
        assert abs(angles.mean() - 15) < 0.25 and abs(angles.std() - 30 / math.sqrt(12)) < 0.2
    flat, turns = seen
    assert abs((flat[:, 1, 0] > 0).double().mean() - 0.5) < 0.02  # both ways
    axis = torch.stack([turns[:, 2, 1] - turns[:, 1, 2], turns[:, 0, 2] - turns[:, 2, 0], turns[:, 1, 0] - turns[:, 0, 1]], 1)
    axis = axis / axis.norm(dim=1, keepdim=True)
    assert axis.mean(0).abs().max() < 0.03  # ± 0.004
    torch.testing.assert_close(axis.T @ axis / 20000, torch.eye(3).double() / 3, atol=0.015, rtol=0)


def test_interpolation_is_numpys() -> None:
    x = images(3, 2, 9).double()
    places = 13 * torch.rand(3, 1, 9, generator=torch.Generator().manual_seed(1)).double() - 2
    made = interpolated(x, -1, places)
    for i in range(3):
        for channel in range(2):
            framed = np.concatenate([[0.0], x[i, channel].numpy(), [0.0]])
            wanted = np.interp(places[i, 0].numpy(), np.arange(-1, 10), framed, left=0, right=0)
            np.testing.assert_allclose(made[i, channel].numpy(), wanted, atol=1e-12)


@pytest.mark.parametrize("factor", [0.8, 1.0, 1.25])
def test_a_scaled_image_is_scipys(monkeypatch, factor) -> None:
    from scipy import ndimage

    from gnomon.blocks.augmentation import geometry

    share = 0.5
    monkeypatch.setattr(geometry, "around", lambda x: torch.full((len(x), 1, 1, 1), math.log(factor) / math.log1p(share)).to(x))
    x = images(2, 1, 7, 10).double()
    made = RandomScale(2, share=share)(x)
    centre = (np.array((7, 10)) - 1) / 2
    for i in range(2):
        image = x[i, 0].numpy()
        wanted = ndimage.affine_transform(
            image, [1 / factor] * 2, centre * (1 - 1 / factor), order=1, mode="grid-constant", cval=image.min()
        )
        np.testing.assert_allclose(made[i, 0].numpy(), wanted, atol=1e-6)


def test_factors_of_scale_are_as_said() -> None:
    ramp = torch.linspace(-1, 1, 101).double().view(1, 1, -1).expand(5000, -1, -1)
    made = drawn(RandomScale(1, share=0.2), ramp)[:, 0]
    factor = 0.02 / (made[:, 51] - made[:, 50])
    assert factor.min() >= 1 / 1.2 - 1e-9 and factor.max() <= 1.2 + 1e-9
    assert abs(factor.log().mean()) < 0.01 and abs(factor.log().std() - math.log(1.2) / math.sqrt(3)) < 0.003


def test_crops_lie_inside_and_are_as_large_as_said() -> None:
    ramp = torch.arange(100).double().view(1, 1, -1).expand(5000, -1, -1)
    made = drawn(RandomCrop(1, share=0.4), ramp)[:, 0]
    kept = made[:, 51] - made[:, 50]  # pixels of the part per pixel of the whole
    assert kept.min() >= 0.6 - 1e-9 and kept.max() <= 1 and abs(kept.mean() - 0.8) < 0.01
    start = made[:, 50] - 50.5 * kept + 0.5
    place = start / (100 * (1 - kept))
    assert -1e-6 < place.min() < 1e-3 and 0.999 < place.max() < 1 + 1e-6 and abs(place.mean() - 0.5) < 0.02
    assert made.min() >= 0 and made.max() <= 99


def test_crop_keeps_the_aspect() -> None:
    rows = torch.arange(20).double().view(1, 1, -1, 1).expand(50, 1, 20, 30)
    columns = torch.arange(30).double().view(1, 1, 1, -1).expand(50, 1, 20, 30)
    made = drawn(RandomCrop(2, share=0.5), torch.cat([rows, columns], 1))
    torch.testing.assert_close(made[:, 0, 10, 5] - made[:, 0, 9, 5], made[:, 1, 5, 15] - made[:, 1, 5, 14])


def test_erasing_covers_a_box_of_the_said_size_by_the_mean() -> None:
    x = images(1, 2, 20, 10).expand(3000, -1, -1, -1)
    made = drawn(RandomErasing(2, share=0.4), x)
    mean = x.mean((-2, -1), keepdim=True)
    gone = (made != x).all(1)
    assert torch.equal(made, torch.where(gone[:, None], mean, x))
    tall, wide = gone.any(2).sum(1), gone.any(1).sum(1)
    assert torch.equal(gone.sum((1, 2)), tall * wide)  # a box
    assert tall.max() <= 8 and wide.max() <= 4 and tall.min() >= 3  # 8 rows by 4 columns, cut off at the border
    assert abs((tall == 8).double().mean() - 0.65) < 0.03  # centres from 3 to 16 on an axis from -0.5 to 19.5
    often = gone.double().mean(0)
    assert (often > 0.035).all()  # 0.056 in the corners


def test_boxes_of_all_and_of_nothing() -> None:
    x = torch.zeros(50, 1, 5, 6)
    assert not box(x, (-2, -1), 0.0).any()
    assert box(x, (-2, -1), 2.0).all()


# ---- intensity ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES + [(1, 4)])
def test_a_blurred_image_is_scipys(size) -> None:
    from scipy import ndimage

    x = images(3, 2, *size).double()
    widths = torch.tensor([0.0, 0.4, 1.3]).double()
    made = blurred(x, range(-len(size), 0), widths.view(-1, *[1] * (1 + len(size))), 4)
    assert torch.equal(made[0], x[0])
    for i, width in enumerate(widths.tolist()[1:], start=1):
        wanted = ndimage.gaussian_filter(x[i].numpy(), width, mode="nearest", radius=4, axes=tuple(range(1, 1 + len(size))))
        np.testing.assert_allclose(made[i].numpy(), wanted, atol=1e-12)


def test_widths_of_blur_are_uniform() -> None:
    point = torch.zeros(4000, 1, 41).double()
    point[:, 0, 20] = 1
    made = drawn(RandomBlur(1, width=4.0), point)[:, 0]
    width = (made * (torch.arange(41) - 20.0).square()).sum(1).sqrt()
    assert width.max() < 4.01 and abs(width.mean() - 2) < 0.15
    torch.testing.assert_close(made.sum(1), torch.ones(4000).double())


@pytest.mark.parametrize("size", SIZES)
def test_edges_are_scipys_sobel(size) -> None:
    from scipy import ndimage

    x = images(2, 1, *size).double()
    made = edges(x, range(-len(size), 0))
    for i in range(2):
        image = x[i, 0].numpy()
        parts = [ndimage.sobel(image, axis, mode="nearest") / (2 * 4 ** (len(size) - 1)) for axis in range(len(size))]
        np.testing.assert_allclose(made[i, 0].numpy(), np.sqrt(np.sum(np.square(parts), 0)), atol=1e-12)


def test_edge_images_stay_in_the_range_and_flat_ones_alone() -> None:
    x = images(500, 2, 8, 8)
    made = drawn(RandomEdge(2, share=1.0), x)
    assert (made >= x.amin((-2, -1), keepdim=True) - 1e-6).all() and (made <= x.amax((-2, -1), keepdim=True) + 1e-6).all()
    flat = torch.full((4, 1, 5, 5), 3.0)
    assert torch.equal(drawn(RandomEdge(2), flat), flat)
    # λ of the mixture, found back from where the edge image is as dark as the image's darkest pixel or not
    size, low, high = edges(x, (-2, -1)), x.amin((-2, -1), keepdim=True), x.amax((-2, -1), keepdim=True)
    edge = low + (high - low) * size / size.amax((-2, -1), keepdim=True)
    share = ((made - x) * (edge - x)).sum((1, 2, 3)) / (edge - x).square().sum((1, 2, 3))
    torch.testing.assert_close(made, x + share.view(-1, 1, 1, 1) * (edge - x), atol=1e-5, rtol=1e-4)
    assert share.min() >= 0 and share.max() <= 1 and abs(share.mean() - 0.5) < 0.06


@pytest.mark.parametrize("size", SIZES + [(1, 5)])
@pytest.mark.parametrize("factor", [2, 3, 7])
def test_downsampling_shows_means_of_blocks(size, factor) -> None:
    x = images(2, 2, *size).double()
    made = downsampled(x, range(-len(size), 0), factor)
    for place in np.ndindex(*size):
        block = tuple(slice(p // factor * factor, (p // factor + 1) * factor) for p in place)
        wanted = x[(..., *block)].flatten(2).mean(2)
        torch.testing.assert_close(made[(..., *place)], wanted)


def test_every_factor_of_downsampling_is_as_likely() -> None:
    x = images(1, 1, 12).expand(3000, -1, -1)
    made = drawn(RandomDownsampling(1, factor=3), x)
    wanted = [x[0], downsampled(x[:1], (-1,), 2)[0], downsampled(x[:1], (-1,), 3)[0]]
    counts = [sum(torch.equal(image, one) for image in made) for one in wanted]
    assert sum(counts) == 3000 and min(counts) > 850  # 1000 ± 26


def test_contrast_and_colour_are_straight_lines_with_the_said_ranges() -> None:
    x = images(1, 2, 50).double().expand(4000, -1, -1)
    mean = x.mean(-1, keepdim=True)
    factor = (drawn(RandomContrast(1, share=0.5), x) - mean) / (x - mean)
    torch.testing.assert_close(factor, factor[:, :1, :1].expand_as(factor), atol=1e-6, rtol=0)  # one for both channels
    assert factor.min() >= 0.5 - 1e-6 and factor.max() <= 1.5 + 1e-6 and abs(factor.mean() - 1) < 0.02
    made = drawn(RandomColour(1, share=0.2), x)
    gain = (made[..., 1] - made[..., 0]) / (x[..., 1] - x[..., 0])
    offset = made[..., 0] - gain * x[..., 0]
    torch.testing.assert_close(made, gain[..., None] * x + offset[..., None])
    for values, centre in ((gain, 1.0), (offset, 0.0)):
        assert abs(values.mean() - centre) < 0.01 and (values - centre).abs().max() <= 0.2 + 1e-9
        assert abs(values.std() - 0.2 / math.sqrt(3)) < 0.003
        assert abs(np.corrcoef(values.T.numpy())[0, 1]) < 0.06  # each channel its own


def test_noise_has_the_said_spread() -> None:
    x = images(100, 3, 20, 20)
    noise = drawn(RandomNoise(2, spread=0.3), x) - x
    assert abs(noise.mean()) < 0.005 and abs(noise.std() - 0.3) < 0.005
    assert abs(noise.pow(4).mean() / noise.square().mean() ** 2 - 3) < 0.1  # Gaussian


def test_fancy_pca_moves_along_components_by_eigenvalues() -> None:
    mixing = torch.tensor([[1.0, 0.0, 0.0], [0.8, 0.5, 0.0], [-0.3, 0.2, 0.1]]).double()
    x = torch.einsum("cd,ndp->ncp", mixing, images(4000, 3, 10).double()) + torch.tensor([1.0, 2.0, 3.0]).view(3, 1)
    moves = drawn(RandomPCA(1, spread=0.2), x) - x
    torch.testing.assert_close(moves, moves[..., :1].expand_as(moves))  # one colour for all pixels of an image
    eigenvalues, components = np.linalg.eigh(np.cov(x.transpose(0, 1).flatten(1).numpy(), ddof=0))
    along = moves[..., 0].numpy() @ components / eigenvalues / 0.2  # standard normal, if as Krizhevsky et al. have it
    np.testing.assert_allclose(along.mean(0), 0, atol=0.06)
    np.testing.assert_allclose(np.cov(along.T), np.eye(3), atol=0.08)


def test_uniform_draws_are_one_each() -> None:
    x = torch.zeros(6, 3, 4, 5)
    assert uniform(x).shape == (6, 1, 1, 1) and uniform(x, channels=True).shape == (6, 3, 1, 1)
