"""Two pictures of a model: gradients and signals layer by layer, and the loss on a plane through the weights.

Each is numbers first; matplotlib draws them when asked, by its object interface, so that the user's figures and settings stay as they are.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from gnomon.data import Examples
from gnomon.data.seeds import generator, mix
from gnomon.errors import OptionError
from gnomon.learned import Learned
from gnomon.models import LossOf, Model, Player
from gnomon.options import unknown
from gnomon.training import randomness
from gnomon.training.doctor import gradients
from gnomon.training.doctor.probe import layer_names, watched

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Floats = np.ndarray[Any, np.dtype[np.float64]]
_REAL, _OTHER = "#0072b2", "#d55e00"  # Okabe and Ito's blue and red, which colour-blind readers tell apart


@dataclass(frozen=True, eq=False)
class GradientProfile:
    """What a batch does layer by layer, in the order in which layers are called.

    Args:
        layers: names.
        signals: ``(layers,)`` root mean square of what each gives.
        gradients: ``(layers,)`` root mean square of the gradient of each layer's weight.
        slopes: ``(layers,)`` length of the gradient of the loss with respect to what each layer gives; its fall from the last to the
            first layer is what is called vanishing.
        loss: mean on the batch.
    """

    layers: tuple[str, ...]
    signals: Floats
    gradients: Floats
    slopes: Floats
    loss: float

    def figure(self) -> Figure:
        """Three curves against depth, on a logarithmic scale."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(5.5, 3.8), layout="constrained")
        axes = figure.subplots()
        depth = np.arange(1, len(self.layers) + 1)
        lines = (
            ("signal", self.signals, _REAL, "-"),
            ("gradient of weight", self.gradients, _OTHER, "-"),
            ("gradient", self.slopes, _OTHER, ":"),
        )
        for label, values, colour, style in lines:
            shown = np.where(values > 0, values, np.nan)
            axes.plot(depth, shown, style, color=colour, marker="o", markersize=3, label=label)
        axes.set_yscale("log")
        axes.set_ylabel("size")
        axes.set_xticks(depth, self.layers, rotation=60, ha="right", fontsize=7)
        axes.legend(frameon=False, fontsize="small")
        return figure

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the picture; the ending of the path says in which format."""
        self.figure().savefig(path)


@dataclass(frozen=True, eq=False)
class Landscape:
    """The loss on a plane through the weights.

    Args:
        steps: ``(k,)`` positions along both directions; one is as long as the weights of each filter.
        loss: ``(k, k)`` mean loss at ``weights + steps[i] * first + steps[j] * second``.
    """

    steps: Floats
    loss: Floats

    @property
    def centre(self) -> float:
        """The loss of the model as it is."""
        middle = len(self.steps) // 2
        return float(self.loss[middle, middle])

    def figure(self) -> Figure:
        """Lines of equal loss; a star marks the model."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(4.8, 4.0), layout="constrained")
        axes = figure.subplots()
        # Levels by rank: a few steep corners must not hide the floor.
        known = self.loss[np.isfinite(self.loss)]
        levels = np.unique(np.quantile(known, np.linspace(0.0, 1.0, 21)))
        if len(levels) > 1:
            made = axes.contourf(self.steps, self.steps, self.loss.T, levels=levels, cmap="cividis")
            axes.contour(self.steps, self.steps, self.loss.T, levels=levels, colors="black", linewidths=0.3)
            figure.colorbar(made, ax=axes, label="loss")
        axes.plot(0, 0, "*", color="white", markeredgecolor="black", markersize=12)
        axes.set_xlabel("along one direction (filter-normalised)")
        axes.set_ylabel("along another")
        return figure

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the picture; the ending of the path says in which format."""
        self.figure().savefig(path)


def gradient_profile(model: Learned | Model, data: Any, *, rows: int = 256, player: str | None = None, seed: int = 0) -> GradientProfile:
    """Sizes of signals and gradients in every layer, on the first rows of the data.

    Args:
        model: a Learned with anything it can read, or a Model with Examples in network space.
        data: see `model`; with its target, where the model has one.
        rows: how many are used.
        player: whose loss; by default the first one's.
        seed: of the random numbers that the loss draws.

    Example:
        >>> from gnomon.data import Spec, Vector
        >>> from gnomon.models.regressor import Regressor
        >>> model = Regressor(Spec(Vector.real(2), Vector.real(1)), net={"hidden": (8, 8)})
        >>> made = gradient_profile(model, Examples(torch.randn(64, 2), torch.randn(64, 1)))
        >>> made.layers, made.slopes.shape
        (('encoder.net.0', 'encoder.net.2', 'encoder.net.4'), (3,))
    """
    network, batch = _opened(model, data, rows)
    playing = _player(network, player)
    names = playing.parameters(network)
    values = {name: p.detach().requires_grad_(name in names) for name, p in network.named_parameters()}
    named = {f"model.{name}": t for name, t in values.items()} | {f"model.{name}": b.clone() for name, b in network.named_buffers()}
    own, others = ({name: t for name, t in values.items() if (name in names) is mine} for mine in (True, False))
    layers = layer_names(network)
    module = LossOf(network, playing.loss)
    modes = {each: each.training for each in network.modules()}
    network.train()
    try:
        with torch.enable_grad(), randomness.borrowed(mix("profile", seed), network.device):
            probe = watched(lambda: torch.func.functional_call(module, named, (batch,)), own, others, layers, batch)
    finally:
        for each, mode in modes.items():
            each.training = mode
    seen = gradients.profile(probe, layers)
    signals, weights, slopes = (np.array(v, dtype=np.float64) for v in (seen.signals, seen.gradients, seen.slopes))
    return GradientProfile(tuple(seen.layers), signals, weights, slopes, probe.loss)


def loss_landscape(
    model: Learned | Model,
    data: Any,
    *,
    rows: int = 512,
    points: int = 21,
    reach: float = 1.0,
    player: str | None = None,
    seed: int = 0,
) -> Landscape:
    """The loss on a random plane through the weights, its two directions scaled filter by filter to the weights.

    Biases, and the scales and shifts of normalisations, stay where they are, as do the running statistics, which are used as they are.
    So nets of different scale can be compared: a net whose weights are all doubled looks the same.

    Args:
        model: a Learned with anything it can read, or a Model with Examples in network space.
        data: see `model`.
        rows: how many are used.
        points: along each direction; an odd number, so that the model itself is among them.
        reach: how far to go on either side; 1 is the length of the weights.
        player: whose loss; by default the first one's.
        seed: of the directions, and of the random numbers that the loss draws, the same at every point.

    Raises:
        OptionError: points is even or below 3.

    Reference: Li et al. 2018, https://arxiv.org/abs/1712.09913
    """
    if points < 3 or points % 2 == 0:
        raise OptionError(f"option 'points' of loss_landscape must be odd and at least 3; got {points}")
    network, batch = _opened(model, data, rows)
    playing = _player(network, player)
    weights = {f"model.{name}": p.detach() for name, p in network.named_parameters()}
    buffers = {f"model.{name}": b.detach() for name, b in network.named_buffers()}
    moved = {f"model.{name}" for name in playing.parameters(network)}
    first, second = ({name: _direction(w, seed, k, name) for name, w in weights.items() if name in moved} for k in (0, 1))
    steps = np.linspace(-reach, reach, points)
    steps[points // 2] = 0.0
    loss = np.empty((points, points))
    module = LossOf(network, playing.loss)
    modes = {each: each.training for each in network.modules()}
    network.eval()
    try:
        for i, a in enumerate(steps.tolist()):
            for j, b in enumerate(steps.tolist()):
                values = {name: w + a * first[name] + b * second[name] if name in moved else w for name, w in weights.items()}
                with torch.no_grad(), randomness.borrowed(mix("landscape", seed), network.device):
                    made = torch.func.functional_call(module, values | {n: t.clone() for n, t in buffers.items()}, (batch,))
                    loss[i, j] = float(made.total / made.weight)
    finally:
        for each, mode in modes.items():
            each.training = mode
    return Landscape(steps, loss)


def _direction(weight: Tensor, seed: int, number: int, name: str) -> Tensor:
    """A random direction whose part in each filter is as long as the filter; zero for biases and scales."""
    if weight.ndim < 2:
        return torch.zeros_like(weight)
    drawn = torch.randn(weight.shape, generator=generator("landscape", seed, number, name)).to(weight)
    axes = tuple(range(1, weight.ndim))
    length = torch.linalg.vector_norm(drawn, dim=axes, keepdim=True)
    return drawn * (torch.linalg.vector_norm(weight, dim=axes, keepdim=True) / length)


def _opened(model: Learned | Model, data: Any, rows: int) -> tuple[Model, Examples]:
    """The network's side of things: the model, and a batch in network space where it lives."""
    if isinstance(model, Learned):
        raw = model.read(data, target=model.spec.y is not None)
        return model.model, model.scaling.forward(raw[:rows]).to(model.model.device)
    if not isinstance(data, Examples):
        raise OptionError(
            f"a bare Model wants Examples in network space; got {type(data).__name__}. Pass a Learned to give tables or files"
        )
    return model, data[:rows].to(model.device)


def _player(model: Model, name: str | None) -> Player:
    players = {player.name: player for player in model.players()}
    if not players:
        raise OptionError(f"{type(model).__name__} learns in closed form: it has no gradient and no loss to be drawn")
    if name is None:
        return next(iter(players.values()))
    if name not in players:
        raise OptionError(unknown("player", name, players))
    return players[name]
