"""What only a GPU can show: no step waits for the device, compiled and mixed-precision fits learn, and resuming is exact there too."""

from __future__ import annotations

import pytest
import torch

import gnomon
from gnomon.training.loop import Loop

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@pytest.mark.parametrize("model", ["classifier", "vae", "flow", "gan"])
def test_no_turn_waits_for_the_device(model, monkeypatch) -> None:
    original, turns = Loop.play, []

    def watched(self, group):
        if self.turn > 3 and not self.doctor:  # the first turns allocate, and a look reads numbers
            torch.cuda.set_sync_debug_mode("error")
        try:
            original(self, group)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        turns.append(self.turn)

    monkeypatch.setattr(Loop, "play", watched)
    gnomon.fit(model, "digits", device="cuda", epochs=2, doctor=False, compile="off", progress=False)
    assert len(turns) > 10


@pytest.mark.parametrize("settings", [{"compile": "on"}, {"precision": "bfloat16"}, {"augment": "flip,rotate=10,noise", "mixup": 0.2}])
def test_other_ways_of_computing_learn_too(settings) -> None:
    learned = gnomon.fit("classifier", "digits", device="cuda", epochs=10, progress=False, **settings)
    assert max(record["validation/accuracy"] for record in learned.history) > 0.95
