"""Cross-validation: every row held out once, at random, by class, by group, or going forward in time.

It gives row numbers only, as `splits` does for a single share.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from gnomon.data.seeds import generator
from gnomon.data.splits import _codes
from gnomon.errors import DataError, OptionError


def folds(
    n: int, count: int, *, seed: int, how: Literal["random", "stratified", "group", "time"] = "random", values: Any = None
) -> list[tuple[Tensor, Tensor]]:
    """Row numbers for training and for judging, once for each fold, each rising.

    Args:
        n: number of rows.
        count: number of folds, at least 2.
        seed: decides by chance, except for "time".
        how: "random"; "stratified": every class of `values` in proportion; "group": rows with equal `values` stay in one fold;
            "time": fold k is judged on moments after all that it is trained on, and the first rows are never judged.
        values: one per row (numbers, texts, codes, times), for all but "random".

    Raises:
        OptionError: fewer than two folds, or an unknown `how`.
        DataError: fewer rows, groups or moments than folds need, `values` missing or of another length, or with absent ones.

    Example:
        >>> parts = folds(10, 3, seed=0)
        >>> [len(held_out) for _, held_out in parts], sorted(torch.cat([held_out for _, held_out in parts]).tolist()) == list(range(10))
        ([4, 3, 3], True)
    """
    if count < 2:
        raise OptionError(f"cross-validation wants 2 folds or more; got {count}")
    if how not in ("random", "stratified", "group", "time"):
        raise OptionError(f"folds are random, stratified, group or time; got '{how}'")
    codes = torch.arange(n) if how == "random" else _codes(values, n, how)
    units = n if how in ("random", "stratified") else int(codes.max()) + 1
    needed = count + 1 if how == "time" else count
    if units < needed:
        thing = {"group": "groups", "time": "moments"}.get(how, "rows")
        raise DataError(f"{count} folds need {needed} {thing} or more; got {units}; ask for fewer folds")
    if how == "time":
        return _forward(codes, count)
    place = (
        _dealt_groups(codes, count, seed)
        if how == "group"
        else _dealt(codes if how == "stratified" else torch.zeros_like(codes), count, seed)
    )
    return [(torch.nonzero(place != k).flatten(), torch.nonzero(place == k).flatten()) for k in range(count)]


def _dealt(codes: Tensor, count: int, seed: int) -> Tensor:
    """The fold of each row: rows are shuffled, put in order of their class, and dealt out one after the other."""
    order = torch.randperm(len(codes), generator=generator("folds", seed))
    order = order[torch.argsort(codes[order], stable=True)]
    place = torch.empty(len(codes), dtype=torch.int64)
    place[order] = torch.arange(len(codes)) % count
    return place


def _dealt_groups(codes: Tensor, count: int, seed: int) -> Tensor:
    """The fold of each row: the largest group first, each to the fold that has the fewest rows so far."""
    sizes = torch.bincount(codes)
    order = torch.randperm(len(sizes), generator=generator("folds", seed, "group"))
    rows = [0] * count
    fold_of = torch.empty(len(sizes), dtype=torch.int64)
    for group in order[torch.argsort(sizes[order], descending=True, stable=True)].tolist():
        fewest = rows.index(min(rows))
        fold_of[group] = fewest
        rows[fewest] += int(sizes[group])
    return fold_of[codes]


def _forward(codes: Tensor, count: int) -> list[tuple[Tensor, Tensor]]:
    """Moments cut into `count` + 1 stretches of about equally many rows: each but the first is judged by what came before it."""
    moments = int(codes.max()) + 1
    before = torch.cat([torch.zeros(1, dtype=torch.int64), torch.bincount(codes).cumsum(0)])  # rows before moment c
    cuts = [0]
    for k in range(1, count + 1):
        low, high = cuts[-1] + 1, moments - (count + 1 - k)
        wanted = len(codes) * k / (count + 1)
        cuts.append(low + int(torch.argmin((before[low : high + 1] - wanted).abs())))
    cuts.append(moments)
    stretches = list(zip(cuts[1:], cuts[2:], strict=False))
    return [(torch.nonzero(codes < a).flatten(), torch.nonzero((codes >= a) & (codes < b)).flatten()) for a, b in stretches]
