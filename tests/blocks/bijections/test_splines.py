"""Splines against zuko's, against their own inverse and autograd, at the edges, at absurd parameters, and counted in operations."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.func import vmap
from torch.utils._python_dispatch import TorchDispatchMode

from gnomon.blocks.bijections import raw_size, spline_forward, spline_inverse, spline_table

VIEWS = {
    "alias",
    "as_strided",
    "detach",
    "expand",
    "permute",
    "select",
    "slice",
    "split",
    "squeeze",
    "t",
    "transpose",
    "unbind",
    "unsqueeze",
}
VIEWS |= {"view", "_unsafe_view", "unflatten", "split_with_sizes"}
FORMS = {
    "line": (4.0, False),
    "circle": (math.pi, True),
    "both": (torch.tensor([4.0, math.pi, 2.5]).double(), torch.tensor([False, True, False])),
}


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> tuple[float | Tensor, bool | Tensor]:
    return FORMS[request.param]


def parameters(form: tuple[float | Tensor, bool | Tensor], *batch: int, scale: float = 1.0, bins: int = 8, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    size = raw_size(bins, circular=form[1] is not False)
    return scale * torch.randn(*batch, size, generator=generator, dtype=torch.float64)


def inside(bound: float | Tensor, *batch: int, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.rand(*batch, generator=generator, dtype=torch.float64) - 1) * bound


class Count(TorchDispatchMode):
    """Counts operations that are not views."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        name = function._schema.name.split("::")[1]
        if name not in VIEWS:
            self.names.append(name)
        return function(*arguments, **(options or {}))


