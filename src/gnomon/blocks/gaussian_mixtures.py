"""Batches of Gaussian mixtures in closed form: density, samples, marginals, conditionals, moments and quantiles.

Where their parameters come from is left to the models; `GaussianMixtureHead` turns raw numbers of a network into them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gnomon.blocks.columns import _held
from gnomon.errors import OptionError

_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)
_WIDEST = 5.0  # of the log standard deviation, in units of the data's
_HALVINGS = 60  # of the bracket of a quantile: beyond the resolution of float64


class GaussianMixtures:
    """One mixture of Gaussians for each row.

    A component is told by a regression of each column on those before it: with d = x - mean, column i of ``d + mixing d`` is normal
    with the standard deviation ``exp(log_scale)`` i. This is a Cholesky factor of the inverse covariance (any covariance can be told so),
    its density needs no linear solve, and it is nowhere above the product of 1 / (√(2π) scale).

    Args:
        logits: ``(n, K)`` log-weights of the components, up to a constant of each row.
        means: ``(n, K, D)``.
        log_scales: ``(n, K, D)``.
        mixing: ``(n, K, D, D)`` strictly lower triangular, or None where the columns of a component are independent.

    Reference: Pourahmadi 1999, https://doi.org/10.1093/biomet/86.3.677

    Example:
        >>> mixture = GaussianMixtures(torch.zeros(1, 2), torch.tensor([[[-1.0], [1.0]]]), torch.zeros(1, 2, 1))
        >>> mixture.cdf(torch.zeros(1, 1)), mixture.quantile([0.5]).abs().round(decimals=4)
        (tensor([[0.5000]]), tensor([[0.]]))
    """

    def __init__(self, logits: Tensor, means: Tensor, log_scales: Tensor, mixing: Tensor | None = None) -> None:
        self.logits = logits
        self.means = means
        self.log_scales = log_scales
        self.mixing = mixing

    @classmethod
    def of(cls, logits: Tensor, means: Tensor, covariances: Tensor) -> GaussianMixtures:
        """The mixtures with these covariances ``(n, K, D, D)``, which must be symmetric and positive definite."""
        factor = torch.linalg.cholesky(covariances)
        inverse = torch.linalg.solve_triangular(factor, _identity(factor), upper=False)
        scales = factor.diagonal(dim1=-2, dim2=-1)
        return cls(logits, means, scales.log(), (inverse * scales[..., None]).tril(-1))

    @property
    def columns(self) -> int:
        """How many columns a row has."""
        return self.means.shape[-1]

    # ---- density and samples -----------------------------------------------------------------------------------------

    def component_log_prob(self, x: Tensor) -> Tensor:
        """The log-density of each component in nats, ``(n, K)``, of rows ``(n, D)``."""
        d = x.unsqueeze(-2) - self.means
        if self.mixing is not None:
            d = d + (self.mixing @ d.unsqueeze(-1)).squeeze(-1)
        return -0.5 * (d * torch.exp(-self.log_scales)).square().sum(-1) - (self.log_scales + _HALF_LOG_TWO_PI).sum(-1)

    def log_prob(self, x: Tensor) -> Tensor:
        """The log-density in nats, ``(n,)``, of rows ``(n, D)``."""
        return (self.logits.log_softmax(-1) + self.component_log_prob(x)).logsumexp(-1)

    def sample_components(self) -> Tensor:
        """One component for each row, ``(n,)`` int64, drawn by its weight with torch's global generator."""
        waiting = -torch.log(torch.rand_like(self.logits).clamp_min(torch.finfo(self.logits.dtype).tiny))
        return (self.logits - waiting.log()).argmax(-1)  # the component whose exponential clock rings first

    def sample(self, components: Tensor | None = None) -> Tensor:
        """One draw for each row, ``(n, D)``, with torch's global generator; `components` ``(n,)`` says from which component."""
        index = (self.sample_components() if components is None else components)[:, None, None].expand(-1, 1, self.columns)
        mean, log_scale = self.means.gather(1, index).squeeze(1), self.log_scales.gather(1, index).squeeze(1)
        noise = torch.randn_like(mean) * log_scale.exp()
        if self.mixing is None:
            return mean + noise
        mixing = self.mixing.gather(1, index[..., None].expand(-1, 1, self.columns, self.columns)).squeeze(1)
        factor = mixing + _identity(mixing)
        return mean + torch.linalg.solve_triangular(factor, noise.unsqueeze(-1), upper=False, unitriangular=True).squeeze(-1)

    # ---- moments ------------------------------------------------------------------------------------------------------

    def covariances(self) -> Tensor:
        """Covariance of each component, ``(n, K, D, D)``."""
        if self.mixing is None:
            return torch.diag_embed((2 * self.log_scales).exp())
        factor = self.mixing + _identity(self.mixing)
        root = torch.linalg.solve_triangular(factor, torch.diag_embed(self.log_scales.exp()), upper=False, unitriangular=True)
        return root @ root.mT

    def mean(self) -> Tensor:
        """Mean of each mixture, ``(n, D)``."""
        return (self.logits.softmax(-1).unsqueeze(-1) * self.means).sum(-2)

    def covariance(self) -> Tensor:
        """Covariance of each mixture, ``(n, D, D)``."""
        d = self.means - self.mean().unsqueeze(-2)
        parts = self.covariances() + d.unsqueeze(-1) * d.unsqueeze(-2)
        return (self.logits.softmax(-1)[..., None, None] * parts).sum(-3)

    # ---- parts of the columns -----------------------------------------------------------------------------------------

    def marginal(self, columns: Sequence[int]) -> GaussianMixtures:
        """The mixtures of some columns, the others integrated out, in the order given."""
        keep = _index(columns, self.columns, self.means.device)
        means = self.means.index_select(-1, keep)
        if self.mixing is None:
            return GaussianMixtures(self.logits, means, self.log_scales.index_select(-1, keep))
        return GaussianMixtures.of(self.logits, means, self.covariances().index_select(-1, keep).index_select(-2, keep))

    def conditional(self, known: Sequence[int], values: Tensor) -> GaussianMixtures:
        """The mixtures of all other columns, in their order, given `values` ``(n, len(known))`` of some.

        Raises:
            OptionError: a column that is not there, that stands twice, or no column left.
        """
        seen = _index(known, self.columns, self.means.device)
        rest = [i for i in range(self.columns) if i not in set(seen.tolist())]
        if not rest:
            raise OptionError(f"all {self.columns} columns are known, so nothing is left to have a density; leave one out of known")
        logits = self.logits.log_softmax(-1) + self.marginal(known).component_log_prob(values)
        left = torch.tensor(rest, device=self.means.device)
        means = self.means.index_select(-1, left)
        if self.mixing is None:
            return GaussianMixtures(logits, means, self.log_scales.index_select(-1, left))
        covariance = self.covariances()
        among = covariance.index_select(-1, seen).index_select(-2, seen)
        across = covariance.index_select(-2, left).index_select(-1, seen)
        gain = torch.cholesky_solve(across.mT, torch.linalg.cholesky(among)).mT
        shift = gain @ (values.unsqueeze(-2) - self.means.index_select(-1, seen)).unsqueeze(-1)
        spread = covariance.index_select(-1, left).index_select(-2, left) - gain @ across.mT
        return GaussianMixtures.of(logits, means + shift.squeeze(-1), 0.5 * (spread + spread.mT))

    # ---- one column ---------------------------------------------------------------------------------------------------

    def cdf(self, x: Tensor) -> Tensor:
        """Probability of values up to `x` ``(n, P)`` of mixtures of one column, ``(n, P)``. Raises OptionError for more columns."""
        self._one_column()
        z = (x.unsqueeze(1) - self.means) * torch.exp(-self.log_scales)
        return (self.logits.softmax(-1).unsqueeze(-1) * torch.special.ndtr(z)).sum(1)

    def quantile(self, p: Sequence[float] | Tensor) -> Tensor:
        """Where the probabilities `p` ``(P,)`` are reached by mixtures of one column, ``(n, P)``, to the resolution of their dtype.

        Raises:
            OptionError: more columns, or a probability that is not between 0 and 1.
        """
        self._one_column()
        wanted = torch.as_tensor(p, dtype=torch.float64, device=self.means.device)
        if not bool(((wanted > 0) & (wanted < 1)).all()):
            raise OptionError(f"quantile wants probabilities between 0 and 1, both excluded; got {wanted.tolist()}")
        exact = GaussianMixtures(self.logits.double(), self.means.double(), self.log_scales.double())
        each = exact.means + exact.log_scales.exp() * torch.special.ndtri(wanted)  # (n, K, P): the mixture's lies between the components'
        low, high = each.amin(1), each.amax(1)
        for _ in range(_HALVINGS):
            middle = 0.5 * (low + high)
            below = exact.cdf(middle) < wanted
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return (0.5 * (low + high)).to(self.means.dtype)

    def _one_column(self) -> None:
        if self.columns != 1:
            raise OptionError(f"cdf and quantile are of one column, and the mixture has {self.columns}; take marginal([column]) first")


