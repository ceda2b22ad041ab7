"""Bijections: both directions undo each other, the log-determinant is autograd's, couplings stay on the circle."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from gnomon.blocks.bijections import (
    ActNorm,
    AffineAutoregressive,
    AffineCoupling,
    Bijection,
    Box,
    Chain,
    Conditioner,
    FactorOut,
    ImageConditioner,
    ImageCoupling,
    LULinear,
    OrthogonalLinear,
    Permutation,
    PerPixel,
    Planar,
    Radial,
    SplineCoupling,
    Squeeze,
    splits,
    wrapped,
)
from gnomon.blocks.categories import CategoryChain
from tests.module_contract import Case, CompileContract, ModuleContract, normal, normals, shaken

SMALL: dict[str, Any] = {"hidden": (7,), "bins": 4}


class Both(nn.Module):
    """A bijection's image and log-determinant side by side."""

    def __init__(self, bijection: Bijection, inverse: bool = False) -> None:
        super().__init__()
        self.bijection = bijection
        self.inverse = inverse

    def forward(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        method = self.bijection.inverse_and_log_det if self.inverse else self.bijection.forward_and_log_det
        y, log_det = method(x, given)
        return torch.cat([y, log_det[:, None]], 1)


def box() -> Box:
    return Box(3, torch.tensor(-6.0), torch.tensor(8.0), bins=4)


@dataclass(frozen=True)
class Row:
    """One bijection.

    Args:
        build: makes it.
        size: how many columns it takes.
        circular: which of them are angles.
        given: size of its condition.
        starts: whether it starts as the identity.
        scale: how far its parameters are moved off, so that it moves columns and is not yet singular.
        moves: whether each parameter acts.
    """

    build: Any
    size: int = 3
    circular: tuple[int, ...] = ()
    given: int = 0
    starts: bool = True
    scale: float = 0.5
    moves: bool = True

    def points(self, n: int, seed: int = 1) -> tuple[Tensor, Tensor | None]:
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(n, self.size, generator=generator, dtype=torch.float64)
        for i in self.circular:
            x[:, i] = (2 * torch.rand(n, generator=generator, dtype=torch.float64) - 1) * math.pi
        given = torch.randn(n, self.given, generator=generator, dtype=torch.float64) if self.given else None
        return x, given


def chain() -> Chain:
    moved = splits(3, 4)
    return Chain([SplineCoupling(3, moved=moved[0], **SMALL), LULinear(3), SplineCoupling(3, moved=moved[1], **SMALL)])


def after_a_batch(size: int, columns: int | None = None) -> ActNorm:
    """In evaluation mode: in training it writes its buffers, which forward-mode derivatives and `torch.func.grad` refuse."""
    made = ActNorm(size, columns=columns)
    made.forward_and_log_det(torch.randn(50, size) * (1 + torch.rand(size)) + torch.randn(size))
    return made.eval()


def scales() -> Chain:
    squeeze = Squeeze((1, 4, 2))
    couplings = [ImageCoupling(squeeze.shape, moved=moved, hidden=(5, 5), bins=4) for moved in ((0, 1), (2, 3))]
    rest = FactorOut(Chain([ImageCoupling((2, 2, 1), moved=(0,), hidden=(5,), bins=4)]), 4)
    return Chain([squeeze, couplings[0], PerPixel(LULinear(4), squeeze.shape), couplings[1], rest])


ROWS = {
    "coupling": Row(lambda: SplineCoupling(3, moved=(0, 2), **SMALL)),
    "coupling given": Row(lambda: SplineCoupling(3, moved=(1,), given=2, **SMALL), given=2),
    "coupling sees waves": Row(lambda: SplineCoupling(3, moved=(1,), circular=(2,), frequencies=2, **SMALL), circular=(2,)),
    "coupling of one": Row(lambda: SplineCoupling(1, moved=(0,), **SMALL), size=1),
    "coupling of one given": Row(lambda: SplineCoupling(1, moved=(0,), given=2, **SMALL), size=1, given=2),
    "coupling sees circle": Row(lambda: SplineCoupling(3, moved=(0,), circular=(1,), **SMALL), circular=(1,)),
    "coupling on circle": Row(lambda: SplineCoupling(3, moved=(1, 2), circular=(1, 2), **SMALL), circular=(1, 2)),
    "coupling on both": Row(lambda: SplineCoupling(4, moved=(0, 3), circular=(1, 3), given=1, **SMALL), size=4, circular=(1, 3), given=1),
    "circle alone": Row(lambda: SplineCoupling(1, moved=(0,), circular=(0,), **SMALL), size=1, circular=(0,)),
    "lu": Row(lambda: LULinear(3)),
    "lu in part": Row(lambda: LULinear(4, columns=2), size=4),
    "affine": Row(lambda: AffineCoupling(3, moved=(0, 2), hidden=(7,))),
    "affine given": Row(lambda: AffineCoupling(3, moved=(1,), given=2, frequencies=1, hidden=(7,)), given=2),
    "affine of one": Row(lambda: AffineCoupling(1, moved=(0,)), size=1),
    "affine autoregressive": Row(lambda: AffineAutoregressive(3, hidden=(7, 7))),
    "affine autoregressive given": Row(lambda: AffineAutoregressive(3, order=(2, 0, 1), given=2, hidden=(7, 7)), given=2),
    "orthogonal": Row(lambda: OrthogonalLinear(4), size=4),
    "orthogonal in part": Row(lambda: OrthogonalLinear(4, columns=3), size=4),
    "permutation": Row(lambda: Permutation((2, 0, 1)), starts=False),
    "actnorm": Row(lambda: after_a_batch(3), starts=False),
    "actnorm in part": Row(lambda: after_a_batch(3, 2), starts=False),
    "planar": Row(lambda: Planar(3)),
    "planar given": Row(lambda: Planar(3, given=2, hidden=(7,)), given=2),
    "planar of one": Row(lambda: Planar(1), size=1),
    "radial": Row(lambda: Radial(3)),
    "radial given": Row(lambda: Radial(3, given=2, hidden=(7,)), given=2),
    "radials of one": Row(lambda: Chain([Radial(1) for _ in range(3)]), size=1),
    "squeeze": Row(lambda: Squeeze((1, 4, 3, 2)), size=24, starts=False),
    "per pixel": Row(lambda: PerPixel(LULinear(2), (2, 3)), size=6),
    "factor out": Row(lambda: FactorOut(LULinear(2), 2)),
    "channels of a signal": Row(lambda: ImageCoupling((2, 3), moved=(1,), given=2, hidden=(5, 5), bins=4), size=6, given=2),
    "checkerboard": Row(lambda: ImageCoupling((1, 3, 3), moved=1, hidden=(5,), bins=4), size=9),
    "channels of a volume": Row(lambda: ImageCoupling((2, 1, 2, 2), moved=(0,), hidden=(5,), bins=4), size=8),
    "pixel alone": Row(lambda: ImageCoupling((1, 1), moved=0, hidden=(5,), bins=4), size=1, moves=False),
    "scales": Row(scales, size=8, starts=False, scale=0.2),
    "box": Row(box),
    "box without ends": Row(lambda: Box(2, torch.tensor(-math.inf), torch.tensor(math.inf), bins=4), size=2),
    "chain": Row(chain),
}
FORWARD = {
    name: Case(lambda row=row: Both(row.build()), lambda g, row=row: _arguments(row, g), moves=row.moves) for name, row in ROWS.items()
}
INVERSE = {
    f"{name} inverse": Case(lambda row=row: Both(row.build(), True), case.arguments, moves=row.moves)
    for (name, row), case in zip(ROWS.items(), FORWARD.values(), strict=True)
}
CASES = FORWARD | INVERSE | {
    "Conditioner": Case(lambda: Conditioner(3, 2, hidden=(5,)), normal(4, 3)),
    "ImageConditioner": Case(lambda: ImageConditioner((2, 3), [1, 4], 2, given=1, hidden=(4, 4)), normal(4, 5)),
    "Conditioner of nothing": Case(lambda: Conditioner(0, 2), normals((4, 0)), smooth=False),
}  # fmt: skip


def _arguments(row: Row, generator: torch.Generator) -> tuple[Tensor, ...]:
    x, given = row.points(4, seed=int(torch.randint(1000, (), generator=generator)))
    return tuple(t.float() for t in (x, given) if t is not None)


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


class TestBijections(ModuleContract):
    """The contract, for each row of the table and both directions."""


COMPILED = ["affine autoregressive inverse", "orthogonal", "actnorm", "planar given inverse", "radial inverse", "scales", "scales inverse"]


class TestCompiledBijections(CompileContract):
    """Compilation, for a choice of rows."""

    @pytest.fixture(params=["coupling on both", "coupling on both inverse", "box", "chain", "chain inverse", *COMPILED])
    def case(self, request: pytest.FixtureRequest) -> Case:
        return CASES[request.param]


# ---- inverse and determinant -----------------------------------------------------------------------------------------------------


@pytest.fixture(params=ROWS)
def row(request: pytest.FixtureRequest) -> Row:
    return ROWS[request.param]


def moved_off(row: Row, scale: float | None = None) -> Bijection:
    torch.manual_seed(0)
    scale = row.scale if scale is None else scale
    made = row.build().double()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(scale * torch.randn_like(parameter))
    return made


def apart(a: Tensor, b: Tensor, circular: tuple[int, ...]) -> Tensor:
    """Differences, on the circle where columns are angles."""
    difference = (a - b).clone()
    for i in circular:
        difference[:, i] = wrapped(difference[:, i])
    return difference.abs().max()


def test_both_round_trips(row: Row) -> None:
    bijection = moved_off(row)
    x, given = row.points(500)
    for first, second in (("forward", "inverse"), ("inverse", "forward")):
        y, there = getattr(bijection, f"{first}_and_log_det")(x, given)
        again, back = getattr(bijection, f"{second}_and_log_det")(y, given)
        assert apart(again, x, row.circular) < 1e-7
        torch.testing.assert_close(there, -back, rtol=0, atol=1e-6)
        assert apart(y, x, row.circular) > 0.1


def test_log_determinant_is_autograds(row: Row) -> None:
    bijection = moved_off(row)
    x, given = row.points(20)
    for method in (bijection.forward_and_log_det, bijection.inverse_and_log_det):
        log_det = method(x, given)[1]
        for i in range(len(x)):
            condition = None if given is None else given[i : i + 1]
            jacobian = torch.autograd.functional.jacobian(lambda v, m=method, c=condition: m(v[None], c)[0][0], x[i])
            sign, expected = torch.linalg.slogdet(jacobian)
            assert sign > 0 or isinstance(bijection, Permutation)
            torch.testing.assert_close(log_det[i], expected, rtol=1e-9, atol=1e-9)


def test_starts_as_the_identity(row: Row) -> None:
    bijection = row.build().double()
    x, given = row.points(100)
    if not row.starts:
        pytest.skip("is another map at the start")
    if isinstance(bijection, Box) and bijection.low.isfinite().all():
        pytest.skip("starts as the normal quantile function")
    y, log_det = bijection.forward_and_log_det(x, given)
    torch.testing.assert_close(y, x)
    torch.testing.assert_close(log_det, torch.zeros(100).double(), rtol=0, atol=1e-6)


class Waits(TorchDispatchMode):
    """Collects the operations at which a GPU's host waits, or whose shapes depend on values."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        waits = {"nonzero", "_local_scalar_dense", "index", "masked_select", "item", "index_put", "index_put_", "is_nonzero"}
        self.seen |= {function._schema.name.split("::")[1]} & waits
        return function(*arguments, **(options or {}))


def test_nothing_waits_for_the_device(row: Row) -> None:
    bijection = moved_off(row).train()
    x, given = row.points(8)
    with Waits() as waits:
        for method in (bijection.forward_and_log_det, bijection.inverse_and_log_det):
            y, log_det = method(x.requires_grad_(), given)
            (y.square().sum() + log_det.sum()).backward()
    assert not waits.seen


# ---- what each promises ----------------------------------------------------------------------------------------------------------


def test_a_circle_has_no_seam() -> None:
    coupling = moved_off(ROWS["circle alone"], 1.5)
    seam = torch.tensor([[-math.pi], [math.pi], [-math.pi + 1e-9], [math.pi - 1e-9]]).double()
    y, log_det = coupling.forward_and_log_det(seam)
    assert apart(y[::2], y[1::2], (0,)) < 1e-6
    torch.testing.assert_close(log_det, log_det[:1].expand(4), rtol=0, atol=1e-6)
    grid = (torch.rand(1000, 1).double() * 2 - 1) * math.pi
    for method in (coupling.forward_and_log_det, coupling.inverse_and_log_det):
        y = method(grid)[0]
        assert (y >= -math.pi).all() and (y <= math.pi).all()


def test_what_a_circle_tells_others_has_no_seam() -> None:
    coupling = moved_off(ROWS["coupling sees circle"])
    x = torch.tensor([[0.3, -math.pi, 0.1], [0.3, math.pi, 0.1]]).double()
    y, log_det = coupling.forward_and_log_det(x)
    torch.testing.assert_close(y[0, 0], y[1, 0])
    torch.testing.assert_close(log_det[0], log_det[1])


def test_columns_that_are_not_moved_stay() -> None:
    x, _ = ROWS["coupling"].points(50)
    coupling = moved_off(ROWS["coupling"])
    assert torch.equal(coupling.forward_and_log_det(x)[0][:, 1], x[:, 1])
    part = moved_off(ROWS["lu in part"])
    x, _ = ROWS["lu in part"].points(50)
    assert torch.equal(part.forward_and_log_det(x)[0][:, 2:], x[:, 2:])


def test_uniform_in_the_box_is_normal_at_the_start() -> None:
    made = Box(1, torch.tensor(-1.0), torch.tensor(3.0)).double()
    u = (torch.arange(1, 1000).double() / 1000)[:, None]
    z, log_det = made.forward_and_log_det(-1 + 4 * u)
    normal = torch.distributions.Normal(torch.zeros(()).double(), torch.ones(()).double())
    torch.testing.assert_close(z, normal.icdf(u), rtol=0, atol=1e-8)
    torch.testing.assert_close(normal.log_prob(z)[:, 0] + log_det, torch.full((999,), -math.log(4.0)).double(), rtol=0, atol=1e-8)


def test_nothing_leaves_the_box() -> None:
    made = moved_off(ROWS["box"]).float()
    z = torch.tensor([-math.inf, -1e30, -40.0, -6.0, 6.0, 40.0, 1e30, math.inf])[:, None].expand(8, 3)
    x = made.inverse_and_log_det(z)[0]
    assert (x >= made.low).all() and (x <= made.high).all()
    edge = torch.stack([made.low, made.high, made.low - 1, made.high + 1])
    z, log_det = made.forward_and_log_det(edge)
    assert z.isfinite().all() and log_det.isfinite().all()


def test_single_precision_round_trip_in_the_box() -> None:
    made = moved_off(ROWS["box"], 0.3).float()
    x = made.low + (made.high - made.low) * torch.rand(20_000, 3)
    assert (made.inverse_and_log_det(made.forward_and_log_det(x)[0])[0] - x).abs().max() < 2e-4


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 13])
def test_splits_part_every_two_columns(size: int) -> None:
    needed = 2 * max(1, (size - 1).bit_length())
    parts = splits(size, 3 * needed)
    assert len(parts) == 3 * needed and all(parts)
    for start in range(0, 3 * needed, needed):
        moved_while_seen = {(i, j) for part in parts[start : start + needed] for i in part for j in range(size) if j not in part}
        assert moved_while_seen == {(i, j) for i in range(size) for j in range(size) if i != j}
    if size > 1:
        assert all(sorted(a + b) == list(range(size)) for a, b in zip(parts[::2], parts[1::2], strict=True))
    assert splits(size, 1) == parts[:1]


# ---- categories ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [0, 2])
def test_category_probabilities_sum_to_one(given: int) -> None:
    chain = shaken(Case(lambda: CategoryChain((2, 3, 4), given=given, hidden=(8,)), normal(1))).double()
    cells = torch.cartesian_prod(*(torch.arange(k) for k in chain.classes))
    condition = torch.randn(1, given).double().expand(24, -1) if given else None
    probability = chain.log_prob(cells, condition).exp()
    assert abs(probability.sum().item() - 1) < 1e-12
    assert probability.max() > 1.2 * probability.min()
    assert not torch.allclose(probability.view(2, 3, 4)[0] / probability.view(2, 3, 4)[1], torch.tensor(1.0).double(), atol=0.02)


def test_category_samples_follow_their_probabilities() -> None:
    chain = shaken(Case(lambda: CategoryChain((2, 3), given=1, hidden=(8,)), normal(1)))
    cells = torch.cartesian_prod(torch.arange(2), torch.arange(3))
    with torch.no_grad():
        chain.logits[0].network[-1].weight.mul_(3)
        torch.manual_seed(0)
        for value in (-2.0, 2.0):
            drawn = chain.sample(40_000, torch.full((40_000, 1), value))
            seen = torch.bincount(drawn[:, 0] * 3 + drawn[:, 1], minlength=6) / 40_000
            expected = chain.log_prob(cells, torch.full((6, 1), value)).exp()
            assert ((seen - expected).abs() < 4.5 * (expected * (1 - expected) / 40_000).sqrt()).all()


def test_codes_become_zeros_and_ones() -> None:
    chain = CategoryChain((2, 3))
    assert chain.one_hot(torch.tensor([[1, 0], [0, 2]])).tolist() == [[0, 1, 1, 0, 0], [1, 0, 0, 0, 1]]
