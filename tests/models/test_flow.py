"""Flows: densities that integrate to one on every support, both round trips, Jacobians, samples that follow the density, edges."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from gnomon.blocks.bijections import ActNorm, SplineCoupling
from gnomon.data import Bounded, Categorical, Column, Examples, Image, Integer, Periodic, Real, Set, Spec, Vector
from gnomon.errors import DataError, OptionError
from gnomon.models.flow import Flow

ANGLE, LINE = Periodic(-math.pi, math.pi), Real()
SMALL: dict[str, Any] = {"hidden": (16,), "transforms": 4}
TINY: dict[str, Any] = {"hidden": (8,), "transforms": 2, "bins": 4}
REACH = 7.0


def vector(*supports: Any) -> Vector:
    return Vector(tuple(Column(f"c{i}", support) for i, support in enumerate(supports)))


def moved_off(spec: Spec, scale: float = 0.1, seed: int = 0, **options: Any) -> Flow:
    """A flow in float64 with every parameter moved off its start."""
    torch.manual_seed(seed)
    flow = Flow(spec, **{**SMALL, **options}).double().eval()
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(scale * torch.randn_like(parameter))
    return flow


def axis(support: Any, count: int) -> tuple[Tensor, float]:
    """Midpoints of equal cells over a support, and the cell's width."""
    half = math.pi if isinstance(support, Periodic) else REACH
    return (torch.arange(count).double() + 0.5) / count * 2 * half - half, 2 * half / count


def integral(flow: Flow, supports: tuple[Any, ...], count: int, given: Tensor | None = None, *rest: float) -> float:
    """The sum of the density over a grid of the first columns, the others held at `rest`."""
    axes = [axis(support, count) for support in supports]
    grid = torch.cartesian_prod(*(points for points, _ in axes)).view(-1, len(axes))
    total = 0.0
    with torch.no_grad():
        for part in grid.split(50_000):
            x = torch.cat([part, part.new_tensor(rest).expand(len(part), -1)], 1)
            condition = None if given is None else given.expand(len(part), -1)
            total += flow.log_prob(Examples(x, given=condition)).exp().sum().item()
    return total * math.prod(width for _, width in axes)


# ---- densities integrate to one --------------------------------------------------------------------------------------------------

SUPPORTS = {"line": (LINE,), "circle": (ANGLE,), "plane": (LINE, LINE), "torus": (ANGLE, ANGLE), "cylinder": (LINE, ANGLE)}


ROUND = ("coupling", "autoregressive")
TRANSFORMS = (*ROUND, "affine", "affine_autoregressive", "planar", "radial", "multiscale")


def fitting(kind: Vector | Image) -> tuple[str, ...]:
    """The transforms that move such data."""
    if isinstance(kind, Image):
        return TRANSFORMS
    return ROUND if any(column.support == ANGLE for column in kind.columns) else TRANSFORMS[:-1]


@pytest.mark.parametrize(
    ("supports", "transform"), [(s, t) for s in SUPPORTS.values() for t in fitting(vector(*s))],
    ids=[f"{name}-{t}" for name, s in SUPPORTS.items() for t in fitting(vector(*s))],
)  # fmt: skip
def test_density_integrates_to_one(supports: tuple[Any, ...], transform: str) -> None:
    scales = {"coupling": (0.5, 0.2), "autoregressive": (0.2, 0.15), "affine": (0.3, 0.1), "affine_autoregressive": (0.2, 0.1)}.get(
        transform, (0.5, 0.5)
    )
    count, scale, options = (20_000, scales[0], SMALL) if len(supports) == 1 else (700, scales[1], TINY)
    options = options | {"transform": transform}
    for flow in (Flow(Spec(vector(*supports)), **options).double(), moved_off(Spec(vector(*supports)), scale, **options)):
        assert abs(integral(flow, supports, count) - 1) < 1e-3


CONDITIONAL = [((LINE,), t) for t in TRANSFORMS[:-1]] + [(s, t) for s in ((ANGLE,), (ANGLE, LINE)) for t in ROUND]


@pytest.mark.parametrize(("supports", "transform"), CONDITIONAL)
def test_conditional_density_integrates_to_one(supports: tuple[Any, ...], transform: str) -> None:
    flow = moved_off(Spec(vector(*supports), given=vector(LINE, ANGLE)), transform=transform, **TINY)
    for given in ([0.3, 2.0], [-1.5, -3.0], [math.nan, 1.0]):
        count = 20_000 if len(supports) == 1 else 500
        assert abs(integral(flow, supports, count, torch.tensor([given]).double()) - 1) < 1e-3


