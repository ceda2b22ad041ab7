"""Every network passes the contract of modules, in every role, for every kind it takes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gnomon.data import Categorical, Column, Image, Kind, Periodic, Ragged, Sequence, Set, Tokens, Vector
from gnomon.networks import Condition, make
from tests.module_contract import Case, CompileContract, ModuleContract

MIXED = Vector((Column("phi", Periodic(-1, 1)), Column("pt"), Column("c", Categorical("abc"))))
KINDS: dict[str, Vector | Image] = {
    "real": Vector.real(3),
    "mixed": MIXED,
    "8x8": Image(1, (8, 8)),
    "5x3": Image(2, (5, 3)),
    "1x1": Image(3, (1, 1)),
    "1-D": Image(2, (19,)),
    "3-D": Image(1, (3, 1, 5)),
    "many channels": Image(40, (2, 3)),
}
OPTIONS = {
    "conv": {"width": 8, "hidden": (8,)},
    "deconv": {"width": 8, "hidden": (8,)},
    "unet": {"width": 8},
    "mlp": {"hidden": (8, 8)},
    "residual": {"width": 8},
    "recurrent": {"width": 8, "embedding": 6},
    "transformer": {"width": 8, "heads": 2, "exact": True},
    "causal": {"width": 8, "heads": 2, "exact": True},
}
ABC = Tokens(("a", "b", "c"))
ROWS = 4


def drawn(kind: Kind, generator: torch.Generator) -> Tensor | Ragged:
    """Four examples in network space."""
    if isinstance(kind, Tokens):
        return Ragged(torch.randint(0, 3, (8,), generator=generator), torch.tensor([3, 0, 4, 1]))
    if isinstance(kind, (Set, Sequence)):
        return Ragged(drawn_rows(kind.of, 8, generator), torch.tensor([3, 0, 4, 1]))
    return drawn_rows(kind, ROWS, generator)


def drawn_rows(kind: Kind, rows: int, generator: torch.Generator) -> Tensor:
    z = torch.randn(rows, *kind.shape, generator=generator)
    for i, column in enumerate(getattr(kind, "columns", ())):
        if isinstance(column.support, Categorical):
            z[:, i] = torch.randint(0, len(column.support.values), (rows,), generator=generator)
    return z


def network_case(role: str, kind: Kind, name: str, given: int = 0, **options: object) -> Case:
    sizes = {"encoder": {"outputs": 5}, "decoder": {"inputs": 5}, "mapper": {"outputs": 2}}[role] | options

    def arguments(generator: torch.Generator) -> tuple:
        x = torch.randn(ROWS, sizes["inputs"], generator=generator) if role == "decoder" else drawn(kind, generator)
        return (x, torch.randn(ROWS, given, generator=generator)) if given else (x,)

    texts = {"smooth": False, "rows": None if role == "mapper" else ROWS} if isinstance(kind, Tokens) and role != "decoder" else {}
    return Case(lambda: make(role, kind, name, given=given, **{**OPTIONS.get(name, {}), **sizes}), arguments, **texts)


class Conditioned(nn.Module):
    """A condition as a function of its columns, some of them absent."""

    def __init__(self) -> None:
        super().__init__()
        self.condition = Condition(MIXED)

    def forward(self, given: Tensor) -> Tensor:
        return self.condition(torch.where(given > 0.9, torch.nan, given), len(given))


class Encoded(nn.Module):
    """A condition that is read by an encoder."""

    def __init__(self, kind: Image | Set) -> None:
        super().__init__()
        self.condition = Condition(kind, size=0.25)

    def forward(self, given: Tensor | Ragged) -> Tensor:
        return self.condition(given, len(given))


VECTORS = [("real", 0), ("real", 2), ("mixed", 0), ("mixed", 2)]
CASES: dict[str, Case] = {
    **{
        f"{name} {role} {kind} {given}": network_case(role, KINDS[kind], name, given)
        for name in ("mlp", "residual")
        for role in ("encoder", "decoder", "mapper")
        for kind, given in [*VECTORS, ("5x3", 2)]
    },
    **{
        f"{name} {kind} {given}": network_case(role, KINDS[kind], name, given)
        for name, role in (("conv", "encoder"), ("deconv", "decoder"), ("unet", "mapper"))
        for kind, given in (("8x8", 0), ("8x8", 2), ("5x3", 0), ("1x1", 2), ("1-D", 2), ("3-D", 0), ("many channels", 0))
    },
    "conv deep": network_case("encoder", KINDS["8x8"], "conv", 2, depth=3, norm="none"),
    "conv flat": network_case("encoder", KINDS["8x8"], "conv", 2, pool="flatten", down="stride"),
    "conv mean": network_case("encoder", KINDS["5x3"], "conv", pool="mean", down="mean", dropout=0.0),
    **{
        f"conv grid {kind}": network_case("encoder", KINDS[kind], "conv", 2, pool="grid", longest=2, outputs=cells)
        for kind, cells in (("8x8", 8), ("5x3", 4), ("1-D", 4), ("3-D", 4))
    },
    **{
        f"deconv grid {kind}": network_case("decoder", KINDS[kind], "deconv", 2, start="grid", longest=2, inputs=cells)
        for kind, cells in (("8x8", 8), ("5x3", 4), ("1-D", 4), ("3-D", 4))
    },
    "deconv deep": network_case("decoder", KINDS["5x3"], "deconv", 2, depth=3, mode="linear"),
    "unet deep": network_case("mapper", KINDS["5x3"], "unet", 2, depth=2, mode="linear"),
    **{
        f"{name} {activation}": network_case(role, KINDS[kind], name, 2, activation=activation)
        for activation in ("maxout", "softmax")
        for name, role, kind in (
            ("mlp", "encoder", "mixed"),
            ("residual", "mapper", "real"),
            ("conv", "encoder", "5x3"),
            ("deconv", "decoder", "5x3"),
            ("unet", "mapper", "5x3"),
        )
    },
    "deepsets maxout": network_case("encoder", Set(MIXED), "deepsets", element=(8, 6), hidden=(8,), activation="maxout"),
    "conv standardised": network_case("encoder", KINDS["5x3"], "conv", 2, depth=3, standardise=True),
    "conv standardised no norm": network_case("encoder", KINDS["1-D"], "conv", 0, norm="none", standardise=True),
    "deconv standardised": network_case("decoder", KINDS["5x3"], "deconv", standardise=True),
    "unet standardised": network_case("mapper", KINDS["3-D"], "unet", standardise=True),
    **{f"deepsets {given}": network_case("encoder", Set(MIXED), "deepsets", given, element=(8, 6), hidden=(8,)) for given in (0, 2)},
    **{
        f"{name} {role} {given}": network_case(role, ABC, name, given, layers=2)
        for name, role in (("recurrent", "encoder"), ("recurrent", "mapper"), ("transformer", "encoder"), ("causal", "mapper"))
        for given in (0, 2)
    },
    "mlp decoder tokens": network_case("decoder", ABC, "mlp", 2, outputs=7),
    "mlp decoder set": network_case("decoder", Set(MIXED), "mlp", 0, outputs=7),
    "deepsets flat": network_case("encoder", Set(Vector.real(2)), "deepsets", element=(), hidden=()),
    "condition": Case(Conditioned, lambda generator: (drawn_rows(MIXED, ROWS, generator),)),
    "condition image": Case(lambda: Encoded(KINDS["5x3"]), lambda generator: (drawn(KINDS["5x3"], generator),)),
    **{f"recurrent sequence {given}": network_case("encoder", Sequence(MIXED), "recurrent", given) for given in (0, 2)},
    "condition sequence": Case(lambda: Encoded(Sequence(MIXED)), lambda generator: (drawn(Sequence(MIXED), generator),)),
    "condition set": Case(lambda: Encoded(Set(MIXED)), lambda generator: (drawn(Set(MIXED), generator),)),
}
COMPILED = [
    "mlp encoder mixed 2",
    "mlp decoder 5x3 2",
    "residual mapper real 2",
    *(f"{name} {kind}" for name in ("conv", "deconv", "unet") for kind in ("5x3 0", "1-D 2", "3-D 0")),
    "deepsets 2",
    "conv maxout",
    "unet standardised",
    "condition",
]


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


class TestNetworks(ModuleContract):
    """The contract, for each row of the table."""


class TestCompiledNetworks(CompileContract):
    """Compilation, for a choice of rows of the table."""

    @pytest.fixture(params=COMPILED)
    def case(self, request: pytest.FixtureRequest) -> Case:
        return CASES[request.param]
