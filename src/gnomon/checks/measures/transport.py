"""Exact optimal transport in all coordinates at once: the earth mover's distance, with plan and potentials.

Transport with an entropic term is in `sinkhorn`; that along single directions, for long data, in `wasserstein`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from gnomon.checks.measures.wasserstein import Floats, Weights, rows_of, weights_of
from gnomon.errors import DataError, OptionError

SMALL = 40_000
"""Pairs of rows up to which SciPy's linear programme stands in for POT."""


@dataclass(frozen=True, eq=False)
class Transport:
    """An optimal transport.

    Args:
        cost: what it costs; for `entropic_transport` with the entropic term.
        plan: ``(n, m)`` the mass that goes from each row of x to each row of y.
        first: ``(n,)`` its potential on the rows of x: how much more it costs, per unit of mass, to start with more mass there.
        second: ``(m,)`` its potential on the rows of y.
    """

    cost: float
    plan: Floats
    first: Floats
    second: Floats


def distances(x: ArrayLike, y: ArrayLike, *, squared: bool = False) -> Floats:
    """``(n, m)``: Euclidean distances of all rows of x from all rows of y, or their squares.

    Raises:
        DataError: samples of different width, empty or with NaN.
    """
    from scipy.spatial.distance import cdist

    first, second = rows_of(x, "x"), rows_of(y, "y")
    if first.shape[1] != second.shape[1]:
        raise DataError(f"x has {first.shape[1]} columns and y has {second.shape[1]}; distances want as many on both sides")
    return cdist(first, second, "sqeuclidean" if squared else "euclidean")


# ---- exact -------------------------------------------------------------------------------------------------------------


def earth_mover(x: ArrayLike, y: ArrayLike, *, weights: Weights = (None, None)) -> float:
    """Earth mover's distance: the least mean way by which mass at x becomes mass at y; W1 with Euclidean distances, exact.

    Equally many rows without weights are an assignment (SciPy). Else POT's network simplex is used if it is installed, and SciPy's
    linear programme where it is not and there are no more than `SMALL` pairs of rows.

    Args:
        x: ``(n, D)``.
        y: ``(m, D)``.
        weights: of both samples, ``(n,)`` and ``(m,)``, not negative, or None where all rows count the same.

    Raises:
        DataError: samples of different width, empty, with NaN, or with weights that do not fit.
        OptionError: neither way is open; install POT.

    Reference: Rubner, Tomasi & Guibas 2000, Int. J. Comput. Vis. 40, 99.

    Example:
        >>> earth_mover([[0.0, 0.0], [1.0, 0.0]], [[1.0, 0.0], [3.0, 0.0]])
        1.5
    """
    return exact_transport(distances(x, y), weights).cost


def exact_transport(cost: Floats, weights: Weights = (None, None)) -> Transport:
    """The cheapest transport where ``cost[i, j]`` is paid per unit of mass from i to j, as `earth_mover` finds it, with its potentials."""
    shares = [weights_of(weight, rows, name) for weight, rows, name in zip(weights, cost.shape, "xy", strict=True)]
    if cost.shape[0] == cost.shape[1] and shares[0] is None and shares[1] is None:
        return _assignment(cost)
    first, second = (np.full(rows, 1 / rows) if one is None else one for one, rows in zip(shares, cost.shape, strict=True))
    if has_pot():
        return _network_simplex(cost, first, second)
    if cost.size <= SMALL:
        return _linear_programme(cost, first, second)
    raise OptionError(
        f"exact transport between {cost.shape[0]} and {cost.shape[1]} rows wants POT where rows have weights or sides differ in length: "
        "pip install pot"
    )


def has_pot() -> bool:
    """Whether POT (Python Optimal Transport) is installed."""
    from importlib.util import find_spec

    return find_spec("ot") is not None


def _assignment(cost: Floats) -> Transport:
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(cost)
    matched = cost[:, columns]  # column k is what row k is matched with
    own = np.diag(matched)
    # potentials are shortest ways: first[i] - first[k] <= matched[i, k] - own[k], with no negative cycle as the assignment is optimal
    first = np.zeros(len(rows))
    for _ in range(len(rows)):
        nearer = np.minimum(first, (matched - own + first).min(axis=1))
        if np.allclose(nearer, first, rtol=0, atol=1e-12 * (1 + float(np.abs(cost).max()))):
            break
        first = nearer
    second = np.empty(len(rows))
    second[columns] = own - first
    plan = np.zeros(cost.shape)
    plan[rows, columns] = 1 / len(rows)
    return Transport(float(own.mean()), plan, first, second)


def _network_simplex(cost: Floats, first: Floats, second: Floats) -> Transport:
    import ot

    plan, log = ot.emd(first, second, np.ascontiguousarray(cost), numItermax=10_000_000, log=True)
    if log.get("warning"):
        raise DataError(f"POT found no optimal transport: {log['warning']}")
    return Transport(float(log["cost"]), plan, np.asarray(log["u"]), np.asarray(log["v"]))


def _linear_programme(cost: Floats, first: Floats, second: Floats) -> Transport:
    from scipy import sparse
    from scipy.optimize import linprog

    n, m = cost.shape
    leaves = sparse.kron(sparse.eye_array(n), np.ones((1, m)))
    arrives = sparse.kron(np.ones((1, n)), sparse.eye_array(m))
    # one of the equations follows from the others; without it rounding cannot make them contradict each other
    found = linprog(cost.ravel(), A_eq=sparse.vstack([leaves, arrives]).tocsr()[:-1], b_eq=np.concatenate([first, second])[:-1])
    if found.status != 0:
        raise DataError(f"SciPy found no optimal transport: {found.message}")
    prices = np.append(found.eqlin.marginals, 0.0)
    return Transport(float(found.fun), found.x.reshape(n, m), prices[:n], prices[n:])
