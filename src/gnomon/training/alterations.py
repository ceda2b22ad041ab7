"""What is done to every training batch before the model sees it: random changes, mixtures of examples, hidden conditions.

All draws come from torch's global generators, which the loop seeds, saves and restores; nothing waits for the device.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from gnomon.blocks.augmentation import make_augmentation, parse_augment
from gnomon.blocks.augmentation.change import box
from gnomon.blocks.augmentation.columns import numeric
from gnomon.data import Examples, Image, Label, Ragged, Sequence, Set, Spec, Vector
from gnomon.errors import OptionError

Alteration = Callable[[Examples], Examples]

SMALLEST = 0.01
"""The smallest α whose Beta distribution can be drawn from in float32: below, both of the gamma draws behind λ come out as 0."""


def alterations(
    spec: Spec,
    *,
    augment: str | Mapping[str, Any] | None = None,
    mixup: float = 0.0,
    cutmix: float = 0.0,
    drop_given: float = 0.0,
) -> Alteration | None:
    """The one thing done to every training batch: augmentation, then mixtures, then the hidden condition; None for nothing.

    Args:
        spec: what the examples are.
        augment: changes of x, as `gnomon.blocks.augmentation.parse_augment` takes them.
        mixup: α of mixup (see `Mixture`); 0 for none.
        cutmix: α of cutmix (see `Mixture`); 0 for none. With both, a fair draw for each example decides between them.
        drop_given: share of examples whose whole condition is hidden.

    Raises:
        OptionError: a change that does not suit x; a mixture of what cannot be mixed; a number out of range; no condition to hide.

    Example:
        >>> from gnomon.data import Label
        >>> alter = alterations(Spec(Vector.real(3), y=Label(("no", "yes"))), augment="noise", mixup=0.2)
        >>> batch = alter(Examples(torch.zeros(5, 3), y=torch.tensor([0, 1, 1, 0, 1])))
        >>> batch.x.shape, batch.y.shape
        (torch.Size([5, 3]), torch.Size([5, 2]))
    """
    parts: list[Alteration] = []
    if parse_augment(augment):
        parts.append(_augmentation(spec, augment))
    if mixup or cutmix:
        parts.append(Mixture(spec, mixup=mixup, cutmix=cutmix))
    if drop_given:
        parts.append(_hidden_condition(spec, drop_given))
    if not parts:
        return None

    def alter(batch: Examples) -> Examples:
        for part in parts:
            batch = part(batch)
        return batch

    return alter


class Mixture:
    """Mixes every example of a batch with another one, inputs, targets and weights alike: mixup, cutmix, or either by a fair draw.

    Mixup takes λ of an example and 1 - λ of its partner, with λ drawn from Beta(α, α) for every example. Cutmix pastes a box of
    the partner's image, of the area 1 - λ before what sticks out is cut off, into the example's; λ is then what is left of the
    example. The partners are the batch in a random order, so that an example may meet itself.

    Labels become probabilities of the classes ``(n, classes)``. Numbers on a line are mixed linearly; angles and categories
    cannot be, and come whole from the example with probability λ, else from its partner, one draw for all of them. A condition
    is an input and is mixed in the same way; it is absent (NaN) where that of either is. Weights are mixed linearly.

    Args:
        spec: x a Vector or an Image (for cutmix an Image), y a Label or a Vector.
        mixup: α of mixup, 0 for none.
        cutmix: α of cutmix, 0 for none.

    Raises:
        OptionError: other kinds of x and y, or an α that is neither 0 nor a finite number of at least `SMALLEST`.

    References: Zhang et al. 2018, https://arxiv.org/abs/1710.09412; Yun et al. 2019, https://arxiv.org/abs/1905.04899

    Example:
        >>> mixture = Mixture(Spec(Vector.real(1), y=Vector.real(1)), mixup=1.0)
        >>> batch = mixture(Examples(torch.arange(4.0).view(4, 1), y=torch.arange(4.0).view(4, 1)))
        >>> torch.equal(batch.x, batch.y)
        True
    """

    def __init__(self, spec: Spec, *, mixup: float = 0.0, cutmix: float = 0.0) -> None:
        self.spec, self.mixup, self.cutmix = spec, mixup, cutmix
        for name, alpha in (("mixup", mixup), ("cutmix", cutmix)):
            if alpha != 0 and not SMALLEST <= alpha < math.inf:
                raise OptionError(f"option '{name}' is the α of a Beta distribution, {SMALLEST} or more, or 0 for none; got {alpha}")
        asked = "mixup" if mixup else "cutmix"
        if not isinstance(spec.y, (Label, Vector)):
            got = "nothing" if spec.y is None else type(spec.y).__name__
            raise OptionError(f"{asked} mixes targets with the examples and wants y to be Label or Vector; got {got}; leave it out")
        if not isinstance(spec.x, (Image, Vector)):
            raise OptionError(f"{asked} wants examples of one size, Vector or Image; x is {type(spec.x).__name__}; leave it out")
        if isinstance(spec.given, (Set, Sequence)):
            got = type(spec.given).__name__
            raise OptionError(f"{asked} mixes conditions too and wants them of one size, Vector or Image; given is {got}; leave it out")
        if cutmix and not isinstance(spec.x, Image):
            raise OptionError(f"cutmix pastes a part of an image; x is {type(spec.x).__name__}; use mixup")
        self._numeric = {
            role: numeric(kind) for role, kind in (("x", spec.x), ("y", spec.y), ("given", spec.given)) if isinstance(kind, Vector)
        }

    def __call__(self, batch: Examples) -> Examples:
        """The mixed batch, of the same length."""
        x = batch.x
        assert isinstance(x, Tensor)
        share, weight = self._shares(x)
        partner = torch.rand_like(share).argsort()
        whole = torch.rand_like(share) < share
        mixed: dict[str, Tensor | Ragged | None] = {}
        for role, values in batch.roles():
            assert isinstance(values, Tensor)
            kind, other = getattr(self.spec, role), values[partner]
            if isinstance(kind, Vector):
                line = self._numeric[role] = self._numeric[role].to(values.device)
                taken = torch.where(whole[:, None], values, other)
                mixed[role] = torch.where(line, _mixed(values, other, share[:, None]), taken)
            elif isinstance(kind, Label):
                mixed[role] = _mixed(_probabilities(values, kind, share), _probabilities(other, kind, share), share[:, None])
            else:
                mixed[role] = _mixed(values, other, weight if role == "x" else share.view(-1, *[1] * (values.ndim - 1)))
        return batch.with_(**mixed)

    def _shares(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """λ of each example ``(n,)``, and the example's own weight in every pixel, shaped to broadcast against x."""
        count, one_each = len(x), (-1, *[1] * (x.ndim - 1))
        share = _beta(self.mixup, count, x) if self.mixup else x.new_ones(count)
        if not self.cutmix:
            return share, share.view(one_each)
        extent = (1 - _beta(self.cutmix, count, x)) ** (1 / (x.ndim - 2))
        weight = 1 - box(x, tuple(range(2 - x.ndim, 0)), extent.view(one_each)).to(x.dtype)
        left = weight.flatten(1).mean(1)
        if not self.mixup:
            return left, weight
        cut = torch.rand_like(share) < 0.5
        return torch.where(cut, left, share), torch.where(cut.view(one_each), weight, share.view(one_each))


