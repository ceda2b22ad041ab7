"""Promises of the loop: exact resumption, exact accumulation, best weights back, nobody else's random numbers touched."""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from gnomon.data import Examples
from gnomon.errors import RunError, TrainingError
from gnomon.models import Loss
from gnomon.training import loop as loop_module
from gnomon.training.checkpoint import HISTORY, STATE, Checkpoint
from tests.training.models_for_tests import Counting, Duel, Layered, Plain

GAMES = [(Plain, None), (Counting, None), (Duel, None), (Layered, None), (Plain, 3), (Duel, 2)]
NAMES = [f"{kind.__name__}-{copies or 'one'}" for kind, copies in GAMES]


class Killed(BaseException):
    """Stands for the power going off: nothing may be done about it."""


def weights(loop: Any) -> dict[str, torch.Tensor]:
    tensors, _ = loop.game.state()
    return {name: tensor.clone() for name, tensor in tensors.items()}


def save_always_and_die_at(turn: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Save after every turn, and stop dead once `turn` has been saved."""
    original = loop_module.Loop.play

    def watched(self: Any, group: list[Examples]) -> None:
        original(self, group)
        self.save()
        if self.turn == turn:
            raise Killed

    monkeypatch.setattr(loop_module.Loop, "play", watched)


@pytest.mark.parametrize(("kind", "copies"), GAMES, ids=NAMES)
@pytest.mark.parametrize("turn", [1, 8, 12, 17])
def test_resumed_in_the_middle_equals_uninterrupted_bit_for_bit(playground, tmp_path, monkeypatch, kind, copies, turn) -> None:
    whole = playground.loop(kind, tmp_path_of(tmp_path, "whole"), copies=copies)
    whole.run()

    folder = tmp_path_of(tmp_path, "parts")
    with monkeypatch.context() as patch:
        save_always_and_die_at(turn, patch)
        with pytest.raises(Killed):
            playground.loop(kind, folder, copies=copies).run()
    again = playground.loop(kind, folder, copies=copies)
    torch.manual_seed(12345)  # whatever the random state is, the saved one counts
    checkpoint = Checkpoint(folder)
    tensors, facts = checkpoint.load()
    assert facts["turn"] == turn
    again.load_state(tensors, facts, checkpoint.cut_history(facts["history"]))
    again.run()

    expected, found = weights(whole), weights(again)
    assert expected.keys() == found.keys()
    for name in expected:
        assert torch.equal(expected[name], found[name]), name
    assert whole.history == again.history
    assert (tmp_path / "whole" / HISTORY).read_text() == (folder / HISTORY).read_text()


def tmp_path_of(folder: Path, name: str) -> Path:
    (folder / name).mkdir()
    return folder / name


def test_a_lost_history_is_refused(playground, tmp_path) -> None:
    playground.loop(Plain, tmp_path).run()
    (tmp_path / HISTORY).unlink()
    with pytest.raises(RunError, match="cut"):
        Checkpoint(tmp_path).cut_history(3)


def test_damaged_and_foreign_states_are_refused_in_words(playground, tmp_path) -> None:
    with pytest.raises(RunError, match="nothing to resume"):
        Checkpoint(tmp_path).load()
    playground.loop(Duel, tmp_path).run()
    tensors, facts = Checkpoint(tmp_path).load()
    with pytest.raises(RunError, match="does not fit"):
        playground.loop(Plain).load_state(tensors, facts, [])
    (tmp_path / STATE).write_bytes((tmp_path / STATE).read_bytes()[:100])
    with pytest.raises(RunError, match="damaged"):
        Checkpoint(tmp_path).load()


class Exact(Plain):
    """Plain in double precision and without chance."""

    def __init__(self, spec: Any) -> None:
        super().__init__(spec, dropout=0.0)
        self.double()

    def loss(self, batch: Examples) -> Loss:
        return super().loss(Examples(batch.x.double(), batch.y.double(), weight=batch.weight))


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_accumulated_batches_equal_one_big_batch(playground, optimizer) -> None:
    settings = {"optimizer": optimizer, "weight_decay": 0.01, "clip": 0.5, "lr": 0.01}
    big = playground.loop(Exact, batch_size=32, **settings)
    small = playground.loop(Exact, batch_size=8, accumulate=4, **settings)
    big.turns_per_epoch = small.turns_per_epoch = 6  # 200 rows: 6 × 32, and 6 × 4 × 8
    big.run()
    small.run()
    for side, other in zip(big.game.sides, small.game.sides, strict=True):
        torch.testing.assert_close(side.data, other.data, rtol=0, atol=1e-12)


def test_best_weights_come_back(playground, monkeypatch) -> None:
    scores = iter([3.0, 1.0, 2.0])
    loop = playground.loop(Plain, average=None)
    kept = []

    def judge(batch: Examples) -> Loss:
        kept.append(loop.game.sides[0].data.clone())
        return Loss.mean(torch.full((len(batch),), next(scores)))

    loop.judge = judge
    loop.run()
    assert torch.equal(loop.game.sides[0].data, kept[1])
    assert loop.best == [1.0]


def test_patience_ends_the_run(playground) -> None:
    loop = playground.loop(Plain, epochs=50, patience=2)
    loop.judge = lambda batch: Loss.mean(torch.full((len(batch),), float(loop.epoch)))
    loop.run()
    assert len(loop.history) == 3


def test_without_a_monitor_the_averaged_weights_come_back(playground) -> None:
    loop = playground.loop(Duel)
    loop.run()
    generator = next(side for side in loop.game.sides if side.player.name == "generator")
    critic = next(side for side in loop.game.sides if side.player.name == "critic")
    assert torch.equal(generator.data, generator.optimiser.averaged)
    assert critic.optimiser.averaged is None


def test_averages_are_the_exponential_mean_of_weights(playground, monkeypatch) -> None:
    loop = playground.loop(Plain, average=0.9, epochs=1)
    average = loop.game.sides[0].data.clone()
    original = loop_module.Loop.play

    def watched(self: Any, group: list[Examples]) -> None:
        nonlocal average
        original(self, group)
        decay = min(0.9, (1 + self.turn) / (10 + self.turn))
        average = decay * average + (1 - decay) * self.game.sides[0].data

    monkeypatch.setattr(loop_module.Loop, "play", watched)
    loop.run()
    torch.testing.assert_close(loop.game.sides[0].optimiser.averaged, average)


def test_a_player_moves_only_its_own_parameters(playground) -> None:
    loop = playground.loop(Duel)
    critic, generator = loop.game.sides
    before = generator.data.clone()
    batch = next(iter(loop.train.batches(0, 0)))
    for other in loop.game.sides:
        other.require_gradient(other is critic)
    loop._move(critic, [batch], 1.0, "")
    assert torch.equal(generator.data, before)
    assert generator.optimiser.parameters.grad.count_nonzero() == 0
    assert critic.optimiser.steps == 1 and generator.optimiser.steps == 0


def test_the_turn_counts_turns_not_moves(playground) -> None:
    loop = playground.loop(Duel)
    loop.run()
    steps = {side.player.name: side.optimiser.steps for side in loop.game.sides}
    assert loop.turn == 18  # 12 batches an epoch, two a turn, three epochs
    assert steps == {"critic": 36, "generator": 18}


def test_models_trained_together_equal_models_trained_alone(playground) -> None:
    class Sure(Plain):
        def __init__(self, spec: Any) -> None:
            super().__init__(spec, dropout=0.0)

    together = playground.loop(Sure, copies=3, clip=0.5)
    together.run()
    models = together.game.release()
    for index, model in enumerate(models):
        alone = playground.loop(Sure, clip=0.5)
        torch.random.default_generator.manual_seed(100 + index)
        fresh = Sure(playground.spec)
        alone.game.model.load_state_dict(fresh.state_dict())
        alone.game.sides[0].optimiser.averaged.copy_(alone.game.sides[0].data)
        alone.run()
        (expected,) = alone.game.release()
        for name, value in expected.state_dict().items():
            torch.testing.assert_close(model.state_dict()[name], value, rtol=1e-4, atol=1e-5)
        assert together.best[index] == pytest.approx(alone.best[0], rel=1e-4)


def test_released_models_are_plain_modules(playground) -> None:
    for copies in (None, 2):
        loop = playground.loop(Plain, copies=copies)
        loop.run()
        for model in loop.game.release():
            pointers = {p.untyped_storage().data_ptr() for p in model.parameters()}
            assert len(pointers) == len(list(model.parameters()))
            assert all(p.requires_grad and p.grad is None and p.is_leaf for p in model.parameters())
            assert not model.training


def test_a_loss_that_is_never_finite_is_an_error_in_words(playground) -> None:
    class Broken(Plain):
        def loss(self, batch: Examples) -> Loss:
            loss = super().loss(batch)
            return Loss(loss.total * float("nan"), loss.weight, loss.parts)

    with pytest.raises(TrainingError, match="no longer finite in epoch 1; lower lr"):
        playground.loop(Broken).run()


def test_a_loss_that_diverges_late_gives_the_best_back(playground) -> None:
    loop = playground.loop(Plain)
    play = loop.game.sides[0].loss

    def late(batch: Examples) -> Loss:
        loss = play(batch)
        return loss if loop.turn < 30 else Loss(loss.total * float("inf"), loss.weight, loss.parts)

    loop.game.sides[0].loss = late
    loop.run()
    assert loop.diverged and len(loop.history) == 2
    assert torch.isfinite(loop.game.sides[0].data).all()


def test_ctrl_c_ends_in_order_and_leaves_the_handler_as_it_was(playground, tmp_path, monkeypatch) -> None:
    before = signal.getsignal(signal.SIGINT)
    original = loop_module.Loop.play

    def interrupted(self: Any, group: list[Examples]) -> None:
        original(self, group)
        if self.turn == 5:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(loop_module.Loop, "play", interrupted)
    loop = playground.loop(Plain, tmp_path)
    loop.run()
    assert loop.interrupted and 5 <= loop.turn < 12
    assert Checkpoint(tmp_path).load()[1]["turn"] == loop.turn
    assert loop.best[0] < float("inf")
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_ctrl_c_ends_at_once(playground, monkeypatch) -> None:
    def twice(self: Any, group: list[Examples]) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(loop_module.Loop, "play", twice)
    with pytest.raises(KeyboardInterrupt):
        playground.loop(Plain).run()


def test_it_runs_outside_the_main_thread(playground) -> None:
    loop = playground.loop(Plain)
    thread = threading.Thread(target=loop.run)
    thread.start()
    thread.join()
    assert len(loop.history) == 3


def test_history_holds_weighted_means(playground, tmp_path) -> None:
    loop = playground.loop(Plain, tmp_path, epochs=1)
    seen: list[Loss] = []
    play = loop.game.sides[0].loss
    loop.game.sides[0].loss = lambda batch: seen.append(play(batch)) or seen[-1]
    loop.run()
    record = json.loads((tmp_path / HISTORY).read_text())
    expected = sum(loss.total.item() for loss in seen) / sum(loss.weight.item() for loss in seen)
    assert record["train/loss"] == pytest.approx(expected, rel=1e-12)
    assert record["step"] == 12 and record["epoch"] == 1
    assert set(record) == {"step", "epoch", "train/loss", "train/error", "validation/loss", "validation/error"}


def test_less_data_than_one_turn_goes_round(playground) -> None:
    loop = playground.loop(Duel, batch_size=150)
    loop.run()
    assert loop.turn == 3


def test_a_full_disk_keeps_the_last_good_state(playground, tmp_path, monkeypatch) -> None:
    loop = playground.loop(Plain, tmp_path)
    loop.save()
    good = (tmp_path / STATE).read_bytes()

    def full(*arguments: Any, **options: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gnomon.training.checkpoint.save_file", full)
    with pytest.raises(RunError, match="No space left.*last good state is kept"):
        Checkpoint(tmp_path).save(*loop.game.state())
    loop.save()  # inside a run a failed save is said, not raised
    assert (tmp_path / STATE).read_bytes() == good
    assert not list(tmp_path.glob("*.partial"))
