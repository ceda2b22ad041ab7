"""Principal components, in closed form, with the Gaussian density that belongs to them (probabilistic PCA).

Works on the features of network space: numbers standardised, angles as sine and cosine, categories one-hot.
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

_SMALLEST = 1e-10  # variances are kept above this share of the largest, so that a density exists
_AT_ONCE = 2**22  # numbers converted to float64 at a time


class PCA(Model):
    """The directions of largest variance, and p(x) = N(mean, W Wᵀ + σ² 1) along and around them.

    Learned in closed form by `solve`: directions and variances from the eigenvalues of the covariance (of the singular values of
    the data where these are fewer), σ² the mean of the variances left out: the maximum of the likelihood. With conditions, the
    mean depends linearly on them (least squares), and the components are those of what is left. Where a column is periodic or
    categorical there is no `log_prob`: a Gaussian of its features is no density of the column.

    Args:
        spec: x a Vector or an Image.
        components: how many directions (a whole number), or the share of the variance they must hold (between 0 and 1).

    Attributes:
        mean: ``(features,)``.
        slope: ``(condition, features)`` how the mean moves with the condition.
        directions: ``(components, features)`` orthonormal, by falling variance; the largest entry of each is positive.
        variances: ``(components,)`` along the directions, by division by n.
        noise: ``()`` σ², the mean variance along the directions left out; 0 if there are none.

    Raises:
        DataError: x is neither a Vector nor an Image, or (in `solve`) there are fewer than two examples.
        OptionError: components out of range.

    Reference: Tipping & Bishop 1999, https://doi.org/10.1111/1467-9868.00196

    Example:
        >>> import torch
        >>> from gnomon.data import Examples, Spec, Vector
        >>> model = PCA(Spec(Vector.real(3)), components=2)
        >>> batch = Examples(torch.randn(100, 3))
        >>> model.solve(batch)
        >>> model.encode(batch).shape, model.log_prob(batch).shape
        (torch.Size([100, 2]), torch.Size([100]))
    """

    dequantises: ClassVar[bool] = True

    mean: Tensor
    slope: Tensor
    directions: Tensor
    variances: Tensor
    noise: Tensor

    def __init__(self, spec: Spec, *, components: int | float = 0.95) -> None:
        super().__init__(spec)
        self.features = ColumnFeatures(wants(spec, (Vector, Image), by="PCA"))
        if spec.given is not None:
            wants(spec, (Vector,), role="given", by="PCA")  # an encoder would stay as it was drawn: nothing here descends
        self.condition = networks.Condition(spec.given)
        width = math.prod(spec.x.shape) if isinstance(spec.x, Image) else self.features.outputs
        counted = isinstance(components, int)
        if not (1 <= components <= width if counted else 0 < components < 1):
            raise OptionError(
                f"option 'components' of PCA must be a whole number from 1 to {width}, or a share of the variance between 0 and 1; "
                f"got {components!r}"
            )
        self.components = components
        if not self.features.plain:
            self.log_prob = None  # type: ignore[assignment]
        kept = int(components) if counted else 0
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("slope", torch.zeros(self.condition.outputs, width))
        self.register_buffer("directions", torch.zeros(kept, width))
        self.register_buffer("variances", torch.zeros(kept))
        self.register_buffer("noise", torch.zeros(()))

    @property
    def latent(self) -> int:
        """Length of a code: how many components are kept."""
        return len(self.directions)

    def players(self) -> tuple[Player, ...]:
        """None: it is solved."""
        return ()

    @torch.no_grad()
    def solve(self, examples: Examples) -> None:
        """Learn from all examples at once; weights count, signed ones too. Work is done in float64."""
        x, c = self._flat(examples), self.condition(examples.given, len(examples))
        if len(x) < 2:
            raise DataError(f"PCA wants at least 2 examples; got {len(x)}")
        weight = torch.ones(len(x), dtype=torch.float64, device=x.device) if examples.weight is None else examples.weight.double()
        mean, slope = _least_squares(x, c, weight / weight.sum())
        directions, variances, total = _principal(x, c, weight / weight.sum(), mean, slope)
        kept = self._kept(variances, total)
        left_out = x.shape[1] - kept
        noise = (total - variances[:kept].sum()).clamp_min(0) / left_out if left_out else torch.zeros_like(total)
        found = {"mean": mean, "slope": slope, "directions": directions[:kept], "variances": variances[:kept], "noise": noise}
        for name, value in found.items():
            setattr(self, name, value.to(getattr(self, name)).contiguous())

    def validate(self, batch: Examples) -> Loss:
        """The squared error of the reconstruction, summed over features."""
        return Loss.mean(self.score(batch), batch.weight)

    def encode(self, batch: Examples) -> Tensor:
        """Coordinates along the directions, ``(n, components)``, zero at the mean."""
        return self._centred(batch) @ self.directions.T

    def decode(self, z: Tensor, given: Tensor | Ragged | None = None) -> Tensor:
        """The example at coordinates ``z (n, components)``, ``(n, *x)`` in network space."""
        return self._unflat(self._centre(len(z), given) + z @ self.directions)

    def reconstruct(self, batch: Examples) -> Tensor:
        """Each example projected onto the directions, ``(n, *x)`` in network space."""
        return self.decode(self.encode(batch), batch.given)

    def score(self, batch: Examples) -> Tensor:
        """Squared distance of each example from the plane of the directions, ``(n,)``, summed over features."""
        centred = self._centred(batch)
        return (centred - centred @ self.directions.T @ self.directions).square().sum(-1)

    def log_prob(self, batch: Examples) -> Tensor:
        """log p(x | given), ``(n,)`` in nats; not there where a column is periodic or categorical (see the class)."""
        centred = self._centred(batch)
        along = centred @ self.directions.T
        variances, noise = self._held()
        value = -0.5 * (along.square() / variances + variances.log() + math.log(2 * math.pi)).sum(-1)
        left_out = centred.shape[1] - len(variances)
        if left_out == 0:
            return value
        across = (centred - along @ self.directions).square().sum(-1)
        return value - 0.5 * (across / noise + left_out * (noise.log() + math.log(2 * math.pi)))

    def sample(self, n: int, given: Tensor | Ragged | None = None) -> Tensor:
        """``(n, *x)`` drawn from p(x | given), in network space; features are taken to the nearest angle and category."""
        centre = self._centre(n, given)
        along = torch.randn(n, len(self.variances), device=centre.device, dtype=centre.dtype) * self.variances.sqrt()
        around = torch.randn_like(centre) * self.noise.sqrt()
        return self._unflat(centre + along @ self.directions + around - around @ self.directions.T @ self.directions)

    def _kept(self, variances: Tensor, total: Tensor) -> int:
        if isinstance(self.components, int):
            if self.components > len(variances):
                raise DataError(f"PCA finds at most {len(variances)} components here; got components={self.components}; ask for fewer")
            return self.components
        share = variances.cumsum(0) / total.clamp_min(torch.finfo(total.dtype).tiny)
        return min(len(variances), 1 + int((share < self.components).sum()))

    def _held(self) -> tuple[Tensor, Tensor]:
        """Variances and noise, above a small share of the largest."""
        least = (self.variances.max() * _SMALLEST).clamp_min(torch.finfo(self.variances.dtype).tiny)
        return self.variances.clamp_min(least), self.noise.clamp_min(least)

    def _flat(self, batch: Examples) -> Tensor:
        return tensor(self.features(batch.x)).flatten(1)

    def _unflat(self, features: Tensor) -> Tensor:
        if isinstance(self.spec.x, Image):
            return features.view(len(features), *self.spec.x.shape)
        return self.features.hard(features)

    def _centre(self, n: int, given: Tensor | Ragged | None) -> Tensor:
        condition = self.condition(given, n)
        return self.mean.expand(n, -1) if condition is None else self.mean + condition @ self.slope

    def _centred(self, batch: Examples) -> Tensor:
        return self._flat(batch) - self._centre(len(batch), batch.given)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        # How many components a share of the variance took is known only from the saved tensors.
        for name in ("directions", "variances"):
            saved = state_dict.get(prefix + name)
            if saved is not None and not isinstance(self.components, int):
                setattr(self, name, getattr(self, name).new_zeros(saved.shape))
        super()._load_from_state_dict(state_dict, prefix, *rest)


def _least_squares(x: Tensor, c: Tensor | None, share: Tensor) -> tuple[Tensor, Tensor]:
    """Mean ``(features,)`` and slope ``(condition, features)`` of x on c, in float64; of all solutions the shortest slope."""
    mean = sum((w @ part for w, part in _blocks(share, x)), start=torch.zeros(x.shape[1], dtype=torch.float64, device=x.device))
    if c is None:
        return mean, mean.new_zeros(0, len(mean))
    middle = share @ c.double()
    moment = torch.zeros(c.shape[1], c.shape[1] + x.shape[1], dtype=torch.float64, device=x.device)
    for w, part, condition in _blocks(share, x, c):
        moved = condition - middle
        moment += (moved * w[:, None]).T @ torch.cat([moved, part - mean], 1)
    slope = torch.linalg.pinv(moment[:, : c.shape[1]], rtol=1e-10, hermitian=True) @ moment[:, c.shape[1] :]
    return mean - middle @ slope, slope


def _principal(x: Tensor, c: Tensor | None, share: Tensor, mean: Tensor, slope: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Directions ``(k, features)`` and variances ``(k,)`` by falling variance, and the total variance, in float64."""
    n, width = x.shape

    def residual(part: Tensor, *condition: Tensor) -> Tensor:
        return part - mean - condition[0] @ slope if condition else part - mean

    others = () if c is None else (c,)
    if width <= n or bool((share < 0).any()):
        covariance = torch.zeros(width, width, dtype=torch.float64, device=x.device)
        for w, part, *condition in _blocks(share, x, *others):
            left = residual(part, *condition)
            covariance += (left * w[:, None]).T @ left
        variances, vectors = torch.linalg.eigh(covariance)
        variances, directions = variances.flip(0).clamp_min(0), vectors.T.flip(0)
    else:
        scaled = residual(x.double(), *(t.double() for t in others)) * share.sqrt()[:, None]
        _, singular, directions = torch.linalg.svd(scaled, full_matrices=False)
        variances = singular.square()
    largest = directions.gather(1, directions.abs().argmax(1, keepdim=True))
    return directions * torch.where(largest < 0, -1.0, 1.0), variances, variances.sum()


def _blocks(share: Tensor, *tensors: Tensor) -> Any:
    """Rows of all tensors in float64, a bounded number at a time."""
    rows = max(1, _AT_ONCE // max(t.shape[1] for t in tensors))
    for start in range(0, len(share), rows):
        yield tuple(t[start : start + rows].double() for t in (share, *tensors))
