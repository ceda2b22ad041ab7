"""Seeds derived from names and numbers, so that every use of chance has a stream of its own.

It makes numbers only; who draws from them, and when, is decided elsewhere.
"""

from __future__ import annotations

import hashlib
import operator

import torch


def mix(*parts: str | int) -> int:
    """A seed of 32 bits that depends on all `parts` and their order.

    Neighbouring seeds give unrelated streams, and 1 and 1 + 2**32 differ although CPU generators keep 32 bits only.

    Args:
        parts: texts and whole numbers, such as ``"order", seed, epoch``.

    Raises:
        TypeError: a part is neither a text nor a whole number.

    Example:
        >>> mix("order", 0, 1) == mix("order", 0, 1), mix("order", 0, 1) == mix("order", 1, 0)
        (True, False)
    """
    words = [f"s{len(part)}:{part}" if isinstance(part, str) else f"i{operator.index(part)}" for part in parts]
    return int.from_bytes(hashlib.sha256("|".join(words).encode()).digest()[:4], "big")


def generator(*parts: str | int, device: torch.device | str = "cpu") -> torch.Generator:
    """A fresh torch generator on `device`, seeded by ``mix(*parts)``."""
    return torch.Generator(device).manual_seed(mix(*parts))
