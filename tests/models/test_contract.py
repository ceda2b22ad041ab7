"""The few tests that every model passes on every kind of data it takes, with and without conditions: one table feeds them all.

To add a model: one row in `ROWS`. What a model promises beyond this is tested in a file of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from gnomon.blocks import segment_sum
from gnomon.data import (
    Categorical,
    Column,
    Examples,
    Image,
    Integer,
    Kind,
    Label,
    Periodic,
    Positive,
    Ragged,
    Real,
    Set,
    Spec,
    Tokens,
    Vector,
)
from gnomon.errors import DataError, OptionError
from gnomon.models import Loss, LossOf, Model, abilities
from gnomon.models.anomaly_detector import AnomalyDetector
from gnomon.models.autoencoder import Autoencoder
from gnomon.models.boltzmann import Boltzmann
from gnomon.models.classifier import Classifier
from gnomon.models.flow import Flow
from gnomon.models.gan import GAN
from gnomon.models.ladder_vae import LadderVAE
from gnomon.models.mixture_density import MixtureDensity
from gnomon.models.pca import PCA
from gnomon.models.regressor import Regressor
from gnomon.models.set_flow import SetFlow
from gnomon.models.triangular_flow import TriangularFlow
from gnomon.models.two_stage import TwoStage
from gnomon.models.vae import VAE
from gnomon.models.vqvae import VQVAE

REALS = Vector.real(3)
MIXED = Vector(
    (
        Column("energy", Positive()),
        Column("phi", Periodic(-math.pi, math.pi)),
        Column("kind", Categorical(("a", "b", "c"))),
        Column("count", Integer(0, 9)),
    )
)
KINDS: dict[str, Kind] = {
    "reals": REALS,
    "mixed": MIXED,
    "image": Image(1, (8, 8), levels=17),
    "signal": Image(2, (11,)),
    "set": Set(REALS),
    "tokens": Tokens(("a", "b", "c"), longest=4),
}
GIVEN: dict[str, Vector | Image | Set | None] = {
    "": None,
    "columns": Vector((Column("beam", Real()), Column("angle", Periodic(0.0, 1.0)), Column("run", Categorical((1, 2))))),
    "image": Image(1, (8, 8)),
    "set": Set(MIXED),
}
TARGETS = {"label": Label(("a", "b", "c")), "numbers": Vector.real(2)}

SMALL: dict[str, Any] = {"size": 0.25}
LARGE = tuple(f"head.counts.large.parameters_of.0.network.0.{name}" for name in ("weight", "bias"))  # of sets larger than any here
TINY: dict[str, Any] = {"transforms": 2, "hidden": (8,)}


@dataclass(frozen=True)
class Row:
    """One model of the table.

    Args:
        make: builds it from a spec.
        kinds: names in `KINDS` of what it takes as x.
        noisy: whether its loss draws random numbers.
        sums: whether twice the weight is twice the loss (penalties may not be weighted).
        still: parameters that by nature have no gradient.
    """

    make: Callable[[Spec], Model]
    kinds: tuple[str, ...] = ("reals", "mixed", "image", "signal")
    noisy: bool = False
    sums: bool = True
    still: tuple[str, ...] = ()


def quartic(x: Tensor, given: Tensor | None = None) -> Tensor:
    """An energy that grows on all sides of a place that the condition moves."""
    place = 0.0 if given is None else given.nan_to_num().sum(1, keepdim=True)
    return ((x.flatten(1) - place).square() + 0.1 * x.flatten(1).square().square()).sum(1)


ROWS = {
    "classifier": Row(lambda spec: Classifier(spec, label_smoothing=0.1, **SMALL), kinds=tuple(KINDS)),
    "regressor": Row(lambda spec: Regressor(spec, **SMALL), kinds=tuple(KINDS)),
    "regressor-squared": Row(lambda spec: Regressor(spec, spread="none", **SMALL), kinds=tuple(KINDS)),
    "pca": Row(lambda spec: PCA(spec, components=2)),
    "anomaly-detector": Row(lambda spec: AnomalyDetector(spec, neighbours=3)),
    "autoencoder": Row(lambda spec: Autoencoder(spec, latent=2, **SMALL)),
    "autoencoder-ragged": Row(lambda spec: Autoencoder(spec, latent=2, **SMALL), kinds=("set", "tokens"), still=LARGE),
    "autoencoder-spread": Row(lambda spec: Autoencoder(spec, latent=2, spread="example", **SMALL), kinds=("set",), still=LARGE),
    "autoencoder-denoising": Row(lambda spec: Autoencoder(spec, latent=2, noise="masking", sparsity="l1", **SMALL), noisy=True),
    "autoencoder-contractive": Row(
        lambda spec: Autoencoder(spec, latent=4, sparsity="top_k", active=0.5, contractive=0.1, **SMALL), noisy=True
    ),
    "autoencoder-sparse": Row(lambda spec: Autoencoder(spec, latent=4, sparsity="kl", contractive=0.1, jacobian="exact", **SMALL)),
    "two-stage": Row(lambda spec: TwoStage(spec, density="mixture", latent=2, **SMALL), noisy=True),
    "two-stage-autoencoder": Row(lambda spec: TwoStage(spec, base="autoencoder", density="gaussian", latent=2, **SMALL), noisy=True),
    "vae": Row(lambda spec: VAE(spec, latent=2, **SMALL), noisy=True),
    "vae-ragged": Row(lambda spec: VAE(spec, latent=2, **SMALL), kinds=("set", "tokens"), noisy=True, still=LARGE),
    "vae-causal": Row(
        lambda spec: VAE(spec, latent=2, likelihood="causal", encoder="transformer", net={"exact": True}, **SMALL), ("tokens",), noisy=True
    ),
    "ladder-vae": Row(lambda spec: LadderVAE(spec, latents=(1, 2, 2), width=8, **SMALL), noisy=True),
    "vae-optimal": Row(lambda spec: VAE(spec, latent=2, spread="optimal", kl_warmup=0.5, free_bits=0.1, **SMALL), noisy=True),
    "vae-mixture": Row(lambda spec: VAE(spec, latent=2, prior="mixture", components=3, posterior="full", **SMALL), noisy=True),
    "vae-flows": Row(lambda spec: VAE(spec, latent=3, prior="flow", posterior="flow", objective="mmd", strength=1.0, **SMALL), noisy=True),
    "vae-vamp": Row(
        lambda spec: VAE(spec, latent=2, prior="vamp", components=3, objective="tc", **SMALL),
        kinds=("reals", "image", "signal"),
        noisy=True,
    ),
    "vae-iwae": Row(lambda spec: VAE(spec, latent=2, objective="iwae", draws=3, **SMALL), noisy=True),
    "vae-dreg": Row(lambda spec: VAE(spec, latent=2, objective="dreg", draws=3, prior="vamp", components=3, **SMALL), noisy=True),
    "vae-logistic": Row(lambda spec: VAE(spec, latent=2, likelihood="discretised_logistic", **SMALL), kinds=("image",), noisy=True),
    "vae-categorical": Row(lambda spec: VAE(spec, latent=2, likelihood="categorical", **SMALL), kinds=("image",), noisy=True),
    "vqvae": Row(lambda spec: VQVAE(spec, codes=8, **SMALL)),
    "vqvae-ragged": Row(lambda spec: VQVAE(spec, codes=8, positions=3, **SMALL), kinds=("set", "tokens"), still=LARGE),
    "vqvae-table": Row(lambda spec: VQVAE(spec, codes=8, quantiser="vq", latent=2, spread="example", **SMALL)),
    "vqvae-residual": Row(lambda spec: VQVAE(spec, codes=8, quantiser="residual", positions=1, **SMALL)),
    "gan": Row(lambda spec: GAN(spec, latent=2, **SMALL), noisy=True, still=("critic.net.4.bias", "critic.head.net.4.bias")),
    "flow": Row(lambda spec: Flow(spec, transforms=2, hidden=(8,)), kinds=("reals", "mixed", "signal")),
    "flow-affine": Row(lambda spec: Flow(spec, transform="affine", mixing="orthogonal", **TINY), kinds=("reals", "signal")),
    "flow-maf": Row(lambda spec: Flow(spec, transform="affine_autoregressive", mixing="permutation", **TINY), kinds=("reals",)),
    "flow-planar": Row(lambda spec: Flow(spec, transform="planar", **TINY), kinds=("reals",)),
    "flow-radial": Row(lambda spec: Flow(spec, transform="radial", actnorm=True, **TINY), kinds=("reals",)),
    "flow-multiscale": Row(lambda spec: Flow(spec, transform="multiscale", actnorm=True, **TINY), kinds=("image", "signal")),
    "triangular-flow": Row(lambda spec: TriangularFlow(spec, transforms=2, hidden=(8,)), kinds=("reals",)),
    "set-flow": Row(lambda spec: SetFlow(spec, table=2, **TINY), kinds=("set",)),
    "boltzmann": Row(lambda spec: Boltzmann(spec, energy=quartic, flow={"transforms": 2, "hidden": (8,)}), ("reals", "signal"), noisy=True),
    "mixture-density": Row(lambda spec: MixtureDensity(spec, components=3, hidden=(8,)), kinds=("reals", "mixed")),
    "gaussian": Row(lambda spec: MixtureDensity(spec, covariance="diagonal", hidden=(8,)), kinds=("reals", "mixed")),
}

ENCODED = ("flow", "set-flow", "mixture-density", "regressor", "classifier", "vae", "gan", "autoencoder", "vqvae")
CASES = [(name, kind, given) for name, row in ROWS.items() for kind in row.kinds for given in ("", "columns")]
CASES += [(name, ROWS[name].kinds[0], given) for name in ENCODED for given in ("image", "set")]


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]}-{case[1]}{'-given-' + case[2] if case[2] else ''}")
def case(request: pytest.FixtureRequest) -> Case:
    return Case(*request.param)


class Case:
    """A model of the table with the data it is tested on."""

    def __init__(self, name: str, kind: str, given: str) -> None:
        self.name, self.row = name, ROWS[name]
        bare = Spec(KINDS[kind], given=GIVEN[given])
        target = next((TARGETS[t] for t in TARGETS if _makes(self.row, bare.with_(y=TARGETS[t])) == t), None)
        self.spec = bare.with_(y=target)

    def model(self, seed: int = 0) -> Model:
        """A model with every parameter moved off its start, or solved."""
        torch.manual_seed(seed)
        model = self.row.make(self.spec)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for p in model.parameters():
                p.add_(0.1 * torch.randn(p.shape, generator=generator))
        if not model.players():
            model.solve(self.batch(50, seed=10 + seed))
        return model.eval()

    def batch(self, n: int, seed: int = 1) -> Examples:
        generator = torch.Generator().manual_seed(seed)
        roles = {role: getattr(self.spec, role) for role in ("x", "y", "given")}
        batch = Examples(**{role: None if kind is None else values(kind, n, generator) for role, kind in roles.items()})
        if isinstance(batch.given, Tensor):
            batch.given[::3, 0] = math.nan  # a column of a vector, the only channel of an image
        return batch


def _makes(row: Row, spec: Spec) -> str | None:
    try:
        return row.make(spec).target
    except DataError:
        return None


def values(kind: Kind, n: int, generator: torch.Generator) -> Any:
    """Plausible values in network space."""
    if isinstance(kind, Label):
        return torch.randint(0, len(kind.classes), (n,), generator=generator)
    if isinstance(kind, Set):
        lengths = torch.randint(0, 4, (n,), generator=generator)
        return Ragged(values(kind.of, int(lengths.sum()), generator), lengths)
    if isinstance(kind, Tokens):
        lengths = torch.randint(0, 5, (n,), generator=generator)
        return Ragged(torch.randint(0, len(kind.vocabulary), (int(lengths.sum()),), generator=generator), lengths)
    x = torch.randn(n, *kind.shape, generator=generator)  # type: ignore[union-attr]
    for i, column in enumerate(kind.columns if isinstance(kind, Vector) else ()):
        if isinstance(column.support, Periodic):
            x[:, i] = (torch.rand(n, generator=generator) * 2 - 1) * math.pi
        if isinstance(column.support, Categorical):
            x[:, i] = torch.randint(0, len(column.support.values), (n,), generator=generator).float()
    return x


def losses(case: Case) -> list[str]:
    model = case.model()
    return [player.loss for player in model.players()] + (["validate"] if model.monitor else [])


def seeded(call: Callable[[], Any], seed: int = 5) -> Any:
    torch.manual_seed(seed)
    return call()


def plain(made: Tensor | Ragged) -> Tensor:
    """Sets as the sums of their elements, texts as those of their codes."""
    return segment_sum(made.values.float(), made.rows(), len(made)) if isinstance(made, Ragged) else made


def outputs(case: Case, model: Model, batch: Examples, seed: int = 5) -> dict[str, list[Tensor]]:
    """What each ability gives for the batch, as a list of tensors."""
    calls: dict[str, Callable[[], Any]] = {
        "sample": lambda: model.sample(len(batch), batch.given),
        "decode": lambda: model.decode(model.encode(batch), batch.given),
        "log_prob_bound": lambda: model.log_prob_bound(batch, samples=4),
    }
    found = {}
    with torch.no_grad():
        for ability in abilities(model):
            made = seeded(calls.get(ability, lambda ability=ability: getattr(model, ability)(batch)), seed)
            found[ability] = [plain(t) for t in (made if isinstance(made, tuple) else (made,)) if t is not None]
    return found


def test_every_loss_is_a_finite_sum_over_the_batch(case: Case) -> None:
    model, batch = case.model(), case.batch(6)
    for name in losses(case):
        loss = seeded(lambda name=name: getattr(model, name)(batch))
        assert isinstance(loss, Loss)
        assert loss.total.shape == () and torch.isfinite(loss.total)
        assert loss.weight.item() == 6
        assert all(part.shape == () and torch.isfinite(part) and not part.requires_grad for part in loss.parts.values())


def test_weights_multiply_and_the_divisor_stays_the_count(case: Case) -> None:
    if not case.row.sums:
        pytest.skip("has terms that are not weighted")
    model, batch = case.model(), case.batch(6)
    for name in losses(case):
        plain = seeded(lambda name=name: getattr(model, name)(batch))
        double = seeded(lambda name=name: getattr(model, name)(batch.with_(weight=torch.full((6,), 2.0))))
        signed = seeded(lambda name=name: getattr(model, name)(batch.with_(weight=torch.tensor([1.0, -1, 1, -1, 1, -1]))))
        torch.testing.assert_close(double.total, 2 * plain.total, rtol=1e-4, atol=1e-4)
        assert double.weight.item() == signed.weight.item() == 6
        for part, value in plain.parts.items():
            torch.testing.assert_close(double.parts[part], 2 * value, rtol=1e-4, atol=1e-4)


def test_a_sum_over_parts_is_the_sum_over_the_whole(case: Case) -> None:
    model, batch = case.model(), case.batch(6)
    if case.row.noisy or not model.separable:
        pytest.skip("random, or examples act on each other")
    for name in losses(case):
        whole = getattr(model, name)(batch)
        parts = [getattr(model, name)(batch[start : start + 2]) for start in (0, 2, 4)]
        torch.testing.assert_close(sum(part.total for part in parts), whole.total, rtol=1e-4, atol=1e-4)
        assert sum(part.weight for part in parts) == whole.weight


def test_each_player_moves_every_parameter_of_its_own(case: Case) -> None:
    model, batch = case.model().train(), case.batch(12)
    owned: list[str] = []
    for player in model.players():
        own = player.parameters(model)
        loss = seeded(lambda player=player: getattr(model, player.loss)(batch))
        gradients = torch.autograd.grad(loss.total, list(own.values()), allow_unused=True)
        still = [name for name, g in zip(own, gradients, strict=True) if g is None or not bool((g != 0).any())]
        assert set(still) <= set(case.row.still)
        assert all(torch.isfinite(g).all() for g in gradients)
        owned += own
    assert sorted(owned) == sorted(name for name, _ in model.named_parameters())


def test_abilities_give_finite_values_of_the_promised_shape(case: Case) -> None:
    model, batch = case.model(), case.batch(5)
    kind = case.spec.x.of if isinstance(case.spec.x, Set) else case.spec.x
    shape = (5, *getattr(kind, "shape", ()))
    expected = {"sample": shape, "decode": shape, "reconstruct": shape, "log_prob": (5,), "log_prob_bound": (5,), "score": (5,)}
    found = outputs(case, model, batch)
    assert found
    for ability, tensors in found.items():
        for t in tensors:
            assert torch.isfinite(t).all(), ability
            assert not t.requires_grad and t.dtype == torch.float32, ability
            assert t.shape == expected[ability] if ability in expected else len(t) == 5, ability


def test_examples_come_back_in_network_space(case: Case) -> None:
    if case.spec.x is not MIXED:
        pytest.skip("only mixed columns have places of their own")
    model = case.model()
    for ability, (x, *_) in outputs(case, model, case.batch(40)).items():
        if ability in ("sample", "decode", "reconstruct"):
            assert (x[:, 1].abs() <= math.pi).all(), ability
            assert set(x[:, 2].tolist()) <= {0.0, 1.0, 2.0}, ability


def test_randomness_is_torchs_own_and_repeats(case: Case) -> None:
    model, batch = case.model(), case.batch(8)
    first, again, other = (outputs(case, model, batch, seed) for seed in (5, 5, 6))
    for ability in first:
        assert all(torch.equal(a, b) for a, b in zip(first[ability], again[ability], strict=True)), ability
        if ability in ("encode", "reconstruct", "predict", "log_prob"):
            assert all(torch.equal(a, b) for a, b in zip(first[ability], other[ability], strict=True)), ability
    if "sample" in first:
        assert not torch.equal(first["sample"][0], other["sample"][0])


def test_a_batch_equals_its_examples_one_by_one(case: Case) -> None:
    model, batch = case.model(), case.batch(5)
    together = outputs(case, model, batch)
    alone = [outputs(case, model, batch[i : i + 1]) for i in range(5)]
    for ability in set(together) & {"predict", "encode", "decode", "reconstruct", "log_prob"}:
        for k, whole in enumerate(together[ability]):
            torch.testing.assert_close(torch.cat([one[ability][k] for one in alone]), whole, rtol=1e-3, atol=1e-4)


def test_the_condition_is_heard(case: Case) -> None:
    if case.spec.given is None:
        pytest.skip("no condition")
    model, batch = case.model(), case.batch(8)
    other = batch.with_(given=values(case.spec.given, 8, torch.Generator().manual_seed(99)))
    for absent in (batch.with_(given=None), other):
        before, after = outputs(case, model, batch), outputs(case, model, absent)
        for ability in set(before) - {"score"} - ({"sample", "decode", "reconstruct"} if isinstance(case.spec.x, Tokens) else set()):
            assert not torch.equal(before[ability][0], after[ability][0]), ability


def test_state_carries_everything_learned(case: Case) -> None:
    model, batch = case.model(0), case.batch(5)
    torch.manual_seed(99)
    other = case.row.make(case.spec).eval()
    other.load_state_dict({name: value.clone() for name, value in model.state_dict().items()})
    before, after = outputs(case, model, batch), outputs(case, other, batch)
    assert before.keys() == after.keys()
    for ability in before:
        assert all(torch.equal(a, b) for a, b in zip(before[ability], after[ability], strict=True)), ability


def test_options_are_recorded_and_build_the_model_again(case: Case) -> None:
    model = case.model()
    again = type(model)(case.spec, **model.options_)
    assert again.options_ == model.options_
    assert {n: p.shape for n, p in again.named_parameters()} == {n: p.shape for n, p in model.named_parameters()}


def test_an_unknown_option_is_named(case: Case) -> None:
    with pytest.raises(OptionError, match="unknown option 'colour'"):
        type(case.model())(case.spec, colour="red")


def test_another_kind_of_data_is_refused_by_name(case: Case) -> None:
    with pytest.raises(DataError, match="wants x to be .*(Vector|Set).*got Label"):
        case.row.make(case.spec.with_(x=Label(("a", "b"))))


def test_copies_train_together(case: Case) -> None:
    models = [case.model(seed) for seed in range(3)]
    batch = case.batch(6)
    for player in models[0].players():
        parameters, buffers = stack_module_state(models)
        leaves = {name: p.detach().requires_grad_() for name, p in parameters.items()}
        wrapped = LossOf(models[0], player.loss)

        def one(own: dict[str, Tensor], fixed: dict[str, Tensor], wrapped: LossOf = wrapped) -> Loss:
            return functional_call(wrapped, {f"model.{name}": t for name, t in {**own, **fixed}.items()}, (batch,))

        loss = seeded(lambda one=one, leaves=leaves, buffers=buffers: vmap(one, randomness="different")(leaves, buffers))
        assert loss.total.shape == loss.weight.shape == (3,)
        assert all(part.shape == (3,) for part in loss.parts.values())
        own = [leaves[name] for name in player.parameters(models[0])]
        assert all(torch.isfinite(g).all() for g in torch.autograd.grad(loss.total.sum(), own))
        if not case.row.noisy:
            alone = torch.stack([getattr(model, player.loss)(batch).total for model in models])
            torch.testing.assert_close(loss.total, alone, rtol=1e-3, atol=1e-3)


def test_training_lowers_the_loss(case: Case) -> None:
    model, batch = case.model().train(), case.batch(32)
    if len(model.players()) != 1:
        pytest.skip("solved in closed form, or a game in which no loss need fall")
    optimiser = torch.optim.SGD(model.parameters(), lr=0.0)  # momentum and rate by hand: the first Adam imports dynamo
    before = seeded(lambda: model.loss(batch)).total.item()
    for group in optimiser.param_groups:
        group["lr"], group["momentum"] = 0.005, 0.9
    for _ in range(30):
        optimiser.zero_grad()
        loss = model.loss(batch)
        (loss.total / loss.weight).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimiser.step()
    assert seeded(lambda: model.loss(batch)).total.item() < before


PLAIN: dict[str, Callable[[], Model]] = {
    "classifier": lambda: Classifier(Spec(REALS, y=TARGETS["label"]), encoder=nn.Linear(3, 3)),
    "regressor": lambda: Regressor(Spec(REALS, y=TARGETS["numbers"]), encoder=nn.Linear(3, 4)),
    "autoencoder": lambda: Autoencoder(Spec(REALS), latent=2, encoder=nn.Linear(3, 2), decoder=nn.Linear(2, 3)),
    "vae": lambda: VAE(Spec(REALS), latent=2, encoder=nn.Linear(3, 4), decoder=nn.Linear(2, 6)),
}


@pytest.mark.parametrize("name", PLAIN)
def test_any_module_of_the_right_shapes_will_do(name: str) -> None:
    batch = Examples(torch.randn(4, 3), y=torch.tensor([0, 1, 2, 0]) if name == "classifier" else torch.randn(4, 2))
    assert torch.isfinite(PLAIN[name]().loss(batch).total)
