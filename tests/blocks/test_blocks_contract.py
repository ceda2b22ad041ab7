"""Every block passes the contract of modules, in every form it takes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gnomon.blocks import (
    MLP,
    ColumnFeatures,
    ColumnHead,
    ConvNormAct,
    Downsample,
    ResidualConv,
    ResidualMLP,
    SegmentSum,
    Upsample,
    activations,
    segment_max,
    segment_mean,
)
from gnomon.blocks.attention import Attention, AttentionLayer
from gnomon.blocks.optimal_spread import OptimalHead
from gnomon.blocks.pixel_heads import BernoulliHead, CategoricalHead, ContinuousBernoulliHead, DiscretisedLogisticHead
from gnomon.blocks.recurrent import GRU
from gnomon.blocks.token_head import TokenHead
from gnomon.data import Categorical, Column, Image, Periodic, Positive, Ragged, Vector
from tests.module_contract import Case, CompileContract, ModuleContract, normal, normals

MIXED = Vector(
    (
        Column("phi", Periodic(-1, 1)),
        Column("pt", Positive()),
        Column("b", Categorical((False, True))),
        Column("eta"),
        Column("c", Categorical(("u", "d", "s"))),
        Column("psi", Periodic(0, 360)),
    )
)
ANGLES = Vector((Column("phi", Periodic(-1, 1)),))
LABELS = Vector((Column("b", Categorical((False, True))),))
SPREADS = ("example", "column", "shared", "fixed")


def mixed(generator: torch.Generator, rows: int = 4) -> Tensor:
    """Rows of `MIXED` in network space."""
    z = torch.randn(rows, 6, generator=generator)
    z[:, 2] = torch.randint(0, 2, (rows,), generator=generator)
    z[:, 4] = torch.randint(0, 3, (rows,), generator=generator)
    return z


class LogProb(nn.Module):
    """A head's likelihood as a function of the raw outputs."""

    def __init__(self, head: ColumnHead) -> None:
        super().__init__()
        self.head = head

    def forward(self, raw: Tensor, z: Tensor) -> Tensor:
        return self.head(raw).log_prob(z)


TEXTS = Ragged(torch.tensor([0, 1, 2, 1, 1, 0]), torch.tensor([2, 0, 3, 1]))
FILLED = torch.tensor([[True] * 5, [True] * 3 + [False] * 2, [False] * 5, [True] + [False] * 4])


class Ahead(nn.Module):
    """A mapper of texts that knows the last symbol and the vector."""

    def __init__(self) -> None:
        super().__init__()
        self.symbols, self.vector = nn.Embedding(4, 4), nn.Linear(5, 4)

    def forward(self, x: Ragged, context: Tensor) -> Tensor:
        return self.symbols(x.values) + torch.tanh(self.vector(context)).index_select(0, x.rows())


class OfRagged(nn.Module):
    """A head's likelihood of texts as a function of the raw outputs."""

    def __init__(self, head: nn.Module, x: Ragged) -> None:
        super().__init__()
        self.head, self.x = head, Ragged(x.values.double(), x.lengths) if x.values.is_floating_point() else x

    def forward(self, raw: Tensor) -> Tensor:
        return self.head(raw).log_prob(
            Ragged(self.x.values.to(raw) if self.x.values.is_floating_point() else self.x.values, self.x.lengths)
        )


class Soft(nn.Module):
    """A head's soft features as a function of the raw outputs."""

    def __init__(self, head: ColumnHead) -> None:
        super().__init__()
        self.head = head

    def forward(self, raw: Tensor) -> Tensor:
        return self.head(raw).soft()


