"""What can be told from the data alone, before the first step: rows on both sides of the split, columns and targets without content.

Works on batches in network space. Where whole numbers are spread over their cells, give rows with the middle of the cell.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gnomon.data import Categorical, Examples, Image, Integer, Label, Ragged, Set, Spec, Vector
from gnomon.data.seeds import generator

ROWS = 20_000  # rows of either side that are compared at most
SOME = 4  # columns by which most rows can be told apart at little cost
FIRST = 1000  # rows
FEWEST = 2  # twins that one slip of a finger does not explain
CHANCE = 1e-3
IMBALANCE = 10.0

Fault = tuple[str, str]


def faults(spec: Spec, train: Examples, held_out: Examples | None) -> list[Fault]:
    """Faults as (kind, sentence)."""
    found = [*_empty(spec, train)]
    if held_out is not None and len(held_out):
        leak = leakage(spec, train, held_out)
        if leak is not None:
            found.append(("leakage", leak))
    return found


def notes(spec: Spec, train: Examples) -> list[str]:
    """What is worth knowing and no fault: rare classes, and columns that never change."""
    found = []
    if isinstance(spec.y, Label) and isinstance(train.y, Tensor):
        counts = torch.bincount(train.y.flatten(), minlength=len(spec.y.classes)).tolist()
        present = [c for c in counts if c]
        if present and max(present) > IMBALANCE * min(present):
            rare, common = (spec.y.classes[counts.index(pick(present))] for pick in (min, max))
            found.append(
                f"class {rare!r} has {min(present)} rows and class {common!r} {max(present)}: judge by more than accuracy, or weigh "
                f"the rare one"
            )
    if isinstance(spec.x, Vector) and isinstance(train.x, Tensor) and len(train) > 1:
        still = [name for name, same in zip(spec.x.names, _constant(train.x).tolist(), strict=False) if same]
        if still:
            found.append(f"{len(still)} of {len(spec.x)} columns never change: {', '.join(still[:5])}{' …' if len(still) > 5 else ''}")
    return found


def leakage(spec: Spec, train: Examples, held_out: Examples) -> str | None:
    """One line if more held-out rows have a twin among the training rows than the data's own repetitions explain.

    The share of training rows that have a twin on their own side tells how often rows repeat of themselves. Where a column is
    continuous, so that two rows never agree by chance, rows that repeat on both sides are told too.
    """
    if len(train) < 2 or not len(held_out) or _twins(_hashes(train, SOME), _hashes(held_out, SOME)) < FEWEST:
        return None
    ours, theirs = _hashes(train), _hashes(held_out)
    values, inverse, counts = torch.unique(ours, return_inverse=True, return_counts=True)
    own = float((counts[inverse] > 1).float().mean())
    twins = _twins(values, theirs)
    share = twins / len(theirs)
    unexpected = twins >= FEWEST and _binomial_tail(len(theirs), twins, max(own, 1 / len(ours))) < CHANCE
    repeated = share > 0.2 and twins >= 5 and _continuous(spec, train, inverse, len(values))
    if not (unexpected or repeated):
        return None
    return (
        f"leakage: {twins} of {len(theirs)} held-out rows ({100 * share:.2g} %) are also among the training rows, so the held-out "
        f"loss is too "
        "good to be true; remove duplicates before the split, or split with group="
    )


def _empty(spec: Spec, train: Examples) -> list[Fault]:
    """Values that are not finite, inputs of which none changes, and a target that never does."""
    found: list[Fault] = []
    for role, values in train.roles():
        flat = values.values if isinstance(values, Ragged) else values
        if role != "given" and flat.is_floating_point() and not math.isfinite(float(flat.sum(dtype=torch.float64))):
            found.append(("finite", f"{role} holds values that are not finite; drop these rows or impute them"))
    if len(train) < 8 or found:
        return found
    if isinstance(train.x, Tensor) and train.x.ndim >= 2 and bool(_constant(train.x.flatten(1)).all()):
        found.append(("constant", "no column of x ever changes, so nothing can be learned from it; look at how the data is read"))
    if isinstance(train.y, Tensor):
        y = train.y if train.y.ndim > 1 else train.y[:, None]
        if bool(_constant(y.flatten(1)).all()):
            found.append(("constant", "the target never changes, so there is nothing to learn; look at how the data is read"))
    return found


def _constant(x: Tensor) -> Tensor:
    """``(columns,)`` bool. Few rows tell of most columns that they change."""
    first = x[:FIRST].amax(0) == x[:FIRST].amin(0)
    return first if len(x) <= FIRST or not bool(first.any()) else x.amax(0) == x.amin(0)


def _twins(ours: Tensor, theirs: Tensor) -> int:
    """How many of the second have an equal among the first."""
    return int(torch.isin(theirs, ours).sum())


def _hashes(examples: Examples, columns: int | None = None) -> Tensor:
    """``(n,)`` int64: equal for rows whose x and given agree to the bit, and for no others but by one chance in 2^60.

    Args:
        examples: of which at most `ROWS` are taken.
        columns: how many columns of a plain x are read, evenly spaced; None for all, and for given.
    """
    hashes = _hashes_of(examples.x, "x", columns)
    if examples.given is not None and columns is None:
        hashes = hashes + _hashes_of(examples.given, "given", None)
    return hashes


def _hashes_of(values: Tensor | Ragged, role: str, columns: int | None) -> Tensor:
    if isinstance(values, Ragged) and not values.values.is_floating_point():
        return _hashes_of_texts(values, role)
    if isinstance(values, Ragged):
        total = _weighted_bits(values.values.flatten(1) if values.values.ndim > 1 else values.values[:, None], role)
        # Squares before the sum, so that two sets with equal sums of elements still differ; the order of elements does not count.
        mixed = total * (2 * (total >> 7) + 1)
        return torch.zeros(len(values), dtype=torch.int64, device=values.device).index_add(0, values.rows(), mixed)[:ROWS]
    flat = values[:ROWS].flatten(1) if values.ndim > 1 else values[:ROWS, None]
    return _weighted_bits(flat if columns is None else flat[:, :: max(1, flat.shape[1] // columns)], role)


def _hashes_of_texts(texts: Ragged, name: str) -> Tensor:
    """The same for symbols, whose places in their text count."""
    starts = texts.offsets()[:-1].to(texts.device).index_select(0, texts.rows())
    place = torch.arange(len(texts.values), device=texts.device) - starts
    longest = int(texts.lengths.max()) if len(texts) else 0
    multipliers = torch.randint(-(2**62), 2**62, (longest + 1,), generator=generator("hash", name)).to(texts.device) | 1
    mixed = (texts.values.long() + 1) * multipliers.index_select(0, place)
    return torch.zeros(len(texts), dtype=torch.int64, device=texts.device).index_add(0, texts.rows(), mixed)[:ROWS]


def _weighted_bits(rows: Tensor, name: str) -> Tensor:
    bits = (rows.float() + 0.0).contiguous().view(torch.int32)  # adding zero makes -0 into 0
    multipliers = torch.randint(-(2**62), 2**62, (rows.shape[1],), generator=generator("hash", name)).to(rows.device) | 1
    step = max(1, 2**22 // max(1, rows.shape[1]))
    parts = [(bits[i : i + step].long() * multipliers).sum(1) for i in range(0, len(bits), step)]
    return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.int64, device=rows.device)


def _continuous(spec: Spec, train: Examples, inverse: Tensor, distinct: int) -> bool:
    """Whether among distinct rows some real column hardly ever takes a value twice."""
    kind, x = spec.x, train.x
    if isinstance(kind, Set) or isinstance(x, Ragged) or x.ndim < 2 or distinct < 20:
        return False
    if isinstance(kind, Image) and kind.levels is not None:
        return True  # two images do not agree in every pixel by chance, however few levels there are
    flat = x[: len(inverse)].flatten(1)
    first = torch.zeros(distinct, dtype=torch.int64, device=flat.device).index_copy(
        0, inverse, torch.arange(len(inverse), device=flat.device)
    )
    columns = range(min(flat.shape[1], 64))
    if isinstance(kind, Vector):
        columns = [i for i in columns if not isinstance(kind.columns[i].support, (Categorical, Integer))]  # type: ignore[assignment]
    return any(len(torch.unique(flat[first, i])) > 0.9 * distinct for i in columns)


def _binomial_tail(n: int, k: int, p: float) -> float:
    """Probability of k or more out of n, each with probability p."""
    if p >= 1:
        return 1.0
    terms = range(k, min(n, k + 200) + 1)
    log = math.lgamma(n + 1)
    return sum(math.exp(log - math.lgamma(i + 1) - math.lgamma(n - i + 1) + i * math.log(p) + (n - i) * math.log1p(-p)) for i in terms)
