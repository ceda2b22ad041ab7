"""What every model is: a learning principle over networks, seen by the loop as a game of one or more players.

Models work on tensors in network space. They know no optimiser, no file and no unit.
"""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from gnomon.data import Examples, Ragged, Spec
from gnomon.errors import DataError, OptionError
from gnomon.options import signature, unknown

ABILITIES = ("predict", "sample", "log_prob", "log_prob_bound", "encode", "decode", "reconstruct", "score")


class Loss(NamedTuple):
    """A weighted sum with its weight, so that accumulated batches equal one big batch and epoch means are exact.

    Args:
        total: sum over examples, a scalar with gradient.
        weight: what the sum is divided by: the number of examples (or tokens), a scalar.
        parts: named sums, without gradient, that share the weight.
    """

    total: Tensor
    weight: Tensor
    parts: dict[str, Tensor]

    @classmethod
    def mean(cls, values: Tensor, weight: Tensor | None = None, **parts: Tensor) -> Loss:
        """Loss of one value per example.

        Args:
            values: ``(n,)`` loss of each example.
            weight: ``(n,)`` weights with mean 1 over the split, or None. They multiply; the divisor stays n, so signed
                weights cannot cancel it.
            parts: ``(n,)`` further quantities to be reported as weighted means.

        Example:
            >>> loss = Loss.mean(torch.tensor([1.0, 3.0]))
            >>> loss.total.item(), loss.weight.item()
            (4.0, 2.0)
        """
        if weight is None:
            sums = {name: part.detach().sum() for name, part in parts.items()}
            return cls(values.sum(), values.new_full((), float(len(values))), sums)
        sums = {name: (part.detach() * weight).sum() for name, part in parts.items()}
        return cls((values * weight).sum(), values.new_full((), float(len(values))), sums)


@dataclass(frozen=True)
class Player:
    """One side of the game: which parameters it moves, by which loss, and how often.

    Args:
        name: for messages and metrics.
        loss: name of the model's method that returns its Loss on a batch.
        modules: names of the sub-modules (or parameters) that are its own; empty means the whole model.
        every: it moves in every `every`-th turn of the loop.
        steps: how many moves it makes in such a turn, each on its own batch.
        average: whether the averaged copy of its weights is kept and used.
    """

    name: str
    loss: str = "loss"
    modules: tuple[str, ...] = ()
    every: int = 1
    steps: int = 1
    average: bool = True

    def parameters(self, model: nn.Module) -> dict[str, nn.Parameter]:
        """The player's own parameters by full name, resolved now. Raises OptionError for a module the model lacks."""
        named = dict(model.named_parameters())
        if not self.modules:
            return named
        missing = [m for m in self.modules if not any(name == m or name.startswith(m + ".") for name in named)]
        if missing:
            raise OptionError(f"player '{self.name}' names the module '{missing[0]}', which has no parameters in {type(model).__name__}")
        return {name: p for name, p in named.items() if any(name == m or name.startswith(m + ".") for m in self.modules)}


class LossOf(nn.Module):
    """A model's loss as a module of its own: the one callable that vmap, compile and data-parallel wrappers take."""

    def __init__(self, model: Model, loss: str = "loss") -> None:
        super().__init__()
        self.model = model
        self.loss = loss

    def forward(self, batch: Examples) -> Loss:
        """The loss on a batch."""
        return getattr(self.model, self.loss)(batch)


