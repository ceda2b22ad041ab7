"""A model, or K models stacked, together with the optimiser of each player: what the loop moves.

Knows how a loss reaches a player's parameters; not when, on which data, or for how long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn

from gnomon.data import Examples
from gnomon.errors import OptionError
from gnomon.models import Loss, LossOf, Model, Player
from gnomon.options import unknown
from gnomon.training.backward import backward_pass
from gnomon.training.optimisers import Optimiser, OptimiserOptions, make
from gnomon.training.parameters import FlatParameters, kinds_of

LossFunction = Callable[[Examples], Loss]


class Side:
    """One player at work: its optimiser, its loss, and the averaged and best copies of its weights."""

    def __init__(self, player: Player, parameters: FlatParameters, loss: LossFunction, options: OptimiserOptions) -> None:
        self.player = player
        self.loss = loss
        self.optimiser: Optimiser = make(parameters, options)
        self.best: Tensor | None = None

    @property
    def data(self) -> Tensor:
        """The flat weights, ``(copies, size)``."""
        return self.optimiser.parameters.data

    def require_gradient(self, required: bool) -> None:
        """Let gradients reach this side's parameters, or keep them away."""
        for leaf in self.optimiser.parameters.leaves.values():
            leaf.requires_grad_(required)


class Game:
    """Models under training.

    Args:
        models: one model, or the K models that are trained together, all of one shape.
        options: of every player's optimiser.
        own: options of the players that have some of their own, by the player's name.
        together: train them stacked, in one vectorised step (also for K = 1).
        compiled: compile each player's loss.
        precision: "float32", or "bfloat16" for autocast.
    """

    def __init__(
        self,
        models: list[Model],
        options: OptimiserOptions,
        *,
        own: Mapping[str, OptimiserOptions] | None = None,
        together: bool = False,
        compiled: bool = False,
        precision: str = "float32",
    ) -> None:
        self.models = models
        self.model = models[0]
        self.copies = len(models) if together else None
        self.device = self.model.device
        self.backward = backward_pass(self.device, compiled)
        self._compiled = compiled
        self._precision = precision
        self._best_buffers: dict[str, Tensor] = {}
        self._stacked, self._buffers = self._stack() if together else ({}, {})
        self._gradients = {name: p.requires_grad for name, p in self.model.named_parameters()}
        players = self.model.players()
        for name in own or {}:
            if name not in {player.name for player in players}:
                raise OptionError(unknown("player", name, [player.name for player in players], owner=type(self.model).__name__))
        self.sides = [self._side(player, (own or {}).get(player.name, options)) for player in players]
        self._refuse_shared_parameters()
        owned = {name for side in self.sides for name in side.optimiser.parameters.leaves}
        if len(self.sides) > 1 or len(owned) < len(self._gradients):
            for name, p in self.model.named_parameters():
                p.requires_grad_(name in owned and not together)

    def buffers(self) -> dict[str, Tensor]:
        """The models' buffers by name; stacked when there are several."""
        return self._buffers if self.copies else dict(self.model.named_buffers())

    def train(self, mode: bool = True) -> None:
        """Training or evaluation mode for what computes: the model, or of several that are stacked the first, which stands for all."""
        self.model.train(mode)

    def loss_of(self, name: str) -> LossFunction:
        """The method `name` of the model as a function of a batch: plain, compiled, or vectorised over the copies."""
        if self.copies:
            return self._vectorised(LossOf(self.model, name))
        loss: LossFunction = torch.compile(LossOf(self.model, name)) if self._compiled else getattr(self.model, name)
        if self._precision == "float32":
            return loss

        def cast(batch: Examples) -> Loss:
            with torch.autocast(self.device.type, torch.bfloat16):
                return loss(batch)

        return cast

    def residuals(self, side: Side, batch: Examples) -> tuple[Tensor, Tensor, Tensor]:
        """What the model's ``residuals(batch)`` gives, flattened, and its Jacobian by the side's flat parameters.

        Raises:
            OptionError: the model has no residuals.
        """
        if not callable(getattr(self.model, "residuals", None)):
            raise OptionError(
                f"levenberg-marquardt wants a loss that is a sum of squares, and {type(self.model).__name__} has no residuals(batch); "
                "use a regressor with spread=none, or another optimizer"
            )
        parameters = side.optimiser.parameters
        module = LossOf(self.model, "residuals")

        def of(flat: Tensor) -> Tensor:
            named = {f"model.{name}": view for name, view in parameters.views(flat).items()}
            return torch.func.functional_call(module, named, (batch,)).flatten()

        flat = parameters.data.detach()
        values = of(flat).detach()
        by_columns = flat.numel() < values.numel()  # as many passes as there are parameters, or as there are residuals
        jacobian = torch.func.jacfwd(of)(flat) if by_columns else torch.func.jacrev(of, chunk_size=256)(flat)
        return values, jacobian[:, 0].detach(), flat.new_ones(())

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Inside the block the averaged weights are in place, for the players that keep them."""
        kept = [(side, side.data.clone()) for side in self.sides if side.optimiser.averaged is not None]
        for side, _ in kept:
            side.data.copy_(side.optimiser.averaged)  # type: ignore[arg-type]
        try:
            yield
        finally:
            for side, last in kept:
                side.data.copy_(last)

    def keep_best(self, better: Tensor | None = None) -> None:
        """Remember the weights now in place, and the buffers, as the best so far.

        Args:
            better: ``(copies,)`` bool: for which copies; None means all.
        """
        for side in self.sides:
            side.best = _keep(side.best, side.data, better)
        self._best_buffers = {name: _keep(self._best_buffers.get(name), b, better) for name, b in self.buffers().items()}

    def use_best(self) -> None:
        """Put the best weights and buffers in place."""
        for side in self.sides:
            if side.best is not None:
                side.data.copy_(side.best)
        for name, buffer in self.buffers().items():
            if name in self._best_buffers:
                buffer.copy_(self._best_buffers[name])

    def use_averages(self) -> None:
        """Put the averaged weights in place for good."""
        for side in self.sides:
            if side.optimiser.averaged is not None:
                side.data.copy_(side.optimiser.averaged)

    def release(self) -> list[Model]:
        """The trained models as ordinary modules, each with memory of its own, in evaluation mode."""
        for side in self.sides:
            side.optimiser.parameters.release()
        for index, model in enumerate(self.models):
            for name, p in model.named_parameters():
                p.grad = None
                if self.copies and name in self._stacked:
                    p.data = self._stacked[name].detach()[index].clone()
                p.requires_grad_(self._gradients[name])
            for name, buffer in model.named_buffers():
                if self.copies:
                    buffer.copy_(self._buffers[name][index])
            model.eval()
        return self.models

    # -- state ------------------------------------------------------------------------------------------------------

    def state(self) -> tuple[dict[str, Tensor], dict[str, int]]:
        """Every tensor needed to go on exactly, by name, and how many updates each player has made."""
        tensors = {f"buffer/{name}": b for name, b in self.buffers().items()}
        tensors |= {f"best_buffer/{name}": b for name, b in self._best_buffers.items()}
        tensors |= {f"fixed/{name}": p for name, p in self._fixed().items()}
        for side in self.sides:
            tensors |= {f"{side.player.name}/{key}": t for key, t in side.optimiser.state().items()}
            if side.best is not None:
                views = side.optimiser.parameters.views(side.best)
                tensors |= {f"{side.player.name}/best/{name}": view for name, view in views.items()}
        return tensors, {side.player.name: side.optimiser.steps for side in self.sides}

    def load_state(self, tensors: dict[str, Tensor], steps: dict[str, int]) -> None:
        """Copy the tensors of `state` into place. Raises KeyError where one is missing."""
        for name, buffer in self.buffers().items():
            buffer.copy_(tensors[f"buffer/{name}"])
            if f"best_buffer/{name}" in tensors:
                self._best_buffers[name] = tensors[f"best_buffer/{name}"].to(buffer.device).clone()
        for name, p in self._fixed().items():
            p.data.copy_(tensors[f"fixed/{name}"])
        for side in self.sides:
            mine = {key.removeprefix(f"{side.player.name}/"): t for key, t in tensors.items() if key.startswith(f"{side.player.name}/")}
            side.optimiser.load_state(mine, steps[side.player.name])
            parameters = side.optimiser.parameters
            if any(key.startswith("best/") for key in mine):
                side.best = torch.zeros_like(parameters.data)
                for name, view in parameters.views(side.best).items():
                    view.copy_(mine[f"best/{name}"])

    # -- building ---------------------------------------------------------------------------------------------------

    def _stack(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        parameters, buffers = torch.func.stack_module_state(list[nn.Module](self.models))
        return {name: p.detach().requires_grad_() for name, p in parameters.items()}, buffers

    def _fixed(self) -> dict[str, Tensor]:
        """Parameters that nobody moves in this game; an earlier stage may have moved them."""
        owned = {name for side in self.sides for name in side.optimiser.parameters.leaves}
        named: dict[str, Tensor] = self._stacked if self.copies else dict(self.model.named_parameters())
        return {name: p for name, p in named.items() if name not in owned}

    def _side(self, player: Player, options: OptimiserOptions) -> Side:
        own = player.parameters(self.model)
        if not own:
            raise OptionError(
                f"player '{player.name}' of {type(self.model).__name__} has no parameters; give the model solve(examples) instead"
            )
        kinds = {name: kind for name, kind in kinds_of(self.model).items() if name in own and kind in options.trains}
        if not kinds:
            raise OptionError(
                f"player '{player.name}' of {type(self.model).__name__} has no {' or '.join(options.trains)}; it has "
                f"{' and '.join(sorted(set(kinds_of(self.model).values())))}: change the option 'trains'"
            )
        leaves: dict[str, Tensor] = {name: self._stacked[name] if self.copies else own[name] for name in kinds}
        if not player.average:
            options = replace(options, average=None)
        return Side(player, FlatParameters(leaves, self.copies, kinds), self.loss_of(player.loss), options)

    def _vectorised(self, module: LossOf) -> LossFunction:
        parameters, buffers = self._stacked, self._buffers

        def one(own: dict[str, Tensor], fixed: dict[str, Tensor], batch: Examples) -> Loss:
            return torch.func.functional_call(module, {f"model.{name}": t for name, t in {**own, **fixed}.items()}, (batch,))

        def all_copies(batch: Examples) -> Loss:
            return torch.func.vmap(lambda own, fixed: one(own, fixed, batch), randomness="different")(parameters, buffers)

        return all_copies

    def _refuse_shared_parameters(self) -> None:
        seen: dict[str, str] = {}
        for side in self.sides:
            for name in side.optimiser.parameters.leaves:
                if name in seen:
                    raise OptionError(
                        f"the parameter '{name}' belongs to two players, '{seen[name]}' and '{side.player.name}'; give it to one"
                    )
                seen[name] = side.player.name


def on_host(tensor: Tensor) -> Tensor:
    """A contiguous copy of its own on the host, as files want it."""
    return tensor.detach().to("cpu").contiguous().clone()


def _keep(best: Tensor | None, now: Tensor, better: Tensor | None) -> Tensor:
    if best is None or better is None:
        return now.detach().clone()
    return torch.where(better.view(-1, *[1] * (now.ndim - 1)), now.detach(), best)