# ---- against an independent implementation ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [0.0, 1.0, 5.0])
def test_equals_zuko_with_the_same_knots(scale: float) -> None:
    zuko = pytest.importorskip("zuko")
    table = spline_table(parameters(FORMS["line"], 500, 3, scale=scale), 4.0)
    x = 1.2 * inside(4.0, 500, 3)
    oracle = zuko.transforms.MonotonicRQSTransform(torch.zeros(500, 3, 8), torch.zeros(500, 3, 8), torch.zeros(500, 3, 7))
    ends = table[..., -1:]
    oracle.horizontal = torch.cat([table[..., 0, :], ends[..., 0, :] + ends[..., 2, :]], -1)
    oracle.vertical = torch.cat([table[..., 1, :], ends[..., 1, :] + ends[..., 3, :]], -1)
    oracle.derivatives = torch.cat([table[..., 4, :], ends[..., 5, :]], -1)
    expected, log_slope = oracle.call_and_ladj(x)
    y, ours = spline_forward(x, table, 4.0)
    torch.testing.assert_close(y, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(ours, log_slope, rtol=1e-12, atol=1e-11)
    well = (torch.rand(500, 3).double() * 2 - 1) * 4
    torch.testing.assert_close(spline_inverse(well, table, 4.0)[0], oracle._inverse(well), rtol=1e-8, atol=1e-8)


# ---- against themselves ----------------------------------------------------------------------------------------------------------


def test_log_slope_is_the_derivative(form) -> None:
    table = spline_table(parameters(form, 200, 3, scale=2.0), form[0], circular=form[1])
    for function in (spline_forward, spline_inverse):
        x = inside(form[0], 200, 3).requires_grad_()
        y, log_slope = function(x, table, form[0])
        (slope,) = torch.autograd.grad(y.sum(), x)
        torch.testing.assert_close(log_slope, slope.log(), rtol=1e-9, atol=1e-9)


def test_round_trips(form) -> None:
    table = spline_table(parameters(form, 2000, 3, scale=2.0), form[0], circular=form[1])
    x = inside(form[0], 2000, 3)
    y, up = spline_forward(x, table, form[0])
    back, down = spline_inverse(y, table, form[0])
    torch.testing.assert_close(back, x, rtol=0, atol=1e-9)
    torch.testing.assert_close(up + down, torch.zeros_like(up), rtol=0, atol=1e-7)
    back, down = spline_inverse(x, table, form[0])
    again, up = spline_forward(back, table, form[0])
    torch.testing.assert_close(again, x, rtol=0, atol=1e-9)
    torch.testing.assert_close(up + down, torch.zeros_like(up), rtol=0, atol=1e-7)


def test_rises_everywhere_and_keeps_its_ends(form) -> None:
    grid = torch.linspace(-1, 1, 4001, dtype=torch.float64)[:, None] * form[0]
    table = spline_table(parameters(form, 1, 3, scale=3.0), form[0], circular=form[1])
    x = grid.expand(4001, 3)
    y, _ = spline_forward(x, table.expand(4001, -1, -1, -1), form[0])
    assert (y.diff(dim=0) > 0).all()
    torch.testing.assert_close(y[[0, -1]], x[[0, -1]], rtol=0, atol=1e-12)


def test_all_zeros_is_the_identity(form) -> None:
    table = spline_table(torch.zeros(3, raw_size(8, circular=form[1] is not False)).double(), form[0], circular=form[1])
    x = inside(form[0], 100, 3)
    y, log_slope = spline_forward(x, table.expand(100, -1, -1, -1), form[0])
    torch.testing.assert_close(y, x)
    torch.testing.assert_close(log_slope, torch.zeros_like(x), rtol=0, atol=1e-12)


def test_ends_join_smoothly() -> None:
    raw = parameters(FORMS["both"], 1, 3, scale=2.0)
    bound, circular = FORMS["both"]
    table = spline_table(raw, bound, circular=circular)
    ends = torch.stack([-bound, bound])
    slopes = spline_forward(ends * (1 - 1e-12), table.expand(2, -1, -1, -1), bound)[1]
    torch.testing.assert_close(slopes[0], slopes[1], rtol=0, atol=1e-6)  # on the circle the two ends are one point
    torch.testing.assert_close(slopes[:, [0, 2]], torch.zeros(2, 2).double(), rtol=0, atol=1e-6)  # on the line slope one goes on
    assert slopes[0, 1].abs() > 0.1


def test_each_spline_may_have_its_own_form() -> None:
    raw, x = parameters(FORMS["both"], 50, 3), inside(FORMS["both"][0], 50, 3)
    together, _ = spline_forward(x, spline_table(raw, FORMS["both"][0], circular=FORMS["both"][1]), FORMS["both"][0])
    circle, _ = spline_forward(x[:, 1], spline_table(raw[:, 1], math.pi, circular=True), math.pi)
    line = torch.cat([raw[:, 0, :16], raw[:, 0, 17:]], -1)  # without the slope that both ends of a circle share
    torch.testing.assert_close(together[:, 1], circle)
    torch.testing.assert_close(together[:, 0], spline_forward(x[:, 0], spline_table(line, 4.0), 4.0)[0])


def test_gradients_are_right(form) -> None:
    raw = parameters(form, 4, 3, bins=4).requires_grad_()
    x = inside(form[0], 4, 3).requires_grad_()
    for function in (spline_forward, spline_inverse):

        def both(x: Tensor, raw: Tensor, function=function) -> tuple[Tensor, Tensor]:
            return function(x, spline_table(raw, form[0], circular=form[1]), form[0])

        assert torch.autograd.gradcheck(both, (x, raw), atol=1e-6)


# ---- at the edges ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [spline_forward, spline_inverse])
def test_outside_is_the_identity_with_finite_gradients(function) -> None:
    x = torch.tensor([-math.inf, -1e30, -4.0000005, 4.0000005, 7.0, 1e30, math.inf]).requires_grad_()
    raw = parameters(FORMS["line"], 7).float().requires_grad_()
    y, log_slope = function(x, spline_table(raw, 4.0), 4.0)
    assert torch.equal(y, x) and torch.equal(log_slope, torch.zeros(7))
    gradients = torch.autograd.grad(y.sum() + log_slope.sum(), [x, raw])
    assert torch.equal(gradients[0], torch.ones(7)) and torch.equal(gradients[1], torch.zeros_like(raw))


@pytest.mark.parametrize("bound", [1.0, 4.0, 50.0, 1000.0])
@pytest.mark.parametrize("function", [spline_forward, spline_inverse])
def test_ends_and_knots_are_legal_places(function, bound: float) -> None:
    table = spline_table(parameters(FORMS["line"], 1, scale=2.0).float(), bound)
    knots = torch.cat([table[0, 0], table[0, 1], torch.tensor([-bound, bound]), torch.tensor(bound).nextafter(torch.tensor(0.0))[None]])
    y, log_slope = function(knots, table.expand(len(knots), -1, -1), bound)
    assert y.isfinite().all() and log_slope.isfinite().all()
    assert (y.abs() <= bound * (1 + 1e-6)).all()


@pytest.mark.parametrize("scale", [1.0, 10.0, 100.0, 1e4])
def test_absurd_parameters_give_no_nan_in_single_precision(scale: float) -> None:
    raw = parameters(FORMS["line"], 50_000, scale=scale).float().requires_grad_()
    x = inside(4.0, 50_000).float().requires_grad_()
    for function in (spline_forward, spline_inverse):
        y, log_slope = function(x, spline_table(raw, 4.0), 4.0)
        assert y.isfinite().all() and log_slope.isfinite().all()
        assert all(g.isfinite().all() for g in torch.autograd.grad(y.sum() + log_slope.sum(), [x, raw]))


@pytest.mark.parametrize(("scale", "error"), [(1.0, 4e-6), (3.0, 2e-5), (10.0, 5e-5), (100.0, 1e-4)])
def test_single_precision_inverse_is_accurate(scale: float, error: float) -> None:
    table = spline_table(parameters(FORMS["line"], 50_000, scale=scale).float(), 4.0)
    y = inside(4.0, 50_000).float()
    exact, _ = spline_inverse(y.double(), table.double(), 4.0)
    assert (spline_inverse(y, table, 4.0)[0] - exact).abs().max() < error


# ---- as kernels ------------------------------------------------------------------------------------------------------------------


def test_few_operations() -> None:
    raw, x = parameters(FORMS["line"], 512, 8).float(), inside(4.0, 512, 8).float()
    with Count() as forward:
        spline_forward(x, spline_table(raw, 4.0), 4.0)
    with Count() as inverse:
        spline_inverse(x, spline_table(raw, 4.0), 4.0)
    assert 20 < len(forward.names) <= 60 and 20 < len(inverse.names) <= 75
    waits = {"nonzero", "_local_scalar_dense", "index", "masked_select", "item", "index_put", "index_put_"}  # they make a GPU's host wait
    assert not waits & {*forward.names, *inverse.names}
    assert forward.names.count("gather") == inverse.names.count("gather") == 1


def test_vmap_and_one_by_one_agree(form) -> None:
    raw, x = parameters(form, 5, 4, 3), inside(form[0], 5, 4, 3)
    for function in (spline_forward, spline_inverse):

        def one(x: Tensor, raw: Tensor, function=function) -> Tensor:
            return function(x, spline_table(raw, form[0], circular=form[1]), form[0])[0]

        torch.testing.assert_close(vmap(one)(x, raw), torch.stack([one(*pair) for pair in zip(x, raw, strict=True)]))


@pytest.mark.slow
def test_compiles_in_one_graph(form) -> None:
    raw, x = parameters(form, 6, 3), inside(form[0], 6, 3)

    def both(x: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        table = spline_table(raw, form[0], circular=form[1])
        return spline_inverse(spline_forward(x, table, form[0])[0], table, form[0])

    torch._dynamo.reset()
    torch.testing.assert_close(torch.compile(both, fullgraph=True, backend="aot_eager")(x, raw), both(x, raw))