class Model(nn.Module):
    """A learning principle over networks, built from a spec: ``Flow(spec, transforms=8)``.

    Subclasses take ``spec`` and keyword-only options, implement `loss` (or `solve`), and those abilities they have:

    ========================  =======================================================================================
    ``predict(batch)``        classifier: logits ``(n, classes)``; regressor: ``(mean, spread)``, each ``(n, columns)``
    ``sample(n, given)``      ``x`` in network space, drawn with torch's global generator; ``given`` n conditions or None
    ``log_prob(batch)``       nats ``(n,)`` in network space
    ``log_prob_bound(batch)`` lower bound in nats and its standard error, each ``(n,)``
    ``encode(batch)``         ``(n, k)``
    ``decode(z, given)``      ``x`` in network space
    ``reconstruct(batch)``    ``x`` in network space
    ``score(batch)``          anomaly: larger is stranger, ``(n,)``
    ========================  =======================================================================================

    Attributes:
        options_: the options this instance was built with, defaults included, by name.
        monitor: name of the validation quantity that decides "best" (lower is better), or None.
        separable: whether the loss is a sum over examples (False when examples of a batch act on each other).
        dequantises: whether whole numbers are spread over their cell before the model sees them.
        elapsed: a buffer that a model may register to be told, before each turn, the share of its training that is over.
        whole: whether whole numbers among the columns of x come as such, measured from their lowest (see `data.Scaling`).
        target: what the model wants as ``y``: "label", "numbers" or None.
    """

    monitor: ClassVar[str | None] = "loss"
    separable: ClassVar[bool] = True
    dequantises: ClassVar[bool] = False
    whole: bool = False
    target: ClassVar[str | None] = None
    defaults: ClassVar[dict[str, Any]] = {}
    """What `fit` uses for this model unless told otherwise: epochs, batch_size, lr, average, …"""

    options_: dict[str, Any]
    spec: Spec

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__init__" in cls.__dict__:
            cls.__init__ = _recording(cls.__init__)  # type: ignore[method-assign]

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.spec = spec

    def players(self) -> tuple[Player, ...]:
        """Who plays. One player that owns everything unless overridden."""
        return (Player("model"),)

    def loss(self, batch: Examples) -> Loss:
        """The loss of the only player."""
        raise OptionError(f"{type(self).__name__} has no loss; implement loss(batch), or solve(examples) and players() -> ()")

    def validate(self, batch: Examples) -> Loss:
        """What is measured on held-out data; the loss unless overridden."""
        return self.loss(batch)

    def solve(self, examples: Examples) -> None:
        """Learn in closed form from all examples. Called once, and only when there are no players."""
        raise OptionError(f"{type(self).__name__} has no players and no solve(examples); implement one of the two")

    def enclose(self, low: Tensor, high: Tensor) -> None:
        """Told once before training, of images with levels: the range of pixels in network space, ``(channels,)`` each.

        Models whose density must be zero outside override it; others have no use for it.
        """

    def begin(self, examples: Examples) -> None:
        """Told once before training: rows of the training part in network space, on the host.

        Models that start from the data override it; others have no use for it.
        """

    @classmethod
    def options_from(cls, start: Model, options: dict[str, Any]) -> dict[str, Any]:
        """The options of a model that shall `adopt` a fitted one: those of `start`; what is said beside them wins.

        Raises:
            OptionError: nothing can be taken over from such a model.
        """
        if type(start) is not cls:
            raise OptionError(f"{cls.__name__} cannot start from a {type(start).__name__}; start= wants a fitted {cls.__name__}")
        return copy.deepcopy(start.options_) | options

    def adopt(self, start: Model) -> None:
        """Take over the parameters and buffers of a fitted model; told once before training, after `begin`.

        Raises:
            OptionError: they have other shapes here.
        """
        fits(self, start)
        self.load_state_dict(start.state_dict())

    def stages(self) -> Iterator[Model]:
        """Games to be played one after the other; the model itself unless it learns layer by layer or grows."""
        yield self

    @property
    def device(self) -> torch.device:
        """Where the parameters (or, failing these, the buffers) live."""
        return next((t.device for t in (*self.parameters(), *self.buffers())), torch.device("cpu"))


def fits(module: nn.Module, start: nn.Module) -> None:
    """Raises OptionError, with the first name, where the parameters or buffers of `start` have no place in `module`."""
    own, found = ({name: tuple(t.shape) for name, t in m.state_dict().items()} for m in (module, start))
    for name in [*own, *found]:
        if own.get(name) != found.get(name):
            here, there = (f"shape {shapes[name]}" if name in shapes else "nothing" for shapes in (own, found))
            raise OptionError(f"start= does not fit: '{name}' is {there} there and {here} here; leave out options that change the networks")


def abilities(model: Model | type[Model]) -> tuple[str, ...]:
    """What a model can do, in the order of `ABILITIES`."""
    return tuple(name for name in ABILITIES if callable(getattr(model, name, None)))


def _recording(init: Callable[..., None]) -> Callable[..., None]:
    """Wrap a constructor so that the outermost class records its options, and unknown ones are named."""

    @functools.wraps(init)
    def wrapper(self: Model, spec: Spec, *args: Any, **options: Any) -> None:
        known = signature(init)
        for key in options:
            if key not in known:
                raise OptionError(unknown("option", key, known, owner=type(self).__name__))
        if args:
            raise OptionError(f"{type(self).__name__} takes a spec and keyword options only; write {next(iter(known), 'option')}=…")
        for key, parameter in known.items():
            if parameter.default is inspect.Parameter.empty and key not in options:
                raise OptionError(f"{type(self).__name__} wants option '{key}', which has no default; {type(self).__name__}(spec, {key}=…)")
        outermost = "_building" not in self.__dict__
        if outermost:
            object.__setattr__(self, "_building", True)
        init(self, spec, **options)
        if outermost:
            object.__delattr__(self, "_building")
            defaults = {name: p.default for name, p in known.items() if p.default is not inspect.Parameter.empty}
            self.options_ = {**defaults, **options}

    return wrapper


def wants(spec: Spec, kinds: tuple[type, ...], *, role: str = "x", by: str) -> Any:
    """The spec's `role` if it is one of `kinds`; else a DataError that says what the model `by` takes."""
    kind = getattr(spec, role)
    if not isinstance(kind, kinds):
        names = " or ".join(k.__name__ for k in kinds)
        got = "nothing" if kind is None else type(kind).__name__
        raise DataError(f"{by} wants {role} to be {names}; got {got}")
    return kind


def tensor(values: Tensor | Ragged | None) -> Tensor:
    """The values of a role that is a plain tensor. Raises DataError where the batch lacks it or holds a Ragged."""
    if isinstance(values, Tensor):
        return values
    raise DataError("the batch has no values for a role that the model needs; give the data its target or x column")


def applied(network: nn.Module, x: Any, condition: Tensor | None) -> Tensor:
    """A network's outputs; the condition is passed only where there is one, so that any module of the right shapes will do."""
    return network(x) if condition is None else network(x, condition)
