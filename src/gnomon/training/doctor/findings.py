"""What was found, in words: every fault said once, and signs counted until they are sure.

Keeps texts and counts only; what is a fault is decided by those who say it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Findings:
    """Findings of one fit.

    Example:
        >>> found = Findings()
        >>> found.say("rate", "too high"); found.say("rate", "too high again"); found.take()
        ['too high']
        >>> found.twice("vanishing", True), found.twice("vanishing", True), found.twice("vanishing", False)
        (False, True, False)
    """

    def __init__(self) -> None:
        self._said: list[str] = []
        self._new: list[str] = []
        self._counts: dict[str, int] = {}

    def say(self, kind: str, text: str, *, player: str = "") -> None:
        """Keep a finding, if it is the first of its kind (and player); the player is named unless it is the only one ("")."""
        key = f"{kind}|{player}"
        if key not in self._said:
            self._said.append(key)
            self._new.append(f"player '{player}': {text}" if player else text)

    def has(self, *kinds: str) -> bool:
        """Whether something of one of these kinds was said."""
        return any(key.partition("|")[0] in kinds for key in self._said)

    def twice(self, sign: str, seen: bool) -> bool:
        """Whether a sign was seen now and the time before: once may be chance."""
        self._counts[sign] = self._counts.get(sign, 0) + 1 if seen else 0
        return self._counts[sign] >= 2

    def take(self) -> list[str]:
        """What was found since the last time."""
        new, self._new = self._new, []
        return new

    def state(self) -> dict[str, Any]:
        """As JSON values."""
        return {"said": list(self._said), "new": list(self._new), "counts": dict(self._counts)}

    def load_state(self, facts: Mapping[str, Any]) -> None:
        """Go on from `state`."""
        self._said, self._new, self._counts = list(facts["said"]), list(facts["new"]), dict(facts["counts"])
