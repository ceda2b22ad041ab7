"""Scaling: every support against autograd, numerical integration and round trips."""

import math

import pytest
import torch
from safetensors.torch import load_file, save_file

from gnomon.data import (
    Bounded,
    Categorical,
    Column,
    Examples,
    Image,
    Integer,
    NonNegative,
    Periodic,
    Positive,
    Real,
    Scaling,
    Spec,
    Vector,
)
from gnomon.data.maps import EDGE, ColumnMap
from gnomon.errors import DataError, RunError

ROWS = 400


def _uniform(low, high, seed=1):
    return low + (high - low) * torch.rand(ROWS, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _normal(seed=2):
    return torch.randn(ROWS, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# support, training values, tolerance of a float32 round trip (in the user's units)
SUPPORTS = {
    "real": (Real(), 5.0 + 3.0 * _normal(), 1e-5),
    "real far away": (Real(), 1.7e9 + 40.0 * _normal(), 1e-4),
    "positive": (Positive(), (0.5 + _normal()).exp(), 1e-4),
    "positive tiny": (Positive(), 1e-30 * _normal().exp(), 1e-33),
    "nonnegative": (NonNegative(), _normal().clamp(min=0) * 7, 1e-4),
    "bounded": (Bounded(-2.0, 6.0), _uniform(-1.9, 5.9), 1e-5),
    "periodic about zero": (Periodic(-math.pi, math.pi), _uniform(-math.pi, math.pi), 1e-6),
    "periodic from zero": (Periodic(0.0, 2 * math.pi), _uniform(0, 2 * math.pi), 1e-6),
    "periodic hours": (Periodic(0.0, 24.0), _uniform(0, 24), 1e-5),
    "integer": (Integer(), (40 * _normal()).round(), 0.0),
    "integer large": (Integer(), 2.0**40 + (40 * _normal()).round(), 0.0),
    "integer with both bounds": (Integer(-1, 8), _uniform(-1, 9).floor(), 0.0),
    "integer with low": (Integer(0, None), (1 + _normal()).exp().floor(), 0.0),
    "integer with high": (Integer(None, 3), 3 - (1 + _normal()).exp().floor(), 0.0),
    "categorical": (Categorical(("a", "b", "c")), _uniform(0, 3).floor(), 0.0),
}
WHOLE = [name for name in SUPPORTS if name.startswith("integer")]
CONTINUOUS = [name for name in SUPPORTS if name not in WHOLE and name != "categorical"]


def _fitted(name, weight=None):
    support, values, _ = SUPPORTS[name]
    raw = Examples(values[:, None].clone(), weight=weight)
    return Scaling.fit(Spec(Vector((Column("c", support),))), raw), raw


@pytest.mark.parametrize("name", SUPPORTS)
def test_round_trip(name):
    scaling, raw = _fitted(name)
    z = scaling.forward(raw).x
    assert z.dtype == torch.float32 and bool(z.isfinite().all())
    assert torch.allclose(scaling.inverse("x", z), raw.x, rtol=1e-5 if name.startswith("positive") else 0.0, atol=SUPPORTS[name][2])


@pytest.mark.parametrize("name", WHOLE)
def test_round_trip_of_whole_numbers_with_noise(name):
    scaling, raw = _fitted(name)
    for seed in range(3):
        z = scaling.forward(raw, noise=True, generator=torch.Generator().manual_seed(seed)).x
        back = scaling.inverse("x", z)
        assert torch.equal(back, back.floor()) and torch.equal(back, raw.x)


@pytest.mark.parametrize("name", SUPPORTS)
def test_network_space_is_standardised(name):
    scaling, raw = _fitted(name)
    chance = torch.Generator().manual_seed(0)
    z = torch.cat([scaling.forward(raw, noise=True, generator=chance).x.double() for _ in range(20)])
    if name == "categorical":
        assert torch.equal(z[:ROWS], raw.x)
    elif name.startswith("periodic"):
        assert bool((z.abs() <= math.pi).all()) and float(z.std()) == pytest.approx(math.pi / math.sqrt(3), rel=0.1)
    else:
        assert float(z.mean()) == pytest.approx(0.0, abs=0.1) and float(z.std()) == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("name", SUPPORTS)
def test_log_det_is_autograds(name):
    scaling, raw = _fitted(name)
    entry = scaling.maps["x"]
    u = torch.tensor([0.3], dtype=torch.float64)
    point = raw.x + (u if name in WHOLE else 0.0)
    if name == "nonnegative":
        keep = point[:, 0] > 0
        point, raw = point[keep], raw[keep]
    point.requires_grad_(True)
    (slope,) = torch.autograd.grad(entry.forward(point).sum(), point)
    expected = torch.zeros(len(raw)).double() if name == "categorical" else slope.abs().log().sum(1)
    assert torch.allclose(scaling.log_det(raw, u if name in WHOLE else None), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", SUPPORTS)
def test_derivative_is_the_inverse_of_the_slope(name):
    scaling, raw = _fitted(name)
    if name == "nonnegative":
        raw = raw[raw.x[:, 0] > 0]
    z = scaling.maps["x"].forward(raw.x + (0.5 if name in WHOLE else 0.0))
    product = scaling.derivative("x", z).log().sum(1) + scaling.log_det(raw)
    assert torch.allclose(product, torch.zeros(len(raw)).double(), atol=1e-7)
    assert bool((scaling.derivative("x", z) > 0).all())


def _log_normal(z):
    return (-0.5 * z.double() ** 2 - 0.5 * math.log(2 * math.pi)).sum(1)


def _grid(scaling, name):
    """Midpoints in the user's units over the support (or far into its tails) and their widths."""
    entry = scaling.maps["x"]
    z = torch.linspace(-9, 9, 200_001, dtype=torch.float64)[:, None]
    edges = (z * entry.scale + entry.mean).exp() if name == "nonnegative" else entry.inverse(z)
    edges = edges[:, 0].unique()
    return (edges[1:] + edges[:-1]) / 2, edges[1:] - edges[:-1]


@pytest.mark.parametrize("name", [name for name in CONTINUOUS if not name.startswith("periodic")])
def test_density_integrates_to_one(name):
    scaling, _ = _fitted(name)
    x, width = _grid(scaling, name)
    raw = Examples(x[:, None])
    density = (_log_normal(scaling.forward(raw).x) + scaling.log_det(raw)).exp()
    assert float((density * width).sum()) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("name", [name for name in CONTINUOUS if name.startswith("periodic")])
def test_density_on_a_circle_integrates_to_one(name):
    scaling, _ = _fitted(name)
    support = SUPPORTS[name][0]
    x = torch.linspace(support.low, support.high, 10_001, dtype=torch.float64)[:-1]
    raw = Examples(x[:, None])
    normaliser = math.log(2 * math.pi * float(torch.special.i0(torch.tensor(2.0, dtype=torch.float64))))
    density = (2 * (scaling.forward(raw).x.double()[:, 0] - 1.0).cos() - normaliser + scaling.log_det(raw)).exp()
    assert float(density.sum() * support.period / 10_000) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("name", WHOLE)
def test_probabilities_of_whole_numbers_sum_to_one(name):
    scaling, raw = _fitted(name)
    low, high = scaling.inverse("x", torch.tensor([[-7.0], [7.0]]))[:, 0].tolist()
    cells = Examples(torch.arange(low, min(high, low + 100_000) + 1, dtype=torch.float64)[:, None])
    lattice = scaling.lattice(64)
    assert lattice.shape == (64, 1)
    terms = [(_log_normal(scaling.at(cells, u).x) + scaling.log_det(cells, u)).exp() for u in lattice]
    assert float(torch.stack(terms).mean(0).sum()) == pytest.approx(1.0, abs=1e-3)


def test_two_columns_of_whole_numbers_sum_to_one():
    spec = Spec(Vector((Column("a", Integer(0, 4)), Column("b", Integer()), Column("c", Categorical((True, False))))))
    values = torch.stack([_uniform(0, 5, 3).floor(), (2 * _normal(4)).round(), _uniform(0, 2, 5).floor()], 1)
    scaling = Scaling.fit(spec, Examples(values))
    a, b = torch.meshgrid(torch.arange(5.0).double(), torch.arange(-15.0, 16.0).double(), indexing="ij")
    cells = Examples(torch.stack([a.flatten(), b.flatten(), torch.zeros(a.numel()).double()], 1))
    total = (
        sum(float((_log_normal(scaling.at(cells, u).x[:, :2]) + scaling.log_det(cells, u)).exp().sum()) for u in scaling.lattice(64)) / 64
    )
    assert total == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("columns", [1, 2, 5, 16, 17, 100])
def test_lattice_runs_through_all_midpoints_in_every_column(columns):
    scaling = Scaling.fit(
        Spec(Vector((Column("c", Integer()),) * columns)), Examples(torch.arange(8.0).double()[:, None].expand(8, columns))
    )
    lattice = scaling.lattice(32)
    assert lattice.shape == (32, columns)
    assert torch.allclose(lattice.sort(0).values, ((torch.arange(32) + 0.5) / 32).double()[:, None].expand(32, columns))
    assert torch.equal(lattice, scaling.lattice(32))
    if columns == 1:
        assert torch.allclose(lattice[:, 0], (torch.arange(32).double() + 0.5) / 32)
    if columns == 2:  # a product of smooth periodic functions is integrated far better than by 32 random points
        assert float(((1 + (2 * math.pi * lattice).cos()).prod(1)).mean()) == pytest.approx(1.0, abs=1e-12)


OUTSIDE = {
    "positive": [0.0, -1.0, math.inf, math.nan],
    "nonnegative": [-1e-9, math.inf],
    "bounded": [-2.1, 6.1],
    "integer": [0.5, math.inf],
    "integer with both bounds": [-2.0, 9.0, 1.5],
    "integer with low": [-1.0],
    "integer with high": [4.0],
    "categorical": [-1.0, 3.0, 0.5],
    "real": [math.inf, math.nan],
}
LEGAL = {
    "nonnegative": [0.0],
    "bounded": [-2.0, 6.0],
    "periodic about zero": [7.0, -math.pi, math.pi],
    "integer with both bounds": [-1.0, 8.0],
    "integer with low": [0.0, 1e6],
    "categorical": [0.0, 2.0],
    "real": [-1e30],
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_outside_is_flagged_and_finite_values_never_give_nan(name):
    scaling, _ = _fitted(name)
    raw = Examples(torch.tensor(OUTSIDE[name], dtype=torch.float64)[:, None])
    assert scaling.outside(raw).tolist() == [True] * len(raw)
    finite = raw[raw.x[:, 0].isfinite()]
    assert bool(scaling.forward(finite).x.isfinite().all()) and bool(scaling.log_det(finite).isfinite().all())


@pytest.mark.parametrize("name", LEGAL)
def test_ends_of_the_support_are_inside(name):
    scaling, _ = _fitted(name)
    raw = Examples(torch.tensor(LEGAL[name], dtype=torch.float64)[:, None])
    assert scaling.outside(raw).tolist() == [False] * len(raw)
    assert bool(scaling.forward(raw).x.isfinite().all()) and bool(scaling.log_det(raw).isfinite().all())


def test_zeros_of_a_nonnegative_column_come_back_as_zeros():
    scaling, raw = _fitted("nonnegative")
    zero = raw.x == 0
    assert 50 < int(zero.sum()) < 350
    assert torch.equal(scaling.inverse("x", scaling.forward(raw).x) == 0, zero)


def test_exact_ends_move_inward_by_the_documented_amount_and_come_back():
    scaling, _ = _fitted("bounded")
    ends = Examples(torch.tensor([[-2.0], [6.0]], dtype=torch.float64))
    near = Examples(torch.tensor([[-2.0 + 8 * EDGE], [6.0 - 8 * EDGE]], dtype=torch.float64))
    assert torch.allclose(scaling.forward(ends).x, scaling.forward(near).x, rtol=1e-6)
    assert torch.equal(scaling.inverse("x", scaling.forward(ends).x), ends.x)
    inside = Examples(torch.tensor([[-2.0 + 16 * EDGE], [6.0 - 16 * EDGE]], dtype=torch.float64))
    assert torch.allclose(scaling.inverse("x", scaling.forward(inside).x), inside.x, rtol=0, atol=1e-9)
    closer = scaling.forward(Examples(torch.tensor([[-2.0 + 1e-9]], dtype=torch.float64))).x
    assert float(closer) < float(scaling.forward(ends).x[0])  # only exact ends are moved: the map is one to one


@pytest.mark.parametrize("name", ["periodic about zero", "periodic from zero"])
def test_circle_has_an_origin(name):
    scaling, _ = _fitted(name)
    support = SUPPORTS[name][0]
    ends = torch.tensor([[support.low], [support.low + support.period / 2], [support.high - 1e-9]], dtype=torch.float64)
    assert scaling.forward(Examples(ends)).x[:, 0].tolist() == pytest.approx([-math.pi, 0.0, math.pi], abs=1e-6)
    back = scaling.inverse("x", torch.linspace(-12, 12, 1001)[:, None])
    assert bool(((back >= support.low) & (back < support.high)).all())
    assert float(scaling.inverse("x", scaling.forward(Examples(ends[:1])).x)) == pytest.approx(support.low, abs=1e-6)
    turned = Examples(_uniform(support.low, support.high)[:, None])
    assert torch.allclose(scaling.forward(turned).x, scaling.forward(Examples(turned.x + 3 * support.period)).x, atol=1e-5)


def test_constant_columns_get_scale_one_and_a_notice():
    spec = Spec(Vector((Column("flat", Real()), Column("free", Real()), Column("same", Integer(0, 9)), Column("p", Positive()))))
    raw = Examples(
        torch.stack([torch.full((ROWS,), 0.1).double(), _normal(), torch.full((ROWS,), 4.0).double(), torch.full((ROWS,), 2.0).double()], 1)
    )
    scaling = Scaling.fit(spec, raw)
    assert [n.split("'")[1] for n in scaling.notices] == ["flat", "same", "p"]
    assert scaling.maps["x"].scale[[0, 2, 3]].tolist() == [1.0, 1.0, 1.0]
    z = scaling.forward(raw).x
    assert bool((z[:, [0, 3]].abs() < 1e-6).all()) and bool((z[:, 2].abs() < 0.1).all())
    assert torch.allclose(scaling.inverse("x", z), raw.x, atol=1e-5)
    assert float(scaling.log_det(raw).isfinite().all())


def test_weights_count_in_the_fit():
    values, weight = torch.tensor([1.0, 2.0, 10.0]).double(), torch.tensor([1.0, 1.0, 4.0]).double() / 2
    spec = Spec(Vector.real(1), weight="w")
    weighted = Scaling.fit(spec, Examples(values[:, None], weight=weight))
    repeated = Scaling.fit(spec, Examples(torch.tensor([1.0, 2.0, 10.0, 10.0, 10.0, 10.0]).double()[:, None]))
    for name in ("x.mean", "x.scale"):
        assert torch.allclose(weighted.state()[name], repeated.state()[name], rtol=1e-12)
    signed = Scaling.fit(spec, Examples(values[:, None], weight=torch.tensor([1.0, -1.0, 4.0]).double()))
    assert torch.allclose(signed.state()["x.scale"], repeated.state()["x.scale"], rtol=1e-12)


def test_state_round_trip_through_safetensors(tmp_path):
    columns = tuple(Column(name, support) for name, (support, _, _) in SUPPORTS.items())
    spec = Spec(Vector(columns), y=Image(2, (3,), levels=5), given=Vector.real(1))
    raw = Examples(
        torch.stack([values for _, values, _ in SUPPORTS.values()], 1), y=torch.randint(0, 5, (ROWS, 2, 3)), given=_normal(9)[:, None]
    )
    scaling = Scaling.fit(spec, raw)
    save_file(scaling.state(), tmp_path / "scaling.safetensors")
    again = Scaling.from_state(Spec.from_json(spec.to_json()), load_file(tmp_path / "scaling.safetensors"))
    for (_, a), (_, b) in zip(scaling.forward(raw).roles(), again.forward(raw).roles(), strict=True):
        assert torch.equal(a, b)
    assert torch.equal(scaling.log_det(raw), again.log_det(raw))
    state = scaling.state()
    with pytest.raises(RunError, match="x.mean"):
        Scaling.from_state(spec, {k: v[:3] if k == "x.mean" else v for k, v in state.items()})
    with pytest.raises(RunError, match="given.scale.*got nothing"):
        Scaling.from_state(spec, {k: v for k, v in state.items() if k != "given.scale"})


def test_noise_is_uniform_in_the_cell_and_repeats():
    scaling, raw = _fitted("integer with both bounds")
    stored = scaling.store(raw)
    assert torch.equal(stored.x, stored.x.round())
    one, two, other = (scaling.dequantise(stored, torch.Generator().manual_seed(s)).x for s in (0, 0, 1))
    assert torch.equal(one, two) and not torch.equal(one, other)
    offset = scaling.inverse("x", one, whole=False) + 0.5 - raw.x
    assert float(offset.min()) >= -1e-5 and float(offset.max()) <= 1 + 1e-5 and float(offset.mean()) == pytest.approx(0.5, abs=0.05)


def test_log_det_and_at_belong_together():
    """Shifting k by u and asking for the derivative there is what a difference quotient gives."""
    scaling, raw = _fitted("integer with low")
    entry = scaling.maps["x"]
    u, h = torch.tensor([0.7], dtype=torch.float64), 1e-5
    quotient = (entry.forward(raw.x + u + h) - entry.forward(raw.x + u - h)) / (2 * h)
    assert torch.allclose(quotient.log()[:, 0], scaling.log_det(raw, u), atol=1e-6)
    assert torch.allclose(scaling.at(raw, u).x, entry.forward(raw.x + u).float(), atol=1e-5)


@pytest.mark.parametrize(
    "support, value, hint", [(Positive(), 0.0, "nonnegative"), (Bounded(0, 1), 2.0, "support"), (Integer(0, 3), 4.0, "widen")]
)
def test_fit_refuses_values_outside_with_the_column_and_row(support, value, hint):
    values = torch.tensor([[1.0], [value]]).double()
    with pytest.raises(DataError, match=rf"column 'c'.*row 2.*{hint}"):
        Scaling.fit(Spec(Vector((Column("c", support),))), Examples(values))


def test_fit_refuses_absent_roles_and_no_rows():
    with pytest.raises(DataError, match="'y'"):
        Scaling.fit(Spec(Vector.real(1), y=Vector.real(1)), Examples(torch.zeros(2, 1)))
    with pytest.raises(DataError, match="no rows"):
        Scaling.fit(Spec(Vector.real(1)), Examples(torch.zeros(0, 1)))


def test_inverse_is_differentiable():
    names = ["real", "positive", "bounded", "periodic hours"]
    columns = Vector(tuple(Column(name, SUPPORTS[name][0]) for name in names))
    x = torch.stack([SUPPORTS[name][1] for name in names], 1)
    entry = ColumnMap.fit(columns, x, None)
    assert torch.autograd.gradcheck(entry.inverse, entry.forward(x[:3]).requires_grad_(True))


@pytest.mark.parametrize("factor", [1e-9, 1e6])
def test_zeros_are_moved_in_the_columns_own_scale(factor):
    """Changing the units of a nonnegative column with zeros leaves network space as it is."""
    _, raw = _fitted("nonnegative")
    spec = Spec(Vector((Column("c", NonNegative()),)))
    one, other = raw, Examples(raw.x * factor)
    assert torch.allclose(Scaling.fit(spec, one).forward(one).x, Scaling.fit(spec, other).forward(other).x, atol=1e-5)


def test_rounding_never_wraps_onto_the_high_end():
    scaling, _ = _fitted("periodic from zero")
    z = torch.tensor([[math.nextafter(-math.pi, -4)], [-math.pi], [math.nextafter(math.pi, 4)], [3 * math.pi]], dtype=torch.float64)
    back = scaling.inverse("x", z)
    assert bool((back < 2 * math.pi).all()) and bool((back >= 0).all())
