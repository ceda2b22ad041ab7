"""Work in chunks of one fixed size, in evaluation mode and with borrowed random state: bounded memory, the same result however split.

It knows models only as modules with a device; what is computed on a chunk is the caller's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from gnomon.data import Examples, Image, Kind, Label, Ragged, Vector
from gnomon.data.seeds import mix
from gnomon.errors import AbilityError, OptionError

Work = Callable[[Examples], tuple[Tensor | Ragged, ...]]

_NUMBERS, _FEWEST, _MOST = 2**13, 16, 512


def rows_of(kind: Kind, given: Kind | None = None) -> int:
    """Examples in a chunk: a power of two that depends on the kinds alone, fewer where one example, or its image as condition, is large."""
    if isinstance(given, Image):
        return min(rows_of(kind), rows_of(given))
    if isinstance(kind, (Vector, Image)):
        fitting = _NUMBERS // max(1, math.prod(kind.shape))
        return 2 ** int(math.log2(min(_MOST, max(_FEWEST, fitting))))
    return _MOST if isinstance(kind, Label) else 256


def each(
    work: Work, examples: Examples, rows: int, *, device: torch.device, seed: tuple[str, int] | None = None
) -> tuple[Tensor | Ragged, ...]:
    """`work` on chunks of exactly `rows` examples (the last one filled up, see `_filled`), joined on the host.

    Args:
        work: chunk to one or more outputs with `rows` rows each.
        examples: in the user's units.
        rows: size of a chunk.
        device: whose random state chunk i finds seeded with ``mix(*seed, i)``.
        seed: name and number; None leaves the random state alone.

    Returns:
        The outputs for all examples, in order.
    """
    total = len(examples)
    whole: list[Tensor] = []
    ragged: list[list[Ragged]] = []
    for number, start in enumerate(range(0, total, rows)):
        part, kept = examples[start : start + rows], min(rows, total - start)
        if kept < rows:
            part = _filled(part, rows)
        if seed is not None:
            reseed(mix(*seed, number), device)
        outputs = work(part)
        if not whole and not ragged:
            whole = [torch.empty(0) if isinstance(o, Ragged) else torch.empty((total, *o.shape[1:]), dtype=o.dtype) for o in outputs]
            ragged = [[] for _ in outputs]
        for i, output in enumerate(outputs):
            if isinstance(output, Ragged):
                ragged[i].append(output[:kept].to("cpu"))
            else:
                whole[i][start : start + kept] = output[:kept]
    return tuple(Ragged.cat(parts) if parts else values for values, parts in zip(whole, ragged, strict=True))


def _filled(part: Examples, rows: int) -> Examples:
    """A chunk with copies of its last example up to `rows`; a set or text is copied with its first element alone, which costs little."""
    index = torch.arange(rows).clamp(max=len(part) - 1)
    made = {role: _short_copies(values, rows) if isinstance(values, Ragged) else values[index] for role, values in part.roles()}
    return Examples(**made)  # type: ignore[arg-type]


def _short_copies(values: Ragged, rows: int) -> Ragged:
    last = values[len(values) - 1 :]
    first = Ragged(last.values[:1], last.lengths.clamp(max=1))
    return Ragged.cat([values, *[first] * (rows - len(values))])


def usable_device(name: str | torch.device) -> torch.device:
    """The device of that name. Raises OptionError if there is none."""
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise OptionError(f"device '{name}' is not known; use cpu or cuda") from error
    if device.type not in ("cpu", "cuda") or (device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count()):
        raise OptionError(f"device '{name}' is not available here; use cpu")
    return device


def reseed(value: int, device: torch.device) -> None:
    """Seed the host's generator and, where there is one, the device's; no other."""
    torch.default_generator.manual_seed(value)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(value)


@contextmanager
def single_precision() -> Iterator[None]:
    """Inside the block new tensors are float32, whatever the user's default is; afterwards it is as it was."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def evaluating(model: nn.Module, device: torch.device, *, switched_on: tuple[nn.Module, ...] = ()) -> Iterator[None]:
    """Inside the block the model is in evaluation mode, no gradients are kept, and the user's random state is set aside.

    Args:
        model: whose modules are put in evaluation mode; each is given back its own mode afterwards.
        device: where it lives.
        switched_on: sub-modules that stay in training mode (dropout that is averaged over).
    """
    modes = [(module, module.training) for module in model.modules()]
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), torch.inference_mode(), single_precision():
            model.eval()
            for module in switched_on:
                module.training = True
            yield
    finally:
        for module, mode in modes:
            module.training = mode


def dropout_layers(model: nn.Module, samples: int, name: str) -> tuple[nn.Module, ...]:
    """The sub-modules that drop something at random in training mode, for an average over `samples` passes.

    Raises:
        OptionError: `samples` is below 1.
        AbilityError: the model `name` has no such sub-module.
    """
    if samples < 1:
        raise OptionError(f"samples wants a whole number from 1; got {samples}")
    kinds = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
    layers = tuple(module for module in model.modules() if isinstance(module, kinds) and module.p > 0)
    if not layers:
        raise AbilityError(f"samples= averages predictions over dropout, and this {name} has none; fit with net={{'dropout': 0.1}}")
    return layers