def test_numbers_and_categories_share_one_probability() -> None:
    flow = moved_off(Spec(vector(LINE, Categorical(("a", "b")), Categorical((1, 2, 3)))))
    parts = [integral(flow, (LINE,), 20_000, None, first, second) for first in (0.0, 1.0) for second in (0.0, 1.0, 2.0)]
    assert abs(sum(parts) - 1) < 1e-3
    assert max(parts) > 1.2 * min(parts)


def test_numbers_whole_numbers_and_categories_share_one_probability() -> None:
    flow = moved_off(Spec(vector(LINE, Integer(3, 5), Categorical(("a", "b")))), integers="exact")
    flow.begin(Examples(torch.tensor([[0.1, 0.0, 1.0], [0.2, 2.0, 0.0], [0.0, 2.0, 0.0]]).double()))
    parts = [integral(flow, (LINE,), 20_000, None, k, c) for k in (0.0, 1.0, 2.0) for c in (0.0, 1.0)]
    assert abs(sum(parts) - 1) < 1e-3 and max(parts) > 1.2 * min(parts)
    x, log_prob = flow.sample_and_log_prob(200)
    torch.testing.assert_close(log_prob, flow.log_prob(Examples(x)), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(flow.decode(flow.encode(Examples(x))), x, rtol=1e-7, atol=1e-7)
    assert (
        set(x[:, 1].tolist()) == {0.0, 1.0, 2.0} and flow.log_prob(Examples(torch.tensor([[0.0, 3.0, 0.0]]).double())).item() == -math.inf
    )


@pytest.mark.parametrize("given", [None, vector(LINE)])
def test_a_table_of_categories_alone_sums_to_one(given: Vector | None) -> None:
    flow = moved_off(Spec(vector(Categorical(("a", "b")), Categorical((1, 2, 3)), Categorical((False, True))), given=given))
    cells = torch.cartesian_prod(torch.arange(2), torch.arange(3), torch.arange(2)).double()
    condition = None if given is None else torch.full((12, 1), 0.7).double()
    probability = flow.log_prob(Examples(cells, given=condition)).exp()
    assert abs(probability.sum().item() - 1) < 1e-12
    torch.manual_seed(0)
    condition = None if condition is None else condition[:1].expand(20_000, 1)
    drawn = flow.sample(20_000, condition)
    seen = (drawn[:, None] == cells).all(2).double().mean(0)
    assert ((seen - probability).abs() < 4.5 * (probability / 20_000).sqrt()).all()


def test_pixels_integrate_to_one_inside_their_range() -> None:
    flow = moved_off(Spec(Image(1, (2,), levels=17)), **TINY)
    flow.enclose(torch.tensor([-0.8]), torch.tensor([2.6]))
    points, width = axis(LINE, 500)  # the density may rise without end towards an edge: equal steps of a normal quantile resolve it
    normal = torch.distributions.Normal(torch.zeros(()).double(), 1.0)
    u = torch.cartesian_prod(points, points)
    with torch.no_grad():
        log_prob = flow.log_prob(Examples((3.4 * normal.cdf(u) - 0.8).view(-1, 1, 2)))
    total = (log_prob + normal.log_prob(u).sum(1)).exp().sum().item() * (3.4 * width) ** 2
    assert abs(total - 1) < 1e-3


# ---- inverse and Jacobian --------------------------------------------------------------------------------------------------------

GIVEN = vector(LINE, Categorical(("u", "d")))
MIXED = vector(LINE, ANGLE, Categorical(("a", "b", "c")), LINE, ANGLE, Bounded(0, 1), Categorical((True, False)))
SPECS = {
    "line": Spec(vector(LINE)),
    "circle": Spec(vector(ANGLE)),
    "five": Spec(Vector.real(5)),
    "angles": Spec(vector(ANGLE, ANGLE, ANGLE)),
    "mixed": Spec(MIXED, given=GIVEN),
    "categories": Spec(vector(Categorical(("a", "b")))),
    "pixels": Spec(Image(2, (2, 3), levels=17), given=GIVEN),
    "real pixels": Spec(Image(1, (7,))),
    "two and classes": Spec(vector(LINE, Categorical(("a", "b", "c")), LINE), given=GIVEN),
}
FITTING = [(name, transform) for name in SPECS for transform in fitting(SPECS[name].x)]


@pytest.fixture(params=FITTING, ids="-".join)
def flow(request: pytest.FixtureRequest) -> Flow:
    name, transform = request.param
    # stretched further, more than the rarest noise would end on the edge of a pixel's range
    edgy = name == "pixels" and transform in ("autoregressive", "affine", "affine_autoregressive")
    made = moved_off(SPECS[name], 0.03 if edgy else 0.1, transform=transform)
    if name == "pixels":
        made.enclose(torch.tensor([-1.0, -0.5]), torch.tensor([2.0, 4.0]))
    return made


def given_for(flow: Flow, n: int) -> Tensor | None:
    if flow.spec.given is None:
        return None
    return torch.stack([torch.randn(n), torch.randint(0, 2, (n,)).float()], 1).double()


def apart(flow: Flow, a: Tensor, b: Tensor) -> Tensor:
    """The largest difference of each row, on the circle where columns are angles."""
    difference = (a - b).flatten(1)
    turns = torch.zeros(difference.shape[1], dtype=torch.bool)
    turns[list(flow.layout.angles)] = True
    return torch.where(turns, torch.remainder(difference + math.pi, 2 * math.pi) - math.pi, difference).abs().amax(1)


def test_encode_and_decode_undo_each_other(flow: Flow) -> None:
    torch.manual_seed(1)
    given = given_for(flow, 400)
    x = flow.sample(400, given)
    z = flow.encode(Examples(x, given=given))
    assert z.shape == (400, math.prod(flow.spec.x.shape)) and x.shape == (400, *flow.spec.x.shape)
    assert apart(flow, flow.decode(z, given), x).max() < 1e-7
    z = flow.encode(Examples(flow.sample(400, given)))  # any noise will do
    errors = apart(flow, flow.encode(Examples(flow.decode(z, given), given=given)), z)
    assert errors.quantile(0.95 if flow.shape == (2, 2, 3) else 1.0) < 1e-7  # the rarest noise ends on the edge of a pixel's range


def test_log_prob_is_base_plus_autograds_jacobian(flow: Flow) -> None:
    torch.manual_seed(2)
    given = given_for(flow, 5)
    x = flow.sample(5, given).flatten(1)
    numbers = [*flow.layout.reals, *flow.layout.angles]
    for i in range(5):
        condition = None if given is None else given[i : i + 1]

        def noise(v: Tensor, row: Tensor = x[i], condition: Tensor | None = condition) -> Tensor:
            full = row.index_copy(0, torch.tensor(numbers, dtype=torch.int64), v)
            return flow.encode(Examples(full.view(1, *flow.shape), given=condition))[0, numbers]

        expected = torch.zeros(()).double()
        if numbers:
            z, jacobian = noise(x[i, numbers]), torch.autograd.functional.jacobian(noise, x[i, numbers])
            line = torch.distributions.Normal(torch.zeros(()).double(), 1.0).log_prob(z[: len(flow.layout.reals)]).sum()
            expected = line - len(flow.layout.angles) * math.log(2 * math.pi) + torch.linalg.slogdet(jacobian)[1]
        if flow.discrete is not None:
            codes = x[i : i + 1, list(flow.layout.labels)].long()
            expected = expected + flow.discrete.log_prob(codes, flow.condition(condition, 1))[0]
        ours = flow.log_prob(Examples(x[i : i + 1].view(1, *flow.shape), given=condition))[0]
        torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-9)


