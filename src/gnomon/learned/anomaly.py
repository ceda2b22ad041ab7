"""How strange examples are: by reconstruction, bound, density or latent distance, and p-values from scores of held-out examples.

Which rows are anomalies is never known here; how well scores find known ones is judged in `checks`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gnomon.blocks import ColumnFeatures
from gnomon.data import Examples, Image, Set, Vector
from gnomon.errors import AbilityError, OptionError
from gnomon.learned.chunks import rows_of
from gnomon.models import Model, abilities
from gnomon.options import unknown

if TYPE_CHECKING:
    from gnomon.learned.learned import Learned

Floats = NDArray[np.float64]
By = Literal["reconstruction", "bound", "density", "latent"]
Direction = Literal["high", "low", "both"]

CALIBRATION = 10_000
"""At most so many held-out scores are kept for p-values (fewer of large examples, at least 500)."""

OTHERWISE = 2_000
"""At most so many held-out scores are kept of each way that is not the model's own, and so many training rows tell where codes lie."""

BOUND_SAMPLES = 32
"""Draws per example of a score by the bound."""

OWN = ""
"""The name of the model's own way among the others."""

_FULL = 512  # longer codes have their variances measured, not their covariance
_LEAST = 1e-6  # of the largest variance of a code, below which it counts as no variance at all


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Scores of held-out examples, with which new ones are compared.

    Args:
        scores: ``(m,)`` rising.
        weight: ``(m,)`` of the same examples, or None.
    """

    scores: Floats
    weight: Floats | None = None

    @classmethod
    def of(cls, scores: Floats, weight: Floats | None = None) -> HeldOut:
        """From scores in any order; missing ones (NaN) are left out."""
        there = np.flatnonzero(~np.isnan(scores))
        order = there[np.argsort(scores[there], kind="stable")]
        return cls(scores[order], None if weight is None else weight[order])

    def p_value(self, scores: Floats, direction: Direction = "high") -> Floats:
        """The share of held-out examples, the new one counted among them, that are at least as strange.

        For a fresh example of the kind that was held out, the chance of p ≤ α is at most α, and with distinct scores next to α. Held-out
        examples count by their weights, the new one as one; negative weights may leave no exact share, and p stays at least that of none.

        Args:
            scores: ``(n,)``.
            direction: "high": large scores are strange; "low": small ones; "both": twice the smaller of the two, at most 1.

        Returns:
            ``(n,)`` in (0, 1]; NaN for NaN.
        """
        if direction not in get_args(Direction):
            raise OptionError(unknown("direction", direction, get_args(Direction)))
        weight = np.ones(len(self.scores)) if self.weight is None else self.weight
        below = np.concatenate([[0.0], np.cumsum(weight)])
        whole = below[-1]
        reached = {
            "high": whole - below[np.searchsorted(self.scores, scores, side="left")],
            "low": below[np.searchsorted(self.scores, scores, side="right")],
        }
        sides = [np.clip((share + 1.0) / (whole + 1.0), 1.0 / (whole + 1.0), 1.0) for share in reached.values()]
        p = np.minimum(2 * np.minimum(*sides), 1.0) if direction == "both" else sides[direction == "low"]
        return np.where(np.isnan(scores), np.nan, p)


@dataclass(frozen=True, eq=False)
class Codes:
    """Where the codes of training examples lie.

    Args:
        centre: ``(k,)`` their mean.
        rounding: ``(k, k)`` after which their covariance is one, or ``(k,)`` for codes longer than 512, whose numbers count apart.
    """

    centre: Floats
    rounding: Floats

    @classmethod
    def of(cls, codes: Floats) -> Codes:
        """From codes ``(n, k)``; directions in which they never vary are left out of the distance."""
        codes = codes[np.isfinite(codes).all(1)]
        centre = codes.mean(0)
        if codes.shape[1] > _FULL:
            return cls(centre, _inverse_spread(codes.var(0)))
        variances, directions = np.linalg.eigh(np.cov(codes.T, bias=True).reshape(len(centre), len(centre)))
        return cls(centre, directions * _inverse_spread(variances))

    def distance(self, codes: Floats) -> Floats:
        """The squared Mahalanobis distance of each code, ``(n,)``."""
        left = codes - self.centre
        return np.square(left * self.rounding if self.rounding.ndim == 1 else left @ self.rounding).sum(1)


@dataclass
class Calibration:
    """What is kept of held-out and training examples, so that new ones can be called strange.

    Args:
        held_out: scores by way; the model's own has the name "".
        codes: where the codes of training examples lie, or None.
    """

    held_out: dict[str, HeldOut] = field(default_factory=dict)
    codes: Codes | None = None

    def tensors(self) -> dict[str, Tensor]:
        """All of it by name, for a file."""
        named = {}
        for way, kept in self.held_out.items():
            end = f"_{way}" if way else ""
            named[f"scores{end}"] = torch.from_numpy(kept.scores)
            if kept.weight is not None:
                named[f"weight{end}"] = torch.from_numpy(kept.weight)
        if self.codes is not None:
            named |= {"codes.centre": torch.from_numpy(self.codes.centre), "codes.rounding": torch.from_numpy(self.codes.rounding)}
        return named

    @classmethod
    def from_tensors(cls, named: Mapping[str, Tensor]) -> Calibration:
        """From what `tensors` gave."""
        arrays = {name: value.double().numpy() for name, value in named.items()}
        made = cls()
        for way in (OWN, *get_args(By)):
            end = f"_{way}" if way else ""
            if f"scores{end}" in arrays:
                made.held_out[way] = HeldOut(arrays[f"scores{end}"], arrays.get(f"weight{end}"))
        if "codes.centre" in arrays and "codes.rounding" in arrays:
            made.codes = Codes(arrays["codes.centre"], arrays["codes.rounding"])
        return made


def ways(model: Model) -> tuple[By, ...]:
    """The ways in which a model can tell how strange an example is, apart from its own.

    "reconstruction" where it reconstructs, "bound" and "density" where it has `log_prob_bound` and `log_prob`, "latent" where an example
    has one code.
    """
    own, spec = abilities(model), model.spec
    if "score" not in own and not {"log_prob", "log_prob_bound"} & set(own):
        return ()
    told = "reconstruct" in own and (_likelihood(model) is not None or isinstance(spec.x, (Vector, Image)))
    coded = "encode" in own and (not isinstance(spec.x, Set) or "decode" in own)  # a flow of sets has a code for each element
    has = {"reconstruction": told, "bound": "log_prob_bound" in own, "density": "log_prob" in own, "latent": coded}
    return tuple(way for way in get_args(By) if has[way])


def demand_way(learned: Learned, by: str | None) -> str:
    """The way's name in a `Calibration`. Raises OptionError for an unknown way, AbilityError for one that the model has no means for."""
    if by is None:
        return OWN
    if by not in get_args(By):
        raise OptionError(unknown("anomaly score by", by, get_args(By)))
    own = ways(learned.model)
    if by not in own:
        raise AbilityError(f"{learned.name} has no anomaly score by {by}; it has: {', '.join(own) or 'its own'}")
    return by