class Segments(nn.Module):
    """A segment function as a module."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, values: Tensor, rows: Tensor, count: int) -> Tensor:
        return self.function(values, rows, count)


def segments(generator: torch.Generator) -> tuple[Tensor, Tensor, int]:
    return torch.randn(7, 2, generator=generator), torch.tensor([0, 3, 0, 1, 3, 3, 0]), 5


def head_case(kind: Vector | Image, spread: str) -> Case:
    head = ColumnHead(kind, spread=spread)
    size = kind.size if isinstance(kind, Image) else ()

    def arguments(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        raw = torch.randn(4, head.outputs, *size, generator=generator)
        if isinstance(kind, Image):
            return raw, torch.randn(4, *kind.shape, generator=generator)
        z = mixed(generator)
        return raw, z[:, [MIXED.names.index(name) for name in kind.names]] if not kind.bare else z[:, [1, 3]]

    return Case(lambda: LogProb(ColumnHead(kind, spread=spread)), arguments)


CASES: dict[str, Case] = {
    "MLP": Case(lambda: MLP(3, 2, hidden=(5, 4)), normal(4, 3)),
    "MLP linear": Case(lambda: MLP(3, 2, hidden=()), normal(4, 3)),
    "MLP layer norm": Case(lambda: MLP(3, 2, hidden=(5,), norm="layer"), normal(4, 3)),
    "MLP two batch axes": Case(lambda: MLP(3, 2, hidden=(5,)), normal(4, 6, 3)),
    **{
        f"MLP {name}": Case(
            lambda name=name: MLP(3, 2, hidden=(5,), activation=name),
            normal(4, 3),
            smooth=name != "step",  # whose derivative is not that of its values
        )
        for name in activations
    },
    "MLP maxout layer norm": Case(lambda: MLP(3, 2, hidden=(5, 4), activation="maxout", norm="layer"), normal(4, 2, 3)),
    "ResidualMLP maxout": Case(lambda: ResidualMLP(3, 2, width=5, given=2, activation="maxout"), normals((4, 3), (4, 2))),
    **{
        f"ConvNormAct {name}": Case(lambda name=name: ConvNormAct(2, 2, 4, given=3, activation=name), normals((4, 2, 3, 3), (4, 3)))
        for name in ("maxout", "softmax", "prelu")
    },
    "ConvNormAct standardised": Case(lambda: ConvNormAct(2, 2, 8, standardise=True), normal(4, 2, 3, 4)),
    "ConvNormAct standardised no norm": Case(lambda: ConvNormAct(1, 2, 3, norm="none", standardise=True), normal(4, 2, 5)),
    "ResidualConv standardised": Case(lambda: ResidualConv(2, 2, 8, norm="none", standardise=True), normal(4, 2, 3, 2)),
    "ResidualMLP": Case(lambda: ResidualMLP(3, 2, width=5), normal(4, 3)),
    "ResidualMLP given": Case(lambda: ResidualMLP(3, 2, width=5, given=2), normals((4, 3), (4, 2))),
    "ColumnFeatures": Case(lambda: ColumnFeatures(Vector.real(3)), normal(4, 3)),
    "ColumnFeatures mixed": Case(lambda: ColumnFeatures(MIXED), lambda generator: (mixed(generator),)),
    "ColumnFeatures labels": Case(lambda: ColumnFeatures(LABELS), lambda generator: (mixed(generator)[:, 2:3],), smooth=False),
    "ColumnFeatures image": Case(lambda: ColumnFeatures(Image(2, (3, 4))), normal(4, 2, 3, 4)),
    **{f"ColumnHead {s}": head_case(Vector.real(2), s) for s in SPREADS},
    **{f"ColumnHead mixed {s}": head_case(MIXED, s) for s in SPREADS},
    **{f"ColumnHead angle {s}": head_case(ANGLES, s) for s in SPREADS},
    **{f"ColumnHead label {s}": head_case(LABELS, s) for s in SPREADS},
    **{f"ColumnHead image {s}": head_case(Image(2, (3, 4)), s) for s in SPREADS},
    **{
        f"OptimalHead {name}": Case(lambda kind=kind: LogProb(OptimalHead(kind).eval()), head_case(kind, "fixed").arguments)
        for name, kind in {"": Vector.real(2), "image": Image(2, (3, 4))}.items()
    },
    "BernoulliHead": Case(lambda: LogProb(BernoulliHead(Image(2, (3, 4), levels=2))), normals((4, 2, 3, 4), (4, 2, 3, 4))),
    "CategoricalHead": Case(lambda: LogProb(CategoricalHead(Image(2, (3,), levels=5))), normals((4, 10, 3), (4, 2, 3))),
    "ContinuousBernoulliHead": Case(lambda: LogProb(ContinuousBernoulliHead(Image(2, (3,), levels=5))), normals((4, 2, 3), (4, 2, 3))),
    **{
        f"DiscretisedLogisticHead {k}": Case(
            lambda k=k: LogProb(DiscretisedLogisticHead(Image(2, (3,), levels=5), components=k)),
            normals((4, 2 * (2 if k == 1 else 3 * k), 3), (4, 2, 3)),
        )
        for k in (1, 2)
    },
    "GRU": Case(lambda: GRU(3, 5), lambda g: (torch.randn(4, 5, 3, generator=g), FILLED, torch.randn(4, 5, generator=g))),
    "GRU whole": Case(lambda: GRU(3, 5), normal(4, 5, 3)),
    **{
        f"{block.__name__} {'causal' if causal else 'all'}": Case(
            lambda block=block, causal=causal: block(4, heads=2, causal=causal, exact=True),
            lambda generator: (torch.randn(4, 5, 4, generator=generator), FILLED),
        )
        for block in (Attention, AttentionLayer)
        for causal in (False, True)
    },
    "TokenHead": Case(lambda: OfRagged(TokenHead(Ahead(), symbols=3, context=5, longest=4), TEXTS), normal(4, 5), rows=None),
    "ColumnHead soft": Case(lambda: Soft(ColumnHead(MIXED, spread="fixed")), normal(4, 11)),
    "ConvNormAct 1-D": Case(lambda: ConvNormAct(1, 2, 8), normal(4, 2, 5)),
    "ConvNormAct 2-D": Case(lambda: ConvNormAct(2, 2, 8, stride=2), normal(4, 2, 5, 3)),
    "ConvNormAct 3-D": Case(lambda: ConvNormAct(3, 2, 8, stride=(1, 2, 1)), normal(4, 2, 2, 3, 4)),
    "ConvNormAct no norm": Case(lambda: ConvNormAct(2, 2, 3, norm="none", kernel=(1, 5)), normal(4, 2, 5, 3)),
    "ConvNormAct given": Case(lambda: ConvNormAct(2, 2, 8, given=3), normals((4, 2, 3, 3), (4, 3))),
    "ConvNormAct circular": Case(lambda: ConvNormAct(2, 2, 8, padding_mode="circular"), normal(4, 2, 3, 4)),
    "ConvNormAct replicate": Case(lambda: ConvNormAct(1, 2, 8, padding_mode="replicate"), normal(4, 2, 3)),
    "ResidualConv": Case(lambda: ResidualConv(2, 8, 8), normal(4, 8, 3, 2)),
    "ResidualConv wider": Case(lambda: ResidualConv(1, 2, 8, given=3), normals((4, 2, 5), (4, 3))),
    **{
        f"Downsample {mode} {dimension}-D": Case(
            lambda mode=mode, dimension=dimension: Downsample(dimension, 2, 8, mode=mode), normal(4, 2, *(5, 4, 1)[:dimension])
        )
        for mode in ("max", "mean", "stride")
        for dimension in (1, 2, 3)
    },
    "Downsample given": Case(lambda: Downsample(2, 2, 8, stride=(1, 2), given=3), normals((4, 2, 5, 4), (4, 3))),
    "Upsample": Case(lambda: Upsample(2, 2, 8, size=(5, 3)), normal(4, 2, 3, 2)),
    "Upsample linear 1-D": Case(lambda: Upsample(1, 2, 8, size=(5,), mode="linear", given=2), normals((4, 2, 3), (4, 2))),
    "Upsample linear 2-D": Case(lambda: Upsample(2, 2, 8, size=(5, 3), mode="linear"), normal(4, 2, 3, 2)),
    "Upsample 3-D": Case(lambda: Upsample(3, 2, 8, size=(3, 2, 2)), normal(4, 2, 2, 1, 2)),
    "SegmentSum": Case(SegmentSum, segments, rows=None),
    "segment_mean": Case(lambda: Segments(segment_mean), segments, rows=None),
    "segment_max": Case(lambda: Segments(segment_max), segments, rows=None),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


class TestBlocks(ModuleContract):
    """The contract, for each row of the table."""


COMPILED = [name for name in CASES if not any(word in name for word in ("angle", "label ", "image", "shared", "1-D", *activations))]
COMPILED += ["MLP step", "MLP softmax", "ConvNormAct maxout"]


class TestCompiledBlocks(CompileContract):
    """Compilation, for a choice of rows of the table."""

    @pytest.fixture(params=COMPILED)
    def case(self, request: pytest.FixtureRequest) -> Case:
        return CASES[request.param]
