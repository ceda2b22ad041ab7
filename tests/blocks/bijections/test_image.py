"""Bijections of images against torch's own convolutions and nflows' squeezing, in one to three dimensions, at odd sizes."""

from __future__ import annotations

import math

import pytest
import torch

from gnomon.blocks.bijections import FactorOut, ImageConditioner, ImageCoupling, LULinear, OrthogonalLinear, PerPixel, Squeeze
from gnomon.errors import OptionError


def lively(module: torch.nn.Module, size: float = 0.3) -> torch.nn.Module:
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(size * torch.randn_like(parameter))
    return module.double()


@pytest.mark.parametrize(
    ("shape", "after"),
    [
        ((1, 8), (2, 4)),
        ((3, 4, 6), (12, 2, 3)),
        ((1, 4, 5), (2, 2, 5)),
        ((2, 7, 3), (2, 7, 3)),
        ((1, 2, 4, 6), (8, 1, 2, 3)),
        ((1, 3, 4, 1), (2, 3, 2, 1)),
    ],
)
def test_even_axes_are_squeezed(shape, after) -> None:
    step = Squeeze(shape)
    assert step.shape == after
    x = torch.arange(math.prod(shape)).float()[None]
    z = step.forward_and_log_det(x)[0]
    image, squeezed = x.view(shape), z.view(after)
    # channel 0 of what comes holds every second pixel of channel 0 of what came
    first = image[0][tuple(slice(None, None, 1 if extent % 2 else 2) for extent in shape[1:])]
    assert torch.equal(squeezed[0], first)
    assert torch.equal(step.inverse_and_log_det(z)[0], x)
    # neighbours stay neighbours: all values at one place of a channel-block are one cell of the image
    factor = math.prod(after) // math.prod(after[1:]) // shape[0]
    cells = squeezed.reshape(shape[0], factor, -1)
    assert all(len({int(v) // (math.prod(shape[1:])) for v in cells[c].flatten()}) == 1 for c in range(shape[0]))


def test_squeezing_equals_nflows() -> None:
    nflows = pytest.importorskip("nflows.transforms")
    x = torch.randn(5, 3, 4, 6)
    expected, _ = nflows.SqueezeTransform(factor=2)(x)
    assert torch.equal(Squeeze((3, 4, 6)).forward_and_log_det(x.flatten(1))[0], expected.flatten(1))


@pytest.mark.parametrize("size", [(5,), (3, 4), (2, 3, 2)], ids=len)
def test_a_linear_map_per_pixel_is_a_convolution(size) -> None:
    step = lively(PerPixel(LULinear(3), (3, *size)))
    lower, upper = step.bijection._triangles()
    kernel = (lower @ upper)[(...,) + (None,) * len(size)]
    x = torch.randn(4, 3, *size, dtype=torch.float64)
    convolve = (torch.conv1d, torch.conv2d, torch.conv3d)[len(size) - 1]
    z, log_det = step.forward_and_log_det(x.flatten(1))
    torch.testing.assert_close(z.view(x.shape), convolve(x, kernel, step.bijection.bias))
    expected = math.prod(size) * torch.linalg.slogdet(lower @ upper)[1]
    torch.testing.assert_close(log_det, expected.expand(4))


def test_no_images_are_legal() -> None:
    for step in (PerPixel(OrthogonalLinear(4), (4, 2, 2)), ImageCoupling((4, 2, 2), moved=(1, 2))):
        z, log_det = step.forward_and_log_det(torch.zeros(0, 16))
        assert z.shape == (0, 16) and log_det.shape == (0,)


def test_what_is_kept_stays_and_moves_the_rest() -> None:
    coupling = lively(ImageCoupling((4, 3, 3), moved=(0, 2), hidden=(6, 6), bins=4))
    x = torch.randn(1, 36, dtype=torch.float64)
    z = coupling.forward_and_log_det(x)[0]
    channels = z.view(4, 9), x.view(4, 9)
    assert torch.equal(channels[0][[1, 3]], channels[1][[1, 3]]) and not torch.equal(channels[0][[0, 2]], channels[1][[0, 2]])
    jacobian = torch.autograd.functional.jacobian(lambda x: coupling.forward_and_log_det(x)[0][0], x)[:, 0].view(4, 9, 4, 9)
    among = jacobian[[0, 2]][:, :, [0, 2]].reshape(18, 18)
    assert (among - among.diagonal().diag()).abs().max() == 0  # moved pixels do not see each other
    assert (jacobian[[0, 2]][:, :, [1, 3]].abs().sum((0, 1)) > 0).all()  # and each kept pixel is seen


def test_a_checkerboard_sees_its_neighbours() -> None:
    coupling = lively(ImageCoupling((1, 3, 3), moved=1, hidden=(6,), bins=4))
    x = torch.randn(1, 9, dtype=torch.float64)
    assert (coupling.forward_and_log_det(x)[0] == x)[0].tolist() == [i % 2 == 0 for i in range(9)]
    jacobian = torch.autograd.functional.jacobian(lambda x: coupling.forward_and_log_det(x)[0][0], x)[:, 0]
    assert (jacobian[1] != 0).tolist() == [True, True, True, False, True, False, False, False, False]


def test_the_network_knows_where_a_pixel_lies() -> None:
    network = lively(ImageConditioner((2, 8), list(range(8)), 1, hidden=(6, 6)))
    raw = network(torch.ones(1, 8, dtype=torch.float64))[0]
    assert len(set(raw[3:5].tolist())) == 2  # a convolution of a constant image, away from its edges


def test_the_condition_is_heard() -> None:
    coupling = lively(ImageCoupling((2, 2, 2), moved=(0,), given=1, hidden=(6, 6), bins=4))
    x = torch.randn(1, 8, dtype=torch.float64)
    images = [coupling.forward_and_log_det(x, torch.full((1, 1), value, dtype=torch.float64))[0] for value in (-1.0, 1.0)]
    assert (images[0] != images[1])[0].tolist() == [True] * 4 + [False] * 4


def test_what_leaves_is_not_moved() -> None:
    step = lively(FactorOut(LULinear(3), 3))
    x = torch.randn(5, 7, dtype=torch.float64)
    z, log_det = step.forward_and_log_det(x)
    inner, expected = step.bijection.forward_and_log_det(x[:, :3])
    assert torch.equal(z, torch.cat([inner, x[:, 3:]], 1)) and torch.equal(log_det, expected)


def test_bad_options_are_named() -> None:
    with pytest.raises(OptionError, match="hidden layers of one number of channels"):
        ImageCoupling((2, 2, 2), moved=(0,), hidden=(8, 16))
