"""Gnomon learns from examples what cannot be seen directly: fit, sample, score, predict, check, in the user's own units.

This is the face: it hands names on and imports a room only when a name of it is used.

Example:
    >>> import gnomon
    >>> "flow" in gnomon.available("models")
    True
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_NAMES = {
    "fit": "gnomon.training",
    "resume": "gnomon.training",
    "range_test": "gnomon.training",
    "load": "gnomon.learned",
    "Learned": "gnomon.learned",
    "check": "gnomon.checks",
    "compare": "gnomon.checks",
    "Report": "gnomon.checks",
    "search": "gnomon.selection",
    "register": "gnomon.registry",
    "available": "gnomon.registry",
    "GnomonError": "gnomon.errors",
}
_ROOMS = ("blocks", "checks", "cli", "data", "errors", "learned", "models", "networks", "options", "registry", "selection", "training")

__all__ = [
    "GnomonError",
    "Learned",
    "Report",
    "__version__",
    "available",
    "check",
    "compare",
    "fit",
    "load",
    "range_test",
    "register",
    "resume",
    "search",
]

if TYPE_CHECKING:
    from gnomon.checks import Report, check, compare
    from gnomon.errors import GnomonError
    from gnomon.learned import Learned, load
    from gnomon.registry import available, register
    from gnomon.selection import search
    from gnomon.training.fit import fit, resume
    from gnomon.training.rate_range import range_test


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        value = getattr(importlib.import_module(_NAMES[name]), name)
        globals()[name] = value
        return value
    if name in _ROOMS:
        return importlib.import_module(f"gnomon.{name}")
    raise AttributeError(f"module 'gnomon' has no attribute '{name}'; it has: {', '.join(sorted(_NAMES))}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_NAMES, *_ROOMS})
