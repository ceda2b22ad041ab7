"""First-order rules, one function each: how a gradient moves numbers, and what is remembered of it.

They see slices of flat buffers; decay, clipping and averages are the optimiser's business.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gnomon.training.optimisers.options import OptimiserOptions

Update = Callable[..., None]


@dataclass(frozen=True)
class Rule:
    """One rule.

    Args:
        update: ``(p, g, *buffers, options=…, rate=…, step=…)`` moves `p` in place; `step` counts from 1.
        buffers: what is remembered, each of the size of the parameters, zero at the start.
        fused: name of torch's kernel that does the same in one pass, or None.
        apart: whether decay shrinks the parameters themselves instead of joining the gradient.
    """

    update: Update
    buffers: tuple[str, ...] = ()
    fused: str | None = None
    apart: bool = False


def sgd(p: Tensor, g: Tensor, *, options: OptimiserOptions, rate: float, step: int) -> None:
    """``p ← p − η g``"""
    p.add_(g, alpha=-rate)


def momentum(p: Tensor, g: Tensor, m: Tensor, *, options: OptimiserOptions, rate: float, step: int) -> None:
    """``m ← μ m + g;  p ← p − η m`` (Polyak 1964, https://doi.org/10.1016/0041-5553(64)90137-5)"""
    m.mul_(options.momentum).add_(g)
    p.add_(m, alpha=-rate)


def nesterov(p: Tensor, g: Tensor, m: Tensor, *, options: OptimiserOptions, rate: float, step: int) -> None:
    """``m ← μ m + g;  p ← p − η (g + μ m)`` (Sutskever et al. 2013, https://proceedings.mlr.press/v28/sutskever13.html)"""
    m.mul_(options.momentum).add_(g)
    p.add_(g.add(m, alpha=options.momentum), alpha=-rate)


def adagrad(p: Tensor, g: Tensor, s: Tensor, *, options: OptimiserOptions, rate: float, step: int) -> None:
    """``s ← s + g²;  p ← p − η g / (√s + ε)`` (Duchi et al. 2011, https://jmlr.org/papers/v12/duchi11a.html)"""
    s.addcmul_(g, g)
    p.addcdiv_(g, s.sqrt().add_(options.eps or 1e-10), value=-rate)


def adadelta(p: Tensor, g: Tensor, s: Tensor, d: Tensor, *, options: OptimiserOptions, rate: float, step: int) -> None:
    """``s ← ρ s + (1−ρ) g²;  δ = g √(d+ε) / √(s+ε);  d ← ρ d + (1−ρ) δ²;  p ← p − η δ`` (Zeiler 2012, https://arxiv.org/abs/1212.5701)"""
    rho, eps = 0.9 if options.rho is None else options.rho, options.eps or 1e-6
    s.mul_(rho).addcmul_(g, g, value=1.0 - rho)
    delta = (d + eps).sqrt_().div_((s + eps).sqrt_()).mul_(g)
    d.mul_(rho).addcmul_(delta, delta, value=1.0 - rho)
    p.add_(delta, alpha=-rate)


def rmsprop(p: Tensor, g: Tensor, s: Tensor, *, options: OptimiserOptions, rate: float, step: int) -> None:
    """``s ← ρ s + (1−ρ) g²;  p ← p − η g / (√s + ε)`` (Tieleman & Hinton 2012)"""
    rho = 0.99 if options.rho is None else options.rho
    s.mul_(rho).addcmul_(g, g, value=1.0 - rho)
    p.addcdiv_(g, s.sqrt().add_(options.eps or 1e-8), value=-rate)


def adam(p: Tensor, g: Tensor, m: Tensor, v: Tensor, *, options: OptimiserOptions, rate: float, step: int) -> None:
    """``m, v`` average g and g²; ``p ← p − η m̂ / (√v̂ + ε)`` (Kingma & Ba 2015, https://arxiv.org/abs/1412.6980)"""
    beta1, beta2 = options.betas
    m.lerp_(g, 1.0 - beta1)
    p.addcdiv_(m, _root(v, g, beta2, step, options), value=-rate / (1.0 - beta1**step))


def nadam(p: Tensor, g: Tensor, m: Tensor, v: Tensor, product: Tensor, *, options: OptimiserOptions, rate: float, step: int) -> None:
    """Adam with Nesterov's look ahead and a momentum that rises (Dozat 2016, https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ)"""
    beta1, beta2 = options.betas
    now, following = (beta1 * (1.0 - 0.5 * 0.96 ** (0.004 * t)) for t in (step, step + 1))
    if step == 1:
        product.fill_(1.0)
    product.mul_(now)
    m.lerp_(g, 1.0 - beta1)
    root = _root(v, g, beta2, step, options)
    p.addcdiv_(g / (1.0 - product), root, value=-rate * (1.0 - now))
    p.addcdiv_(m / (1.0 - product * following), root, value=-rate * following)


def _root(v: Tensor, g: Tensor, beta2: float, step: int, options: OptimiserOptions) -> Tensor:
    v.mul_(beta2).addcmul_(g, g, value=1.0 - beta2)
    return (v / (1.0 - beta2**step)).sqrt_().add_(options.eps or 1e-8)


RULES: dict[str, Rule] = {
    "sgd": Rule(sgd),
    "momentum": Rule(momentum, ("momentum",), "_fused_sgd_"),
    "nesterov": Rule(nesterov, ("momentum",), "_fused_sgd_"),
    "adagrad": Rule(adagrad, ("variance",)),
    "adadelta": Rule(adadelta, ("variance", "delta")),
    "rmsprop": Rule(rmsprop, ("variance",)),
    "adam": Rule(adam, ("momentum", "variance"), "_fused_adam_"),
    "adamw": Rule(adam, ("momentum", "variance"), "_fused_adamw_", apart=True),
    "nadam": Rule(nadam, ("momentum", "variance", "product")),
}


def fused_kernel(rule: Rule, data: Tensor, options: OptimiserOptions) -> Update | None:
    """The rule as torch's fused kernel, where there is one for this device and type.

    Returns:
        ``(p, g, *buffers, count, rate=…, decay=…, scale=…)`` where the gradient is divided by `scale`, or None.
    """
    if rule.fused is None or data.dtype != torch.float32 or data.device.type not in ("cpu", "cuda"):
        return None
    kernel = getattr(torch, rule.fused, None)
    if kernel is None:
        return None
    if rule.fused == "_fused_sgd_":

        def with_momentum(p: Tensor, g: Tensor, m: Tensor, count: Tensor, *, rate: float, decay: float, scale: Tensor) -> None:
            kernel(
                [p], [g], [m], weight_decay=decay, momentum=options.momentum, lr=rate, dampening=0.0,
                nesterov=options.optimizer == "nesterov", maximize=False, is_first_step=False, grad_scale=scale, found_inf=None,
            )  # fmt: skip

        return with_momentum

    def adaptive(p: Tensor, g: Tensor, m: Tensor, v: Tensor, count: Tensor, *, rate: float, decay: float, scale: Tensor) -> None:
        kernel(
            [p], [g], [m], [v], [], [count], lr=rate, beta1=options.betas[0], beta2=options.betas[1], weight_decay=decay,
            eps=options.eps or 1e-8, amsgrad=False, maximize=False, grad_scale=scale, found_inf=None,
        )  # fmt: skip

    return adaptive
