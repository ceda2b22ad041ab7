"""Anomaly detection without a network: how far an example lies from the core of the data, and from the rows nearest to it.

Solved, not trained, so that there is nothing to tune. Densities and codes that are trained have anomaly scores of their own.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor

from gnomon import networks
from gnomon.blocks import ColumnFeatures
from gnomon.data import Examples, Image, Ragged, Spec, Vector
from gnomon.errors import DataError, OptionError
from gnomon.models.base import Loss, Model, Player, tensor, wants

_DIRECTIONS = 512  # more features than that are first projected onto so many directions of largest variance, or half as many as rows
_NUMBERS = 2**25  # of the rows that are learned from, all their features together
_PASSES = 100  # of trimming; it nearly always ends within ten
_FLOOR = 1e-6  # of a feature's whole variance: the core may not vary at all
_TIES = 1e-3  # squared distance per direction below which neighbours count as equally near


class AnomalyDetector(Model):
    """Strangeness as minus the log of two densities: a Gaussian around the core of the data, and one by nearest neighbours.

    The core is found in rows that may hold anomalies: mean and covariance of the share ``1 - trim`` of rows that lie nearest by them, over
    and over until the same rows stay (the concentration steps of the minimum covariance determinant). To the core are added as many
    imagined rows as there are features, which vary without correlation, so that few rows will do. Coordinates in which the core is round,
    z, then give both densities: the Gaussian sees what is far from everything, the mean squared distance r² to the nearest rows what lies
    in a gap of the data. Up to constants

        score = ½ |z|² + ½ d log r²    in nats, d being the number of directions in which the core has a width.

    Learned in closed form by `solve`. With conditions the core moves linearly with them.

    Args:
        spec: x a Vector (angles count as sine and cosine, categories one-hot) or an Image; given, if any, a Vector.
        trim: share of the rows that need not belong to the core; more anomalies than that may go unseen.
        neighbours: how many of the nearest rows r² averages over.
        rows: at most so many rows, taken evenly, are learned from and kept.

    Attributes:
        centre: ``(features,)`` from which coordinates are counted.
        basis: ``(features, k)`` directions, only of more than 512 features: 512, or half as many as rows if these are fewer (the distance
            from their span is one more coordinate).
        slope: ``(1 + condition, features)`` place of the core, and how it moves with the condition.
        rounding: ``(features, features)`` after which the core is round (with a basis ``(k + 1, k + 1)``, likewise below).
        dimension: ``()`` d, the mean of |z|² over the core before it is widened for what was trimmed.
        near: ``(rows, features)`` rows in coordinates z.

    Raises:
        DataError: x is neither a Vector nor an Image, or (in `solve`) there are not more than `neighbours` rows.
        OptionError: an option out of range.

    Reference: Rousseeuw & Van Driessen 1999, https://doi.org/10.1080/00401706.1999.10485670; neighbours:
    Loftsgaarden & Quesenberry 1965, https://doi.org/10.1214/aoms/1177700079

    Example:
        >>> model = AnomalyDetector(Spec(Vector.real(3)))
        >>> model.solve(Examples(torch.randn(200, 3)))
        >>> near, far = model.score(Examples(torch.tensor([[0.0, 0.0, 0.0], [5.0, -5.0, 5.0]])))
        >>> bool(far > near + 10)
        True
    """

    defaults: ClassVar[dict[str, Any]] = {}

    centre: Tensor
    basis: Tensor
    slope: Tensor
    rounding: Tensor
    near: Tensor
    dimension: Tensor

    def __init__(self, spec: Spec, *, trim: float = 0.25, neighbours: int = 10, rows: int = 10_000) -> None:
        super().__init__(spec)
        self.features = ColumnFeatures(wants(spec, (Vector, Image), by="AnomalyDetector"))
        if spec.given is not None:
            wants(spec, (Vector,), role="given", by="AnomalyDetector")
        self.condition = networks.Condition(spec.given)
        _check(trim, neighbours, rows)
        self.trim, self.neighbours, self.rows = trim, neighbours, rows
        width = math.prod(spec.x.shape) if isinstance(spec.x, Image) else self.features.outputs
        wide = width > _DIRECTIONS
        sizes = {"basis": (width, 0), "slope": (1 + self.condition.outputs, width), "rounding": (width, width), "near": (0, width)}
        self.register_buffer("centre", torch.zeros(width))
        self.register_buffer("dimension", torch.zeros(()))
        for name, size in sizes.items():
            self.register_buffer(name, torch.zeros(0 if wide and name != "basis" else size))

    def players(self) -> tuple[Player, ...]:
        """None: it is solved."""
        return ()

    @torch.no_grad()
    def solve(self, examples: Examples) -> None:
        """Find the core, and keep the rows, in float64; weights count for the core, rows without a positive weight not at all."""
        if examples.weight is not None:
            examples = examples[(examples.weight > 0).cpu().nonzero().flatten()]
        count = min(self.rows, max(1000, _NUMBERS // len(self.centre)))
        if len(examples) > count:
            examples = examples[torch.linspace(0, len(examples) - 1, count).round().long()]
        if len(examples) <= self.neighbours:
            raise DataError(f"AnomalyDetector wants more examples than neighbours={self.neighbours}; got {len(examples)}")
        x = self._flat(examples.x).double()
        self.centre = x.mean(0).to(self.centre)
        if x.shape[1] > _DIRECTIONS:
            # With nearly as many directions as rows the rows would lie in their span, and whatever comes later endlessly far from it.
            _, _, directions = torch.svd_lowrank(x - self.centre, q=min(_DIRECTIONS, len(x) // 2))
            self.basis = directions.to(self.basis).contiguous()
        t, design = self._coordinates(x), self._design(examples.given, len(x)).double()
        weight = torch.ones_like(t[:, 0]) if examples.weight is None else examples.weight.double()
        slope, rounding, dimension = _core(t, design, weight, self.trim, self._floor(t))
        near = (t - design @ slope) @ rounding
        for name, value in {"slope": slope, "rounding": rounding, "dimension": dimension, "near": near}.items():
            setattr(self, name, value.to(getattr(self, name)).contiguous())

    def validate(self, batch: Examples) -> Loss:
        """The mean score."""
        return Loss.mean(self.score(batch), batch.weight)

    def score(self, batch: Examples) -> Tensor:
        """How strange each example is, ``(n,)`` in nats up to a constant that is the same for all."""
        z = self._rounded(batch)
        apart = (z.square().sum(1, keepdim=True) + self.near.square().sum(1) - 2 * z @ self.near.T).clamp_min(0)
        nearest = apart.topk(self.neighbours, 1, largest=False).values.mean(1)
        return 0.5 * z.square().sum(1) + 0.5 * self.dimension * (nearest + _TIES * self.dimension.clamp_min(_TIES)).log()

    # ---- parts --------------------------------------------------------------------------------------------------------

    def _flat(self, x: Tensor | Ragged | None) -> Tensor:
        return tensor(self.features(tensor(x))).flatten(1)

    def _coordinates(self, x: Tensor) -> Tensor:
        """Features counted from the centre; of very many, those along the basis and the distance from its span."""
        centred = x - self.centre.to(x)
        if not self.basis.shape[1]:
            return centred
        basis = self.basis.to(x)
        along = centred @ basis
        return torch.cat([along, (centred - along @ basis.T).norm(dim=1, keepdim=True)], 1)

    def _design(self, given: Tensor | Ragged | None, n: int) -> Tensor:
        one = torch.ones(n, 1, device=self.centre.device, dtype=self.centre.dtype)
        condition = self.condition(given, n)
        return one if condition is None else torch.cat([one, condition], 1)

    def _rounded(self, batch: Examples) -> Tensor:
        """The coordinates z of each example."""
        place = self._design(batch.given, len(batch)) @ self.slope
        return (self._coordinates(self._flat(batch.x)) - place) @ self.rounding

    def _floor(self, t: Tensor) -> Tensor:
        """What is added to variances of the core: a class's own, for a rare one would be trimmed away and then be endlessly far."""
        share = torch.full_like(t[0], _FLOOR)
        if not self.features.plain:
            share[len(share) - len(self.features.codes) :] = 1.0
        return share * t.var(0).clamp_min(torch.finfo(torch.float32).eps)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        # How many rows and directions there were is known only from the saved tensors.
        for name in ("basis", "slope", "rounding", "near"):
            saved = state_dict.get(prefix + name)
            if saved is not None:
                setattr(self, name, getattr(self, name).new_zeros(saved.shape))
        super()._load_from_state_dict(state_dict, prefix, *rest)


