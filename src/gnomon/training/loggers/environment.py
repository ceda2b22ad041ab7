"""Environment variables by which other programs are kept from the network, set for a moment and only where the user said nothing.

Which variables these are stands with each logger.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def unless_said(**values: str) -> Iterator[None]:
    """Inside the block the variables that were not set have these values; afterwards they are unset again.

    Example:
        >>> with unless_said(GNOMON_EXAMPLE="1"):
        ...     os.environ["GNOMON_EXAMPLE"]
        '1'
        >>> "GNOMON_EXAMPLE" in os.environ
        False
    """
    ours = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            os.environ.pop(name, None)
