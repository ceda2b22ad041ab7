"""Judges one look at a player: its outputs, its units, its gradients. Remembers what the look before showed.

A sign must be there in two looks, on two batches, before it is said, but for what cannot change: which loss meets which output.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gnomon.training.doctor import gradients, outputs, units
from gnomon.training.doctor.findings import Findings
from gnomon.training.doctor.probe import Probe
from gnomon.training.doctor.units import Silent

EARLY = 30  # turns during which saturation is a matter of the start


class Looks:
    """Looks at the players of one fit.

    Args:
        findings: where faults are said.
        layers: name of the layer by full name of a parameter.
    """

    def __init__(self, findings: Findings, layers: Mapping[str, str]) -> None:
        self.findings, self.layers = findings, layers
        self._dead: dict[str, list[int]] = {}
        self._sound: list[str] = []  # activations that once were neither dead nor saturated

    def judge(self, probe: Probe, turn: int, *, player: str, stuck: bool) -> None:
        """Say what a look shows.

        Args:
            probe: the look.
            turn: of the loop.
            player: to be named, "" for the only one.
            stuck: whether the loss is still about what it was at the start.
        """
        for kind, text in outputs.faults(probe.watch):
            self.findings.say(kind, text, player=player)
        seen = gradients.profile(probe, self.layers)
        if turn <= 0:
            for kind, text in outputs.first_faults(probe.watch):
                self.findings.say(kind, text, player=player)
            self._growing(seen, player)
        for silent in units.silent(probe.watch):
            self._units(silent, turn, player, stuck)
        if turn >= 2:
            self._gradients(probe, seen, player)

    def state(self) -> dict[str, Any]:
        """As JSON values."""
        return {"dead": self._dead, "sound": list(self._sound)}

    def load_state(self, facts: Mapping[str, Any]) -> None:
        """Go on from `state`."""
        self._dead, self._sound = {site: list(units) for site, units in facts["dead"].items()}, list(facts["sound"])

    # -- parts --------------------------------------------------------------------------------------------------------

    def _growing(self, seen: gradients.Profile, player: str) -> None:
        found = gradients.growing(seen)
        if found is not None and not self.findings.has("inputs", "outputs", "targets"):
            growth, layer, factor = found
            text = (
                f"exploding signals: they grow {growth:.2g}-fold through the layers (most in '{layer}', {factor:.2g}-fold); the "
                f"initial weights "
                "are too large: draw them with standard deviation 1/sqrt(inputs), or normalise layers"
            )
            self.findings.say("outputs", text, player=player)

    def _units(self, silent: Silent, turn: int, player: str, stuck: bool) -> None:
        key = f"{player}|{silent.site}"
        before = self._dead.get(key)
        # A unit counts as dead if it was silent in this look and in the one before.
        dead = silent.dead if before is None else silent.dead & frozenset(before)
        self._dead[key] = sorted(silent.dead)
        now = silent.mostly_dead(silent.dead)
        flat = silent.saturated > (units.SATURATED_SHARE if turn < EARLY else units.STUCK_SHARE)
        driven = key in self._sound
        too_far = "the learning rate is too high, steps have driven them there: lower lr"
        if now and before is not None and silent.mostly_dead(dead) and turn >= 2:
            remedy = f"{too_far}, or use leaky_relu" if driven else "raise the bias, lower the weights or use leaky_relu"
            text = f"dead units: {len(dead)} of {silent.units} units of the {silent.site} give nothing for any example; {remedy}"
            self.findings.say("dead", text, player=player)
        if self.findings.twice(f"saturated {key}", flat) and (turn < EARLY or stuck):
            remedy = too_far if driven else "use smaller initial weights, or scale what goes in"
            share = 100 * silent.saturated
            text = f"saturated units: {share:.0f} % of the values of the {silent.site} are flat, so hardly any gradient passes; {remedy}"
            self.findings.say("saturated", text, player=player)
        if not now and not flat and not driven:
            self._sound.append(key)

    def _gradients(self, probe: Probe, seen: gradients.Profile, player: str) -> None:
        silent = self.findings.has("dead", "saturated")
        found = gradients.vanishing(seen)
        if self.findings.twice(f"vanishing {player}", found is not None) and not silent and found is not None:
            ratio, first, last = found
            text = (
                f"vanishing gradient: at layer '{first}' it is {ratio:.1g} of what it is at layer '{last}', so the first layers "
                f"hardly learn; use "
                "relu or silu, residual connections, normalisation, or weights with standard deviation gain/sqrt(inputs)"
            )
            self.findings.say("vanishing", text, player=player)
        found = gradients.exploding(seen)
        if self.findings.twice(f"exploding {player}", found is not None) and found is not None:
            ratio, first, last = found
            text = (
                f"exploding gradient: at layer '{first}' it is {ratio:.1g} times what it is at layer '{last}'; set clip=1, use "
                f"smaller initial "
                "weights, or normalise layers"
            )
            self.findings.say("exploding", text, player=player)
        layer = gradients.unreached(probe, self.layers)
        if self.findings.twice(f"unreached {player}", layer is not None) and not self.findings.has("dead", "saturated", "vanishing"):
            text = f"no gradient reaches layer '{layer}' although it is called; look for detach, no_grad, argmax, round or a factor of zero"
            self.findings.say("unreached", text, player=player)
