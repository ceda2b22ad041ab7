"""Autoencoder: the shortest honest summary of an example from which it can be told again; denoising, sparse or contractive on demand.

No density over codes: for that see `VAE` and `TwoStage`; for the linear case in closed form, `PCA`.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.func import vjp

from gnomon.blocks import segment_sum
from gnomon.blocks.corruption import Corruption, Noise
from gnomon.data import Examples, Ragged, Set, Spec
from gnomon.errors import OptionError
from gnomon.models.base import Loss, applied, wants
from gnomon.models.latent import LATENT_KINDS, LatentModel, LatentSpread, Likelihood, numbers, read_as
from gnomon.options import unknown

Sparsity = Literal["l1", "kl", "top_k"]

_STRENGTHS: dict[str, float] = {"l1": 0.1, "kl": 1.0, "top_k": 0.0}  # of the sparse term, where nobody says
_ACTIVE, _JACOBIAN = 0.1, "estimate"  # where nobody says


class Autoencoder(LatentModel):
    """An encoder to a short code and a decoder back.

    Minimises -log p(x | code(x)) in nats per example. By default numbers keep a spread of one: half the squared error in
    network space, beside 1 - cos for angles and the cross-entropy for categories. A learned spread weighs them by how well they
    can be told, but rewards a code that copies one column exactly over one that tells them all.

    Args:
        spec: x a Vector, an Image, a Set or Tokens; given, if any, is shown to both networks.
        latent: length of the code; None takes half of the numbers of x, at most 16, and 16 for sets and texts.
        spread: "fixed" (one), or where it is learned: "shared", "column" (per column or pixel), "example" (by the decoder), "optimal".
            None takes "fixed", and "shared" for sets, whose elements are told apart by it. Texts and pixels with levels have none.
        likelihood: what an example is given its code, see `models.latent.head_for`; None takes "gaussian", of two-level images "bernoulli".
        noise: what is done to an example before it is encoded in training, the example as it was being the target ("denoising"):
            "gaussian", "masking", "salt_and_pepper" or "blur" (see `blocks.corruption.Corruption`); None for nothing.
        noise_strength: how much: of "gaussian" the standard deviation in spreads of the training data, of "masking" and "salt_and_pepper"
            the share of values, of "blur" the largest width in pixels; None takes 0.5, 0.25, 0.25 and 1.
        sparsity: what makes most numbers of a code silent: "l1" adds their sum, the code being not negative; "kl" has codes between 0
            and 1 whose mean over a batch is drawn to `active`; "top_k" keeps the share `active` of largest size and silences the others.
        sparsity_strength: factor on the sparse term; None takes 0.1 for "l1" (more may silence a code for good) and 1 for "kl";
            "top_k" has none.
        active: the share of a code that is to be active with "kl" and "top_k"; None takes 0.1.
        contractive: factor on ||J||², the squared Frobenius norm of the Jacobian of the code by the numbers of x; 0 for none.
        jacobian: how ||J||² of `contractive` is had: "exact", one pass backwards for each number of the code, or "estimate", unbiased from
            one pass (Hutchinson); None takes "estimate".
        encoder: name of a network or a module ``(x, given) -> (n, latent)``; None takes the default of the kind of data.
        decoder: name of a network or a module ``(z, given) -> raw outputs``; None likewise.
        net: options of the networks; each takes those it knows. With ``{"hidden": ()}`` those of a Vector are linear, and the plane of
            the reconstructions is that of PCA; the code's axes in it are any, not orthogonal ones.
        size: factor on the networks' widths.

    Raises:
        DataError: x is of another kind.
        OptionError: an option out of range or without effect, noise that x cannot have, or an option that the networks do not know.

    Reference: Hinton & Salakhutdinov 2006, https://doi.org/10.1126/science.1127647; denoising: Vincent et al. 2010,
    https://www.jmlr.org/papers/v11/vincent10a.html; top_k: Makhzani & Frey 2014, https://arxiv.org/abs/1312.5663; contractive: Rifai et
    al. 2011, https://icml.cc/2011/papers/455_icmlpaper.pdf

    Example:
        >>> import torch
        >>> from gnomon.data import Examples, Spec, Vector
        >>> model = Autoencoder(Spec(Vector.real(6)), latent=2, noise="masking")
        >>> batch = Examples(torch.randn(5, 6))
        >>> model.encode(batch).shape, model.reconstruct(batch).shape
        (torch.Size([5, 2]), torch.Size([5, 6]))
    """

    defaults: ClassVar[dict[str, Any]] = {"lr": 2e-3, "steps": 4000}

    def __init__(
        self,
        spec: Spec,
        *,
        latent: int | None = None,
        spread: LatentSpread | None = None,
        likelihood: Likelihood | None = None,
        noise: Noise | None = None,
        noise_strength: float | None = None,
        sparsity: Sparsity | None = None,
        sparsity_strength: float | None = None,
        active: float | None = None,
        contractive: float = 0.0,
        jacobian: Literal["estimate", "exact"] | None = None,
        encoder: str | nn.Module | None = None,
        decoder: str | nn.Module | None = None,
        net: dict[str, Any] | None = None,
        size: float = 1.0,
    ) -> None:
        kind = wants(spec, LATENT_KINDS, by="Autoencoder")
        latent = min(16, max(1, numbers(kind) // 2)) if latent is None else latent
        chosen = ("shared" if isinstance(kind, Set) else "fixed") if spread is None else spread
        super().__init__(spec, latent=latent, spread=chosen, likelihood=likelihood, encoder=encoder, decoder=decoder, net=net, size=size)
        if spread is not None:
            self.refuse_void(spread)
        _check(noise, noise_strength, sparsity, sparsity_strength, active, contractive, jacobian)
        self.noise = None if noise is None else Corruption(read_as(kind, likelihood), noise, strength=noise_strength)
        self.sparsity, self.active = sparsity, _ACTIVE if active is None else active
        self.sparsity_strength = _STRENGTHS.get(sparsity or "", 0.0) if sparsity_strength is None else sparsity_strength
        self.contractive, self.jacobian = contractive, jacobian or _JACOBIAN
        if contractive and any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in self.encoder.modules()):
            raise OptionError(
                "contractive of Autoencoder wants the derivatives of each example alone, and norm='batch' of its encoder looks at a batch; "
                "choose norm='layer'"
            )
        if sparsity == "kl":
            self.separable = False  # type: ignore[misc]  # the mean over a batch counts

    def enclose(self, low: Tensor, high: Tensor) -> None:
        """Tell likelihood and noise where pixels end; salt and pepper are what the encoder sees of black and white."""
        super().enclose(low, high)
        if self.noise is not None:
            shape = (-1, *[1] * self.noise.dimension)
            low, high = (self.read(torch.as_tensor(end).to(self.device).reshape(shape)).flatten() for end in (low, high))
            self.noise.enclose(low, high)

    def loss(self, batch: Examples) -> Loss:
        """-log p(x | code(x)) in nats, the code being that of x with noise, and the terms that were asked for."""
        seen = self.read(batch.x)
        noisy = seen if self.noise is None else self.noise(seen)
        code = self._code(noisy, self.condition(batch.given, len(batch)))
        reconstruction = -self.likelihood(code, batch.given).log_prob(batch.x)
        total, parts = reconstruction, {}
        if self.sparsity is not None and self.sparsity_strength:
            parts["sparsity"] = self._sparse_term(code)
            total = total + self.sparsity_strength * parts["sparsity"]
        if self.contractive:
            parts["contraction"] = self.squared_jacobian(batch, exact=self.jacobian == "exact")
            total = total + self.contractive * parts["contraction"]
        if parts:
            parts["reconstruction"] = reconstruction
        return Loss.mean(total, batch.weight, **parts)

    def encode(self, batch: Examples) -> Tensor:
        """The code of each example, ``(n, latent)``."""
        return self._code(self.read(batch.x), self.condition(batch.given, len(batch)))

    def score(self, batch: Examples) -> Tensor:
        """How badly each example is told by its code, -log p(x | code(x)), ``(n,)`` in nats."""
        return -self.likelihood(self.encode(batch), batch.given).log_prob(batch.x)

    def squared_jacobian(self, batch: Examples, *, exact: bool = True) -> Tensor:
        """||J||² of each example, ``(n,)``: the sum of the squared derivatives of its code by the numbers the encoder sees.

        Args:
            batch: n examples in network space, where the derivatives are taken.
            exact: one pass backwards for each number of the code; else an estimate from one pass with random signs, right in the mean.

        Raises:
            OptionError: x holds symbols, by which nothing can be derived.
        """
        x, given = self.read(batch.x), self.condition(batch.given, len(batch))
        values = x.values if isinstance(x, Ragged) else x
        if not values.is_floating_point():
            raise OptionError("option 'contractive' of Autoencoder wants numbers to derive by, and x holds symbols; use noise='masking'")

        def code_of(moved: Tensor) -> Tensor:
            return self._code(Ragged(moved, x.lengths) if isinstance(x, Ragged) else moved, given)

        code, pull, *_ = vjp(code_of, values)
        if exact:
            units = torch.eye(self.latent, dtype=code.dtype, device=code.device)
            # One by one: vmap cannot take a convolution's backward pass where images lie channels-last.
            squares = torch.stack([pull(unit.expand_as(code))[0].square() for unit in units]).sum(0)
        else:
            squares = pull(torch.where(torch.rand_like(code) < 0.5, -1.0, 1.0))[0].square()
        each = squares.flatten(1).sum(1)
        return segment_sum(each[:, None], x.rows(), len(x))[:, 0] if isinstance(x, Ragged) else each

    # ---- parts --------------------------------------------------------------------------------------------------------

    def _code(self, x: Tensor | Ragged, given: Tensor | None) -> Tensor:
        code = applied(self.encoder, x, given)
        if self.sparsity == "l1":
            return code.relu()
        if self.sparsity == "kl":
            return code.sigmoid()
        if self.sparsity == "top_k":
            kept = max(1, round(self.active * self.latent))
            size = code.abs()
            return torch.where(size >= size.topk(kept, -1).values[..., -1:], code, 0.0)
        return code

    def _sparse_term(self, code: Tensor) -> Tensor:
        """``(n,)``; of "kl" each example's share is that of the batch."""
        if self.sparsity == "l1":
            return code.sum(-1)
        mean = code.mean(0).clamp(1e-6, 1 - 1e-6)
        divergence = self.active * (self.active / mean).log() + (1 - self.active) * ((1 - self.active) / (1 - mean)).log()
        return divergence.sum().expand(len(code))


