"""Classifier: which class an example belongs to, from an encoder's outputs as logits.

How examples are read is the encoder's business; turning logits into the user's labels is `Learned`'s.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from gnomon import networks
from gnomon.blocks.augmentation import RandomShift
from gnomon.blocks.losses import as_probabilities, class_losses
from gnomon.data import Examples, Image, Label, Set, Spec, Tokens, Vector
from gnomon.errors import DataError, OptionError
from gnomon.models.base import Loss, Model, applied, tensor, wants
from gnomon.options import unknown

ClassLoss = Literal[
    "cross_entropy",
    "squared",
    "absolute",
    "euclidean",
    "expectation",
    "regularised_expectation",
    "chebyshev",
    "hinge",
    "squared_hinge",
    "cubed_hinge",
    "squared_log",
    "tanimoto",
    "cauchy_schwarz",
]
"""What `Classifier` takes as its loss; the names of `blocks.losses.class_losses`."""


class Classifier(Model):
    """An encoder whose outputs are the logits of the classes.

    Minimises the cross-entropy -log p(y | x, given) in nats per example, or another loss. Targets are classes ``(n,)``, or
    probabilities of the classes ``(n, classes)`` where examples have been mixed.

    Args:
        spec: x a Vector, an Image, a Set or Tokens; y a Label with at least two classes.
        loss: name in `blocks.losses`. The cross-entropy and "regularised_expectation" (Brier's score) are least where the softmax of
            the outputs is the true probability. The other losses of the softmax reward too sharp or too blunt answers; "squared",
            "absolute", "euclidean" and the hinge losses compare the outputs themselves, so that the largest tells the class and the
            softmax is no probability.
        label_smoothing: share of each target spread evenly over all classes, in training only; 0 ≤ share < 1.
        shift: in training images are moved at random, along each axis by at most this share of its extent; 0 leaves them.
        encoder: name of a network or a module ``(x, given) -> (n, classes)``; None takes the default of the kind of data.
        net: options of the network.
        size: factor on the network's widths.

    Raises:
        DataError: x or y is of a kind that cannot be classified, or y has a single class.
        OptionError: an unknown loss, label_smoothing or shift outside [0, 1), or an option that the network does not know.

    Example:
        >>> import torch
        >>> from gnomon.data import Examples, Label, Spec, Vector
        >>> model = Classifier(Spec(Vector.real(4), y=Label(("no", "yes"))))
        >>> model.predict(Examples(torch.zeros(5, 4))).shape
        torch.Size([5, 2])
    """

    target: ClassVar[str | None] = "label"
    defaults: ClassVar[dict[str, Any]] = {"lr": 2e-3, "steps": 1500}

    def __init__(
        self,
        spec: Spec,
        *,
        loss: ClassLoss = "cross_entropy",
        label_smoothing: float = 0.0,
        shift: float = 0.125,
        encoder: str | nn.Module | None = None,
        net: dict[str, Any] | None = None,
        size: float = 1.0,
    ) -> None:
        super().__init__(spec)
        kind = wants(spec, (Vector, Image, Set, Tokens), by="Classifier")
        label = wants(spec, (Label,), role="y", by="Classifier")
        if len(label.classes) < 2:
            raise DataError(f"Classifier wants at least two classes in '{label.name}'; got {len(label.classes)}")
        if not 0 <= label_smoothing < 1:
            raise OptionError(f"option 'label_smoothing' of Classifier must be at least 0 and below 1; got {label_smoothing}")
        if loss not in class_losses:
            raise OptionError(unknown("loss", loss, class_losses, owner="Classifier"))
        self.criterion = None if loss == "cross_entropy" else class_losses[loss]
        self.classes = len(label.classes)
        self.label_smoothing = label_smoothing
        self.shift = RandomShift(kind.dimension, shift) if isinstance(kind, Image) else None
        self.condition = networks.Condition(spec.given, size=size)
        self.encoder = networks.make("encoder", kind, encoder, outputs=len(label.classes), given=self.condition.outputs, size=size, net=net)

    def loss(self, batch: Examples) -> Loss:
        """The loss against the (smoothed) targets; by default the cross-entropy in nats."""
        return Loss.mean(self._costs(self.predict(batch), tensor(batch.y), self.label_smoothing), batch.weight)

    def validate(self, batch: Examples) -> Loss:
        """The loss against the true classes, and the share that is classified right."""
        logits, y = self.predict(batch), tensor(batch.y)
        right = (logits.argmax(-1) == (y if y.ndim == 1 else y.argmax(-1))).to(logits.dtype)
        return Loss.mean(self._costs(logits, y, 0.0), batch.weight, accuracy=right)

    def _costs(self, logits: Tensor, y: Tensor, smoothing: float) -> Tensor:
        """The loss of each example, ``(n,)``."""
        if self.criterion is None:
            return F.cross_entropy(logits, y, reduction="none", label_smoothing=smoothing)
        if smoothing:
            y = as_probabilities(y, logits) * (1 - smoothing) + smoothing / self.classes
        return self.criterion(logits, y)

    def predict(self, batch: Examples) -> Tensor:
        """Logits, ``(n, classes)``; their softmax is p(y | x, given)."""
        x = batch.x if self.shift is None else self.shift(tensor(batch.x))
        return applied(self.encoder, x, self.condition(batch.given, len(batch)))

    def features(self, batch: Examples) -> Tensor:
        """The numbers from which the logits are made, ``(n, k)``: what the last linear layer of the encoder is given.

        Raises:
            OptionError: the encoder has no linear layer.

        Example:
            >>> import torch
            >>> from gnomon.data import Examples, Label, Spec, Vector
            >>> model = Classifier(Spec(Vector.real(4), y=Label(("no", "yes"))), net={"hidden": "64,16"})
            >>> model.features(Examples(torch.zeros(5, 4))).shape
            torch.Size([5, 16])
        """
        seen: list[Tensor] = []
        layers = [module for module in self.encoder.modules() if isinstance(module, nn.Linear)]
        hooks = [layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0])) for layer in layers]
        try:
            self.predict(batch)
        finally:
            for hook in hooks:
                hook.remove()
        if not seen:
            raise OptionError("features are what the last linear layer of the encoder is given, and this encoder has none")
        return seen[-1].flatten(1)