class GaussianMixtureHead(nn.Module):
    """Raw numbers of a network as Gaussian mixtures: weights, means, softly bounded scales, mixing.

    Zeros, together with the buffer `start`, stand for components of equal weight whose means are spread over a standard normal as a
    Latin hypercube (one component: the standard normal itself), so that no two start alike and all lie where data are.

    Args:
        columns: D.
        components: K.
        full: whether columns of a component depend on each other.
        floor: no scale is below it, so no component can collapse onto a point.

    Attributes:
        outputs: raw numbers per row.

    Shape: ``(n, outputs) -> GaussianMixtures`` of n rows.

    Reference: Bishop 1994, "Mixture density networks", https://publications.aston.ac.uk/id/eprint/373/

    Example:
        >>> head = GaussianMixtureHead(2, 1)
        >>> head.outputs, head(torch.zeros(1, 6)).log_prob(torch.zeros(1, 2)).exp()  # about 1/(2 pi)
        (6, tensor([0.159...]))
    """

    start: Tensor
    places: Tensor

    def __init__(self, columns: int, components: int, *, full: bool = True, floor: float = 1e-3) -> None:
        super().__init__()
        self.columns, self.components = columns, components
        self.least = math.log(floor)
        pairs = columns * (columns - 1) // 2 if full else 0
        self.parts = (components, components * columns, components * columns, components * pairs)
        self.outputs = sum(self.parts)
        triangle = torch.tril_indices(columns, columns, -1) if full else torch.zeros(2, 0, dtype=torch.int64)
        self.register_buffer("places", triangle[0] * columns + triangle[1], persistent=False)
        self.register_buffer("start", torch.cat([torch.zeros(components), *self._spread(columns, components), torch.zeros(self.parts[3])]))

    def forward(self, raw: Tensor) -> GaussianMixtures:
        """The mixture of each row."""
        logits, means, free, pairs = (raw + self.start).split(self.parts, -1)
        shape = (len(raw), self.components, self.columns)
        log_scales = _held(free.reshape(shape), (self.least, _WIDEST))
        mixing = None
        if self.parts[3]:
            flat = raw.new_zeros(len(raw), self.components, self.columns**2)
            mixing = flat.index_add(-1, self.places, pairs.reshape(len(raw), self.components, -1)).unflatten(-1, (self.columns,) * 2)
        return GaussianMixtures(logits, means.reshape(shape), log_scales, mixing)

    def _spread(self, columns: int, components: int) -> tuple[Tensor, Tensor]:
        """Means and raw scales at the start, flat: each column's means are the normal quantiles in an order of its own."""
        quantiles = torch.special.ndtri((torch.arange(components) + 0.5) / components)
        order = torch.stack([torch.randperm(components) for _ in range(columns)], 1) if columns else torch.zeros(components, 0).long()
        scale = max(min(1.0, 1.5 * components ** (-1 / max(columns, 1))), 2 * math.exp(self.least))
        raw = _WIDEST - _softplus_inverse(_WIDEST - self.least - _softplus_inverse(math.log(scale) - self.least))
        return quantiles[order].flatten(), torch.full((components * columns,), raw)


def _softplus_inverse(value: float) -> float:
    return value + math.log(-math.expm1(-value))


def _identity(matrices: Tensor) -> Tensor:
    return torch.eye(matrices.shape[-1], dtype=matrices.dtype, device=matrices.device).expand_as(matrices)


def _index(columns: Sequence[int], count: int, device: torch.device) -> Tensor:
    wanted = list(columns)
    wrong = next((i for position, i in enumerate(wanted) if not 0 <= i < count or i in wanted[:position]), None)
    if wrong is not None or not wanted:
        got = "none" if wrong is None else f"column {wrong} in {wanted}"
        raise OptionError(f"columns wants different positions from 0 to {count - 1}; got {got}")
    return torch.tensor(wanted, device=device)