def test_score_is_minus_log_prob(flow: Flow) -> None:
    given = given_for(flow, 6)
    batch = Examples(flow.sample(6, given), given=given)
    assert torch.equal(flow.score(batch), -flow.log_prob(batch))


def test_a_sample_comes_with_its_density(flow: Flow) -> None:
    torch.manual_seed(3)
    given = given_for(flow, 300)
    torch.manual_seed(4)
    x, log_prob = flow.sample_and_log_prob(300, given)
    torch.manual_seed(4)
    assert torch.equal(flow.sample(300, given), x) and log_prob.shape == (300,)
    again = flow.log_prob(Examples(x, given=given))
    errors = (log_prob - again).abs()
    assert errors.quantile(0.95 if flow.shape == (2, 2, 3) else 1.0) < 1e-7  # as above, pixels on the edge of their range


@pytest.mark.parametrize(("name", "transform"), FITTING)
def test_a_sample_comes_with_its_density_in_single_precision(name: str, transform: str) -> None:
    flow = moved_off(SPECS[name], transform=transform).float()
    given = given_for(flow, 300)
    given = None if given is None else given.float()
    x, log_prob = flow.sample_and_log_prob(300, given)
    assert log_prob.dtype == torch.float32
    assert (log_prob - flow.log_prob(Examples(x, given=given))).abs().quantile(0.95) < 1e-3


