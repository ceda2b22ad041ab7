"""The table of transforms: what each chain is made of, by columns, and what is refused by name."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import get_args

import pytest
import torch

from gnomon.blocks.bijections import (
    ActNorm,
    Chain,
    FactorOut,
    ImageCoupling,
    LULinear,
    OrthogonalLinear,
    Permutation,
    PerPixel,
    SplineCoupling,
    Squeeze,
)
from gnomon.errors import OptionError
from gnomon.networks.transforms import TRANSFORMS, Plan, TransformName, bijections

SMALL = {"hidden": (8,)}
TABLES = ("coupling", "autoregressive", "affine", "affine_autoregressive", "planar", "radial")


def names(steps) -> list[str]:
    return [type(step).__name__ for step in steps]


@pytest.mark.parametrize("given", [0, 2])
@pytest.mark.parametrize("numbers", [1, 2, 5])
@pytest.mark.parametrize("name", TABLES)
def test_every_chain_is_a_bijection_of_its_columns(name: str, numbers: int, given: int) -> None:
    for mixing in ("auto", "lu", "orthogonal", "permutation", "none"):
        plan = Plan(numbers, given=given, transforms=3, mixing=mixing, actnorm=True, network=SMALL)
        chain = Chain(bijections(name, plan)).double()
        x, c = torch.randn(20, numbers).double(), torch.randn(20, given).double() if given else None
        z, log_det = chain.forward_and_log_det(x, c)
        back, back_log_det = chain.inverse_and_log_det(z, c)
        torch.testing.assert_close(back, x, rtol=0, atol=1e-8)
        torch.testing.assert_close(back_log_det, -log_det, rtol=0, atol=1e-6)
        if name in ("planar", "radial") and c is None:
            assert torch.allclose(z, chain.eval().forward_and_log_det(x, c)[0])


def test_mixing_and_normalisation_stand_where_they_should() -> None:
    plan = Plan(4, transforms=4, network=SMALL)
    mixers = {"lu": LULinear, "orthogonal": OrthogonalLinear, "permutation": Permutation}
    assert names(bijections("coupling", plan)) == ["LULinear", *["SplineCoupling", "SplineCoupling", "LULinear"] * 2]
    for mixing, mixer in mixers.items():
        steps = bijections("coupling", replace(plan, mixing=mixing, actnorm=True))
        first = [LULinear] if mixing == "lu" else []
        assert [type(step) for step in steps] == first + [ActNorm, SplineCoupling, ActNorm, SplineCoupling, mixer] * 2
    assert names(bijections("coupling", replace(plan, mixing="none"))) == ["SplineCoupling"] * 4
    assert names(bijections("planar", plan)) == ["Planar"] * 4 and names(bijections("radial", replace(plan, mixing="lu")))[3] == "LULinear"


def test_angles_are_left_out_of_mixing_and_normalisation() -> None:
    steps = bijections("autoregressive", Plan(2, angles=("phi", "psi"), transforms=2, mixing="permutation", actnorm=True, network=SMALL))
    assert names(steps) == ["ActNorm", "AutoregressiveSpline", "ActNorm", "AutoregressiveSpline", "Permutation"]
    assert steps[0].columns == 2 and steps[-1].order[2:].tolist() == [2, 3]
    assert names(bijections("coupling", Plan(0, angles=("phi",), transforms=2, actnorm=True, mixing="lu", network=SMALL))) == [
        "SplineCoupling",
        "SplineCoupling",
    ]


@pytest.mark.parametrize(
    ("shape", "scales"),
    [
        ((1, 8, 8), [(4, 4, 4), (8, 2, 2), (16, 1, 1)]),
        ((3, 16, 16), [(12, 8, 8), (24, 4, 4), (48, 2, 2)]),
        ((1, 28, 28), [(4, 14, 14), (8, 7, 7)]),
        ((1, 16), [(2, 8), (2, 4), (2, 2)]),
        ((1, 6, 7), [(2, 3, 7)]),
        ((2, 11), [(2, 11)]),
        ((1, 5, 5), [(1, 5, 5)]),
        ((1, 1), [(1, 1)]),
        ((1, 4, 4, 4), [(8, 2, 2, 2), (32, 1, 1, 1)]),
    ],
    ids=str,
)
def test_scales_of_an_image(shape, scales) -> None:
    plan = Plan(math.prod(shape), shape=shape, transforms=2, actnorm=True, network={"hidden": (4,)}, bins=4)
    found, steps = [], bijections("multiscale", plan)
    while steps:
        squeezes = [step for step in steps if isinstance(step, Squeeze)]
        inside = squeezes[0].shape if squeezes else shape
        found.append(inside)
        channels = [step.bijection.columns for step in steps if isinstance(step, PerPixel)]
        assert set(channels) == {inside[0]} and len([step for step in steps if isinstance(step, ImageCoupling)]) == 2
        last = steps[-1]
        shape = (inside[0] // 2, *inside[1:])
        steps = list(last.bijection.steps) if isinstance(last, FactorOut) else []
        assert not isinstance(last, FactorOut) or last.columns == math.prod(shape)
    assert found == scales


def test_a_multiscale_chain_is_a_bijection() -> None:
    for shape in ((1, 8, 8), (1, 6, 7), (2, 11), (1, 5, 5), (1, 4, 4, 2)):
        torch.manual_seed(0)
        plan = Plan(math.prod(shape), shape=shape, given=1, actnorm=True, network={"hidden": (4, 4)}, bins=4)
        chain = Chain(bijections("multiscale", plan)).double()
        with torch.no_grad():
            for parameter in chain.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
        x, c = torch.randn(30, math.prod(shape)).double(), torch.randn(30, 1).double()
        z, log_det = chain.forward_and_log_det(x, c)
        back, back_log_det = chain.inverse_and_log_det(z, c)
        torch.testing.assert_close(back, x, rtol=0, atol=1e-8)
        torch.testing.assert_close(back_log_det, -log_det, rtol=0, atol=1e-6)
        jacobian = torch.autograd.functional.jacobian(lambda v, c=c, chain=chain: chain.forward_and_log_det(v, c[:1])[0][0], x[:1])[:, 0]
        torch.testing.assert_close(torch.linalg.slogdet(jacobian)[1], log_det[0], rtol=1e-9, atol=1e-9)


def test_what_does_not_fit_is_refused_by_name() -> None:
    angle = Plan(2, angles=("phi",))
    for name in ("affine", "affine_autoregressive", "planar", "radial", "multiscale"):
        with pytest.raises(OptionError, match=f"transform '{name}' moves numbers only and column 'phi' is an angle; use coupling or auto"):
            bijections(name, angle)
    with pytest.raises(OptionError, match="transform 'multiscale' is for images and x is a table of columns; use coupling or"):
        bijections("multiscale", Plan(3))
    with pytest.raises(OptionError, match="unknown transform 'spline' of Flow"):
        bijections("spline", Plan(3))
    with pytest.raises(OptionError, match="unknown mixing 'lou' of Flow; did you mean 'lu'"):
        bijections("coupling", Plan(3, mixing="lou"))


def test_signatures_offer_every_row_of_the_table() -> None:
    assert get_args(TransformName) == tuple(TRANSFORMS)