def scores_of(learned: Learned, raw: Examples, by: str = OWN) -> Floats:
    """How strange each example is by one way, ``(n,)``: larger is stranger, infinite outside the support.

    Args:
        learned: the fitted model.
        raw: examples in the user's units.
        by: "" for the model's own score, or minus its log-density where it has none; or a way of `ways`.

    Raises:
        AbilityError: no training codes were kept, or this kind of data has no density.
    """
    own = abilities(learned.model)
    if by == OWN and "score" not in own:
        by = "density" if "log_prob" in own else "bound"
        return -_density(learned, raw, by, None)
    if by in ("density", "bound"):
        return -_density(learned, raw, by, BOUND_SAMPLES)
    if by == "latent":
        kept = learned.kept.codes
        if kept is None:
            raise AbilityError("the latent distance needs codes of training rows, and this run kept none; fit with validation=0.1")
        scores = kept.distance(_codes(learned, raw))
    else:
        work: Any = _reconstruction_error(learned.model) if by == "reconstruction" else learned.model.score
        (found,) = learned._each(lambda part: (work(learned._batch(part)).double(),), raw, seed=("score", 0))
        assert isinstance(found, Tensor)
        scores = found.numpy()
    return np.where(learned.scaling.outside(raw).numpy(), np.inf, scores)


