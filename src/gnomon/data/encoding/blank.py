"""Examples without content, for what learns from something else than data, such as an energy.

They only say how many rows an epoch has, and under which conditions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from gnomon.data.encoding.infer import Prepared
from gnomon.data.examples import Examples
from gnomon.data.kinds import Image, Periodic, Real, Sequence, Set, Spec, Vector
from gnomon.errors import DataError, OptionError


def blank(spec: Spec, rows: int, *, given: Any = None) -> Prepared:
    """Rows whose x is zero (or, on a circle without a zero, its origin), so that scaling leaves numbers as they are.

    Args:
        spec: x a Vector of real and periodic columns, or an Image of real pixels.
        rows: how many.
        given: ``(rows, columns)`` conditions or ``(rows, channels, *size)`` images, where `spec` has them; numbers (codes of
            categories) in the user's units.

    Returns:
        What `gnomon.fit` takes as data.

    Raises:
        DataError: x has columns of another support, or conditions are missing, superfluous or of another shape.
        OptionError: no rows.

    Example:
        >>> prepared = blank(Spec(Vector.real(2)), 3)
        >>> prepared.raw.x.tolist()
        [[0.0, 0.0], [0.0, 0.0], [0.0, 0.0]]
    """
    if rows < 1:
        raise OptionError(f"blank wants rows of 1 or more; got {rows}")
    kind = spec.x
    if isinstance(kind, Vector):
        other = next((c for c in kind.columns if not isinstance(c.support, (Real, Periodic))), None)
        if other is not None:
            raise DataError(f"blank wants real and periodic columns; column '{other.name}' is {other.support.name}")
        supports = [column.support for column in kind.columns]
        origins = [s.low if isinstance(s, Periodic) and not s.low <= 0 < s.high else 0.0 for s in supports]
        x = torch.tensor(origins, dtype=torch.float64).expand(rows, -1).clone()
    elif isinstance(kind, Image) and kind.levels is None:
        x = torch.zeros(rows, *kind.shape, dtype=torch.float64)
    else:
        raise DataError(f"blank wants x to be Vector or Image of real pixels; got {type(kind).__name__}")
    if isinstance(spec.given, (Set, Sequence)):
        raise DataError("blank wants conditions of one size, Vector or Image; given is Set; make columns of it")
    wanted = None if spec.given is None else (rows, *spec.given.shape)
    conditions = None if given is None else torch.from_numpy(np.array(given, dtype=np.float64))
    if (None if conditions is None else tuple(conditions.shape)) != wanted:
        got = "none" if conditions is None else f"shape {tuple(conditions.shape)}"
        raise DataError(f"blank wants {'no conditions' if wanted is None else f'conditions of shape {wanted}'}; got {got}")
    return Prepared(spec, Examples(x, given=conditions), source={"path": None, "rows": rows, "columns": None})