# ---- samples follow the density --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("support", [LINE, ANGLE], ids=["line", "circle"])
def test_samples_follow_the_density(support: Any) -> None:
    flow = moved_off(Spec(vector(support)), 0.5)
    points, width = axis(support, 20_000)
    with torch.no_grad():
        density = flow.log_prob(Examples(points[:, None])).exp()
        torch.manual_seed(0)
        drawn = flow.sample(20_000).flatten().sort().values
    expected = torch.searchsorted(points + 0.5 * width, drawn).clamp(max=19_999)
    distance = ((density.cumsum(0) * width)[expected] - torch.arange(20_000).double() / 20_000).abs().max()
    assert distance < 1.95 / math.sqrt(20_000)  # Kolmogorov-Smirnov, p = 0.001
    assert (density - density.mean()).abs().max() > 0.1 * density.mean()


def test_log_prob_of_samples_has_the_mean_that_quadrature_gives() -> None:
    flow = moved_off(Spec(vector(LINE, ANGLE)))
    (u, du), (v, dv) = axis(LINE, 400), axis(ANGLE, 200)
    with torch.no_grad():
        log_prob = flow.log_prob(Examples(torch.cartesian_prod(u, v)))
        expected = (log_prob.exp() * log_prob).sum() * du * dv
        torch.manual_seed(0)
        seen = flow.log_prob(Examples(flow.sample(20_000)))
    assert (seen.mean() - expected).abs() < 4 * seen.std() / math.sqrt(20_000)


# ---- edges -----------------------------------------------------------------------------------------------------------------------


def test_an_angle_may_be_given_any_number_of_turns() -> None:
    flow = moved_off(SPECS["angles"])
    x = flow.sample(50)
    torch.testing.assert_close(flow.log_prob(Examples(x + 6 * math.pi)), flow.log_prob(Examples(x)), rtol=0, atol=1e-9)


def test_pixels_never_leave_their_range() -> None:
    flow = moved_off(SPECS["pixels"], 1.0).float()
    low, high = torch.tensor([-1.0, -0.5]), torch.tensor([2.0, 4.0])
    flow.enclose(low, high)
    x = flow.sample(2000, given_for(flow, 2000).float())
    assert (x.amin((0, 2, 3)) >= low).all() and (x.amax((0, 2, 3)) <= high).all()
    assert (x.amin((0, 2, 3)) < low + 0.3).all() and (x.amax((0, 2, 3)) > high - 0.3).all()
    again = Flow(flow.spec, **SMALL)
    again.load_state_dict(flow.state_dict())
    x = x[:5]
    given = given_for(flow, 5).float()
    assert torch.equal(again.eval().log_prob(Examples(x, given=given)), flow.log_prob(Examples(x, given=given)))


@pytest.mark.parametrize(("name", "transform"), FITTING)
def test_absurd_parameters_give_no_nan(name: str, transform: str) -> None:
    torch.manual_seed(0)
    flow = Flow(SPECS[name], transform=transform, actnorm=True, **SMALL).eval()
    if name == "pixels":
        flow.enclose(torch.tensor(-1.0), torch.tensor(2.0))
    x, given = moved_off(SPECS[name]).sample(200, given_for(flow, 200)).float(), None
    with torch.no_grad():
        for key, parameter in flow.named_parameters():
            if "diagonal" not in key and "factors" not in key:
                last = any(part in key for part in ("network.2", "constant", ".last.", "raw"))
                parameter.add_(torch.randn_like(parameter) * (100 if last else 0.1))
    log_prob = flow.log_prob(Examples(x, given=given))
    gradients = torch.autograd.grad(log_prob.sum(), list(flow.parameters()), allow_unused=True)
    assert log_prob.isfinite().all()
    assert all(g is None or g.isfinite().all() for g in gradients)
    assert flow.sample(200).isfinite().all()


@pytest.mark.parametrize("far", [1e6, 1e30, math.inf])
@pytest.mark.parametrize("transform", TRANSFORMS[:-1])
def test_numbers_far_away_are_improbable_and_leave_gradients_finite(transform: str, far: float) -> None:
    flow = moved_off(SPECS["five"], transform=transform, actnorm=True).float()
    log_prob = flow.log_prob(Examples(torch.full((2, 5), far) * torch.tensor([[1.0], [-1.0]])))
    assert (log_prob < -1e6).all() and log_prob.isfinite().all()
    assert all(g.isfinite().all() for g in torch.autograd.grad(log_prob.sum(), list(flow.parameters())))


