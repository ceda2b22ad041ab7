"""Which rows are trained on and which are held out: at random, by class, by group, or by time.

It gives row numbers only; reading the values that decide, and storing the split, is done by the caller.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from gnomon.data.seeds import generator
from gnomon.errors import DataError, OptionError


def split(
    n: int, fraction: float, *, seed: int, how: Literal["random", "stratified", "group", "time"] = "random", values: Any = None
) -> tuple[Tensor, Tensor]:
    """Row numbers for training and for validation, each rising; together every row once.

    Args:
        n: number of rows, at least 2.
        fraction: share that is held out, between 0 and 1; at least one row stays on either side.
        seed: decides by chance, except for "time".
        how: "random"; "stratified": every class of `values` in proportion, classes of one row stay in training;
            "group": rows with equal `values` stay on one side; "time": the latest `values` are held out, rows of one moment together.
        values: one per row (numbers, texts, codes, times), for all but "random".

    Returns:
        training and validation rows, int64.

    Raises:
        OptionError: `fraction` or `how` is not one of the above.
        DataError: fewer than two rows, groups or moments, `values` missing or of another length, or with absent ones.

    Example:
        >>> train, held_out = split(10, 0.2, seed=0)
        >>> len(train), len(held_out), sorted([*train.tolist(), *held_out.tolist()]) == list(range(10))
        (8, 2, True)
    """
    if not 0 < fraction < 1:
        raise OptionError(f"the share of rows for validation must lie between 0 and 1; got {fraction}")
    if n < 2:
        raise DataError(f"{n} row(s) cannot be split into training and validation; pass validation=0 or more data")
    wanted = min(max(round(n * fraction), 1), n - 1)
    if how == "random":
        return _sides(n, _shuffled(torch.arange(n), seed)[:wanted])
    if how not in ("stratified", "group", "time"):
        raise OptionError(f"a split is random, stratified, group or time; got '{how}'")
    codes = _codes(values, n, how)
    if how == "stratified":
        return _sides(n, _stratified(codes, wanted, seed))
    if int(codes.max()) == 0:
        thing = "group" if how == "group" else "moment"
        raise DataError(f"a split by {how} needs at least two {thing}s; all {n} rows have the same")
    return _sides(n, _grouped(codes, wanted, seed) if how == "group" else _latest(codes, wanted))


def _sides(n: int, held_out: Tensor) -> tuple[Tensor, Tensor]:
    mask = torch.zeros(n, dtype=torch.bool).index_fill(0, held_out, True)
    return torch.nonzero(~mask).flatten(), torch.nonzero(mask).flatten()


def _shuffled(rows: Tensor, seed: int, *parts: str | int) -> Tensor:
    return rows[torch.randperm(len(rows), generator=generator("split", seed, *parts))]


def _codes(values: Any, n: int, how: str) -> Tensor:
    """0, 1, … in the order of the sorted distinct values."""
    if values is None:
        raise DataError(f"a split '{how}' needs the values that decide it; got none")
    array = np.asarray(values)
    if array.shape != (n,):
        raise DataError(f"a split '{how}' needs one value for each of {n} rows; got shape {array.shape}")
    if array.dtype.kind in "mM":
        absent = np.isnat(array)
    else:
        absent = np.array([v is None or v != v for v in array]) if array.dtype.kind == "O" else array != array
    if absent.any():
        raise DataError(f"a split '{how}' needs a value in every row; row {int(absent.argmax()) + 1} has none")
    return torch.from_numpy(np.unique(array, return_inverse=True)[1].astype(np.int64))


def _stratified(codes: Tensor, wanted: int, seed: int) -> Tensor:
    """From each class its share, rounded by largest remainder so that the total is as wanted where classes allow."""
    sizes = torch.bincount(codes)
    ideal = sizes.double() * wanted / len(codes)
    most = sizes - 1
    if int(most.sum()) == 0:
        raise DataError(
            "a stratified split needs a class with more than one row; every class has one row; pass more rows per class, or hold out none"
        )
    share = torch.minimum(ideal.floor().long(), most)
    by_remainder = torch.argsort(ideal - share, descending=True, stable=True).tolist()
    while (short := wanted - int(share.sum())) > 0:
        open_ = [c for c in by_remainder if share[c] < most[c]][:short]
        if not open_:
            break
        for c in open_:
            share[c] += 1
    picked = [_shuffled(torch.nonzero(codes == c).flatten(), seed, "class", c)[: int(share[c])] for c in range(len(sizes))]
    return torch.cat(picked)


def _grouped(codes: Tensor, wanted: int, seed: int) -> Tensor:
    """Whole groups in random order, each taken if that brings the number of rows nearer to what is wanted."""
    sizes = torch.bincount(codes).tolist()
    order = _shuffled(torch.arange(len(sizes)), seed, "group").tolist()
    taken: list[int] = []
    count = 0
    for group in order:
        if abs(count + sizes[group] - wanted) < abs(count - wanted) and len(taken) < len(sizes) - 1:
            taken.append(group)
            count += sizes[group]
    if not taken:  # every group is far larger than what is wanted
        taken = [min(order, key=lambda group: sizes[group])]
    return torch.nonzero(torch.isin(codes, torch.tensor(taken))).flatten()


def _latest(codes: Tensor, wanted: int) -> Tensor:
    """The last moments, as many as come nearest to `wanted` rows without splitting one; never all, never none."""
    after = torch.bincount(codes).flip(0).cumsum(0).flip(0)  # rows at or after moment c
    cut = 1 + int(torch.argmin((after[1:] - wanted).abs()))
    return torch.nonzero(codes >= cut).flatten()