def _mixed(values: Tensor, other: Tensor, share: Tensor) -> Tensor:
    """`share` of the values and the rest of the other ones; exactly one of them where the share is 0 or 1."""
    return share * values + (1 - share) * other


def _probabilities(codes: Tensor, label: Label, like: Tensor) -> Tensor:
    """Codes ``(n,)`` as probabilities of the classes, 0 or 1, in the dtype of `like`."""
    return (codes[:, None] == torch.arange(len(label.classes), device=codes.device)).to(like.dtype)


def _beta(alpha: float, count: int, like: Tensor) -> Tensor:
    """``(count,)`` draws from Beta(alpha, alpha), from the global generator of the device of `like`, in its dtype."""
    return torch._sample_dirichlet(like.new_full((count, 2), alpha))[:, 0]


def _augmentation(spec: Spec, augment: str | Mapping[str, Any] | None) -> Alteration:
    """The random changes of x."""
    changes = make_augmentation(spec.x, augment)
    assert changes is not None
    if isinstance(spec.y, Image):
        raise OptionError("augment changes x alone, but y is an image that belongs to it pixel by pixel; leave it out")

    def alter(batch: Examples) -> Examples:
        changes.to(batch.device)  # once; afterwards there is nothing to move
        x = batch.x
        return batch.with_(x=Ragged(changes(x.values), x.lengths) if isinstance(x, Ragged) else changes(x))

    return alter


def _hidden_condition(spec: Spec, share: float) -> Alteration:
    """What hides the whole condition of a random `share` of the examples of a batch."""
    if spec.given is None:
        raise OptionError("drop_given needs a condition: name its columns with given=")
    if isinstance(spec.given, (Set, Sequence)):
        raise OptionError("drop_given hides columns or images; an empty set is a condition like any other, so a set cannot be absent")
    if not 0 <= share < 1:
        raise OptionError(f"option 'drop_given' must be from 0 to below 1; got {share}")

    def alter(batch: Examples) -> Examples:
        given = batch.given
        assert isinstance(given, Tensor)
        hidden = torch.rand((len(given), 1), device=given.device) < share
        return batch.with_(given=torch.where(hidden.view(-1, *[1] * (given.ndim - 1)), torch.nan, given))

    return alter
