"""The doctor leaves no trace: weights, buffers, random numbers and optimisers are what they would be without it, to the bit."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gnomon.data import Examples
from gnomon.models import Loss, Model
from gnomon.models.gan import GAN
from gnomon.models.vae import VAE
from gnomon.training import randomness
from gnomon.training.doctor import Doctor
from gnomon.training.game import Game
from gnomon.training.optimisers import OptimiserOptions
from tests.training.doctor.models_for_the_doctor import Net, Ring, regression, ring
from tests.training.models_for_tests import Counting, Duel, Plain

R, G = regression(128), ring(128)


class Replaced(Plain):
    """Replaces its buffer instead of changing it."""

    def __init__(self, spec: Any) -> None:
        super().__init__(spec)
        self.register_buffer("seen", torch.zeros(()))

    def loss(self, batch: Examples) -> Loss:
        self.seen = self.seen + len(batch)
        return super().loss(batch)


class Normed(Net):
    def __init__(self, spec: Any) -> None:
        super().__init__(spec, norm=True)


class Halved(Model):
    """An activation in place, and a frozen layer."""

    def __init__(self, spec: Any) -> None:
        super().__init__(spec)
        self.fixed = nn.Linear(len(spec.x), 8).requires_grad_(False)
        self.net = nn.Sequential(nn.ReLU(inplace=True), nn.Dropout(0.5), nn.Linear(8, 1))

    def loss(self, batch: Examples) -> Loss:
        out: Tensor = self.net(self.fixed(batch.x))  # type: ignore[arg-type]
        return Loss.mean((out - batch.y).square().sum(1))  # type: ignore[operator]


CASES: dict[str, tuple[type, Any, dict[str, Any]]] = {
    "dropout": (Plain, R, {}),
    "a buffer": (Counting, R, {}),
    "a buffer replaced": (Replaced, R, {}),
    "batch normalisation": (Normed, R, {}),
    "in place": (Halved, R, {}),
    "two players": (Duel, R, {}),
    "a ring": (Ring, G, {}),
    "GAN": (GAN, G, {}),
    "VAE": (VAE, G, {}),
    "half precision": (Plain, R, {"precision": "bfloat16"}),
    "SGD": (Plain, R, {"optimizer": "momentum"}),
    "three at once": (Plain, R, {"copies": 3}),
    "a buffer, three at once": (Counting, R, {"copies": 3}),
    "two players, two at once": (Duel, R, {"copies": 2}),
}


def build(kind: type, data: Any, copies: int | None) -> Any:
    models = []
    for index in range(copies or 1):
        torch.manual_seed(index)
        models.append(kind(data[0]))
    return models if copies else models[0]


@pytest.mark.parametrize("name", CASES)
def test_weights_are_the_same_to_the_bit(visit, name) -> None:
    kind, data, options = CASES[name]
    copies = options.get("copies")
    rest = {k: v for k, v in options.items() if k != "copies"}
    with_doctor, without = (visit(build(kind, data, copies), *data, epochs=12, batch=16, watched=w, **rest) for w in (True, False))
    found, expected = with_doctor.game.state()[0], without.game.state()[0]
    assert found.keys() == expected.keys() and all(torch.equal(found[k], expected[k]) for k in found)
    assert with_doctor.history == without.history


def test_random_state_gradient_and_mode_stay() -> None:
    torch.manual_seed(0)
    game = Game([Counting(R[0])], OptimiserOptions())
    doctor = Doctor(game, R[0])
    (side,) = game.sides
    game.train(False)
    doctor.before(R[1], R[2])
    before = {k: v.clone() for k, v in (*randomness.state(game.device).items(), *game.state()[0].items())}
    gradient = side.optimiser.parameters.grad.clone()
    for turn in (0, 5, 35):
        assert doctor.due(turn)
        doctor.examine(side, R[1][:16], 1.0)
        doctor.after_update(side)
    doctor.close_epoch([{"epoch": 1, "train/loss": 1.0}], last=True)
    after = {k: v for k, v in (*randomness.state(game.device).items(), *game.state()[0].items())}
    assert all(torch.equal(before[k], after[k]) for k in before)
    assert torch.equal(gradient, side.optimiser.parameters.grad)
    assert not game.model.training and not game.model.net.training  # type: ignore[union-attr]
    assert all(not module._forward_hooks for module in game.model.modules())


def test_turns_that_are_due() -> None:
    game = Game([Plain(R[0])], OptimiserOptions())
    doctor = Doctor(game, R[0])
    assert [turn for turn in range(4000) if doctor.due(turn)] == [0, 5, 35, 215, 1295]


def test_a_resumed_doctor_says_the_same(visit) -> None:
    """Its state goes through JSON; a doctor that loads it in the middle ends like one that never stopped."""

    def run(*, stop: int | None) -> list[str]:
        torch.manual_seed(0)
        model = Net(R[0])
        with torch.no_grad():
            model.layers[0].bias.fill_(-10.0)
        game = Game([model], OptimiserOptions(lr=1e-3))
        doctor, lines = Doctor(game, R[0], turns=40), []
        lines += doctor.before(R[1], R[2])
        for turn in range(40):
            (side,) = game.sides
            if turn == stop:
                facts = json.loads(json.dumps(doctor.state()))
                doctor = Doctor(game, R[0], turns=40)
                doctor.before(R[1], R[2])
                doctor.load_state(facts)
                assert doctor.state() == facts
            part = R[1][turn % 8 * 8 : turn % 8 * 8 + 8]
            due = doctor.due(turn)
            if due:
                doctor.examine(side, part, 1.0)
            side.optimiser.zero_grad()
            loss = side.loss(part)
            loss.total.backward()
            side.optimiser.step(1.0, loss.weight)
            if due:
                doctor.after_update(side)
            if turn % 8 == 7:
                lines += [f"{turn}: {line}" for line in doctor.close_epoch([{"train/loss": 1.0}], last=turn == 39)]
        return lines

    whole = run(stop=None)
    assert whole and "dead" in whole[0]
    assert all(run(stop=stop) == whole for stop in (1, 5, 9, 20))


def test_a_compiled_loss_is_looked_at_uncompiled(visit) -> None:
    torch.manual_seed(0)
    model = Net(R[0])
    with torch.no_grad():
        model.layers[0].bias.fill_(-10.0)
    game = Game([model], OptimiserOptions())
    game.sides[0].loss = lambda batch: pytest.fail("the loop's own loss was called")  # type: ignore[assignment]
    doctor = Doctor(game, R[0])
    for turn in (0, 2):
        doctor.due(turn)
        doctor.examine(game.sides[0], R[1][:32], 1.0)
    assert any("dead" in line for line in doctor.close_epoch([]))