def calibrated(learned: Learned, raw: Examples, training: Examples | None) -> Calibration:
    """What is to be kept of held-out examples, and of training examples (without them the held-out ones tell where codes lie)."""
    made, possible = Calibration(), ways(learned.model)
    if "score" not in learned.abilities or not len(raw):
        return made
    largest = rows_of(learned.spec.x)
    few = _evenly(raw, min(OTHERWISE, max(500, 256 * largest)))
    if "latent" in possible:
        learned.kept.codes = made.codes = Codes.of(_codes(learned, few if training is None else _evenly(training, OTHERWISE)))
    for way in (OWN, *possible):
        rows = _evenly(raw, min(CALIBRATION, max(500, 256 * largest))) if way == OWN else few
        try:
            scores = scores_of(learned, rows, way)
        except AbilityError:  # a density that this kind of data does not have: then there is no score either
            continue
        made.held_out[way] = HeldOut.of(scores, None if rows.weight is None else rows.weight.double().numpy())
    return made


# ---- parts --------------------------------------------------------------------------------------------------------


def _density(learned: Learned, raw: Examples, way: str, samples: int | None) -> Floats:
    ability = "log_prob" if way == "density" else "log_prob_bound"
    (value,) = learned._each(lambda part: learned._density(part, ability, samples)[:1], raw, seed=("score", 0))
    assert isinstance(value, Tensor)
    return value.numpy()


def _codes(learned: Learned, raw: Examples) -> Floats:
    (codes,) = learned._each(lambda part: (learned.model.encode(learned._batch(part)).double(),), raw, seed=("encode", 0))  # type: ignore[operator]
    assert isinstance(codes, Tensor)
    return codes.flatten(1).numpy()


def _likelihood(model: Model) -> Callable[..., object] | None:
    """The model's density of examples given their codes, or that of the model it stands on."""
    found = getattr(model, "likelihood", None) or getattr(getattr(model, "base", None), "likelihood", None)
    return found if callable(found) else None


def _reconstruction_error(model: Model) -> Callable[[Examples], Tensor]:
    """Of a batch in network space ``(n,)``: minus the log-likelihood given the code, or else the squared distance over features."""
    likelihood = _likelihood(model)
    if likelihood is not None:
        return lambda batch: -likelihood(model.encode(batch), batch.given).log_prob(batch.x)  # type: ignore[operator,attr-defined]
    kind = model.spec.x
    assert isinstance(kind, (Vector, Image))
    features = ColumnFeatures(kind).to(model.device)

    def squared(batch: Examples) -> Tensor:
        return (features(batch.x) - features(model.reconstruct(batch))).square().flatten(1).sum(1)  # type: ignore[operator]

    return squared


def _evenly(raw: Examples, count: int) -> Examples:
    """At most `count` examples, taken evenly."""
    return raw if len(raw) <= count else raw[torch.linspace(0, len(raw) - 1, count).round().long()]


def _inverse_spread(variances: Floats) -> Floats:
    least = _LEAST * max(float(variances.max(initial=0.0)), math.ulp(0.0))
    return np.where(variances > least, 1 / np.sqrt(np.where(variances > least, variances, 1.0)), 0.0)
