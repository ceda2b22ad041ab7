"""Flows on sets: densities that integrate to p(N), blind to order, Jacobians of whole sets, round trips, sizes, a shared hidden centre."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from scipy import stats
from torch import Tensor

import gnomon
from gnomon.blocks.bijections.sets import ElementCoupling, Members, Modes
from gnomon.data import Categorical, Column, Examples, Integer, Periodic, Ragged, Real, Sequence, Set, Spec, Vector
from gnomon.errors import DataError, OptionError
from gnomon.models.set_flow import SetFlow

ANGLE, LINE, LABEL = Periodic(-math.pi, math.pi), Real(), Categorical(("a", "b", "c"))
TINY: dict[str, Any] = {"hidden": (8,), "transforms": 2, "bins": 4}


def vector(*supports: Any) -> Vector:
    return Vector(tuple(Column(f"c{i}", support) for i, support in enumerate(supports)))


def moved_off(*supports: Any, given: Vector | None = None, scale: float = 0.1, **options: Any) -> SetFlow:
    """A flow in float64 with every parameter moved off its start, and sizes around 2."""
    torch.manual_seed(0)
    flow = SetFlow(Spec(Set(vector(*supports)), given=given), **{**TINY, **options}).double().eval()
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(scale * torch.randn_like(parameter))
    flow.begin(Examples(Ragged(torch.zeros(0, len(supports)), torch.tensor([0, 1, 1, 2, 2, 3, 3, 4, 5]))))
    return flow


SUPPORTS = {
    "line": (LINE,), "plane": (LINE, LINE), "cylinder": (ANGLE, LINE), "circle": (ANGLE,), "four": (LINE,) * 4,
    "mixed": (LABEL, LINE, ANGLE, Categorical((1, 2)), LINE), "label": (LABEL,),
}  # fmt: skip
GIVEN = vector(LINE, Categorical(("u", "d")))
CASES = [(name, given) for name in SUPPORTS for given in (False, True)]


@pytest.fixture(params=CASES, ids=lambda case: case[0] + ("-given" if case[1] else ""))
def flow(request: pytest.FixtureRequest) -> SetFlow:
    name, given = request.param
    return moved_off(*SUPPORTS[name], given=GIVEN if given else None)


def given_for(flow: SetFlow, n: int) -> Tensor | None:
    if flow.spec.given is None:
        return None
    torch.manual_seed(7)
    return torch.stack([torch.randn(n), torch.randint(0, 2, (n,)).float()], 1).double()


def log_prob(flow: SetFlow, sets: Ragged, given: Tensor | None = None) -> Tensor:
    with torch.no_grad():
        return flow.log_prob(Examples(sets, given=given))


def of_size(values: Tensor, size: int) -> Ragged:
    """Sets ``(n, size, columns)``."""
    return Ragged(values.flatten(0, 1), torch.full((len(values),), size))


def midpoints(support: Any, count: int) -> tuple[Tensor, float]:
    half = math.pi if isinstance(support, Periodic) else 7.0
    return (torch.arange(count).double() + 0.5) / count * 2 * half - half, 2 * half / count


# ---- densities integrate to the probability of the size ---------------------------------------------------------------------------


@pytest.mark.parametrize("supports", [(LINE, LINE), (LINE, ANGLE), (LINE,), (ANGLE,)])
@pytest.mark.parametrize("given", [None, [0.4, 1.0]])
def test_sets_of_one_integrate_to_p_of_one(supports: tuple[Any, ...], given: list[float] | None) -> None:
    flow = moved_off(*supports, given=None if given is None else GIVEN)
    axes = [midpoints(support, 300) for support in supports]
    grid = torch.cartesian_prod(*(points for points, _ in axes)).view(-1, 1, len(supports))
    condition = None if given is None else torch.tensor([given]).double().expand(len(grid), -1)
    total = log_prob(flow, of_size(grid, 1), condition).exp().sum() * math.prod(width for _, width in axes)
    size = flow.count_log_prob(torch.tensor([1]), None if condition is None else condition[:1]).exp()
    assert abs(total / size - 1) < 1e-3


def test_pairs_of_angles_integrate_to_p_of_two() -> None:
    flow = moved_off(ANGLE)
    points, width = midpoints(ANGLE, 300)
    grid = torch.cartesian_prod(points, points)[:, :, None]
    total = log_prob(flow, of_size(grid, 2)).exp().sum() * width**2
    assert abs(total / flow.count_log_prob(torch.tensor([2])).exp() - 1) < 1e-3


def spread_out(size: int, columns: int) -> tuple[Tensor, Tensor]:
    """Sets of 2 or 3 elements with means and spreads of every order, ``(65536, size, columns)``, and their log-density.

    A flow of sets may bend the density on a logarithmic scale of the spread, which no grid of the elements' own places resolves. Here √N
    times the mean is normal, the logarithm of the spread is logistic, and the direction of what lies around the mean is uniform.
    """
    u = torch.quasirandom.SobolEngine(3 * columns, scramble=True, seed=1).draw(2**16, dtype=torch.float64).clamp(1e-9, 1 - 1e-9)
    z, v, turn = torch.special.ndtri(u[:, :columns]), u[:, columns : 2 * columns], u[:, 2 * columns :]
    length, log_spread = 1.5 * z, v.logit() - 0.3
    radius = log_spread.exp() * math.sqrt(size - 1)
    normal = torch.distributions.Normal(torch.zeros(()).double(), 1.0)
    log_prob = normal.log_prob(z).sum(1) - columns * math.log(1.5) + (v.log() + (1 - v).log()).sum(1)
    if size == 2:
        basis = torch.tensor([[1.0, -1.0]]).double() / math.sqrt(2)
        around = (torch.where(turn < 0.5, -1.0, 1.0) * radius)[:, None]
        log_prob = log_prob - (math.log(2) + radius.log()).sum(1)
    else:
        basis = torch.tensor([[1.0, -1.0, 0.0], [1.0, 1.0, -2.0]]).double() / torch.tensor([[2.0], [6.0]]).double().sqrt()
        angle = 2 * math.pi * turn
        around = torch.stack([radius * angle.cos(), radius * angle.sin()], 1)
        log_prob = log_prob - (math.log(2 * math.pi) + 2 * radius.log()).sum(1)
    return (length / math.sqrt(size))[:, None] + torch.einsum("nkc,ke->nec", around, basis), log_prob


@pytest.mark.parametrize(("size", "columns"), [(2, 1), (3, 1), (2, 2), (3, 2)])
def test_sets_of_numbers_integrate_to_p_of_the_size(size: int, columns: int) -> None:
    flow = moved_off(*(LINE,) * columns, scale=0.1 if columns == 1 else 0.04)
    values, proposal = spread_out(size, columns)
    ratio = (log_prob(flow, of_size(values, size)) - proposal).exp()
    assert abs(ratio.mean() / flow.count_log_prob(torch.tensor([size])).exp() - 1) < 1e-3


def test_numbers_and_categories_share_one_probability() -> None:
    flow = moved_off(LINE, Categorical(("a", "b")))
    numbers, proposal = spread_out(2, 1)
    total, parts = 0.0, []
    for codes in ((0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0)):
        values = torch.cat([numbers, numbers.new_tensor(codes)[:, None].expand(len(numbers), 2, 1)], 2)
        parts.append((log_prob(flow, of_size(values, 2)) - proposal).exp().mean().item())
    total = sum(parts) / flow.count_log_prob(torch.tensor([2])).exp().item()
    assert abs(total - 1) < 1e-3
    assert max(parts) > 1.02 * min(parts)


@pytest.mark.parametrize("table", [1, 3, 32])
@pytest.mark.parametrize("given", [None, vector(LINE)])
def test_sizes_share_one_probability_and_none_is_impossible(table: int, given: Vector | None) -> None:
    flow = moved_off(LINE, given=given, table=table)
    condition = None if given is None else torch.full((2001, 1), 0.7).double()
    value = flow.count_log_prob(torch.arange(-1, 2000), condition)
    assert value[0] == -math.inf and abs(value.exp().sum() - 1) < 1e-12
    assert torch.isfinite(value[1:200]).all()


# ---- order, Jacobian, inverse -----------------------------------------------------------------------------------------------------


def draw(flow: SetFlow, n: int, seed: int = 1) -> tuple[Ragged, Tensor | None]:
    given = given_for(flow, n)
    torch.manual_seed(seed)
    with torch.no_grad():
        return flow.sample(n, given), given


def test_the_order_of_elements_is_not_seen(flow: SetFlow) -> None:
    sets, given = draw(flow, 200)
    shuffled = Ragged(torch.cat([part[torch.randperm(len(part))] for part in sets.split()]), sets.lengths)
    assert not torch.equal(shuffled.values, sets.values)
    torch.testing.assert_close(log_prob(flow, shuffled, given), log_prob(flow, sets, given), rtol=1e-12, atol=1e-12)


def test_log_det_is_autograds_of_the_whole_set(flow: SetFlow) -> None:
    moved = [*flow.layout.reals, *flow.layout.angles]
    if not moved:
        pytest.skip("nothing but categories")
    sets, given = draw(flow, 300)
    of_each_size = [int(torch.nonzero(sets.lengths == size)[0]) for size in range(6) if size in sets.lengths]
    assert len(of_each_size) >= 4
    sets, given = sets[torch.tensor(of_each_size)], None if given is None else given[of_each_size]
    _, log_det = flow.to_noise(Examples(sets, given=given))
    for i, values in enumerate(sets.split()):
        if not len(values):
            assert log_det[i] == 0
            continue
        condition = None if given is None else given[i : i + 1]

        def noise(flat: Tensor, values: Tensor = values, condition: Tensor | None = condition) -> Tensor:
            full = values.index_copy(1, torch.tensor(moved), flat.view(len(values), len(moved)))
            return flow.to_noise(Examples(Ragged(full, torch.tensor([len(full)])), given=condition))[0].values[:, moved].flatten()

        jacobian = torch.autograd.functional.jacobian(noise, values[:, moved].flatten())
        assert abs(log_det[i] - torch.linalg.slogdet(jacobian)[1]) < 1e-9


def apart(flow: SetFlow, a: Tensor, b: Tensor) -> float:
    """The largest difference, on the circle where columns are angles."""
    difference = (a - b).index_copy(
        1, flow.at_angles, torch.remainder((a - b)[:, flow.at_angles] + math.pi, 2 * math.pi) - math.pi
    )  # fmt: skip
    return difference.abs().max().item()


def test_both_directions_undo_each_other(flow: SetFlow) -> None:
    sets, given = draw(flow, 300)
    with torch.no_grad():
        noise, there = flow.to_noise(Examples(sets, given=given))
        back, back_again = flow.from_noise(noise, given)
        assert apart(flow, back.values, sets.values) < 1e-9
        torch.testing.assert_close(there, -back_again, rtol=0, atol=1e-7)
        other, given = draw(flow, 300, seed=2)  # any noise will do, here a hundred standard deviations away
        made, _ = flow.from_noise(other, given)
        assert apart(flow, flow.to_noise(Examples(made, given=given))[0].values, other.values) < 1e-6


def test_log_prob_of_samples_is_the_same_evaluated_again(flow: SetFlow) -> None:
    given = given_for(flow, 300)
    torch.manual_seed(3)
    with torch.no_grad():
        sets, value = flow.sample_and_log_prob(300, given)
    torch.testing.assert_close(value, log_prob(flow, sets, given), rtol=0, atol=1e-7)
    assert torch.equal(flow.score(Examples(sets, given=given)), -flow.log_prob(Examples(sets, given=given)))


def test_sizes_of_samples_follow_their_probability() -> None:
    flow = moved_off(LINE, given=vector(LINE), scale=0.3, table=3)
    for given in (-1.0, 1.5):
        condition = torch.full((20_000, 1), given).double()
        torch.manual_seed(0)
        seen = torch.bincount(flow.sample(20_000, condition).lengths, minlength=8)[:8].double() / 20_000
        expected = flow.count_log_prob(torch.arange(8), condition[:8]).exp().detach()
        assert ((seen - expected).abs() < 4.5 * (expected / 20_000).sqrt() + 1e-9).all()


def test_samples_of_pairs_have_the_density_of_pairs() -> None:
    flow = moved_off(LINE)
    values, proposal = spread_out(2, 1)
    weight = (log_prob(flow, of_size(values, 2)) - proposal).exp()[:, None] / len(values)
    torch.manual_seed(0)
    with torch.no_grad():
        drawn = flow.sample(40_000)
    pairs = drawn[torch.nonzero(drawn.lengths == 2).flatten()].values.view(-1, 2, 1)

    def regions(pairs: Tensor) -> Tensor:
        one, two = pairs[:, 0, 0], pairs[:, 1, 0]
        apart, middle = (one - two).abs(), (one + two) / 2
        return torch.stack([apart < 0.3, apart > 1.5, middle > 0.3, (middle < -0.3) & (apart < 1), one > two], 1).double()

    expected = (weight * regions(values)).sum(0)
    seen = regions(pairs).sum(0) / 40_000
    assert ((seen - expected).abs() < 4 * (expected / 40_000).sqrt()).all()


def test_it_starts_as_independent_normal_elements() -> None:
    torch.manual_seed(0)
    flow = SetFlow(Spec(Set(Vector.real(2)))).eval()
    values, lengths = torch.randn(7, 2), torch.tensor([3, 0, 4])
    expected = [stats.norm.logpdf(part.numpy()).sum() for part in values.split(lengths.tolist())]
    got = log_prob(flow, Ragged(values, lengths)) - flow.count_log_prob(lengths)
    np.testing.assert_allclose(got.detach().numpy(), expected, atol=2e-4)


def test_empty_sets_have_the_probability_of_no_elements() -> None:
    flow = moved_off(*SUPPORTS["mixed"])
    nothing = Ragged(torch.zeros(0, 5).double(), torch.zeros(3, dtype=torch.int64))
    expected = flow.count_log_prob(torch.zeros(3, dtype=torch.int64)).detach()
    torch.testing.assert_close(log_prob(flow, nothing), expected, rtol=0, atol=1e-12)
    flow.loss(Examples(nothing)).total.backward()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in flow.parameters())


@pytest.mark.parametrize("value", [math.inf, -math.inf, 1e30])
def test_infinite_numbers_give_finite_gradients(value: float) -> None:
    flow = moved_off(LINE, LINE)
    sets = Ragged(torch.tensor([[value, 0.5], [0.3, 0.2]]).double(), torch.tensor([2]))
    loss = flow.loss(Examples(sets)).total
    loss.backward()
    assert torch.isfinite(loss) and all(torch.isfinite(p.grad).all() for p in flow.parameters() if p.grad is not None)


def test_equal_elements_come_back() -> None:
    flow = moved_off(LINE, LINE)
    sets = Ragged(torch.full((4, 2), 0.7).double(), torch.tensor([3, 1]))
    with torch.no_grad():
        noise, log_det = flow.to_noise(Examples(sets))
        assert torch.isfinite(log_det).all()
        torch.testing.assert_close(flow.from_noise(noise)[0].values, sets.values, rtol=0, atol=1e-8)


# ---- steps ------------------------------------------------------------------------------------------------------------------------


def test_modes_tie_elements_of_one_column_and_couplings_cannot() -> None:
    members = Members(torch.zeros(3, dtype=torch.int64), torch.tensor([3.0]).double(), torch.zeros(1, 1).double())
    for step, ties in ((Modes(1, given=1, hidden=(8,)), True), (ElementCoupling(1, moved=(0,), given=1, hidden=(8,)), False)):
        torch.manual_seed(0)
        step.double()
        with torch.no_grad():
            for parameter in step.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
        jacobian = torch.autograd.functional.jacobian(
            lambda x, step=step: step.forward_and_log_det(x[:, None], members)[0][:, 0], torch.tensor([0.1, 0.8, -0.5]).double()
        )
        assert bool((jacobian - jacobian.diagonal().diag()).abs().max() > 1e-3) == ties


def test_sizes_begin_as_often_as_in_the_data() -> None:
    flow = SetFlow(Spec(Set(Vector.real(1)), given=vector(LINE)), table=4, **TINY)
    sizes, blank = torch.tensor([1] * 50 + [3] * 30 + [40, 50, 60] * 40), torch.zeros(0, 1)
    flow.begin(Examples(Ragged(blank, sizes)))
    given = torch.randn(300, 1)
    value = flow.count_log_prob(torch.arange(300), given).exp()
    torch.testing.assert_close(value[:4], torch.tensor([0.2, 50.2, 0.2, 30.2]) / 201)
    large = value[4:] / value[4:].sum()
    mean = (large * torch.arange(4, 300)).sum().item()
    assert mean == pytest.approx(50, abs=0.5)
    assert (large * (torch.arange(4, 300) - mean).square()).sum().sqrt().item() == pytest.approx(sizes[80:].double().std().item(), rel=0.3)


@pytest.mark.parametrize(
    ("kind", "options", "error", "message"),
    [
        (vector(LINE), {}, DataError, "SetFlow wants x to be Set; got Vector"),
        (Sequence(vector(LINE)), {}, DataError, "SetFlow wants x to be Set; got Sequence"),
        (Set(Vector(())), {}, DataError, "at least one column; got none"),
        (Set(vector(Integer(0, 9))), {}, DataError, "column 'c0' holds such: pass columns="),
        (Set(vector(LINE)), {"components": 0}, OptionError, "option 'components' of SetFlow must be 1 or more; got 0"),
        (Set(vector(LINE)), {"bound": -1.0}, OptionError, "option 'bound' of SetFlow must be above 0; got -1.0"),
    ],
)
def test_what_it_does_not_take_is_named(kind: Any, options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        SetFlow(Spec(kind), **options)


def test_a_tensor_in_place_of_sets_is_named() -> None:
    with pytest.raises(DataError, match=r"wants sets of elements as Ragged.*shape \(3, 2\)"):
        SetFlow(Spec(Set(Vector.real(2))), **TINY).log_prob(Examples(torch.zeros(3, 2)))


# ---- learned ----------------------------------------------------------------------------------------------------------------------

SPREAD = 0.5  # of elements around a centre of their own, which is drawn with standard deviation 1 for each set
LARGEST = 5


def clustered(n: int, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(1, 1)) + SPREAD * rng.normal(size=(rng.integers(1, LARGEST + 1), 1)) for _ in range(n)]


@pytest.fixture(scope="module")
def learned() -> Any:
    return gnomon.fit("set_flow", clustered(2000, 0), kind="set", epochs=12, options={"hidden": (32,)}, progress=False, doctor=False)


def test_a_shared_hidden_centre_is_learned(learned: Any) -> None:
    """The density of elements that share a centre against that of as many independent ones: both are known, 1.56 nats per set apart."""
    test = clustered(2000, 1)
    joint = np.mean([stats.multivariate_normal.logpdf(a[:, 0], np.zeros(len(a)), SPREAD**2 * np.eye(len(a)) + 1) for a in test])
    independent = np.mean([stats.norm.logpdf(a, 0, math.hypot(1, SPREAD)).sum() for a in test])
    got = learned.log_prob(test).mean() + math.log(LARGEST)
    assert joint - independent > 1.0
    assert got - independent > 0.9 * (joint - independent)
    assert got < joint + 0.1


def test_samples_are_arrays_in_the_users_units(learned: Any) -> None:
    drawn = learned.sample(3000, seed=1)
    assert all(a.shape == (len(a), 1) for a in drawn)
    sizes = np.bincount([len(a) for a in drawn], minlength=8) / 3000
    assert np.abs(sizes[1 : LARGEST + 1] - 1 / LARGEST).max() < 0.05
    large = [a for a in drawn if len(a) >= 4]
    assert np.std([a.mean() for a in large]) == pytest.approx(math.hypot(1, SPREAD / 2), abs=0.1)
    assert np.mean([a.std(ddof=1) for a in large]) == pytest.approx(SPREAD * 0.93, abs=0.06)


def test_it_is_saved_and_loaded(learned: Any, tmp_path: Path) -> None:
    again = gnomon.load(learned.save(tmp_path / "run"))
    sets = [*clustered(20, 2), np.zeros((0, 1))]
    assert np.array_equal(again.log_prob(sets), learned.log_prob(sets))
    assert all(np.array_equal(a, b) for a, b in zip(again.sample(20), learned.sample(20), strict=True))


def test_it_is_checked(learned: Any) -> None:
    report = gnomon.check(learned, clustered(200, 3))
    assert {"log_likelihood", "c2st_auc"} <= {row.name for row in report.statistics}


def test_units_move_the_density_by_the_jacobian_of_each_element() -> None:
    sets = clustered(300, 4)
    options = {"kind": "set", "epochs": 1, "options": TINY, "progress": False, "doctor": False}
    metres, millimetres = gnomon.fit("set_flow", sets, **options), gnomon.fit("set_flow", [1000 * a for a in sets], **options)
    difference = metres.log_prob(sets) - millimetres.log_prob([1000 * a for a in sets])
    np.testing.assert_allclose(difference, [len(a) * math.log(1000) for a in sets], atol=1e-3)


def test_tables_of_lists_with_a_condition_and_categories() -> None:
    rng = np.random.default_rng(0)
    beam = rng.uniform(1, 3, 400)
    lists = [rng.lognormal(0, 0.3, rng.poisson(b)).tolist() for b in beam]
    charges = [[("-", "+")[rng.integers(2)] for _ in row] for row in lists]
    table = pa.table({"pt": lists, "charge": charges, "beam": beam})
    options = {"given": ["beam"], "columns": {"pt": "positive"}, "epochs": 1, "options": TINY, "progress": False, "doctor": False}
    learned = gnomon.fit("set_flow", table, kind="set", **options)
    drawn = learned.sample(50, given={"beam": 2.0})
    assert drawn.column_names == ["pt", "charge", "beam"]
    assert np.isfinite(learned.log_prob(table)).all() and np.isfinite(learned.log_prob(drawn)).all()
    assert {c for row in drawn["charge"].to_pylist() for c in row} <= {"-", "+"}
