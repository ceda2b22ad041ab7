"""What an optimiser can be told, with which of it each rule has a use for.

Names and ranges only; the rules themselves are in the other files.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from gnomon.errors import OptionError
from gnomon.options import unknown
from gnomon.training.parameters import KINDS

FIRST_ORDER = ("sgd", "momentum", "nesterov", "adagrad", "adadelta", "rmsprop", "adam", "adamw", "nadam", "muon")
WHOLE_DATA = ("lbfgs", "levenberg-marquardt")
"""Rules that model the loss as a function: a new batch at every step would be a new function."""
OPTIMISERS = (*FIRST_ORDER, *WHOLE_DATA)

RATES: dict[str, float] = {
    "sgd": 0.05, "momentum": 0.01, "nesterov": 0.01, "adagrad": 0.01, "adadelta": 1.0, "lbfgs": 1.0, "levenberg-marquardt": 1.0,
}  # fmt: skip
"""Learning rates, where none is named, of rules whose steps have another size than Adam's."""

_USERS: dict[str, tuple[str, ...]] = {
    "betas": ("adam", "adamw", "nadam", "muon"),
    "eps": ("adagrad", "adadelta", "rmsprop", "adam", "adamw", "nadam", "muon"),
    "rho": ("adadelta", "rmsprop"),
    "momentum": ("momentum", "nesterov", "muon"),
    "memory": ("lbfgs",),
    "damping": ("levenberg-marquardt",),
    **dict.fromkeys(("sharpness", "clip", "adaptive_clip", "gradient_noise", "max_norm"), FIRST_ORDER),
    **dict.fromkeys(("weight_decay", "l1", "decays"), (*FIRST_ORDER, "lbfgs")),
}
"""Option to the rules that read it; those that are not listed concern every rule."""


@dataclass(frozen=True, kw_only=True)
class OptimiserOptions:
    """What an optimiser can be told.

    Args:
        optimizer: "sgd", "momentum" (heavy ball), "nesterov", "adagrad", "adadelta", "rmsprop", "adam", "adamw" (decay apart from
            the gradient), "nadam", "muon" (matrices; AdamW for the rest), or on whole data "lbfgs" and "levenberg-marquardt".
        lr: learning rate before the schedule's factor.
        betas: decay of the averages of gradient and squared gradient (Adam's family).
        eps: added to the root of the second; None takes the rule's own.
        rho: decay of the average of squared gradients; None means 0.9 for Adadelta and 0.99 for RMSProp.
        momentum: share of the last step that is kept ("momentum", "nesterov", "muon").
        weight_decay: pull of the parameters of the kinds `decays` towards zero.
        decays: kinds of parameters that are pulled: weights, biases, scales (of normalisations), embeddings.
        trains: kinds of parameters that are moved at all.
        l1: weight of the sum of absolute values of the parameters `decays` in the loss.
        max_norm: largest Euclidean norm of the incoming weights of a unit, or None.
        clip: largest norm of the mean gradient, or None.
        adaptive_clip: largest norm of a unit's gradient as a share of the norm of its weights, or None.
        gradient_noise: standard deviation of the noise added to the mean gradient at the start; it falls as (1 + step)^-0.275.
        sharpness: radius of the ball in which the gradient is taken where the loss is largest, 0 for ordinary steps.
        memory: steps that L-BFGS remembers.
        damping: at the start of Levenberg–Marquardt, the share of the diagonal that is added to it.
        average: decay of the exponential average of weights, or None.

    Raises:
        OptionError: a value out of range.

    Reference: max-norm, Srivastava et al. 2014, https://jmlr.org/papers/v15/srivastava14a.html; adaptive clipping, Brock et al.
    2021, https://arxiv.org/abs/2102.06171; gradient noise, Neelakantan et al. 2015, https://arxiv.org/abs/1511.06807; sharpness,
    Foret et al. 2021, https://arxiv.org/abs/2010.01412.
    """

    optimizer: Literal[
        "sgd", "momentum", "nesterov", "adagrad", "adadelta", "rmsprop", "adam", "adamw", "nadam", "muon", "lbfgs", "levenberg-marquardt"
    ] = "adam"
    lr: float = 1e-3
    betas: tuple[float, ...] = (0.9, 0.999)
    eps: float | None = None
    rho: float | None = None
    momentum: float = 0.9
    weight_decay: float = 0.0
    decays: tuple[str, ...] = ("weights",)
    trains: tuple[str, ...] = KINDS
    l1: float = 0.0
    max_norm: float | None = None
    clip: float | None = 5.0
    adaptive_clip: float | None = None
    gradient_noise: float = 0.0
    sharpness: float = 0.0
    memory: int = 10
    damping: float = 1e-2
    average: float | None = 0.999

    def __post_init__(self) -> None:
        above = "above 0, or none"
        rules: dict[str, tuple[bool, str]] = {
            "lr": (self.lr > 0, "above 0"),
            "betas": (len(self.betas) == 2 and all(0 <= beta < 1 for beta in self.betas), "two numbers from 0 to below 1"),
            "eps": (self.eps is None or self.eps > 0, above),
            "rho": (self.rho is None or 0 <= self.rho < 1, "from 0 to below 1, or none"),
            "momentum": (0 <= self.momentum < 1, "from 0 to below 1"),
            "weight_decay": (self.weight_decay >= 0, "0 or above"),
            "l1": (self.l1 >= 0, "0 or above"),
            "max_norm": (self.max_norm is None or self.max_norm > 0, above),
            "clip": (self.clip is None or self.clip > 0, above),
            "adaptive_clip": (self.adaptive_clip is None or self.adaptive_clip > 0, above),
            "gradient_noise": (self.gradient_noise >= 0, "0 or above"),
            "sharpness": (self.sharpness >= 0, "0 or above"),
            "memory": (self.memory >= 1, "1 or more"),
            "damping": (self.damping > 0, "above 0"),
            "average": (self.average is None or 0 < self.average < 1, "between 0 and 1, or none"),
        }
        for name, (good, limits) in rules.items():
            if not good:
                raise OptionError(f"option '{name}' must be {limits}; got {getattr(self, name)!r}")
        if self.optimizer not in OPTIMISERS:
            raise OptionError(unknown("optimizer", self.optimizer, OPTIMISERS))
        for kind in (*self.decays, *self.trains):
            if kind not in KINDS:
                raise OptionError(unknown("kind of parameters", kind, KINDS))
        if not self.trains:
            raise OptionError("option 'trains' names no kind of parameters, so nothing would be learned")


def refuse_idle(optimizer: str, said: Iterable[str]) -> None:
    """Name an option that was said and that the rule has no use for. Raises OptionError."""
    for name in said:
        users = _USERS.get(name)
        if users is not None and optimizer not in users:
            raise OptionError(f"option '{name}' does nothing with optimizer='{optimizer}'; it belongs to {', '.join(users)}")
