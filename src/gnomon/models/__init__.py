"""Floor 3: learning principles: what is learned, the loss, the abilities, on tensors."""

from gnomon.models.base import ABILITIES, Loss, LossOf, Model, Player, abilities

__all__ = ["ABILITIES", "Loss", "LossOf", "Model", "Player", "abilities"]
