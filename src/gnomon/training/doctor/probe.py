"""One look at a player: its loss on a batch computed once more, watched, with the gradient of every weight.

Weights, buffers, gradients, random numbers, modes and the optimiser are afterwards what they were before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from gnomon.data import Examples, Ragged
from gnomon.models import Loss, LossOf
from gnomon.training import randomness
from gnomon.training.doctor.watch import Watch
from gnomon.training.game import Game, Side


@dataclass(eq=False)
class Probe:
    """What a look at one player showed.

    Args:
        loss: mean loss on the batch.
        watch: what was computed on the way.
        gradients: of the mean loss, by full name of the player's parameters; None where the loss does not use one.
        sizes: length of these gradients, where there is one.
        slopes: length of the gradient with respect to what each own layer gives, by the layer's name (of its first call).
        size: examples in the batch.
    """

    loss: float
    watch: Watch
    gradients: dict[str, Tensor | None] = field(default_factory=dict)
    sizes: dict[str, float] = field(default_factory=dict)
    slopes: dict[str, float] = field(default_factory=dict)
    size: int = 0

    @property
    def finite(self) -> bool:
        """Whether the loss and its gradient are."""
        return math.isfinite(self.loss) and math.isfinite(sum(self.sizes.values()))


class Prober:
    """Computes losses of a game's players without leaving a trace.

    Where several models are trained together the first one is looked at: the others differ in their random numbers only.

    Args:
        game: what is trained.
        seed: of the random numbers that losses draw; the same for every look, so that looks can be compared.
        precision: "float32", or "bfloat16" for autocast, as in the fit.
    """

    def __init__(self, game: Game, *, seed: int, precision: str = "float32") -> None:
        self.game, self.seed, self.precision = game, seed, precision
        self.layers = layer_names(game.model)
        self._buffered = [(module, name) for module in game.model.modules() for name in module._buffers]

    def look(self, side: Side, batch: Examples, *, hunt: bool = False) -> Probe:
        """The loss of `side` on `batch`, watched, and its gradient."""
        with torch.enable_grad(), self._quiet(), self._weights(side) as (own, others):
            compute = self._computing(side, own | others, batch)
            return watched(compute, own, others, self.layers, batch, hunt=hunt)

    def losses(self, side: Side, batches: Sequence[Examples]) -> list[float]:
        """The mean loss of `side` on each of some batches, each with the same random numbers."""
        found: list[float] = []
        with torch.no_grad(), self._quiet(), self._weights(side) as (own, others):
            for batch in batches:
                randomness.seed(self.seed, self.game.device)
                loss = self._computing(side, own | others, batch)()
                found.append(float(loss.total / loss.weight))
        return found

    def parts(self, side: Side, batch: Examples) -> dict[str, float]:
        """The named parts of the loss of `side` on `batch`, as means."""
        with torch.no_grad(), self._quiet(), self._weights(side) as (own, others):
            loss = self._computing(side, own | others, batch)()
            return {name: float(part / loss.weight) for name, part in loss.parts.items()}

    def call(self, ability: str, *arguments: Any) -> Any:
        """What an ability of the model gives, in evaluation mode, without gradient."""
        with torch.no_grad(), self._quiet(training=False), self._weights(None) as (own, others):
            if self.game.copies is None:
                return getattr(self.game.model, ability)(*arguments)
            return torch.func.functional_call(_Ability(self.game.model, ability), self._named(own | others), arguments)

    def _computing(self, side: Side, values: dict[str, Tensor], batch: Examples) -> Callable[[], Loss]:
        """What computes the loss: the model's own method, never its compiled form."""
        model, name = self.game.model, side.player.loss
        if self.game.copies is None:
            return lambda: getattr(model, name)(batch)
        return lambda: torch.func.functional_call(LossOf(model, name), self._named(values), (batch,))

    def _named(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """Parameters, and copies of the buffers, of the first of several models, as `functional_call` wants them."""
        named = {f"model.{name}": value for name, value in values.items()}
        return named | {f"model.{name}": buffer[0].clone() for name, buffer in self.game.buffers().items()}

    @contextmanager
    def _weights(self, side: Side | None) -> Iterator[tuple[dict[str, Tensor], dict[str, Tensor]]]:
        """The weights of a player, which want gradients inside the block, and those of the others, which do not; by full name."""
        owned = {each: each.optimiser.parameters.leaves for each in self.game.sides}
        if self.game.copies is not None:
            first = {
                each: {name: t.detach()[0].requires_grad_(each is side) for name, t in leaves.items()} for each, leaves in owned.items()
            }
            yield _parted(first, side)
            return
        with self._buffers_kept():
            flags = [(t, t.requires_grad) for leaves in owned.values() for t in leaves.values()]
            for each, leaves in owned.items():
                for t in leaves.values():
                    t.requires_grad_(each is side)
            try:
                yield _parted(owned, side)
            finally:
                for t, flag in flags:
                    t.requires_grad_(flag)

    @contextmanager
    def _buffers_kept(self) -> Iterator[None]:
        """After the block the model's buffers are the tensors they were, with the values they had."""
        found = ((module, name, module._buffers.get(name)) for module, name in self._buffered)
        kept = [(module, name, buffer, buffer.clone()) for module, name, buffer in found if buffer is not None]
        try:
            yield
        finally:
            with torch.no_grad():
                for module, name, buffer, values in kept:
                    module._buffers[name] = buffer
                    buffer.copy_(values)  # always: batch normalisation moves its statistics without counting it as a change

    @contextmanager
    def _quiet(self, *, training: bool = True) -> Iterator[None]:
        """Random numbers of our own, and the model's mode put back."""
        model = self.game.model
        modes = None if model.training == training else {m: m.training for m in model.modules()}
        if modes is not None:
            model.train(training)
        half = self.precision != "float32"
        cast = torch.autocast(self.game.device.type, torch.bfloat16) if half and training else nullcontext()
        try:
            with randomness.borrowed(self.seed, self.game.device), cast:
                yield
        finally:
            for module, mode in (modes or {}).items():
                module.training = mode


def _parted(owned: Mapping[Side, dict[str, Tensor]], side: Side | None) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    own = {} if side is None else dict(owned[side])
    return own, {name: t for each, leaves in owned.items() if each is not side for name, t in leaves.items()}


def watched(
    compute: Callable[[], Loss],
    own: Mapping[str, Tensor],
    others: Mapping[str, Tensor],
    layers: Mapping[str, str],
    batch: Examples,
    *,
    hunt: bool = False,
) -> Probe:
    """A loss, watched, and its gradient.

    Args:
        compute: gives the loss on `batch`.
        own: the weights whose gradient is wanted, by full name.
        others: weights that only need a name.
        layers: name of the layer by full name of a weight.
        batch: in network space.
        hunt: find the first value that is not finite.
    """
    weights = {id(t): layers.get(name, name) for name, t in (*own.items(), *others.items()) if t.ndim >= 2}
    roles = {id(t): role for role, t in (("x", _tensor(batch.x)), ("y", _tensor(batch.y))) if t is not None}
    watch = Watch(weights, frozenset(id(t) for t in own.values()), roles, hunt=hunt)
    with watch:
        made = compute()
        mean = made.total / made.weight
    gradients: dict[str, Tensor | None] = dict.fromkeys(own)
    sizes: dict[str, float] = {}
    slopes: dict[str, float] = {}
    if mean.requires_grad:
        live = {layer.name: layer.live for layer in reversed(watch.layers) if layer.own and layer.live is not None}
        found = torch.autograd.grad(mean, [*own.values(), *live.values()], allow_unused=True)
        gradients = dict(zip(own, found[: len(own)], strict=True))
        known = {name: gradient for name, gradient in gradients.items() if gradient is not None}
        reached = {name: slope for name, slope in zip(live, found[len(own) :], strict=True) if slope is not None}
        read = lengths([*known.values(), *reached.values()])
        sizes, slopes = dict(zip(known, read, strict=False)), dict(zip(reached, read[len(known) :], strict=True))
    return Probe(float(mean.detach()), watch, gradients, sizes, slopes, len(batch))


def layer_names(model: nn.Module) -> dict[str, str]:
    """Name of the layer by full name of the parameter: "net.0" for "net.0.weight"."""
    return {name: name.rpartition(".")[0] or name for name, _ in model.named_parameters()}


class _Ability(nn.Module):
    """An ability of a model as a module, so that its weights can be replaced for one call."""

    def __init__(self, model: nn.Module, ability: str) -> None:
        super().__init__()
        self.model, self.ability = model, ability

    def forward(self, *arguments: Any) -> Any:
        return getattr(self.model, self.ability)(*arguments)


def _tensor(values: Tensor | Ragged | None) -> Tensor | None:
    return values.values if isinstance(values, Ragged) else values


def lengths(tensors: list[Tensor]) -> list[float]:
    """Euclidean length of each tensor, read at once."""
    if not tensors:
        return []
    return [float(n) for n in torch.stack(list(torch._foreach_norm([t.detach().float() for t in tensors]))).tolist()]


def rms(tensors: list[Tensor]) -> list[float]:
    """Root mean square of each tensor, read at once; 0 for an empty one."""
    return [n / max(1, t.numel()) ** 0.5 for n, t in zip(lengths(tensors), tensors, strict=True)]
