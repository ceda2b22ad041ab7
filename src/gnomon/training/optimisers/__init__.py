"""Optimisers by name: one instance moves one player's flat parameters down its gradient.

Schedules, losses and files are not their business.
"""

from gnomon.training.optimisers.choice import make
from gnomon.training.optimisers.optimiser import Look, Optimiser
from gnomon.training.optimisers.options import OPTIMISERS, OptimiserOptions

__all__ = ["OPTIMISERS", "Look", "Optimiser", "OptimiserOptions", "make"]