def test_single_precision_is_close_to_double() -> None:
    flow = moved_off(Spec(Vector.real(8)))
    x = flow.sample(1000)
    exact = flow.log_prob(Examples(x))
    single = flow.float()
    assert (single.log_prob(Examples(x.float())).double() - exact).abs().quantile(0.99) < 1e-3
    z = single.encode(Examples(x.float()))
    assert (single.decode(z) - x.float()).abs().max() < 1e-3


def test_what_cannot_be_is_refused_by_name() -> None:
    with pytest.raises(DataError, match="Flow wants x to be Vector or Image; got Set"):
        Flow(Spec(Set(Vector.real(2))))
    with pytest.raises(DataError, match="at least one column"):
        Flow(Spec(Vector(())))
    for options in ({"transforms": 0}, {"bins": 1}, {"bound": 0.0}, {"size": -1.0}, {"frequencies": -1}):
        with pytest.raises(OptionError, match=f"'{next(iter(options))}' of Flow must be .* got {next(iter(options.values()))}"):
            Flow(Spec(Vector.real(2)), **options)
    with pytest.raises(OptionError, match="unknown transform 'spline'"):
        Flow(Spec(Vector.real(2)), transform="spline")
    with pytest.raises(OptionError, match="unknown mixing 'all' of Flow"):
        Flow(Spec(Vector.real(2)), mixing="all")
    for transform in TRANSFORMS[2:]:
        with pytest.raises(OptionError, match=f"transform '{transform}' moves numbers only and column 'c1' is an angle; use coupling"):
            Flow(Spec(vector(LINE, ANGLE)), transform=transform)
    with pytest.raises(OptionError, match="transform 'multiscale' is for images"):
        Flow(Spec(Vector.real(4)), transform="multiscale")
    with pytest.raises(OptionError, match="images with levels"):
        Flow(Spec(Vector.real(2))).enclose(torch.tensor(0.0), torch.tensor(1.0))


def couplings(spec: Spec) -> list[SplineCoupling]:
    flow = Flow(spec)
    return [step for step in flow.bijection.steps if isinstance(step, SplineCoupling)]


def test_usual_options_follow_the_columns() -> None:
    angles = vector(*[ANGLE] * 20)
    assert [len(couplings(Spec(kind))) for kind in (Vector.real(1), Vector.real(4), Vector.real(5), Vector.real(64), angles)] == [
        4,
        4,
        6,
        6,
        10,
    ]
    assert [len(couplings(Spec(Vector.real(width)))[0].waves) for width in (1, 2, 3)] == [3, 3, 0]
    dropped = [[m.p for m in Flow(Spec(Vector.real(width))).modules() if isinstance(m, torch.nn.Dropout)] for width in (8, 64)]
    assert not dropped[0] and set(dropped[1]) == {0.2}


def test_it_begins_as_the_normal_distribution_of_the_data() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(5000, 4, generator=generator).double() @ (torch.eye(4) + 0.3 * torch.randn(4, 4, generator=generator)).double() + 3
    flow = Flow(Spec(Vector.real(4)), **SMALL).double()
    flow.begin(Examples(x))
    exact = MultivariateNormal(x.mean(0), x.T.cov()).log_prob(x)
    assert (flow.log_prob(Examples(x)) - exact).abs().max() < 0.1
    z = flow.encode(Examples(x))
    torch.testing.assert_close(z.T.cov(), torch.eye(4).double(), rtol=0, atol=0.02)
    Flow(Spec(vector(LINE, LINE)), **SMALL).begin(Examples(x[:1, :2]))  # too few rows to begin from, or nothing to begin with
    flow.begin(Examples(torch.ones(5, 4).double()))
    assert all(p.isfinite().all() for p in flow.parameters())


@pytest.mark.parametrize(("name", "transform"), [("five", "coupling"), ("five", "radial"), ("images", "multiscale")])
def test_begin_sets_every_actnorm_from_the_rows(name: str, transform: str) -> None:
    flow = Flow(SPECS[name] if name in SPECS else Spec(Image(2, (4, 4))), transform=transform, actnorm=True, dropout=0.5, **SMALL)
    rows = 3 + 2 * torch.randn(200, *flow.shape)
    state = torch.random.get_rng_state()
    flow.begin(Examples(rows))
    norms = [module for module in flow.modules() if isinstance(module, ActNorm)]
    assert norms and all(bool(norm.ready) for norm in norms) and flow.training
    assert torch.equal(torch.random.get_rng_state(), state)  # nothing is drawn, so all processes agree
    before = [norm.mean.clone() for norm in norms]
    flow.loss(Examples(rows[:20]))
    assert all(torch.equal(norm.mean, mean) for norm, mean in zip(norms, before, strict=True))
