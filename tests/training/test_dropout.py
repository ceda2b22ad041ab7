"""Early and late dropout: on in their part of the steps, off in the other, and as it was afterwards."""

from __future__ import annotations

import pytest
from torch import nn

import gnomon
from gnomon.blocks import DropPath
from gnomon.errors import OptionError
from gnomon.training.dropout import DropoutSchedule
from gnomon.training.loop import Loop


@pytest.mark.parametrize(("when", "expected"), [("early", [0.4, 0.4, 0.4, 0.0, 0.0]), ("late", [0.0, 0.0, 0.0, 0.4, 0.4])])
def test_it_switches_at_its_part(when, expected) -> None:
    net = nn.Sequential(nn.Dropout(0.4), nn.Dropout(0.0), DropPath(0.2))
    schedule = DropoutSchedule([net], when, 0.3, 10)
    seen = []
    for turn in (0, 1, 2, 3, 9):
        schedule.set(turn)
        seen.append(net[0].p)
        assert net[1].p == 0.0 and net[2].p == pytest.approx(net[0].p / 2)
    assert seen == expected
    schedule.end()
    assert (net[0].p, net[2].p) == (0.4, 0.2)


def test_a_fit_follows_it_and_gives_the_probability_back(monkeypatch) -> None:
    seen = []
    original = Loop.play

    def watched(self, group):
        original(self, group)
        seen.append([m.p for m in self.game.model.modules() if isinstance(m, nn.Dropout)])

    monkeypatch.setattr(Loop, "play", watched)
    options = {"net": {"hidden": (8,), "dropout": 0.5}}
    learned = gnomon.fit("classifier", "wine", dropout_when="early", dropout_part=0.5, epochs=4, options=options, progress=False)
    half = len(seen) // 2
    assert seen == [[0.5]] * half + [[0.0]] * half
    assert [m.p for m in learned.model.modules() if isinstance(m, nn.Dropout)] == [0.5]


def test_a_model_without_dropout_is_named(tmp_path) -> None:
    with pytest.raises(OptionError, match="dropout_when='late' needs dropout"):
        gnomon.fit("classifier", "wine", dropout_when="late", out=tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()
