"""Classifier: which class an example belongs to, from an encoder's outputs as logits.

How examples are read is the encoder's business; turning logits into the user's labels is `Learned`'s.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from gnomon import networks
from gnomon.blocks.augmentation import RandomShift
from gnomon.data import Examples, Image, Label, Set, Spec, Vector
from gnomon.errors import DataError, OptionError
from gnomon.models.base import Loss, Model, applied, tensor, wants


class Classifier(Model):
    """An encoder whose outputs are the logits of the classes.

    Minimises the cross-entropy -log p(y | x, given) in nats per example.

    Args:
        spec: x a Vector, an Image or a Set; y a Label with at least two classes.
        label_smoothing: share of each target spread evenly over all classes, in training only; 0 ≤ share < 1.
        shift: in training images are moved at random, along each axis by at most this share of its extent; 0 leaves them.
        encoder: name of a network or a module ``(x, given) -> (n, classes)``; None takes the default of the kind of data.
        net: options of the network.
        size: factor on the network's widths.

    Raises:
        DataError: x or y is of a kind that cannot be classified, or y has a single class.
        OptionError: label_smoothing or shift outside [0, 1), or an option that the network does not know.

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
        label_smoothing: float = 0.0,
        shift: float = 0.125,
        encoder: str | nn.Module | None = None,
        net: dict[str, Any] | None = None,
        size: float = 1.0,
    ) -> None:
        super().__init__(spec)
        kind = wants(spec, (Vector, Image, Set), by="Classifier")
        label = wants(spec, (Label,), role="y", by="Classifier")
        if len(label.classes) < 2:
            raise DataError(f"Classifier wants at least two classes in '{label.name}'; got {len(label.classes)}")
        if not 0 <= label_smoothing < 1:
            raise OptionError(f"option 'label_smoothing' of Classifier must be at least 0 and below 1; got {label_smoothing}")
        self.label_smoothing = label_smoothing
        self.shift = RandomShift(kind.dimension, shift) if isinstance(kind, Image) else None
        self.condition = networks.Condition(spec.given)
        self.encoder = networks.make("encoder", kind, encoder, outputs=len(label.classes), given=self.condition.outputs, size=size, net=net)

    def loss(self, batch: Examples) -> Loss:
        """The cross-entropy against the (smoothed) targets, in nats."""
        values = F.cross_entropy(self.predict(batch), tensor(batch.y), reduction="none", label_smoothing=self.label_smoothing)
        return Loss.mean(values, batch.weight)

    def validate(self, batch: Examples) -> Loss:
        """The cross-entropy against the true classes, in nats, and the share that is classified right."""
        logits, y = self.predict(batch), tensor(batch.y)
        right = (logits.argmax(-1) == y).to(logits.dtype)
        return Loss.mean(F.cross_entropy(logits, y, reduction="none"), batch.weight, accuracy=right)

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
