"""Epochs from a file that does not fit in memory: blocks in random order, read ahead by one thread.

The protocol is that of `sources.Source`; reading blocks is done in `row_files`, their meaning comes from the spec.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor

from gnomon.data.encoding.infer import prepare
from gnomon.data.examples import Examples
from gnomon.data.files.row_files import RowFile
from gnomon.data.scaling import Scaling
from gnomon.data.seeds import generator
from gnomon.data.sources import Rows, views
from gnomon.errors import DataError

AHEAD = 2
"""Blocks that wait, ready made, beside the one in use."""

T = TypeVar("T")


class Streamed:
    """Examples read from a file block by block; the same protocol as `InMemory`.

    An epoch takes the blocks in an order, and the rows of each block in an order, that depend on (seed, epoch) alone;
    batches run on from one block into the next. Memory: `AHEAD` + 2 blocks. Every process reads every block and takes
    its part of each batch.

    Args:
        file: from `open_rows`.
        scaling: fitted on some of its rows; its spec says what they mean.
        batch_size: rows per batch, over all processes.
        rows: rising row numbers that belong to this side of a split, or None for all.
        dequantises, shuffle, rank, world: as for `InMemory`.
        device: where batches are put.
        weight_mean: mean weight of this side of the split, by which weights are divided.
        missing: "error", or "impute" by block; rows cannot be dropped, since their number must be known.
        encode: turns a block into raw examples; by default `prepare` with the scaling's spec.

    Raises:
        OptionError: see `Rows`.
        DataError: no rows belong to this side; while drawing: a block that cannot be read or does not follow the spec.

    Example:
        >>> import numpy as np, tempfile, os
        >>> from gnomon.data import Spec, Vector
        >>> from gnomon.data.files.row_files import open_rows
        >>> path = os.path.join(tempfile.mkdtemp(), "numbers.npy")
        >>> np.save(path, np.arange(10.0)[:, None])
        >>> scaling = Scaling.fit(Spec(Vector.real(1)), Examples(torch.arange(10.0, dtype=torch.float64)[:, None]))
        >>> source = Streamed(open_rows(path, block_rows=4), scaling, batch_size=3)
        >>> len(source), source.steps, [len(batch) for batch in source.batches(seed=0, epoch=0)]
        (10, 3, [3, 3, 3])
    """

    def __init__(
        self,
        file: RowFile,
        scaling: Scaling,
        *,
        batch_size: int,
        rows: Tensor | None = None,
        dequantises: bool = False,
        shuffle: bool = True,
        rank: int = 0,
        world: int = 1,
        device: torch.device | str = "cpu",
        weight_mean: float = 1.0,
        missing: str = "error",
        encode: Callable[[Any], Examples] | None = None,
    ) -> None:
        self.file, self.scaling, self.kept = file, scaling, rows
        self.shuffle, self.device = shuffle, torch.device(device)
        self.noisy = dequantises and scaling.has_integers
        self.weight_mean = weight_mean
        self.encode = encode or (lambda block: prepare(block, spec=scaling.spec, missing=missing).raw)
        bounds = torch.tensor(file.bounds)
        self._edges = bounds if rows is None else torch.searchsorted(rows, bounds)
        self._sizes = self._edges.diff()
        total = int(self._sizes.sum())
        if not total:
            raise DataError(f"{file.name}: none of its {len(file)} rows belong to this side of the split")
        self.rows = Rows(total, batch_size, keep_rest=not shuffle, rank=rank, world=world)
        self.batch_size = batch_size
        self.steps = self.rows.steps

    def __len__(self) -> int:
        return self.rows.total

    def batches(self, seed: int, epoch: int, start: int = 0) -> Iterator[Examples]:
        """The batches of an epoch from number `start` on. Closing the iterator ends the reading thread."""
        for group in ahead(lambda: self._groups(seed, epoch, start), AHEAD):
            yield from group

    def _groups(self, seed: int, epoch: int, start: int) -> Iterator[list[Examples]]:
        """The batches that become complete with each block."""
        count = self.file.blocks
        order = torch.randperm(count, generator=generator("blocks", seed, epoch)) if self.shuffle else torch.arange(count)
        ends = self._sizes[order].cumsum(0)
        turn = int(torch.searchsorted(ends, start * self.batch_size, right=True))
        place = int(ends[turn - 1]) if turn else 0  # where the next block begins in the epoch's order
        step = start
        rest: Examples | None = None
        for block in order[turn:].tolist():
            if step >= self.steps:
                return
            if not int(self._sizes[block]):
                continue
            fresh = self._block(block, seed, epoch)
            have = fresh if rest is None else Examples.cat([rest, fresh])
            begin = place - (0 if rest is None else len(rest))
            place += len(fresh)
            last = self.steps if place == self.rows.total else place // self.batch_size
            spans = [self.rows.of(i) for i in range(step, last)]
            if spans:
                whole = have[spans[0][0] - begin : spans[-1][1] - begin].to(self.device)
                parts = views(whole, [b - a for a, b in spans])
                yield [self._mine(batch, i, seed, epoch) for i, batch in zip(range(step, last), parts, strict=True)]
                rest = have[spans[-1][1] - begin :]
            else:
                rest = have[max(0, step * self.batch_size - begin) :]
            step = last

    def _block(self, block: int, seed: int, epoch: int) -> Examples:
        """The rows of a block that belong here, stored and in the epoch's order."""
        raw = self.encode(self.file.read(block))
        wanted = self.file.bounds[block + 1] - self.file.bounds[block]
        if len(raw) != wanted:
            raise DataError(f"{self.file.name}: a block of {wanted} rows became {len(raw)} examples; missing values cannot be dropped here")
        if raw.weight is not None:
            raw = raw.with_(weight=raw.weight / self.weight_mean)
        place = torch.randperm(int(self._sizes[block]), generator=generator("rows", seed, epoch, block)) if self.shuffle else None
        if self.kept is not None:
            mine = self.kept[self._edges[block] : self._edges[block + 1]] - self.file.bounds[block]
            place = mine if place is None else mine[place]
        stored = self.scaling.store(raw if place is None else raw[place])
        return stored if self.noisy else self.scaling.dequantise(stored, noise=False)

    def _mine(self, batch: Examples, i: int, seed: int, epoch: int) -> Examples:
        """This process's part of batch i, with its noise."""
        (first, _), (low, high) = self.rows.of(i), self.rows.mine(i)
        if self.noisy:
            parts = ("noise", seed, epoch, i) if self.shuffle else ("noise", "fixed", i)
            batch = self.scaling.dequantise(batch, generator(*parts, device=self.device))
        return batch if self.rows.world == 1 else batch[low - first : high - first]


def ahead(make: Callable[[], Iterator[T]], depth: int) -> Iterator[T]:
    """The items of ``make()``, made by one thread that stays at most `depth` items ahead.

    An error in the thread is raised here, after the items made before it. Closing the iterator, or an error outside,
    ends the thread before going on.

    Example:
        >>> list(ahead(lambda: iter(range(3)), 2))
        [0, 1, 2]
    """
    ready: queue.Queue[tuple[list[T], BaseException | None]] = queue.Queue(maxsize=depth)
    stop = threading.Event()

    def work() -> None:
        failed: BaseException | None = None
        try:
            for item in make():
                ready.put(([item], None))
                if stop.is_set():
                    return
        except BaseException as error:  # noqa: B036 - handed to the thread that waits
            failed = error
        ready.put(([], failed))

    thread = threading.Thread(target=work, name="gnomon-reads-ahead", daemon=True)
    thread.start()
    try:
        while True:
            items, error = ready.get()
            if error is not None:
                raise error
            if not items:
                return
            yield items[0]
    finally:
        stop.set()
        while thread.is_alive():
            try:
                ready.get(timeout=0.02)
            except queue.Empty:
                continue
