"""Monotonic rational-quadratic splines on an interval or a circle, both ways, with the log of their derivative.

Pure functions of tensors. Who computes the raw parameters, and what depends on what, is left to the couplings beside.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

MIN_SIZE = 1e-3
"""Smallest width and height of a bin, as a fraction of the interval."""
MIN_SLOPE = 1e-3
"""Smallest slope at a knot."""
SPACING = 1.3
"""Knots start at this many times the quantiles of a standard normal distribution."""
_UNIT_SLOPE = math.log(math.expm1(1.0 - MIN_SLOPE))


def raw_size(bins: int, *, circular: bool = False) -> int:
    """How many raw numbers one spline takes: widths, heights and the slopes that are free.

    Example:
        >>> raw_size(8), raw_size(8, circular=True)
        (23, 24)
    """
    return 3 * bins if circular else 3 * bins - 1


def spline_table(raw: Tensor, bound: float | Tensor, *, circular: bool | Tensor = False) -> Tensor:
    """Lay out the bins of monotonic splines that map ``[-bound, bound]`` onto itself.

    All zeros give the identity: equal bins and slopes of one.

    Args:
        raw: ``(*batch, size)`` unrestricted numbers, `raw_size(bins)` of them, or `raw_size(bins, circular=True)`
            if any spline is circular: logits of the widths, logits of the heights, slopes.
        bound: half the width of the interval; a tensor that broadcasts against ``batch`` gives each spline its own.
        circular: whether the two ends are one point and share one free slope (True), or join the identity outside
            with slope one (False); a boolean tensor that broadcasts against ``batch`` says it for each spline.

    Returns:
        ``(*batch, 6, bins)``: left knot, lower knot, width, height, left slope and right slope of each bin.

    Reference: Durkan et al. 2019, https://arxiv.org/abs/1906.04032; on the circle Rezende et al. 2020,
    https://arxiv.org/abs/2002.02428

    Example:
        >>> spline_table(torch.zeros(5), 1.0)[0]
        tensor([-1.,  0.])
    """
    tied = not isinstance(circular, bool) or circular
    bins = (raw.shape[-1] + (0 if tied else 1)) // 3
    least = min(MIN_SIZE, 0.1 / bins)
    first = raw.movedim(-1, 0).contiguous()  # what runs over bins comes first, in memory too: a CPU is then several times as fast
    shares = first[: 2 * bins].unflatten(0, (2, bins)).softmax(1)
    sizes = shares * (2 * bound * (1 - bins * least)) + 2 * bound * least
    starts = sizes.cumsum(1) - sizes - bound
    slopes = functional.softplus(first[2 * bins :] + _UNIT_SLOPE) + MIN_SLOPE
    if tied:
        ends = slopes[:1]
        if isinstance(circular, Tensor):
            ends = torch.where(circular, ends, 1.0)
        slopes = slopes[1:]
    else:
        ends = slopes.new_ones(()).expand(1, *raw.shape[:-1])
    left, right = torch.cat([ends, slopes]), torch.cat([slopes, ends])
    return torch.cat([starts, sizes, left[None], right[None]]).movedim((0, 1), (-2, -1))


def identity_start(bins: int, bound: float, *, circular: bool = False, turned: bool = False) -> Tensor:
    """Raw parameters of the identity, with knots closer where a normal distribution has its mass.

    Args:
        bins: pieces of the spline.
        bound: half the width of its interval.
        circular: whether it is one on the circle.
        turned: whether others beside it are, so that it has room for a turn, which comes first, and for the slope at the ends.
    """
    widths = torch.zeros(bins)
    if not circular and bins > 1:
        inner = SPACING * torch.special.ndtri(torch.arange(1, bins).double() / bins)
        limit = torch.tensor([bound], dtype=torch.float64)
        widths = torch.cat([-limit, inner.clamp(-0.9 * bound, 0.9 * bound), limit]).diff().clamp_min(1e-3).log().float()
    extra = 2 if turned else 0
    return torch.cat([torch.zeros(extra // 2), widths, widths, torch.zeros(bins - 1 + extra // 2)])


def spline_forward(x: Tensor, table: Tensor, bound: float | Tensor) -> tuple[Tensor, Tensor]:
    """Image of `x` and the log of the derivative there.

    Outside ``[-bound, bound]`` the map is the identity; gradients stay finite there and at plus or minus infinity.

    Args:
        x: ``(*batch)``.
        table: ``(*batch, 6, bins)`` from `spline_table`.
        bound: the one the table was made with.

    Returns:
        ``y`` and ``log dy/dx``, each ``(*batch)``.

    Example:
        >>> y, log_slope = spline_forward(torch.tensor([0.3, 7.0]), spline_table(torch.zeros(2, 11), 5.0), 5.0)
        >>> y, log_slope.abs() < 1e-6
        (tensor([0.3000, 7.0000]), tensor([True, True]))
    """
    inside = x.abs() <= bound
    within = torch.where(inside, x, 0.0)
    left, low, width, height, slope0, slope1 = _bins(within, table, 0)
    t = (within - left) / width
    chord = height / width
    rest = 1 - t
    both, square = t * rest, t * t
    below = torch.addcmul(chord, slope0 + slope1 - 2 * chord, both)
    y = low + height * torch.addcmul(chord * square, slope0, both) / below
    return torch.where(inside, y, x), torch.where(inside, _log_slope(slope0, slope1, chord, rest * rest, both, square, below), 0.0)


def spline_inverse(y: Tensor, table: Tensor, bound: float | Tensor) -> tuple[Tensor, Tensor]:
    """The `x` whose image is `y`, and the log of the derivative of the inverse there.

    The discriminant is written as a sum of squares and products of positive numbers, and the root that loses no digits
    is taken on either side, so that single precision gives no NaN whatever the parameters.

    Args:
        y: ``(*batch)``.
        table: ``(*batch, 6, bins)`` from `spline_table`.
        bound: the one the table was made with.

    Returns:
        ``x`` and ``log dx/dy``, each ``(*batch)``.

    Example:
        >>> table = spline_table(torch.randn(100, 23), 5.0)
        >>> y = torch.linspace(-6, 6, 100)
        >>> x, _ = spline_inverse(y, table, 5.0)
        >>> torch.allclose(spline_forward(x, table, 5.0)[0], y, atol=1e-4)
        True
    """
    inside = y.abs() <= bound
    within = torch.where(inside, y, 0.0)
    left, low, width, height, slope0, slope1 = _bins(within, table, 1)
    e = ((within - low) / height).clamp(0, 1)
    f = 1 - e
    chord = height / width
    tilt = torch.addcmul(slope0 * f, slope1, e, value=-1)
    rise = 2 * chord * e
    b = tilt + rise
    root = torch.addcmul(tilt * tilt, rise, 2 * chord * f).sqrt()
    upper = b >= 0
    t = torch.where(upper, rise, root - b) / torch.where(upper, root + b, 2 * (chord - b))
    rest = 1 - t
    both = t * rest
    below = torch.addcmul(chord, slope0 + slope1 - 2 * chord, both)
    log_slope = _log_slope(slope0, slope1, chord, rest * rest, both, t * t, below)
    return torch.where(inside, torch.addcmul(left, t, width), y), torch.where(inside, -log_slope, 0.0)


def wrapped(angle: Tensor) -> Tensor:
    """The same angle in [-π, π).

    Example:
        >>> wrapped(torch.tensor([4.0]))
        tensor([-2.2832])
    """
    return torch.remainder(angle + math.pi, 2 * math.pi) - math.pi


def _bins(values: Tensor, table: Tensor, row: int) -> tuple[Tensor, ...]:
    """The six entries of the bin of each value, found among the starts in `row`: one comparison, one gather."""
    table = table.movedim((-2, -1), (0, 1))
    index = (values >= table[row, 1:]).sum(0)
    return table.gather(1, index.expand(6, 1, *index.shape)).squeeze(1).unbind(0)


def _log_slope(slope0: Tensor, slope1: Tensor, chord: Tensor, rests: Tensor, both: Tensor, squares: Tensor, below: Tensor) -> Tensor:
    """log dy/dx from the parts that both directions share."""
    above = torch.addcmul(torch.addcmul(slope1 * squares, slope0, rests), chord, both, value=2)
    return above.log() + 2 * (chord / below).log()