def _check(
    noise: str | None,
    noise_strength: float | None,
    sparsity: str | None,
    sparsity_strength: float | None,
    active: float | None,
    contractive: float,
    jacobian: str | None,
) -> None:
    """Raises OptionError for what cannot be."""
    if sparsity is not None and sparsity not in _STRENGTHS:
        raise OptionError(unknown("sparsity", sparsity, _STRENGTHS, owner="Autoencoder"))
    if jacobian not in (None, "estimate", "exact"):
        raise OptionError(unknown("jacobian", jacobian, ("estimate", "exact"), owner="Autoencoder"))
    for name, number in (("sparsity_strength", sparsity_strength or 0.0), ("contractive", contractive)):
        if not (number >= 0 and math.isfinite(number)):
            raise OptionError(f"option '{name}' of Autoencoder must be a finite number from 0; got {number}")
    if active is not None and not 0 < active < 1:
        raise OptionError(f"option 'active' of Autoencoder must be above 0 and below 1; got {active}")
    # Runs saved earlier name what is usual, so that `active` and `jacobian` may say it without effect.
    effects: tuple[tuple[str, object, str, bool], ...] = (
        ("noise_strength", noise_strength, "a noise", noise is not None),
        ("sparsity_strength", sparsity_strength, "sparsity='l1' or 'kl'", sparsity in ("l1", "kl")),
        ("active", None if active == _ACTIVE else active, "sparsity='kl' or 'top_k'", sparsity in ("kl", "top_k")),
        ("jacobian", None if jacobian == _JACOBIAN else jacobian, "contractive", contractive > 0),
    )
    for name, value, of, there in effects:
        if value is not None and not there:
            raise OptionError(f"option '{name}' of Autoencoder has no effect without {of}; set that too")
