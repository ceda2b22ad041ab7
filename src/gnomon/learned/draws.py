"""New examples together with their log-density, in one pass of the model, in the user's units.

Drawing alone, and evaluating what there is, are methods of `Learned`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gnomon.data import Examples
from gnomon.errors import AbilityError
from gnomon.learned.conditions import encode_conditions
from gnomon.learned.learned import Learned
from gnomon.options import whole


def sample_and_log_prob(learned: Learned, n: int, given: Any = None, seed: int = 0) -> tuple[Any, NDArray[np.float64]]:
    """Draw `n` new examples and tell the log-density of each, at the cost of drawing alone: for importance weights and the like.

    Args:
        learned: fitted with a model that does both in one pass: a flow or a mixture.
        n: how many.
        given: the condition, as for `Learned.sample`.
        seed: the same seed gives the same examples, those of `Learned.sample`.

    Returns:
        The examples as `Learned.sample` returns them, and what `Learned.log_prob` says of them, float64 ``(n,)`` in nats.

    Raises:
        AbilityError: the model cannot, or whole numbers are spread over cells, whose probability is no density at a point.
        OptionError, DataError: as `Learned.sample`.

    Example:
        >>> import gnomon
        >>> learned = gnomon.fit("flow", "iris", options={"transforms": 2}, epochs=2, progress=False)
        >>> flowers, log_prob = sample_and_log_prob(learned, 5)
        >>> bool(np.allclose(log_prob, learned.log_prob(flowers), atol=1e-3))
        True
    """
    model: Any = learned.model
    if not callable(getattr(model, "sample_and_log_prob", None)):
        raise AbilityError(f"{learned.name} cannot draw and evaluate in one pass; use sample and then log_prob, if it has both")
    if learned.scaling.has_integers:
        raise AbilityError(
            "whole numbers of x are spread over their cells, so a draw has no log-probability of its own; use sample and then log_prob, "
            "or fit a flow with integers='exact'"
        )
    n, seed = whole(n, "n", least=1), whole(seed, "seed")
    wanted = encode_conditions(learned.spec.given, given, n, absent=learned._may_be_absent)

    def draw(part: Examples) -> tuple[Any, Tensor]:
        z, log_prob = model.sample_and_log_prob(len(part), learned._scaled(part.given))
        x = learned.scaling.inverse("x", z)
        return x, log_prob.cpu().double() + learned.scaling.log_det(Examples(x))

    x, log_prob = learned._each(draw, Examples(torch.empty(n, 0), given=wanted), seed=("sample", seed))
    assert isinstance(log_prob, Tensor)
    return learned._in_users_units(x, wanted), np.asarray(log_prob.numpy())
