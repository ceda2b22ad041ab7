"""Levenberg–Marquardt on whole data: damped Gauss–Newton steps for losses that are sums of squares.

The Jacobian is dense, so it is for networks of some thousand parameters.
"""

from __future__ import annotations

import torch

from gnomon.errors import OptionError, TrainingError
from gnomon.training.optimisers.optimiser import Look, Optimiser
from gnomon.training.optimisers.options import OptimiserOptions
from gnomon.training.optimisers.rules import RULES
from gnomon.training.parameters import FlatParameters

LARGEST = 10_000  # parameters: the normal equations then take 800 MB
_TRIES = 12
_TRUSTED, _GOOD = 1e-4, 0.75  # gain ratios from which a step is taken, and from which damping falls


class LevenbergMarquardt(Optimiser):
    """``(JᵀJ + λ diag(JᵀJ)) δ = Jᵀr``, with λ lowered where the quadratic model is right and raised where it is not.

    Args:
        parameters: what is moved; of a single model.
        options: `damping` is the first λ, `lr` a factor on δ.

    Raises:
        OptionError: more than 10,000 parameters.

    Reference: Marquardt 1963, https://doi.org/10.1137/0111030; gain ratio, Madsen, Nielsen & Tingleff 2004
    """

    def __init__(self, parameters: FlatParameters, options: OptimiserOptions) -> None:
        super().__init__(parameters, options, RULES["sgd"])
        size = parameters.data.shape[1]
        if size > LARGEST:
            raise OptionError(f"levenberg-marquardt solves for all parameters at once, {LARGEST} at most; got {size}; use lbfgs or adam")
        self.damping = torch.full((), options.damping, dtype=torch.float64)

    @property
    def looks_again(self) -> bool:
        """Always."""
        return True

    def move(self, factor: float, look: Look) -> None:
        """One step that lowers the loss, or none where no damping up to 10¹² gives one."""
        residuals, jacobian, _ = look.residuals()
        here = self.parameters.data.clone()
        r, j = residuals.double(), jacobian.double()
        if not bool(torch.isfinite(r).all()):
            raise TrainingError("the residuals are not finite; look for extreme values in the data or lower the weights' first size")
        normal, slope = j.T @ j, j.T @ r
        diagonal = normal.diagonal().clone().clamp_min(1e-12 * float(normal.diagonal().max().clamp_min(1e-12)))
        before = float(r.square().sum())
        for _ in range(_TRIES):
            damping = float(self.damping)
            step = torch.linalg.solve(normal + damping * torch.diag(diagonal), slope) * (self.options.lr * factor)
            self.parameters.data.copy_(here - step.to(here.dtype))
            after = float(look.residuals()[0].double().square().sum()) if bool(torch.isfinite(step).all()) else float("inf")
            foreseen = float(2 * step @ slope - step @ (normal @ step))
            gain = (before - after) / foreseen if foreseen > 0 else -1.0
            if gain > _TRUSTED:
                if gain > _GOOD:
                    self.damping.mul_(1 / 3).clamp_min_(1e-12)
                break
            self.damping.mul_(4.0).clamp_max_(1e12)
            self.parameters.data.copy_(here)
        look.gradient()  # the loop's meter hears of the loss where the step ended
        self.steps += 1
        self._average()

    def state(self) -> dict[str, torch.Tensor]:
        """As `Optimiser.state`, with the damping."""
        return super().state() | {"damping": self.damping}