def _core(t: Tensor, design: Tensor, weight: Tensor, trim: float, floor: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Place ``(design, k)``, rounding ``(k, k)`` and dimension of the core of ``t (n, k)``, by concentration from all rows on."""
    kept = torch.ones_like(weight)
    for _ in range(_PASSES):
        share = weight * kept / (weight * kept).sum()
        slope, covariance = _moments(t, design, share, floor)
        distances = _squared(t - design @ slope, covariance)
        dimension = share @ distances
        order = distances.argsort(stable=True)
        inside = weight[order].cumsum(0) <= (1 - trim) * weight.sum()
        again = torch.zeros_like(kept).scatter(0, order, inside.to(kept))
        if torch.equal(again, kept):
            break
        kept = again
    middle = distances.median() / dimension  # what was trimmed made the core too narrow: the median row is to lie at |z|² = d
    variances, directions = torch.linalg.eigh(covariance * torch.where(middle > 0, middle, 1.0))
    return slope, directions / variances.clamp_min(torch.finfo(t.dtype).tiny).sqrt(), dimension


def _moments(t: Tensor, design: Tensor, share: Tensor, floor: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted least squares of t on the design, and the covariance of what is left, with that of k imagined rows.

    These vary along each feature apart, by the feature's own variance times the median eigenvalue of the correlations. Fewer rows than
    features show only so many eigenvalues, too large because they hold the width of all k directions, and the others are zero: the median
    is that of those seen, times their share of k.
    """
    moment = (design * share[:, None]).T @ design
    slope = torch.linalg.pinv(moment, rtol=1e-10, hermitian=True) @ ((design * share[:, None]).T @ t)
    left = t - design @ slope
    covariance = (left * share[:, None]).T @ left + torch.diag(floor)
    variances, count = covariance.diagonal(), 1 / share.square().sum()
    spread, k = variances.sqrt(), len(variances)
    seen = min(k, max(1, round(count.item()) - design.shape[1]))
    median = torch.linalg.eigvalsh(covariance / (spread * spread[:, None]))[-seen:].median()
    return slope, (count * covariance + seen * median * torch.diag(variances)) / (count + k)


def _squared(left: Tensor, covariance: Tensor) -> Tensor:
    """Squared Mahalanobis distances ``(n,)``."""
    return torch.linalg.solve_triangular(torch.linalg.cholesky(covariance), left.T, upper=False).square().sum(0)


def _check(trim: float, neighbours: int, rows: int) -> None:
    if not 0 <= trim < 1:
        raise OptionError(f"option 'trim' of AnomalyDetector must be from 0 to below 1; got {trim}")
    if neighbours < 1:
        raise OptionError(f"option 'neighbours' of AnomalyDetector must be 1 or more; got {neighbours}")
    if rows <= neighbours:
        raise OptionError(f"option 'rows' of AnomalyDetector must be more than neighbours={neighbours}; got {rows}")
